//! Filters with their names found and their operands typed.
//!
//! Operands stay text: they travel as parameters of a declared type and Postgres parses them. What is
//! decided here is whether the operator exists for the field's kind at all.

use super::{Column, Context, NodePlan, Yields};
use crate::error::{Code, Error};
use crate::model::{Kind, Search};
use crate::policy::Permit;
use crate::query::request::{self, Comparison, Filter, FullText, Is};
use crate::sql::array_literal;

/// A condition of a request on a node's rows.
#[derive(Debug)]
pub(crate) enum Predicate {
    And {
        terms: Vec<Predicate>,
        negated: bool,
    },
    Or {
        terms: Vec<Predicate>,
        negated: bool,
    },
    Test {
        column: Column,
        test: Test,
        negated: bool,
    },
    /// A full-text query on the collection's `search`.
    Search {
        query: FullTextQuery,
        negated: bool,
    },
    /// `rel=is.null`, `rel=not.is.null`: an index into the node's embeds.
    Related {
        embed: usize,
        exists: bool,
    },
}

#[derive(Debug)]
pub(crate) enum Test {
    Compare { operator: Comparison, operand: Operand },
    Is(Is),
    IsDistinct(Operand),
    Contains(Operand),
    ContainedBy(Operand),
    Overlaps(Operand),
    FullText(FullTextQuery),
}

/// What stands right of `@@`, for Postgres to read.
#[derive(Debug)]
pub(crate) struct FullTextQuery {
    pub(crate) parser: FullText,
    /// The configuration that the request names.
    pub(crate) config: Option<String>,
    pub(crate) text: String,
}

/// The right side: a value of a kind in Postgres' text format, or a list of them.
#[derive(Debug)]
pub(crate) enum Operand {
    One {
        kind: Kind,
        text: String,
    },
    /// Holds for one element of an array parameter.
    Any {
        kind: Kind,
        list: String,
    },
    /// Holds for all elements.
    All {
        kind: Kind,
        list: String,
    },
}

impl Predicate {
    /// Some test in it can raise or be slow depending on a row's content, of this node's rows or of an embed's.
    pub(super) fn is_risky(&self, node: &NodePlan) -> bool {
        match self {
            Predicate::And { terms, .. } | Predicate::Or { terms, .. } => {
                terms.iter().any(|term| term.is_risky(node))
            }
            Predicate::Test { column, test, .. } => test.is_risky(column),
            // The query may not be one.
            Predicate::Search { .. } => true,
            Predicate::Related { embed, .. } => node.embeds[*embed].node.is_risky(),
        }
    }
}

impl NodePlan {
    /// Whether rows of this node match may raise or be slow depending on their content.
    pub(super) fn is_risky(&self) -> bool {
        self.filter.iter().any(|predicate| predicate.is_risky(self))
            || self.embeds.iter().any(|embed| embed.inner && embed.node.is_risky())
    }
}

impl Test {
    /// It can raise or be slow depending on a row's content, so it must not meet a row the caller may not see.
    pub(crate) fn is_risky(&self, column: &Column) -> bool {
        if !column.steps.is_empty() {
            return true;
        }
        match self {
            Test::Compare { operator, .. } => match operator {
                Comparison::Like | Comparison::Ilike | Comparison::Match | Comparison::Imatch => true,
                Comparison::Eq
                | Comparison::Neq
                | Comparison::Gt
                | Comparison::Gte
                | Comparison::Lt
                | Comparison::Lte => false,
            },
            Test::FullText(_) => true,
            Test::Is(_)
            | Test::IsDistinct(_)
            | Test::Contains(_)
            | Test::ContainedBy(_)
            | Test::Overlaps(_) => false,
        }
    }

    /// Null in, null out: a masked field can then be written as `test and mask`, which indexes serve.
    pub(crate) fn is_strict(&self) -> bool {
        match self {
            Test::Compare { operand: Operand::One { .. } | Operand::Any { .. }, .. }
            | Test::Contains(_)
            | Test::ContainedBy(_)
            | Test::Overlaps(_)
            | Test::FullText(_) => true,
            // `= all ('{}')` holds for null too.
            Test::Compare { operand: Operand::All { .. }, .. } | Test::Is(_) | Test::IsDistinct(_) => false,
        }
    }
}

impl Context<'_> {
    /// Types filters on a collection's own fields.
    pub(crate) fn own_predicates(
        &self,
        permit: &Permit,
        filters: &[Filter],
    ) -> Result<Vec<Predicate>, Error> {
        let node = request::Node { filter: filters.to_vec(), ..request::Node::default() };
        Ok(self.node(permit.clone(), &node)?.filter)
    }

    /// Types the filters of a node whose embeds are planned.
    pub(super) fn predicates(&self, node: &NodePlan, filters: &[Filter]) -> Result<Vec<Predicate>, Error> {
        filters.iter().map(|filter| self.predicate(node, filter)).collect()
    }

    fn predicate(&self, node: &NodePlan, filter: &Filter) -> Result<Predicate, Error> {
        match filter {
            Filter::And { terms, negated } => {
                Ok(Predicate::And { terms: self.predicates(node, terms)?, negated: *negated })
            }
            Filter::Or { terms, negated } => {
                Ok(Predicate::Or { terms: self.predicates(node, terms)?, negated: *negated })
            }
            Filter::Term { path, negated, test } => {
                let embed =
                    node.embeds.iter().position(|embed| embed.key == path.field && path.steps.is_empty());
                // A relation field and what it embeds share a name. Whether there is a related record is asked of
                // the embed, everything else of the field.
                let searches = path.field == Search::NAME
                    && node.permit.covers_search(self.collection(node.permit.collection()));
                let is_field = || searches || self.known_field(&node.permit, &path.field).is_ok();
                if let Some(embed) = embed
                    && (matches!(test, request::Test::Is(Is::Null | Is::NotNull)) || !is_field())
                {
                    return related(embed, *negated, test);
                }
                if searches {
                    let query = search_query(path, test)?;
                    return Ok(Predicate::Search { query, negated: *negated });
                }
                let column = self.column(&node.permit, path, None)?;
                let test = self.test(&column, test)?;
                Ok(Predicate::Test { column, test, negated: *negated })
            }
        }
    }

    fn test(&self, column: &Column, test: &request::Test) -> Result<Test, Error> {
        let kind = match column.yields {
            Yields::Kind(kind) => kind,
            Yields::Json => Kind::JSON,
        };
        let text = kind == Kind::TEXT;
        let one = |text: &String| Operand::One { kind, text: text.clone() };
        Ok(match test {
            request::Test::Compare { operator, operand } => {
                let pattern = match operator {
                    Comparison::Like => Some("~~"),
                    Comparison::Ilike => Some("~~*"),
                    Comparison::Match => Some("~"),
                    Comparison::Imatch => Some("~*"),
                    Comparison::Eq
                    | Comparison::Neq
                    | Comparison::Gt
                    | Comparison::Gte
                    | Comparison::Lt
                    | Comparison::Lte => None,
                };
                match pattern {
                    Some(operator) if !text => return Err(no_operator(kind, operator)),
                    // A pattern can be made to cost far more than it looks: not for whoever comes along.
                    Some("~" | "~*") if self.principal.is_anon() => {
                        return Err(Error::with(
                            self.denial(),
                            "regular expressions are only available to signed-in callers",
                        ));
                    }
                    Some(_) | None => {}
                }
                let many = |list: &[String]| -> Result<String, Error> {
                    if kind.array { Err(no_operator(kind, "= any")) } else { Ok(literal(list)) }
                };
                let operand = match operand {
                    request::Operand::One(text) => one(text),
                    request::Operand::Any(list) => {
                        Operand::Any { kind: Kind::many(kind.scalar), list: many(list)? }
                    }
                    request::Operand::All(list) => {
                        Operand::All { kind: Kind::many(kind.scalar), list: many(list)? }
                    }
                };
                Test::Compare { operator: *operator, operand }
            }
            request::Test::In(_) if kind.array => return Err(no_operator(kind, "in")),
            request::Test::In(list) => Test::Compare {
                operator: Comparison::Eq,
                operand: Operand::Any { kind: Kind::many(kind.scalar), list: literal(list) },
            },
            request::Test::Is(is) => {
                match is {
                    Is::True | Is::False | Is::Unknown if kind != Kind::BOOLEAN => {
                        let message =
                            format!("argument of IS TRUE must be type boolean, not type {}", kind.sql());
                        return Err(Error::with(Code::Sqlstate("42804".to_owned()), message));
                    }
                    Is::Null | Is::NotNull | Is::True | Is::False | Is::Unknown => {}
                }
                Test::Is(*is)
            }
            request::Test::IsDistinct(text) => Test::IsDistinct(one(text)),
            request::Test::Contains(text) if kind.array || kind == Kind::JSON => Test::Contains(one(text)),
            request::Test::ContainedBy(text) if kind.array || kind == Kind::JSON => {
                Test::ContainedBy(one(text))
            }
            request::Test::Overlaps(text) if kind.array => Test::Overlaps(one(text)),
            request::Test::Contains(_) => return Err(no_operator(kind, "@>")),
            request::Test::ContainedBy(_) => return Err(no_operator(kind, "<@")),
            request::Test::Overlaps(_) => return Err(no_operator(kind, "&&")),
            request::Test::Range { operator, .. } => return Err(no_operator(kind, operator)),
            request::Test::FullText { parser, config, query } => {
                if !text && kind != Kind::JSON {
                    return Err(no_operator(kind, "@@"));
                }
                Test::FullText(full_text(*parser, config.as_deref(), query)?)
            }
        })
    }
}

fn full_text(parser: FullText, config: Option<&str>, query: &str) -> Result<FullTextQuery, Error> {
    // Postgres takes digits for the number of a configuration and fails inside when there is none.
    if let Some(digits) = config.filter(|text| text.bytes().all(|b| b.is_ascii_digit())) {
        let message = format!("text search configuration \"{digits}\" does not exist");
        return Err(Error::with(Code::Sqlstate("42704".to_owned()), message));
    }
    Ok(FullTextQuery { parser, config: config.map(str::to_owned), text: query.to_owned() })
}

/// A full-text column takes full-text queries and nothing else: it has no value that one could compare or look into.
fn search_query(path: &request::Path, test: &request::Test) -> Result<FullTextQuery, Error> {
    let operator = match test {
        _ if !path.steps.is_empty() => "->",
        request::Test::FullText { parser, config, query } => {
            return full_text(*parser, config.as_deref(), query);
        }
        request::Test::Compare { operator, .. } => match operator {
            Comparison::Eq => "=",
            Comparison::Neq => "<>",
            Comparison::Gt => ">",
            Comparison::Gte => ">=",
            Comparison::Lt => "<",
            Comparison::Lte => "<=",
            Comparison::Like => "~~",
            Comparison::Ilike => "~~*",
            Comparison::Match => "~",
            Comparison::Imatch => "~*",
        },
        request::Test::Is(_) => "is",
        request::Test::IsDistinct(_) => "is distinct from",
        request::Test::In(_) => "in",
        request::Test::Contains(_) => "@>",
        request::Test::ContainedBy(_) => "<@",
        request::Test::Overlaps(_) => "&&",
        request::Test::Range { operator, .. } => operator,
    };
    let message = format!("operator does not exist: tsvector {operator} unknown");
    Err(Error::with(Code::Sqlstate("42883".to_owned()), message)
        .hint("`search` takes the operators fts, plfts, phfts and wfts"))
}

fn related(embed: usize, negated: bool, test: &request::Test) -> Result<Predicate, Error> {
    match test {
        request::Test::Is(Is::Null) => Ok(Predicate::Related { embed, exists: negated }),
        request::Test::Is(Is::NotNull) => Ok(Predicate::Related { embed, exists: !negated }),
        _ => Err(Error::with(Code::EmbedFilter, "Bad operator on an embedded resource")
            .details("Only is null or not is null filters are allowed on embedded resources")),
    }
}

/// As Postgres says it. Inet has no ranges, json no order: kinds decide, never rows.
pub(crate) fn no_operator(kind: Kind, operator: &str) -> Error {
    let message = format!("operator does not exist: {} {operator} unknown", kind.sql());
    Error::with(Code::Sqlstate("42883".to_owned()), message)
}

fn literal(list: &[String]) -> String {
    array_literal(list.iter().map(|element| Some(element.as_str())))
}
