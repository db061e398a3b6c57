//! A node's filter as SQL. A test that could raise or be slow on a row stands behind what makes the row visible;
//! plain comparisons stay plain, so that indexes serve them.

use super::select::Join;
use super::{Column, Context, NodePlan, Operand, Predicate, Test};
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
            Test::FullText { parser, config, query } => {
                let config_then = |sql: &mut Sql| {
                    if let Some(config) = config {
                        sql.bind_typed(REGCONFIG_OID, "regconfig", Some(config.clone())).raw(", ");
                    }
                };
                sql.raw("to_tsvector(");
                config_then(sql);
                left(sql);
                sql.raw(match parser {
                    FullText::Query => ") @@ to_tsquery(",
                    FullText::Plain => ") @@ plainto_tsquery(",
                    FullText::Phrase => ") @@ phraseto_tsquery(",
                    FullText::Web => ") @@ websearch_to_tsquery(",
                });
                config_then(sql);
                sql.bind_text(query.as_str()).raw(")");
            }
        }
    }
}
