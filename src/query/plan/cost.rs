//! Which statements are known to be cheap before they run.

use super::{Context, Cost, NodePlan, Operand, Predicate, Test};
use crate::condition::Reach;
use crate::model::FieldId;
use crate::query::request::Comparison;

impl Context<'_> {
    /// A plain equality on the key or on a unique constraint leaves at most one row.
    pub(super) fn cost_by_key(&self, node: &NodePlan) -> Cost {
        let collection = self.collection(node.permit.collection());
        let by_key = std::iter::once(&collection.primary_key)
            .chain(&collection.unique)
            .any(|key| key.iter().all(|field| is_equal(node, *field)));
        // One row is enough for a pattern to take its time.
        if by_key && node.embeds.is_empty() && !node.is_risky() { Cost::OneRow } else { Cost::Unknown }
    }

    /// A read is cheap by its key, or where the front of an index bounds its rows and already has them in order.
    pub(super) fn cost(&self, node: &NodePlan) -> Cost {
        if self.cost_by_key(node) == Cost::OneRow {
            return Cost::OneRow;
        }
        if node.is_risky() || !node.filter.iter().all(is_plain) {
            return Cost::Unknown;
        }
        let by_row = node.permit.when().is_none_or(|when| when.reach() == Reach::Row);
        let short = node.limit <= SHORT_PAGE && node.offset == 0;
        match (self.is_in_order(node), node.embeds.is_empty()) {
            (true, true) if by_row && short => Cost::ShortPage,
            (true, false) if node.embeds.iter().all(|embed| is_steady(&embed.node)) => Cost::Steady,
            _ => Cost::Unknown,
        }
    }

    /// The rows are those of one key, or the front of an index has them in the page's own order: else all rows that
    /// match are read and sorted.
    fn is_in_order(&self, node: &NodePlan) -> bool {
        let collection = self.collection(node.permit.collection());
        let key = std::iter::once(&collection.primary_key).chain(&collection.unique);
        let by_key = key.into_iter().any(|key| key.iter().all(|field| is_equal(node, *field)));
        by_key
            || collection.indexes.iter().any(|index| {
                let prefix = index.columns.iter().take_while(|column| is_equal(node, column.field)).count();
                let rest = &index.columns[prefix..];
                prefix > 0
                    && node.order.len() <= rest.len()
                    && node.order.iter().zip(rest).all(|(order, column)| {
                        order.embed.is_none()
                            && order.column.field == column.field
                            && order.column.steps.is_empty()
                            && order.descending == column.descending
                            && order.nulls_first.is_none_or(|first| first == order.descending)
                    })
            })
    }
}

/// One test, that neither raises nor is slow.
fn is_plain(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::Test { column, test, .. } => !test.is_risky(column),
        Predicate::And { .. }
        | Predicate::Or { .. }
        | Predicate::Search { .. }
        | Predicate::Related { .. } => false,
    }
}

/// An embed's rows are found by the key that they share with the record above; what else is asked of them matters little.
fn is_steady(node: &NodePlan) -> bool {
    node.filter.iter().all(is_plain) && node.embeds.iter().all(|embed| is_steady(&embed.node))
}

/// The longest page that may share a pipelined connection.
const SHORT_PAGE: u64 = 100;

/// The filter asks for one value of this field.
pub(super) fn is_equal(node: &NodePlan, field: FieldId) -> bool {
    node.filter.iter().any(|predicate| match predicate {
        Predicate::Test {
            column,
            test: Test::Compare { operator: Comparison::Eq, operand: Operand::One { .. } },
            negated: false,
        } => column.field == field && column.steps.is_empty(),
        Predicate::Test { .. }
        | Predicate::And { .. }
        | Predicate::Or { .. }
        | Predicate::Search { .. }
        | Predicate::Related { .. } => false,
    })
}
