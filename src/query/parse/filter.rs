//! Filters: `field=not.eq(any).{a,b}`, and trees of them: `or=(a.eq.1,and(b.gt.2,not.c.is.null))`.

use super::cursor::{self, Cursor, Stop};
use super::{Bounds, Fault};
use crate::model::text::elements;
use crate::query::request::{Comparison, Filter, FullText, Is, Operand, Path, Test};

/// `and(or(and(…)))`: more than anybody writes, and little enough for every stack.
const MAX_DEPTH: usize = 32;

const OPERATOR: &str = "\"not\" or operator (eq, gt, ...)";
const SEPARATOR: &str = "\",\" or \")\"";

/// A filter's parameter name: the embeds it goes through, and the field.
pub(super) fn key(text: &str) -> Result<(Vec<String>, Path), Fault> {
    cursor::whole("tree path", text, |cursor| {
        let mut path = Vec::new();
        loop {
            cursor.spaces();
            let name = cursor.name()?;
            if cursor.eat('.') {
                path.push(name);
            } else {
                return Ok((path, cursor.path(name)?));
            }
        }
    })
}

/// The value of a filter's parameter: everything behind the operator is the operand.
pub(super) fn term(path: Path, text: &str, bounds: &Bounds, terms: &mut usize) -> Result<Filter, Fault> {
    cursor::whole("filter", text, |cursor| {
        let mut reader = Reader { bounds, terms, ends: Ends::Nowhere };
        reader.term(cursor, path)
    })
}

/// A filter of row changes: `field=test,field=test`, of which all hold. A `,` inside a value needs quotes.
pub(super) fn conjunction(text: &str, bounds: &Bounds) -> Result<Vec<Filter>, Fault> {
    cursor::whole("filter", text, |cursor| {
        let mut terms = 0;
        let mut reader = Reader { bounds, terms: &mut terms, ends: Ends::Comma };
        let mut filters = Vec::new();
        loop {
            cursor.spaces();
            let path = Path::field(cursor.name()?);
            cursor.expect('=', "\"=\"")?;
            filters.push(reader.term(cursor, path)?);
            if !cursor.eat(',') {
                return Ok(filters);
            }
        }
    })
}

/// The value of `and`, `or`, `not.and`, `not.or`.
pub(super) fn tree(
    text: &str,
    or: bool,
    negated: bool,
    bounds: &Bounds,
    terms: &mut usize,
) -> Result<Filter, Fault> {
    cursor::whole("logic tree", text, |cursor| {
        let mut reader = Reader { bounds, terms, ends: Ends::List };
        reader.list(cursor, or, negated, 1)
    })
}

struct Reader<'r> {
    bounds: &'r Bounds,
    /// How many terms the request has had so far.
    terms: &'r mut usize,
    ends: Ends,
}

/// Where an operand that is not quoted ends.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    /// With the text; it cannot be quoted.
    Nowhere,
    /// At `,`
    Comma,
    /// At `,` or `)`: inside a tree and in every list.
    List,
}

impl Ends {
    fn at(self, letter: char) -> bool {
        match self {
            Ends::Nowhere => false,
            Ends::Comma => letter == ',',
            Ends::List => matches!(letter, ',' | ')'),
        }
    }
}

impl Reader<'_> {
    /// `(node, …)`
    fn list(
        &mut self,
        cursor: &mut Cursor<'_>,
        or: bool,
        negated: bool,
        depth: usize,
    ) -> Result<Filter, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::TooMany { what: "levels of and/or", most: MAX_DEPTH });
        }
        cursor.spaces();
        cursor.expect('(', "\"(\"")?;
        let mut terms = Vec::new();
        loop {
            cursor.spaces();
            terms.push(self.node(cursor, depth)?);
            cursor.spaces();
            if !cursor.eat(',') {
                break;
            }
        }
        cursor.expect(')', SEPARATOR)?;
        cursor.spaces();
        Ok(if or { Filter::Or { terms, negated } } else { Filter::And { terms, negated } })
    }

    /// `field.test`, `not.field.test`, `and(…)`, `not.or(…)`
    fn node(&mut self, cursor: &mut Cursor<'_>, depth: usize) -> Result<Filter, Stop> {
        let mut ahead = cursor.clone();
        let negated = ahead.eat_text("not.");
        let or = ahead.eat_text("or");
        if or || ahead.eat_text("and") {
            ahead.spaces();
            if ahead.peek() == Some('(') {
                *cursor = ahead;
                return self.list(cursor, or, negated, depth + 1);
            }
        }
        // No field may be called `not`, so this can mean nothing else.
        let negated = cursor.eat_text("not.");
        let path = cursor.field()?;
        cursor.expect('.', "\".\"")?;
        Ok(match self.term(cursor, path)? {
            Filter::Term { path, negated: inside, test } => {
                Filter::Term { path, negated: negated != inside, test }
            }
            list @ (Filter::And { .. } | Filter::Or { .. }) => list,
        })
    }

    /// `[not.]test`
    fn term(&mut self, cursor: &mut Cursor<'_>, path: Path) -> Result<Filter, Stop> {
        *self.terms += 1;
        if *self.terms > self.bounds.filter_terms {
            return Err(Stop::TooMany { what: "filter terms", most: self.bounds.filter_terms });
        }
        let negated = cursor.eat_text("not.");
        Ok(Filter::Term { path, negated, test: self.test(cursor)? })
    }

    fn test(&self, cursor: &mut Cursor<'_>) -> Result<Test, Stop> {
        let before = cursor.clone();
        let word = cursor.take_while(|letter| letter.is_ascii_lowercase());
        if let Some(operator) = comparison(word) {
            return self.compare(cursor, operator);
        }
        if let Some(parser) = full_text(word) {
            let config = if cursor.eat('(') {
                let config = cursor.identifier("a text search configuration")?;
                cursor.expect(')', "\")\"")?;
                Some(config)
            } else {
                None
            };
            dot(cursor)?;
            return Ok(Test::FullText { parser, config, query: self.operand(cursor, false)? });
        }
        let test: fn(String) -> Test = match word {
            "in" => {
                dot(cursor)?;
                return Ok(Test::In(self.values(cursor)?));
            }
            "is" => {
                dot(cursor)?;
                return Ok(Test::Is(is(cursor)?));
            }
            "isdistinct" => Test::IsDistinct,
            "cs" => Test::Contains,
            "cd" => Test::ContainedBy,
            "ov" => Test::Overlaps,
            "sl" => |operand| Test::Range { operator: "sl", operand },
            "sr" => |operand| Test::Range { operator: "sr", operand },
            "nxl" => |operand| Test::Range { operator: "nxl", operand },
            "nxr" => |operand| Test::Range { operator: "nxr", operand },
            "adj" => |operand| Test::Range { operator: "adj", operand },
            _ => return Err(before.stop(OPERATOR)),
        };
        dot(cursor)?;
        Ok(test(self.operand(cursor, word != "isdistinct")?))
    }

    fn compare(&self, cursor: &mut Cursor<'_>, operator: Comparison) -> Result<Test, Stop> {
        let before = cursor.clone();
        let any = cursor.eat_text("(any)");
        let all = !any && cursor.eat_text("(all)");
        if (any || all) && operator == Comparison::Neq {
            return Err(before.stop("\".\""));
        }
        dot(cursor)?;
        let start = cursor.clone();
        let operand = self.operand(cursor, false)?;
        let text = |text: String| match operator {
            Comparison::Like | Comparison::Ilike => text.replace('*', "%"),
            Comparison::Eq
            | Comparison::Neq
            | Comparison::Gt
            | Comparison::Gte
            | Comparison::Lt
            | Comparison::Lte
            | Comparison::Match
            | Comparison::Imatch => text,
        };
        if !any && !all {
            return Ok(Test::Compare { operator, operand: Operand::One(text(operand)) });
        }
        let values = elements(&operand)
            .and_then(|values| values.into_iter().map(|value| value.map(text)).collect::<Option<Vec<_>>>())
            .ok_or_else(|| start.stop("an array of values that are not null: {a,b}"))?;
        self.bound(values.len())?;
        let operand = if any { Operand::Any(values) } else { Operand::All(values) };
        Ok(Test::Compare { operator, operand })
    }

    /// What stands behind the operator. In a tree it ends at `,` or `)`, unless it is quoted, an array or an
    /// object in braces or, where `ranges` are taken, in brackets.
    fn operand(&self, cursor: &mut Cursor<'_>, ranges: bool) -> Result<String, Stop> {
        if self.ends == Ends::Nowhere {
            return Ok(cursor.remainder().to_owned());
        }
        match cursor.peek() {
            Some('"') => Ok(element(cursor, self.ends)),
            Some('{') => braced(cursor, self.ends),
            Some('[' | '(') if ranges => {
                let start = cursor.rest();
                cursor.next();
                cursor.take_while(|letter| !matches!(letter, ']' | ')'));
                if cursor.next().is_none() {
                    return Err(cursor.stop("\"]\" or \")\""));
                }
                Ok(start[..start.len() - cursor.rest().len()].to_owned())
            }
            _ => Ok(element(cursor, self.ends)),
        }
    }

    /// `(1,"a,b",c)`; `()` is no value at all.
    fn values(&self, cursor: &mut Cursor<'_>) -> Result<Vec<String>, Stop> {
        cursor.spaces();
        cursor.expect('(', "\"(\"")?;
        cursor.spaces();
        let mut values = Vec::new();
        if !cursor.eat(')') {
            loop {
                values.push(element(cursor, Ends::List));
                self.bound(values.len())?;
                if !cursor.eat(',') {
                    break;
                }
            }
            cursor.expect(')', SEPARATOR)?;
        }
        cursor.spaces();
        Ok(values)
    }

    fn bound(&self, values: usize) -> Result<(), Stop> {
        if values > self.bounds.in_values {
            return Err(Stop::TooMany { what: "values in one list", most: self.bounds.in_values });
        }
        Ok(())
    }
}

fn dot(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    cursor.expect('.', "\".\"")
}

fn comparison(word: &str) -> Option<Comparison> {
    Some(match word {
        "eq" => Comparison::Eq,
        "neq" => Comparison::Neq,
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        "lt" => Comparison::Lt,
        "lte" => Comparison::Lte,
        "like" => Comparison::Like,
        "ilike" => Comparison::Ilike,
        "match" => Comparison::Match,
        "imatch" => Comparison::Imatch,
        _ => return None,
    })
}

fn full_text(word: &str) -> Option<FullText> {
    Some(match word {
        "fts" => FullText::Query,
        "plfts" => FullText::Plain,
        "phfts" => FullText::Phrase,
        "wfts" => FullText::Web,
        _ => return None,
    })
}

fn is(cursor: &mut Cursor<'_>) -> Result<Is, Stop> {
    let before = cursor.clone();
    let word = cursor.take_while(|letter| letter.is_ascii_alphabetic() || letter == '_');
    Ok(match word.to_ascii_lowercase().as_str() {
        "null" => Is::Null,
        "not_null" => Is::NotNull,
        "true" => Is::True,
        "false" => Is::False,
        "unknown" => Is::Unknown,
        _ => return Err(before.stop("isVal: (null, not_null, true, false, unknown)")),
    })
}

/// A value of a list: quoted if the closing quote ends it, else everything up to where it ends.
fn element(cursor: &mut Cursor<'_>, ends: Ends) -> String {
    if cursor.peek() == Some('"') {
        let mut ahead = cursor.clone();
        if let Ok(value) = ahead.quoted()
            && ahead.peek().is_none_or(|letter| ends.at(letter))
        {
            *cursor = ahead;
            return value;
        }
    }
    cursor.take_while(|letter| !ends.at(letter)).to_owned()
}

/// From `{` to its `}`, over quoted parts and nested braces, as it stands.
fn braced(cursor: &mut Cursor<'_>, ends: Ends) -> Result<String, Stop> {
    let start = cursor.rest();
    let mut depth = 0usize;
    loop {
        if cursor.peek() == Some('"') {
            cursor.quoted()?;
            continue;
        }
        match cursor.next() {
            Some('{') => depth += 1,
            Some('}') => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            // In an array's unquoted element a backslash takes the next character, too.
            Some('\\') => {
                cursor.next();
            }
            Some(_) => {}
            None => return Err(cursor.stop("\"}\"")),
        }
    }
    if !cursor.peek().is_none_or(|letter| ends.at(letter)) {
        return Err(cursor.stop(SEPARATOR));
    }
    Ok(start[..start.len() - cursor.rest().len()].to_owned())
}
