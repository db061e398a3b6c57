//! How much a read comes to once it is written out.
//!
//! The filter of an embed stands in the statement wherever its rows are asked for: once for each member that a spread
//! hoists, each `rel=is.null`, each order by the relation. The products of these are not bounded by the length of a
//! request, so the whole is counted before it is written: Postgres takes 65,535 parameters, and plans a statement of
//! that size for seconds.

use super::{NodePlan, Output, Predicate, Source};
use crate::error::{Code, Error};

/// The most tests, members and orders of one read, each counted as often as it is written. A request that repeats
/// nothing stays below that by the bounds of its parts.
const MOST: usize = 10_000;

impl NodePlan {
    pub(super) fn check_weight(&self) -> Result<(), Error> {
        if self.whole() <= MOST {
            return Ok(());
        }
        let message = format!("at most {MOST} filter terms, members and order terms are allowed");
        Err(Error::with(Code::QueryString, message)
            .details("Those of an embed count for each member that a spread of it hoists, and for each filter and order by it"))
    }

    /// `select … from … order by …`
    fn whole(&self) -> usize {
        let members = self.outputs.iter().map(|output| self.member(output));
        sum(members).saturating_add(self.rows()).saturating_add(self.ordered())
    }

    /// `from … where …`
    fn rows(&self) -> usize {
        let inner = self.embeds.iter().filter(|embed| embed.inner).map(|embed| embed.node.rows());
        sum(inner)
            .saturating_add(sum(self.filter.iter().map(|predicate| self.tests(predicate))))
            .saturating_add(1)
    }

    fn ordered(&self) -> usize {
        sum(self.order.iter().map(|order| {
            let related = order.embed.map_or(0, |embed| self.embeds[embed].node.rows());
            related.saturating_add(order.column.weight())
        }))
    }

    fn tests(&self, predicate: &Predicate) -> usize {
        match predicate {
            Predicate::And { terms, .. } | Predicate::Or { terms, .. } => {
                sum(terms.iter().map(|term| self.tests(term)))
            }
            Predicate::Test { column, .. } => column.weight(),
            Predicate::Search { .. } => 1,
            Predicate::Related { embed, .. } => self.embeds[*embed].node.rows(),
        }
    }

    fn member(&self, output: &Output) -> usize {
        match &output.source {
            Source::Column(column) => column.weight(),
            Source::Count => 1,
            Source::Embed(embed) => self.embeds[*embed].node.whole(),
            Source::Spread(embed, place) => {
                let node = &self.embeds[*embed].node;
                let member = node.outputs.get(*place).map_or(0, |output| node.member(output));
                member.saturating_add(node.rows()).saturating_add(node.ordered())
            }
        }
    }
}

impl super::Column {
    /// Each step of a path is a parameter, too.
    fn weight(&self) -> usize {
        1 + self.steps.len()
    }
}

fn sum(parts: impl Iterator<Item = usize>) -> usize {
    parts.fold(0, usize::saturating_add)
}
