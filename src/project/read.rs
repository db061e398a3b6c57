//! Readers of a tree: each takes what it expects or reports what it found instead.

use super::fault::{At, Faults};
use super::later;
use super::yaml::{Key, Node, Plain, Tree};
use crate::model::Name;

pub(super) type Entries = [(Key, Node)];

/// A word and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'n> {
    pub(super) text: &'n str,
    pub(super) at: At,
}

pub(super) fn get<'n>(entries: &'n Entries, key: &str) -> Option<&'n Node> {
    entries.iter().find(|(k, _)| k.text == key).map(|(_, value)| value)
}

pub(super) fn key_at(entries: &Entries, key: &str) -> Option<At> {
    entries.iter().find(|(k, _)| k.text == key).map(|(k, _)| k.at)
}

impl Faults<'_> {
    fn expected(&mut self, node: &Node, what: &str, form: &str) {
        if !matches!(node.tree, Tree::Bad) {
            self.add(node.at, format!("{what} is {form}, not {}", node.describe()));
        }
    }

    /// A mapping. Nothing at all is none: what was meant to stand there may have slipped out of its place.
    pub(super) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Entries> {
        match &node.tree {
            Tree::Map(entries) => Some(entries),
            Tree::Scalar(..) | Tree::List(_) | Tree::Bad => {
                self.expected(node, what, "a mapping");
                None
            }
        }
    }

    /// A mapping, where saying nothing is a way to say that there is nothing (a role, an empty section).
    pub(super) fn map_or_nothing<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n Entries> {
        if node.is_null() { Some(&[]) } else { self.map(node, what) }
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.tree {
            Tree::List(items) => Some(items),
            Tree::Scalar(..) | Tree::Map(_) | Tree::Bad => {
                self.expected(node, what, "a list");
                None
            }
        }
    }

    /// Text. A bare number or boolean is not text: whoever means text quotes it.
    pub(super) fn word<'n>(&mut self, node: &'n Node, what: &str) -> Option<Word<'n>> {
        match (&node.tree, node.plain()) {
            (Tree::Scalar(text, _), Some(Plain::Text)) => Some(Word { text, at: node.at }),
            (Tree::Scalar(text, _), Some(Plain::Number | Plain::Boolean(_))) => {
                let message = format!("{what} is text, not {}", node.describe());
                self.hint(node.at, message, format!("quote it: '{text}'"));
                None
            }
            _ => {
                self.expected(node, what, "text");
                None
            }
        }
    }

    /// A condition's text: `true` and `false` need no quotes there.
    pub(super) fn condition_text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match (&node.tree, node.plain()) {
            (Tree::Scalar(text, _), Some(Plain::Text | Plain::Boolean(_) | Plain::Number)) => Some(text),
            _ => {
                self.expected(node, what, "a condition");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Some(Plain::Boolean(flag)) = node.plain() {
            return Some(flag);
        }
        self.expected(node, what, "`true` or `false`");
        None
    }

    /// A whole number of a range.
    pub(super) fn number(&mut self, node: &Node, what: &str, least: u64, most: u64) -> Option<u64> {
        let read = match (&node.tree, node.plain()) {
            (Tree::Scalar(text, _), Some(Plain::Number)) => text.parse::<u64>().ok(),
            _ => None,
        };
        match read {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                if !matches!(node.tree, Tree::Bad) {
                    self.add(node.at, format!("{what} is a whole number from {least} to {most}"));
                }
                None
            }
        }
    }

    /// A list of words.
    pub(super) fn words<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<Word<'n>>> {
        let items = self.list(node, what)?;
        let each = format!("an entry of {what}");
        let words: Vec<_> = items.iter().filter_map(|item| self.word(item, &each)).collect();
        (words.len() == items.len()).then_some(words)
    }

    /// A name that an admin may choose.
    pub(super) fn name(&mut self, text: &str, at: At) -> Option<Name> {
        match Name::declared(text) {
            Ok(name) => Some(name),
            Err(fault) => {
                let mended: String = text
                    .chars()
                    .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
                    .collect();
                match Name::declared(&mended) {
                    Ok(better) => {
                        self.hint(at, format!("`{text}` is no name: {fault}"), format!("`{better}` is one"))
                    }
                    Err(_) => self.add(at, format!("`{text}` is no name: {fault}")),
                }
                None
            }
        }
    }

    /// Refuses every key that has no meaning at a place.
    pub(super) fn keys(&mut self, place: later::Place, entries: &Entries, allowed: &[&str]) {
        for (key, _) in entries {
            if allowed.contains(&key.text.as_str()) {
                continue;
            }
            if later::is_later(place, &key.text) {
                self.add(key.at, format!("`{}` is not supported by this version", key.text));
            } else {
                self.unknown(key.at, place.word(), &key.text, allowed.iter().copied());
            }
        }
    }
}
