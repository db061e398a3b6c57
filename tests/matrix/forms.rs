//! The forms in which records are answered: what their CSV says, and what is left of them without nulls.

use serde_json::Value;

use super::ask::{Ask, Embed, Item, Sight};
use super::world::{Kind, Table};

/// Embedded arrays without an order are sets.
pub(super) fn sorted(ask: &Ask, body: Value) -> Value {
    match body {
        Value::Array(rows) => rows.into_iter().map(|row| sorted(ask, row)).collect(),
        Value::Object(mut row) => {
            for item in &ask.items {
                let Item::Embed(embed) = item else { continue };
                if embed.spread && embed.relation.to_one {
                    let Value::Object(settled) = sorted(&embed.ask, Value::Object(row)) else {
                        unreachable!("what was an object is one");
                    };
                    row = settled;
                } else if let Some(value) = row.remove(&embed.key()) {
                    row.insert(embed.key(), settled(embed, value));
                }
            }
            Value::Object(row)
        }
        other => other,
    }
}

fn settled(embed: &Embed, value: Value) -> Value {
    let mut value = sorted(&embed.ask, value);
    if let (Value::Array(rows), true) = (&mut value, embed.ask.order.is_empty()) {
        rows.sort_by_key(Value::to_string);
    }
    value
}

/// Without members that are null, at any depth.
pub(super) fn stripped(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, stripped(value)))
            .collect(),
        Value::Array(elements) => elements.into_iter().map(stripped).collect(),
        other => other,
    }
}

/// A column of CSV, and what its cells hold.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    holds: Holds,
}

#[derive(Clone, Debug)]
enum Holds {
    /// As it stands in JSON, without quotes.
    Plain,
    Truth,
    Json,
    Tags,
    /// Postgres lays these out as it likes: what they mean is compared.
    Related(Option<Embed>),
}

/// A cell; none is null.
type Cell = Option<String>;

/// The columns in the order in which they were asked for; none where two have the same name.
pub(super) fn columns(sight: &Sight<'_>, table: &Table, ask: &Ask) -> Option<Vec<Column>> {
    let known = sight.who.knows(table);
    let of_kind = |kind| match kind {
        Kind::Text | Kind::Integer | Kind::Uuid => Holds::Plain,
        Kind::Boolean => Holds::Truth,
        Kind::Json => Holds::Json,
        Kind::Tags => Holds::Tags,
    };
    let mut columns: Vec<Column> = Vec::new();
    for item in if ask.items.is_empty() { &[Item::All][..] } else { &ask.items[..] } {
        match item {
            Item::All => columns.extend(
                table
                    .fields
                    .iter()
                    .filter(|field| known.contains(field.name))
                    .map(|field| Column { name: field.name.to_owned(), holds: of_kind(field.kind) }),
            ),
            Item::Field { alias, field, cast } => {
                let holds = match (cast, field.key) {
                    (Some(_), _) | (None, Some((_, true))) => Holds::Plain,
                    (None, Some((_, false))) => Holds::Json,
                    (None, None) => of_kind(table.field(field.field).unwrap().kind),
                };
                let name = alias.unwrap_or(field.key.map_or(field.field, |(key, _)| key)).to_owned();
                columns.push(Column { name, holds });
            }
            Item::Embed(embed) if embed.ask.items.is_empty() => {}
            Item::Embed(embed) if embed.spread => {
                let inside = columns_of(sight, embed)?;
                let many = |column: Column| Column { holds: Holds::Related(None), ..column };
                columns.extend(
                    inside.into_iter().map(
                        |column| {
                            if embed.relation.to_one { column } else { many(column) }
                        },
                    ),
                );
            }
            Item::Embed(embed) => {
                columns.push(Column { name: embed.key(), holds: Holds::Related(Some(embed.clone())) });
            }
            Item::Count => return None,
        }
    }
    let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    (names.len() == columns.len()).then_some(columns)
}

fn columns_of(sight: &Sight<'_>, embed: &Embed) -> Option<Vec<Column>> {
    columns(sight, sight.table(embed.relation.target), &embed.ask)
}

/// What the CSV of these rows says, and its very bytes where they are known.
pub(super) fn csv(columns: &[Column], rows: &[Value]) -> (Vec<Vec<Cell>>, Option<String>) {
    let names: Vec<Cell> = columns.iter().map(|column| Some(column.name.clone())).collect();
    let mut lines = vec![names];
    lines.extend(
        rows.iter().map(|row| columns.iter().map(|column| cell(&column.holds, &row[&column.name])).collect()),
    );
    let exact = columns.iter().all(|column| !matches!(column.holds, Holds::Related(_)));
    let line = |cells: &Vec<Cell>| cells.iter().map(written).collect::<Vec<_>>().join(",");
    let mut text = lines.iter().map(line).collect::<Vec<_>>().join("\n");
    if rows.is_empty() {
        // The line of names is ended even if no other follows.
        text.push('\n');
        lines.push(vec![None]);
    }
    (lines, exact.then_some(text))
}

/// What an answer says, in the terms of [`csv`].
pub(super) fn found(columns: &[Column], text: &str) -> Vec<Vec<Cell>> {
    let mut lines = parsed(text);
    for line in lines.iter_mut().skip(1) {
        for (cell, column) in line.iter_mut().zip(columns) {
            let Holds::Related(embed) = &column.holds else { continue };
            if let Some(value) = cell.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
                *cell = related(embed.as_ref(), value);
            }
        }
    }
    lines
}

fn related(embed: Option<&Embed>, value: Value) -> Cell {
    let value = embed.map_or_else(|| value.clone(), |embed| settled(embed, value.clone()));
    (!value.is_null()).then(|| value.to_string())
}

fn cell(holds: &Holds, value: &Value) -> Cell {
    if let Holds::Related(embed) = holds {
        return related(embed.as_ref(), value.clone());
    }
    let plain = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (!value.is_null()).then(|| match holds {
        Holds::Truth => if *value == true { "t" } else { "f" }.to_owned(),
        Holds::Json => document(value),
        Holds::Tags => {
            let tags: Vec<&str> = value.as_array().unwrap().iter().filter_map(Value::as_str).collect();
            format!("{{{}}}", tags.join(","))
        }
        Holds::Plain | Holds::Related(_) => plain(),
    })
}

/// As Postgres prints a `jsonb`: shorter names first.
fn document(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| (name.len(), name.as_str()));
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\": {}", document(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(document).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// As Postgres writes the member of a record.
fn written(cell: &Cell) -> String {
    let Some(text) = cell else { return String::new() };
    let plain = |letter: char| !matches!(letter, '"' | '\\' | '(' | ')' | ',') && !letter.is_whitespace();
    if !text.is_empty() && text.chars().all(plain) {
        return text.clone();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
}

fn parsed(text: &str) -> Vec<Vec<Cell>> {
    let mut lines = vec![Vec::new()];
    let (mut cell, mut quoted, mut within) = (String::new(), false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' | '\\' if within && letters.peek() == Some(&letter) => {
                cell.push(letter);
                letters.next();
            }
            '"' => {
                within = !within;
                quoted = true;
            }
            ',' | '\n' if !within => {
                let done = std::mem::take(&mut cell);
                lines.last_mut().unwrap().push((quoted || !done.is_empty()).then_some(done));
                quoted = false;
                if letter == '\n' {
                    lines.push(Vec::new());
                }
            }
            other => cell.push(other),
        }
    }
    let last = lines.last_mut().unwrap();
    last.push((quoted || !cell.is_empty()).then_some(cell));
    lines
}
