//! YAML text → a tree in which every key and value knows its place.
//!
//! The tree is read by the rest of `project`, which reports every fault instead of stopping at the
//! first, so nothing is deserialised into types here. What YAML offers beyond maps, lists and
//! scalars is refused (tags, merge keys, several documents, words that older tools read as
//! booleans) or bounded (depth, nodes that aliases multiply).

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_saphyr::granit_parser::{self as granit, Event, Parser, ScalarStyle};

use super::fault::{At, Faults};

/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 64;
/// How many nodes one file may hold, those that aliases repeat counted each time.
const MAX_NODES: usize = 100_000;

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Block,
}

#[derive(Clone, Debug)]
pub(super) enum Tree {
    Scalar(String, Style),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// A fault was reported for it already: readers pass over it in silence.
    Bad,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) tree: Tree,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) at: At,
}

/// What a plain scalar means; every other scalar is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Null,
    Boolean(bool),
    /// A number as JSON writes it.
    Number,
    Text,
}

impl Node {
    /// What a scalar means by its style; `None` for anything else.
    pub(super) fn plain(&self) -> Option<Plain> {
        match &self.tree {
            Tree::Scalar(text, Style::Plain) => Some(classify(text)),
            Tree::Scalar(_, Style::Single | Style::Double | Style::Block) => Some(Plain::Text),
            Tree::List(_) | Tree::Map(_) | Tree::Bad => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.plain() == Some(Plain::Null)
    }

    /// "a list", "a number", …: for messages.
    pub(super) fn describe(&self) -> &'static str {
        match &self.tree {
            Tree::List(_) => "a list",
            Tree::Map(_) => "a mapping",
            Tree::Bad => "nothing",
            Tree::Scalar(..) => match self.plain() {
                Some(Plain::Null) => "nothing",
                Some(Plain::Boolean(_)) => "a boolean",
                Some(Plain::Number) => "a number",
                Some(Plain::Text) | None => "text",
            },
        }
    }

    /// The place of a range of bytes of a scalar's value, in its file. Where the value is not written as it
    /// reads (escapes, several lines) the whole scalar is the place.
    pub(super) fn inside(&self, source: &str, span: &Range<usize>) -> At {
        let Tree::Scalar(value, style) = &self.tree else { return self.at };
        let Some(written) = source.get(self.at.start..self.at.end) else { return self.at };
        let place = |start: usize, end: usize| At {
            file: self.at.file,
            start: self.at.start + start,
            end: self.at.start + end.max(start),
        };
        let quoted = written.get(1..written.len().saturating_sub(1)).filter(|inner| !inner.contains('\n'));
        match (style, quoted) {
            // What stands before the end of the range is the same in both: no line was folded, no indentation cut.
            (Style::Plain | Style::Block, _)
                if value
                    .get(..span.end)
                    .is_some_and(|read| written.get(..span.end) == Some(read) && !read.contains('\n')) =>
            {
                place(span.start, span.end)
            }
            (Style::Double, Some(inner)) if inner == value => place(span.start + 1, span.end + 1),
            (Style::Single, Some(_)) => {
                // A quote inside is written twice.
                let shift = |offset: usize| {
                    let quotes = value.bytes().take(offset).filter(|byte| *byte == b'\'').count();
                    offset + quotes + 1
                };
                place(shift(span.start), shift(span.end))
            }
            _ => self.at,
        }
    }
}

fn classify(text: &str) -> Plain {
    match text {
        "" | "~" | "null" => Plain::Null,
        "true" => Plain::Boolean(true),
        "false" => Plain::Boolean(false),
        _ if is_number(text) => Plain::Number,
        _ => Plain::Text,
    }
}

/// A number as JSON writes it: a leading zero, a `+` or `.5` make text.
fn is_number(text: &str) -> bool {
    fn digits(text: &str) -> (usize, &str) {
        let count = text.bytes().take_while(u8::is_ascii_digit).count();
        (count, &text[count..])
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (count, mut rest) = digits(unsigned);
    if count == 0 || (count > 1 && unsigned.starts_with('0')) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix('.') {
        let (count, after) = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = after;
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let (count, after) = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
        return count > 0 && after.is_empty();
    }
    rest.is_empty()
}

/// The value that a word would be in other YAML tools and is not here.
fn misread(text: &str) -> Option<&'static str> {
    match text {
        "true" | "false" | "null" => None,
        _ => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" | "true" => Some("true"),
            "n" | "no" | "off" | "false" => Some("false"),
            "null" => Some("null"),
            _ => None,
        },
    }
}

enum Pending {
    /// The next node is a key.
    None,
    Key(Key),
    /// The key was refused: its value is dropped.
    Refused,
}

enum Open {
    List { at: At, anchor: usize, items: Vec<Node> },
    Map { at: At, anchor: usize, entries: Vec<(Key, Node)>, seen: HashMap<String, At>, pending: Pending },
}

struct Builder<'a, 's> {
    faults: &'a mut Faults<'s>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

/// A file is no YAML at all: a fault says why, and what the file defines is unknown.
pub(super) struct Unreadable;

/// Reads one file; `Ok(None)` when it is empty. Each part that is refused has a fault and is [`Tree::Bad`].
pub(super) fn read(file: usize, text: &str, faults: &mut Faults<'_>) -> Result<Option<Node>, Unreadable> {
    let mut options = granit::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder { faults, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let start = error.marker().byte_offset().unwrap_or(0).min(text.len());
                builder.faults.add(At { file, start, end: start + 1 }, error.info());
                return Err(Unreadable);
            }
        };
        let range = span.byte_range().unwrap_or_default();
        let at = At { file, start: range.start, end: range.end };
        if let Event::DocumentStart(..) = event {
            documents += 1;
            if documents > 1 {
                builder.faults.hint(
                    at,
                    "a file holds one document",
                    "put the second one in a file of its own",
                );
                break;
            }
        }
        builder.take(event, at).ok_or(Unreadable)?;
    }
    Ok(builder.root)
}

impl Builder<'_, '_> {
    /// Takes one event. `None` when reading cannot go on.
    fn take(&mut self, event: Event<'_>, at: At) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(at)?;
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let mut node = Node { at, tree: Tree::Scalar(text.into_owned(), style) };
                if self.refuses(tag.is_some(), at) {
                    node.tree = Tree::Bad;
                }
                self.anchor(anchor, &node);
                self.close(node);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.count(at)?;
                self.refuses(tag.is_some(), at);
                self.open.push(Open::List { at, anchor, items: Vec::new() });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.count(at)?;
                self.refuses(tag.is_some(), at);
                self.open.push(Open::Map {
                    at,
                    anchor,
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    pending: Pending::None,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (mut start, anchor, tree) = match self.open.pop()? {
                    Open::List { at, anchor, items } => (at, anchor, Tree::List(items)),
                    Open::Map { at, anchor, entries, .. } => (at, anchor, Tree::Map(entries)),
                };
                start.end = at.end.max(start.end);
                let node = Node { at: start, tree };
                self.anchor(anchor, &node);
                self.close(node);
            }
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some(node) => {
                    let (nodes, depth) = measure(&node);
                    self.nodes = self.nodes.saturating_add(nodes);
                    self.count(at)?;
                    if self.open.len() + depth > MAX_DEPTH {
                        self.faults.add(at, format!("nested deeper than {MAX_DEPTH} levels"));
                        return None;
                    }
                    self.close(node);
                }
                None => {
                    self.faults.add(at, "an alias cannot stand inside what it names");
                    return None;
                }
            },
            Event::UnresolvedAlias(_) => {
                self.faults.add(at, "an alias needs an anchor before it");
                return None;
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..) => {}
            // Comments are switched off; a kind of event that a later release adds has no meaning here.
            #[allow(unreachable_patterns)]
            _ => {}
        }
        Some(())
    }

    fn count(&mut self, at: At) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.faults.add(at, format!("more than {MAX_NODES} values in one file, aliases counted"));
            return None;
        }
        Some(())
    }

    fn refuses(&mut self, tagged: bool, at: At) -> bool {
        if tagged {
            self.faults.hint(
                at,
                "tags have no meaning here",
                "leave the `!…` out; quote a value that is text",
            );
        }
        tagged
    }

    fn anchor(&mut self, id: usize, node: &Node) {
        if id != 0 {
            self.anchors.insert(id, node.clone());
        }
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, mut node: Node) {
        let is_key = matches!(self.open.last(), Some(Open::Map { pending: Pending::None, .. }));
        if !is_key {
            self.examine(&mut node);
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, pending, .. }) => {
                match std::mem::replace(pending, Pending::None) {
                    Pending::None => *pending = key(node, seen, self.faults),
                    Pending::Refused => {}
                    Pending::Key(key) => {
                        if node.at.start >= node.at.end && matches!(node.tree, Tree::Scalar(..)) {
                            // A value that is not there has no place: its key stands for it.
                            node.at = key.at;
                        }
                        entries.push((key, node));
                    }
                }
            }
        }
    }

    /// Refuses scalars that other tools read otherwise, or that Postgres cannot hold.
    fn examine(&mut self, node: &mut Node) {
        let Tree::Scalar(text, style) = &node.tree else { return };
        if text.contains('\0') {
            self.faults.add(node.at, "text cannot hold the character NUL");
        } else if let (Style::Plain, Some(value)) = (style, misread(text)) {
            self.faults.hint(
                node.at,
                format!("`{text}` is read as a boolean by some YAML tools and as text by others"),
                format!("write `{value}`, or quote it: '{text}'"),
            );
        } else {
            return;
        }
        node.tree = Tree::Bad;
    }
}

fn key(node: Node, seen: &mut HashMap<String, At>, faults: &mut Faults<'_>) -> Pending {
    let text = match node.tree {
        Tree::Scalar(text, _) => text,
        Tree::List(_) | Tree::Map(_) => {
            faults.add(node.at, "a key is a word");
            return Pending::Refused;
        }
        Tree::Bad => return Pending::Refused,
    };
    if text == "<<" {
        faults.hint(node.at, "merge keys (`<<`) are not read", "write the keys out");
        return Pending::Refused;
    }
    if let Some(first) = seen.get(&text) {
        let place = faults.place(*first);
        faults.add(node.at, format!("`{text}` stands twice in one mapping; the first is at {place}"));
        return Pending::Refused;
    }
    seen.insert(text.clone(), node.at);
    Pending::Key(Key { text, at: node.at })
}

/// How many nodes a tree has and how deep it is.
fn measure(node: &Node) -> (usize, usize) {
    let children: Vec<(usize, usize)> = match &node.tree {
        Tree::Scalar(..) | Tree::Bad => return (1, 0),
        Tree::List(items) => items.iter().map(measure).collect(),
        Tree::Map(entries) => entries.iter().map(|(_, value)| measure(value)).collect(),
    };
    children
        .iter()
        .fold((1, 1), |(count, depth), (more, deeper)| (count.saturating_add(*more), depth.max(deeper + 1)))
}

/// Words of which a fault was reported where they are defined; a fault elsewhere that only follows from it is not shown.
#[derive(Default)]
pub(super) struct Broken(HashSet<String>);

impl Broken {
    pub(super) fn insert(&mut self, word: &str) {
        self.0.insert(word.to_owned());
    }

    pub(super) fn contains(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// One of the words stands in a condition's text.
    pub(super) fn touches(&self, text: &str) -> bool {
        !self.0.is_empty()
            && text
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| self.0.contains(word))
    }
}
