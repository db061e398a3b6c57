//! `select`: `alias:field->path::cast, alias:target!hint!inner(…), ...target(…), field.sum(), *`.

use super::cursor::{self, Cursor, NAME, Stop};
use super::{Bounds, Fault};
use crate::query::request::{Embed, Item, Node};

const AGGREGATES: [&str; 5] = ["sum", "avg", "count", "max", "min"];

pub(super) fn items(text: &str, bounds: &Bounds) -> Result<Vec<Item>, Fault> {
    cursor::whole("select parameter", text, |cursor| forest(cursor, bounds, 0))
}

/// Items separated by commas; perhaps none.
fn forest(cursor: &mut Cursor<'_>, bounds: &Bounds, depth: usize) -> Result<Vec<Item>, Stop> {
    let mut items = Vec::new();
    cursor.spaces();
    if cursor.done() || cursor.peek() == Some(')') {
        return Ok(items);
    }
    loop {
        cursor.spaces();
        items.push(item(cursor, bounds, depth)?);
        cursor.spaces();
        if !cursor.eat(',') {
            return Ok(items);
        }
    }
}

fn item(cursor: &mut Cursor<'_>, bounds: &Bounds, depth: usize) -> Result<Item, Stop> {
    if cursor.eat('*') {
        return Ok(Item::All);
    }
    if cursor.eat_text("...") {
        let target = cursor.name()?;
        return embed(cursor, bounds, depth, Embed { target, spread: true, ..nothing() });
    }
    let mut name = cursor.name()?;
    let mut alias = None;
    if cursor.peek() == Some(':') && !cursor.rest().starts_with("::") {
        cursor.eat(':');
        cursor.spaces();
        alias = Some(name);
        name = cursor.name()?;
    }
    if name == "count" && cursor.eat_text("()") {
        cast(cursor)?;
        return Ok(Item::Aggregate { function: name });
    }
    if matches!(cursor.peek(), Some('!' | '(')) {
        return embed(cursor, bounds, depth, Embed { alias, target: name, ..nothing() });
    }
    let path = cursor.path(name)?;
    let cast_to = cast(cursor)?;
    if cursor.eat('.') {
        let before = cursor.clone();
        let function = cursor.identifier("aggregate (sum, avg, count, max, min)")?;
        if !AGGREGATES.contains(&function.as_str()) {
            return Err(before.stop("aggregate (sum, avg, count, max, min)"));
        }
        if !cursor.eat_text("()") {
            return Err(cursor.stop("\"()\""));
        }
        cast(cursor)?;
        return Ok(Item::Aggregate { function });
    }
    match cursor.peek() {
        None | Some(',' | ')' | ' ') => Ok(Item::Field { path, alias, cast: cast_to }),
        Some(_) => Err(cursor.stop("\"->\", \"::\", \".\", \",\", \")\" or end of input")),
    }
}

fn cast(cursor: &mut Cursor<'_>) -> Result<Option<String>, Stop> {
    if cursor.eat_text("::") { cursor.identifier("a type's name").map(Some) } else { Ok(None) }
}

fn nothing() -> Embed {
    Embed {
        alias: None,
        target: String::new(),
        hint: None,
        inner: false,
        spread: false,
        node: Node::default(),
    }
}

/// What follows an embed's target: `!hint!inner(…)`, hint and join in either order.
fn embed(cursor: &mut Cursor<'_>, bounds: &Bounds, depth: usize, mut embed: Embed) -> Result<Item, Stop> {
    let mut joined = false;
    while cursor.eat('!') {
        let before = cursor.clone();
        match cursor.name()? {
            word if (word == "inner" || word == "left") && !joined => {
                joined = true;
                embed.inner = word == "inner";
            }
            hint if embed.hint.is_none() && hint != "inner" && hint != "left" => embed.hint = Some(hint),
            _ => return Err(before.stop("one hint and one of \"inner\" and \"left\"")),
        }
    }
    cursor.expect('(', "\"(\"")?;
    if depth >= bounds.embed_depth {
        return Err(Stop::TooMany { what: "levels of embeds", most: bounds.embed_depth });
    }
    embed.node.select = forest(cursor, bounds, depth + 1)?;
    if !cursor.eat(')') {
        return Err(cursor.stop(if cursor.done() { "\",\" or \")\"" } else { NAME }));
    }
    Ok(Item::Embed(embed))
}
