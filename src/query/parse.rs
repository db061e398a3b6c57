//! Query parameters → [`Node`].
//!
//! Syntax only: whether a collection, field or relation exists is not known here, and no value is read as
//! anything but text. Parsers take one pass, stop at fixed depths and never panic; what they accept is what
//! unmodified clients of the dialect send.
//!
//! ```text
//! parameter := "select" "=" items | "columns" "=" names | "on_conflict" "=" names
//!            | [path "."] ("order" | "limit" | "offset") "=" …
//!            | [path "."] ["not."] ("and" | "or") "=" "(" term {"," term} ")"
//!            | [path "."] field "=" ["not."] test
//! path      := name {"." name}                     the keys of embeds, from the outermost
//! name      := '"' … '"' | letters, digits, "_", "$", " " and "-"
//! field     := name {("->" | "->>") (key | index)}
//! ```

mod cursor;
mod fault;
mod filter;
mod order;
mod parameters;
mod select;
mod window;

pub use fault::Fault;
pub use parameters::parameters;
pub use window::{Window, range};

use super::request::{Filter, Item, Node};
use crate::catalog::Limits;
use cursor::Cursor;

/// What bounds the parsing of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Embeds inside embeds; the collection itself is not counted.
    pub embed_depth: usize,
    /// Terms of all filters together.
    pub filter_terms: usize,
    /// Values of one `in` list or one `(any)`/`(all)` array.
    pub in_values: usize,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        Bounds {
            embed_depth: limits.embed_depth,
            filter_terms: limits.filter_terms,
            in_values: limits.in_values,
        }
    }
}

/// Reads a filter of row changes: `field=op.value`, several between commas.
///
/// # Errors
/// [`Fault::Syntax`] and [`Fault::TooMany`].
pub fn conjunction(text: &str, bounds: &Bounds) -> Result<Vec<Filter>, Fault> {
    filter::conjunction(text, bounds)
}

/// Reads the parameters of a request: `select` first, wherever it stands, then what modifies it and its embeds.
/// A missing or empty `select` is `*`; an embed's empty one selects nothing.
///
/// # Errors
/// The first [`Fault`] in the order of the parameters.
pub fn read(params: &[(String, String)], bounds: &Bounds) -> Result<Node, Fault> {
    let text = params.iter().find(|(key, _)| key == "select").map_or("", |(_, value)| value);
    let mut root = Node { select: select::items(text, bounds)?, ..Node::default() };
    if root.select.is_empty() {
        root.select.push(Item::All);
    }
    let mut terms = 0;
    for (key, value) in params {
        if matches!(key.as_str(), "select" | "columns" | "on_conflict") {
            continue;
        }
        let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
        match last {
            "order" => {
                let node = at(&mut root, path)?;
                // The first one counts, as with `select`.
                if node.order.is_empty() {
                    node.order = order::terms(value)?;
                }
            }
            "limit" => at(&mut root, path)?.limit = Some(window::number("limit", value)?),
            "offset" => at(&mut root, path)?.offset = Some(window::number("offset", value)?),
            "and" | "or" => {
                let (path, negated) = match path.strip_suffix("not") {
                    Some("") => ("", true),
                    Some(rest) if rest.ends_with('.') => (&rest[..rest.len() - 1], true),
                    Some(_) | None => (path, false),
                };
                let tree = filter::tree(value, last == "or", negated, bounds, &mut terms)?;
                at(&mut root, path)?.filter.push(tree);
            }
            _ => {
                let (path, field) = filter::key(key)?;
                let term = filter::term(field, value, bounds, &mut terms)?;
                descend(&mut root, &path)?.filter.push(term);
            }
        }
    }
    Ok(root)
}

/// Reads `columns`: the keys of the body that are used. Each stands once in the answer, in the order given.
///
/// # Errors
/// [`Fault::Syntax`].
pub fn columns(text: &str) -> Result<Vec<String>, Fault> {
    names("columns parameter", text)
}

/// Reads `on_conflict`: the fields of the unique constraint that an upsert goes by.
///
/// # Errors
/// [`Fault::Syntax`].
pub fn on_conflict(text: &str) -> Result<Vec<String>, Fault> {
    names("on_conflict parameter", text)
}

fn names(what: &'static str, text: &str) -> Result<Vec<String>, Fault> {
    cursor::whole(what, text, |cursor| {
        let mut seen = std::collections::HashSet::new();
        let mut names = Vec::new();
        loop {
            cursor.spaces();
            let name = cursor.name()?;
            if seen.insert(name.clone()) {
                names.push(name);
            }
            cursor.spaces();
            if !cursor.eat(',') {
                return Ok(names);
            }
        }
    })
}

/// The node of an embed, by a path as it stands in a parameter's name; the root for an empty one.
fn at<'n>(root: &'n mut Node, path: &str) -> Result<&'n mut Node, Fault> {
    if path.is_empty() {
        return Ok(root);
    }
    let path = cursor::whole("tree path", path, |cursor: &mut Cursor<'_>| {
        let mut path = vec![cursor.name()?];
        while cursor.eat('.') {
            path.push(cursor.name()?);
        }
        Ok(path)
    })?;
    descend(root, &path)
}

/// Embeds are found by alias first, and else by what they embed.
fn descend<'n>(root: &'n mut Node, path: &[String]) -> Result<&'n mut Node, Fault> {
    let mut node = root;
    for name in path {
        let embed = |item: &Item, by_key: bool| match item {
            Item::Embed(embed) => (if by_key { embed.key() } else { &embed.target }) == name,
            Item::All | Item::Field { .. } | Item::Aggregate { .. } => false,
        };
        let found = node
            .select
            .iter()
            .position(|item| embed(item, true))
            .or_else(|| node.select.iter().position(|item| embed(item, false)));
        match found.and_then(|at| node.select.get_mut(at)) {
            Some(Item::Embed(embed)) => node = &mut embed.node,
            Some(Item::All | Item::Field { .. } | Item::Aggregate { .. }) | None => {
                return Err(Fault::NotEmbedded(name.clone()));
            }
        }
    }
    Ok(node)
}

#[cfg(test)]
mod tests;
