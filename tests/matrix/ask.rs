//! Reads as values: each is written as a query string, and answered from what the oracle lets somebody see.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::oracle::Who;
use super::relations::{Junction, Relation};
use super::world::{Row, Table, World, tables};

/// One level of a read.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) items: Vec<Item>,
    pub(super) filters: Vec<Filter>,
    pub(super) order: Vec<By>,
    pub(super) limit: Option<usize>,
    pub(super) offset: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Item {
    All,
    Field { alias: Option<&'static str>, field: Path, cast: Option<&'static str> },
    Embed(Embed),
    Count,
}

/// A field, perhaps a key in its JSON: `meta->>k` or `meta->k`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Path {
    pub(super) field: &'static str,
    pub(super) key: Option<(&'static str, bool)>,
}

#[derive(Clone, Debug)]
pub(super) struct Embed {
    pub(super) alias: Option<&'static str>,
    /// As it stands in `select`, a hint included.
    pub(super) spelled: String,
    pub(super) relation: &'static Relation,
    pub(super) inner: bool,
    /// `...target(…)`
    pub(super) spread: bool,
    pub(super) ask: Ask,
}

#[derive(Clone, Debug)]
pub(super) struct By {
    /// A to-one embed by its key.
    pub(super) relation: Option<String>,
    pub(super) field: Path,
    pub(super) descending: bool,
    pub(super) nulls_first: Option<bool>,
}

#[derive(Clone, Debug)]
pub(super) enum Filter {
    Test { field: Path, not: bool, test: Test },
    And { not: bool, terms: Vec<Filter> },
    Or { not: bool, terms: Vec<Filter> },
    Related { key: String, exists: bool },
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    /// `eq neq gt gte lt lte isdistinct`
    Compare(&'static str, Value),
    /// `eq(any)`, `lt(all)`: the operator and whether it is `all`.
    Quantified(&'static str, bool, Vec<Value>),
    In(Vec<Value>),
    Null,
    NotNull,
    True,
    False,
    /// A pattern of `%` at its ends; whether case counts.
    Like(String, bool),
    /// A regular expression that is `^` and letters.
    Match(String),
    /// `plfts(simple)`: one word.
    Word(String),
    /// The declared search: the parser of the query, and one word.
    Search(&'static str, String),
    /// `cs`, `cd`, `ov` of tags.
    Tags(&'static str, Vec<&'static str>),
    /// `cs` of an object of one member.
    Holds(Value),
}

impl Path {
    pub(super) fn of(field: &'static str) -> Path {
        Path { field, key: None }
    }

    fn text(&self) -> String {
        match self.key {
            None => self.field.to_owned(),
            Some((key, true)) => format!("{}->>{key}", self.field),
            Some((key, false)) => format!("{}->{key}", self.field),
        }
    }

    fn value(&self, row: &Row) -> Value {
        let value = row[self.field].clone();
        let Some((key, text)) = self.key else { return value };
        let found = value.get(key).cloned();
        match found {
            None => Value::Null,
            Some(Value::Null) if text => Value::Null,
            Some(Value::String(found)) => json!(found),
            Some(found) if text => json!(found.to_string()),
            Some(found) => found,
        }
    }

    /// `meta->k` of a member that is null is JSON's null, which is a value.
    fn is_null(&self, row: &Row) -> bool {
        match self.key {
            Some((key, false)) => row[self.field].get(key).is_none(),
            _ => self.value(row).is_null(),
        }
    }
}

// --- as a query string

/// Percent-encodes what is not plain.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'('
            | b')'
            | b','
            | b'!'
            | b':'
            | b'*' => {
                out.push(char::from(byte));
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// A value as an operand stands in a filter.
pub(super) fn operand(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn quoted(value: &Value) -> String {
    format!("\"{}\"", operand(value).replace('\\', "\\\\").replace('"', "\\\""))
}

impl Test {
    fn text(&self, in_tree: bool) -> String {
        let list = |values: &[Value]| values.iter().map(quoted).collect::<Vec<_>>().join(",");
        let one = |value: &Value| if in_tree { quoted(value) } else { operand(value) };
        match self {
            Test::Compare(operator, value) => format!("{operator}.{}", one(value)),
            Test::Quantified(operator, all, values) => {
                format!("{operator}({}).{{{}}}", if *all { "all" } else { "any" }, list(values))
            }
            Test::In(values) => format!("in.({})", list(values)),
            Test::Null => "is.null".to_owned(),
            Test::NotNull => "is.not_null".to_owned(),
            Test::True => "is.true".to_owned(),
            Test::False => "is.false".to_owned(),
            Test::Like(pattern, true) => format!("like.{}", one(&json!(pattern))),
            Test::Like(pattern, false) => format!("ilike.{}", one(&json!(pattern))),
            Test::Match(pattern) => format!("match.{}", one(&json!(pattern))),
            Test::Word(word) => format!("plfts(simple).{}", one(&json!(word))),
            Test::Search(parser, word) => format!("{parser}.{}", one(&json!(word))),
            Test::Tags(operator, tags) => format!("{operator}.{{{}}}", tags.join(",")),
            Test::Holds(value) => {
                format!("cs.{}", if in_tree { quoted(&json!(value.to_string())) } else { value.to_string() })
            }
        }
    }
}

impl Filter {
    fn in_tree(&self) -> String {
        let list = |terms: &[Filter]| terms.iter().map(Filter::in_tree).collect::<Vec<_>>().join(",");
        let not = |not: bool| if not { "not." } else { "" };
        match self {
            Filter::Test { field, not: negated, test } => {
                format!("{}.{}{}", field.text(), not(*negated), test.text(true))
            }
            Filter::And { not: negated, terms } => format!("{}and({})", not(*negated), list(terms)),
            Filter::Or { not: negated, terms } => format!("{}or({})", not(*negated), list(terms)),
            Filter::Related { key, exists } => {
                format!("{key}.{}null", if *exists { "not.is." } else { "is." })
            }
        }
    }

    fn parameter(&self, prefix: &str) -> (String, String) {
        let list = |terms: &[Filter]| terms.iter().map(Filter::in_tree).collect::<Vec<_>>().join(",");
        let not = |not: bool| if not { "not." } else { "" };
        match self {
            Filter::Test { field, not: negated, test } => {
                (format!("{prefix}{}", field.text()), format!("{}{}", not(*negated), test.text(false)))
            }
            Filter::And { not: negated, terms } => {
                (format!("{prefix}{}and", not(*negated)), format!("({})", list(terms)))
            }
            Filter::Or { not: negated, terms } => {
                (format!("{prefix}{}or", not(*negated)), format!("({})", list(terms)))
            }
            Filter::Related { key, exists } => {
                (format!("{prefix}{key}"), format!("{}null", if *exists { "not.is." } else { "is." }))
            }
        }
    }
}

impl Embed {
    pub(super) fn key(&self) -> String {
        let target = self.spelled.split('!').next().unwrap_or_default();
        self.alias.unwrap_or(target).to_owned()
    }
}

impl Ask {
    fn select(&self) -> String {
        let items = self.items.iter().map(|item| match item {
            Item::All => "*".to_owned(),
            Item::Count => "count".to_owned(),
            Item::Field { alias, field, cast } => format!(
                "{}{}{}",
                alias.map(|alias| format!("{alias}:")).unwrap_or_default(),
                field.text(),
                cast.map(|cast| format!("::{cast}")).unwrap_or_default()
            ),
            Item::Embed(embed) => format!(
                "{}{}{}{}({})",
                if embed.spread { "..." } else { "" },
                embed.alias.map(|alias| format!("{alias}:")).unwrap_or_default(),
                embed.spelled,
                if embed.inner { "!inner" } else { "" },
                embed.ask.select()
            ),
        });
        items.collect::<Vec<_>>().join(",")
    }

    fn parameters(&self, prefix: &str, out: &mut Vec<(String, String)>) {
        out.extend(self.filters.iter().map(|filter| filter.parameter(prefix)));
        if !self.order.is_empty() {
            let terms = self.order.iter().map(|by| {
                let field = match &by.relation {
                    None => by.field.text(),
                    Some(relation) => format!("{relation}({})", by.field.text()),
                };
                let nulls =
                    by.nulls_first.map_or("", |first| if first { ".nullsfirst" } else { ".nullslast" });
                format!("{field}.{}{nulls}", if by.descending { "desc" } else { "asc" })
            });
            out.push((format!("{prefix}order"), terms.collect::<Vec<_>>().join(",")));
        }
        for (name, number) in [("limit", self.limit), ("offset", self.offset)] {
            out.extend(number.map(|number| (format!("{prefix}{name}"), number.to_string())));
        }
        for item in &self.items {
            if let Item::Embed(embed) = item {
                embed.ask.parameters(&format!("{prefix}{}.", embed.key()), out);
            }
        }
    }

    /// `people?select=…&…`
    pub(super) fn path(&self, table: &str) -> String {
        let mut parameters = Vec::new();
        if !self.items.is_empty() {
            parameters.push(("select".to_owned(), self.select()));
        }
        self.parameters("", &mut parameters);
        let pairs: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        format!("{table}?{}", pairs.join("&"))
    }
}

// --- answered from views

/// What a record is searched by: filters may name it, and it is no member of the record.
pub(super) const SEARCH: &str = "search";

/// All that somebody sees, by collection.
#[derive(Default)]
pub(super) struct Views(BTreeMap<&'static str, Vec<Row>>);

impl Views {
    pub(super) fn of(who: &Who, world: &World) -> Views {
        let view = |table: &'static Table| {
            let seen = world.rows(table.name).iter().filter_map(|row| {
                let mut seen = who.sees(world, table, row)?;
                if who.searches(table) {
                    seen.insert(SEARCH.to_owned(), who.digest(world, table, row));
                }
                Some(seen)
            });
            (table.name, seen.collect())
        };
        Views(tables().iter().map(view).collect())
    }

    pub(super) fn rows(&self, table: &str) -> &[Row] {
        &self.0[table]
    }
}

/// What somebody may be told: his views of every collection.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) who: &'a Who,
    pub(super) views: &'a Views,
}

impl Sight<'_> {
    pub(super) fn table(&self, name: &str) -> &'static Table {
        tables().iter().find(|table| table.name == name).unwrap()
    }

    fn related(&self, embed: &Embed, row: &Row) -> Vec<Row> {
        let &Relation { local, target, foreign, junction, .. } = embed.relation;
        let link = &row[local];
        if link.is_null() {
            return Vec::new();
        }
        let meets = |other: &&Row| match junction {
            None => other[foreign] == *link,
            Some(Junction { table, near, far }) => {
                let pairs = self.views.rows(table).iter();
                !other[foreign].is_null()
                    && pairs.into_iter().any(|pair| pair[near] == *link && pair[far] == other[foreign])
            }
        };
        let rows = self.views.rows(target).iter().filter(meets).cloned().collect();
        self.qualify(&embed.ask, rows)
    }

    /// What an embed's members are called.
    fn members(&self, embed: &Embed) -> Vec<String> {
        let nothing = |name: &&'static str| ((*name).to_owned(), Value::Null);
        let known = self.who.knows(self.table(embed.relation.target));
        let Value::Object(blank) = self.output(&embed.ask, &known.iter().map(nothing).collect()) else {
            return Vec::new();
        };
        blank.into_iter().map(|(name, _)| name).collect()
    }

    /// What an embed hoists into the record that it stands in.
    fn hoisted(&self, embed: &Embed, row: &Row) -> Row {
        let found = self.page(&embed.ask, self.related(embed, row));
        let found: Vec<Value> = found.iter().map(|row| self.output(&embed.ask, row)).collect();
        let hoist = |name: String| {
            let each = found.iter().map(|row| row[&name].clone());
            let value = if embed.relation.to_one {
                each.into_iter().next().unwrap_or(Value::Null)
            } else {
                each.collect()
            };
            (name, value)
        };
        self.members(embed).into_iter().map(hoist).collect()
    }

    /// The rows that meet the filters and have what is embedded with `!inner`.
    pub(super) fn qualify(&self, ask: &Ask, mut rows: Vec<Row>) -> Vec<Row> {
        rows.retain(|row| {
            ask.filters.iter().all(|filter| self.holds(ask, filter, row) == Some(true))
                && ask.items.iter().all(|item| match item {
                    Item::Embed(embed) if embed.inner => !self.related(embed, row).is_empty(),
                    _ => true,
                })
        });
        rows
    }

    fn embed<'a>(ask: &'a Ask, key: &str) -> &'a Embed {
        let find = |item: &'a Item| match item {
            Item::Embed(embed) if embed.key() == key => Some(embed),
            _ => None,
        };
        ask.items.iter().find_map(find).unwrap()
    }

    fn holds(&self, ask: &Ask, filter: &Filter, row: &Row) -> Option<bool> {
        let turned =
            |not: bool, answer: Option<bool>| if not { answer.map(|answer| !answer) } else { answer };
        match filter {
            Filter::Test { field, not, test } => turned(*not, holds(test, field, row)),
            Filter::And { not, terms } => {
                let answers: Vec<_> = terms.iter().map(|term| self.holds(ask, term, row)).collect();
                let all = if answers.contains(&Some(false)) {
                    Some(false)
                } else if answers.contains(&None) {
                    None
                } else {
                    Some(true)
                };
                turned(*not, all)
            }
            Filter::Or { not, terms } => {
                let answers: Vec<_> = terms.iter().map(|term| self.holds(ask, term, row)).collect();
                let any = if answers.contains(&Some(true)) {
                    Some(true)
                } else if answers.contains(&None) {
                    None
                } else {
                    Some(false)
                };
                turned(*not, any)
            }
            Filter::Related { key, exists } => {
                Some(self.related(Self::embed(ask, key), row).is_empty() != *exists)
            }
        }
    }

    fn page(&self, ask: &Ask, mut rows: Vec<Row>) -> Vec<Row> {
        rows.sort_by(|one, other| {
            let by = |by: &By| {
                let key = |row: &Row| match &by.relation {
                    None => by.field.value(row),
                    Some(relation) => self
                        .related(Self::embed(ask, relation), row)
                        .first()
                        .map_or(Value::Null, |row| by.field.value(row)),
                };
                ordered(&key(one), &key(other), by)
            };
            ask.order.iter().map(by).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        let rows = rows.into_iter().skip(ask.offset.unwrap_or(0));
        rows.take(ask.limit.unwrap_or(usize::MAX)).collect()
    }

    fn output(&self, ask: &Ask, row: &Row) -> Value {
        let mut out = Map::new();
        for item in if ask.items.is_empty() { &[Item::All][..] } else { &ask.items[..] } {
            match item {
                Item::All => out.extend(row.clone().into_iter().filter(|(name, _)| name != SEARCH)),
                Item::Count => {}
                Item::Field { alias, field, cast } => {
                    let value = field.value(row);
                    let value = match (cast, &value) {
                        (Some("text"), value) if !value.is_null() => json!(operand(value)),
                        (Some("integer"), Value::String(text)) => json!(text.parse::<i64>().unwrap()),
                        _ => value,
                    };
                    let name = alias.unwrap_or(field.key.map_or(field.field, |(key, _)| key));
                    out.insert(name.to_owned(), value);
                }
                Item::Embed(embed) if embed.ask.items.is_empty() => {}
                Item::Embed(embed) if embed.spread => out.extend(self.hoisted(embed, row)),
                Item::Embed(embed) => {
                    let found = self.related(embed, row);
                    let value = if let [Item::Count] = embed.ask.items[..] {
                        let count = json!({ "count": found.len() });
                        if embed.relation.to_one { count } else { json!([count]) }
                    } else {
                        let found: Vec<Value> = self
                            .page(&embed.ask, found)
                            .iter()
                            .map(|row| self.output(&embed.ask, row))
                            .collect();
                        if embed.relation.to_one {
                            found.into_iter().next().unwrap_or(Value::Null)
                        } else {
                            Value::Array(found)
                        }
                    };
                    out.insert(embed.key(), value);
                }
            }
        }
        Value::Object(out)
    }

    /// The page that a read of a collection answers with, and how many rows there are without its window.
    pub(super) fn answer(&self, table: &str, ask: &Ask) -> (Vec<Value>, usize) {
        let rows = self.qualify(ask, self.views.rows(table).to_vec());
        let total = rows.len();
        (self.page(ask, rows).iter().map(|row| self.output(ask, row)).collect(), total)
    }
}

/// Postgres' order of two values of one kind; text is told apart by what the records have: letters and digits.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one.as_f64().unwrap().total_cmp(&other.as_f64().unwrap())
        }
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::String(one), Value::String(other)) => one.cmp(other),
        (one, other) => panic!("{one} and {other} have no order here"),
    }
}

fn ordered(one: &Value, other: &Value, by: &By) -> Ordering {
    let nulls_first = by.nulls_first.unwrap_or(by.descending);
    match (one.is_null(), other.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if nulls_first => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if nulls_first => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) if by.descending => compare(other, one),
        (false, false) => compare(one, other),
    }
}

/// One test of one record, in three-valued logic.
fn holds(test: &Test, field: &Path, row: &Row) -> Option<bool> {
    let value = field.value(row);
    match test {
        Test::Null => return Some(field.is_null(row)),
        Test::NotNull => return Some(!field.is_null(row)),
        Test::True => return Some(value == true),
        Test::False => return Some(value == false),
        Test::Compare("isdistinct", other) => return Some(field.is_null(row) || value != *other),
        Test::Quantified(_, all, others) if others.is_empty() => return Some(*all),
        Test::In(others) if others.is_empty() => return Some(false),
        _ if field.is_null(row) => return None,
        _ => {}
    }
    let relation = |operator: &str, other: &Value| match operator {
        "eq" => value == *other,
        "neq" => value != *other,
        "gt" => compare(&value, other).is_gt(),
        "gte" => compare(&value, other).is_ge(),
        "lt" => compare(&value, other).is_lt(),
        "lte" => compare(&value, other).is_le(),
        other => panic!("{other}"),
    };
    let text = || value.as_str().unwrap().to_owned();
    Some(match test {
        Test::Compare(operator, other) => relation(operator, other),
        Test::Quantified(operator, true, others) => others.iter().all(|other| relation(operator, other)),
        Test::Quantified(operator, false, others) => others.iter().any(|other| relation(operator, other)),
        Test::In(others) => others.contains(&value),
        Test::Like(pattern, exact) => {
            let fold = |text: &str| if *exact { text.to_owned() } else { text.to_lowercase() };
            let (text, pattern) = (fold(&text()), fold(pattern));
            let inner = pattern.trim_matches('*');
            match (pattern.starts_with('*'), pattern.ends_with('*')) {
                (true, true) => text.contains(inner),
                (true, false) => text.ends_with(inner),
                (false, true) => text.starts_with(inner),
                (false, false) => text == inner,
            }
        }
        Test::Match(pattern) => text().starts_with(pattern.trim_start_matches('^')),
        Test::Word(word) | Test::Search(_, word) => {
            text().to_lowercase().split(|letter: char| !letter.is_alphanumeric()).any(|found| found == word)
        }
        Test::Tags(operator, tags) => {
            let have: Vec<&str> = value.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            match *operator {
                "cs" => tags.iter().all(|tag| have.contains(tag)),
                "cd" => have.iter().all(|tag| tags.contains(tag)),
                _ => tags.iter().any(|tag| have.contains(tag)),
            }
        }
        Test::Holds(part) => {
            part.as_object().unwrap().iter().all(|(name, part)| value.get(name) == Some(part))
        }
        Test::Null | Test::NotNull | Test::True | Test::False => unreachable!(),
    })
}
