//! A node's filter as SQL. A test that could raise or be slow on a row stands behind what makes the row visible;
//! plain comparisons stay plain, so that indexes serve them.

use super::select::{Glue, Join};
use super::{Column, Context, FullTextQuery, NodePlan, Operand, Predicate, Test};
use crate::condition::{Condition, Reach};
use crate::model::{Collection, Name, Search};
use crate::query::request::{Comparison, FullText, Is};
use crate::sql::{Alias, Sql};

const REGCONFIG_OID: u32 = 3734;

impl Context<'_> {
    pub(super) fn predicate_sql(
        &self,
        sql: &mut Sql,
        node: &NodePlan,
        row: Alias,
        predicate: &Predicate,
        positive: bool,
    ) {
        match predicate {
            Predicate::And { terms, negated } => {
                self.group(sql, node, row, terms, " and ", "true", *negated, positive)
            }
            Predicate::Or { terms, negated } => {
                self.group(sql, node, row, terms, " or ", "false", *negated, positive)
            }
            Predicate::Related { embed, exists } => {
                sql.raw(if *exists { "(" } else { "not (" });
                self.exists(sql, Join { embed: &node.embeds[*embed], parent: node, parent_row: row });
                sql.raw(")");
            }
            Predicate::Search { query, negated } => {
                if *negated {
                    sql.raw("not ");
                }
                self.search_sql(sql, node, row, query, positive && !negated);
            }
            Predicate::Test { column, test, negated } => {
                let positive = positive && !negated;
                if *negated {
                    sql.raw("not (");
                }
                self.guarded_test(sql, node, row, column, test, positive);
                if *negated {
                    sql.raw(")");
                }
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn group(
        &self,
        sql: &mut Sql,
        node: &NodePlan,
        row: Alias,
        terms: &[Predicate],
        glue: &'static str,
        empty: &'static str,
        negated: bool,
        positive: bool,
    ) {
        sql.raw(if negated { "not (" } else { "(" });
        if terms.is_empty() {
            sql.raw(empty);
        }
        for (at, term) in terms.iter().enumerate() {
            if at > 0 {
                sql.raw(glue);
            }
            self.predicate_sql(sql, node, row, term, positive && !negated);
        }
        sql.raw(")");
    }

    /// A test, kept away from rows and fields that the caller may not see.
    pub(super) fn guarded_test(
        &self,
        sql: &mut Sql,
        node: &NodePlan,
        row: Alias,
        column: &Column,
        test: &Test,
        positive: bool,
    ) {
        let when = node.permit.when().filter(|_| test.is_risky(column));
        if let Some(when) = when {
            sql.raw("case when ");
            self.condition(sql, when, row);
            sql.raw(" then ");
        }
        match node.permit.mask(column.field) {
            // Where only TRUE counts, `test and mask` says the same as testing a masked null, and indexes serve it.
            Some(mask) if positive && test.is_strict() && !test.is_risky(column) => {
                sql.raw("(");
                let name = &self.collection(node.permit.collection()).field(column.field).name;
                self.test_sql(sql, test, |sql| {
                    sql.column(row, name);
                });
                sql.raw(" and ");
                self.condition(sql, mask, row);
                sql.raw(")");
            }
            Some(_) | None => self.test_sql(sql, test, |sql| self.column_value(sql, node, row, column)),
        }
        if when.is_some() {
            sql.raw(" end");
        }
    }

    pub(super) fn test_sql(&self, sql: &mut Sql, test: &Test, left: impl Fn(&mut Sql)) {
        let operand = |sql: &mut Sql, operand: &Operand| match operand {
            Operand::One { kind, text } => {
                sql.bind(*kind, Some(text.clone()));
            }
            Operand::Any { kind, list } => {
                sql.raw("any (").bind(*kind, Some(list.clone())).raw(")");
            }
            Operand::All { kind, list } => {
                sql.raw("all (").bind(*kind, Some(list.clone())).raw(")");
            }
        };
        match test {
            Test::Compare { operator, operand: right } => {
                left(sql);
                sql.raw(match operator {
                    Comparison::Eq => " = ",
                    Comparison::Neq => " <> ",
                    Comparison::Gt => " > ",
                    Comparison::Gte => " >= ",
                    Comparison::Lt => " < ",
                    Comparison::Lte => " <= ",
                    Comparison::Like => " like ",
                    Comparison::Ilike => " ilike ",
                    Comparison::Match => " ~ ",
                    Comparison::Imatch => " ~* ",
                });
                operand(sql, right);
            }
            Test::Is(is) => {
                left(sql);
                sql.raw(match is {
                    Is::Null => " is null",
                    Is::NotNull => " is not null",
                    Is::True => " is true",
                    Is::False => " is false",
                    Is::Unknown => " is unknown",
                });
            }
            Test::IsDistinct(right) => {
                left(sql);
                sql.raw(" is distinct from ");
                operand(sql, right);
            }
            Test::Contains(right) => {
                left(sql);
                sql.raw(" @> ");
                operand(sql, right);
            }
            Test::ContainedBy(right) => {
                left(sql);
                sql.raw(" <@ ");
                operand(sql, right);
            }
            Test::Overlaps(right) => {
                left(sql);
                sql.raw(" && ");
                operand(sql, right);
            }
            Test::FullText(query) => {
                sql.raw("to_tsvector(");
                query.config_sql(sql, None);
                left(sql);
                sql.raw(") @@ ");
                query.to_sql(sql, None);
            }
        }
    }

    /// `search @@ query`, behind the masks of every field that `search` digests: a row that hides one of them from
    /// the caller has none.
    ///
    /// Where the record alone decides what is visible, it stands beside that condition, so that the index serves it.
    /// It may then meet rows that the caller does not see, and raises on none of them, since
    /// [`Context::searches_sql`] has read the query before. Conditions that look at other records are cheaper to
    /// judge first, and are.
    fn search_sql(&self, sql: &mut Sql, node: &NodePlan, row: Alias, query: &FullTextQuery, positive: bool) {
        let collection = self.collection(node.permit.collection());
        let mut masks: Vec<&Condition> = Vec::new();
        for mask in collection.searched().iter().filter_map(|field| node.permit.mask(*field)) {
            if !masks.contains(&mask) {
                masks.push(mask);
            }
        }
        let by_row = |condition: &Condition| condition.reach() == Reach::Row;
        let when = node.permit.when().filter(|when| !by_row(when));
        let by_index = positive && masks.iter().all(|mask| by_row(mask));
        let masked = |sql: &mut Sql, glue: &'static str| {
            for (at, mask) in masks.iter().enumerate() {
                sql.raw(if at > 0 { " and " } else { glue });
                self.condition(sql, mask, row);
            }
        };
        let column = search_column();
        sql.raw("(");
        if let Some(when) = when {
            sql.raw("case when ");
            self.condition(sql, when, row);
            sql.raw(" then ");
        }
        if by_index || masks.is_empty() {
            sql.column(row, &column);
        } else {
            masked(sql, "case when ");
            sql.raw(" then ").column(row, &column).raw(" end");
        }
        sql.raw(" @@ ");
        query.to_sql(sql, Some(collection));
        if by_index {
            masked(sql, " and ");
        }
        sql.raw(if when.is_some() { " end)" } else { ")" });
    }

    /// Has Postgres read every query that rows are searched by, before it looks at a row: a condition that speaks
    /// of no row is worked out first. Else a text that is no query would raise only where some row is met, and so
    /// would tell that there is one.
    pub(super) fn searches_sql(
        &self,
        sql: &mut Sql,
        node: &NodePlan,
        predicates: &[Predicate],
        glue: &mut Glue,
    ) {
        for predicate in predicates {
            match predicate {
                Predicate::And { terms, .. } | Predicate::Or { terms, .. } => {
                    self.searches_sql(sql, node, terms, glue);
                }
                Predicate::Search { query, .. } => {
                    glue.put(sql);
                    query.to_sql(sql, Some(self.collection(node.permit.collection())));
                    sql.raw(" is not null");
                }
                Predicate::Test { .. } | Predicate::Related { .. } => {}
            }
        }
    }
}

fn search_column() -> Name {
    Name::joined(&[Search::NAME])
}

impl FullTextQuery {
    /// The configuration and a comma: the one that the request names, else that of the collection's search.
    fn config_sql(&self, sql: &mut Sql, searched: Option<&Collection>) {
        if let Some(config) = &self.config {
            sql.bind_typed(REGCONFIG_OID, "regconfig", Some(config.clone())).raw(", ");
        } else if let Some(search) = searched.and_then(|collection| collection.search.as_ref()) {
            sql.language(search.language).raw(", ");
        }
    }

    fn to_sql(&self, sql: &mut Sql, searched: Option<&Collection>) {
        sql.raw(match self.parser {
            FullText::Query => "to_tsquery(",
            FullText::Plain => "plainto_tsquery(",
            FullText::Phrase => "phraseto_tsquery(",
            FullText::Web => "websearch_to_tsquery(",
        });
        self.config_sql(sql, searched);
        sql.bind_text(self.text.as_str()).raw(")");
    }
}
