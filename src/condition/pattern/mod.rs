//! [`Pattern`]: the regular expressions of `matches` and of a field's `match`.
//!
//! A small language that is parsed here and written out for each of its readers, so that one text means the
//! same to Postgres, in memory and in JSON Schema: literals, `.`, classes, `^` and `$`, groups, `|`, and
//! `* + ? {m,n}`. There are no back-references, look-around, lazy quantifiers or locale classes. `.` is any
//! character but the line feed; `^` and `$` stand at the very start and end of the text; `\d \w \s` are
//! ASCII; matching looks anywhere in the text unless anchored.

mod class;
mod parse;

use std::fmt::Write as _;
use std::ops::Range;

use regex::Regex;

use self::class::{Class, LAST};
use self::parse::Parser;
use super::Fault;
use crate::sql::Sql;

/// Postgres' limit of a bounded repetition (RE_DUP_MAX).
const MAX_REPEAT: u32 = 255;
const MAX_BYTES: usize = 1024;
/// How many atoms a pattern may come to when its repetitions are written out: what an automaton costs.
const MAX_ATOMS: u64 = 2_000;

/// A pattern of the subset, ready to match. Two patterns are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    root: Branches,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Debug)]
struct Branches(Vec<Vec<Piece>>);

#[derive(Clone, Debug)]
struct Piece {
    atom: Atom,
    repeat: Option<Repeat>,
}

#[derive(Clone, Copy, Debug)]
struct Repeat {
    least: u32,
    most: Option<u32>,
}

#[derive(Clone, Debug)]
enum Atom {
    Literal(char),
    Class(Class),
    Start,
    End,
    Group(Branches),
}

/// Who reads what is written out.
#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Postgres,
    Rust,
    JsonSchema,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong, with its byte range in `text`.
    pub fn parse(text: &str) -> Result<Pattern, Fault> {
        if text.len() > MAX_BYTES {
            return Err(fault(0..text.len(), format!("a pattern has at most {MAX_BYTES} bytes"), None));
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let root = parser.branches()?;
        if parser.at < text.len() {
            return Err(fault(
                parser.at..parser.at + 1,
                "`)` closes no group",
                Some("a literal one is written `\\)`"),
            ));
        }
        if root.atoms() > MAX_ATOMS {
            return Err(fault(
                0..text.len(),
                format!(
                    "the pattern comes to more than {MAX_ATOMS} characters when its repetitions are written out"
                ),
                Some("make the bounds smaller; a limit of length is what `max` is for"),
            ));
        }
        // The subset is within what `regex` takes; only its own limit of size is left.
        let regex = Regex::new(&write(&root, Reader::Rust))
            .map_err(|_| fault(0..text.len(), "the pattern is too large", Some("make the bounds smaller")))?;
        Ok(Pattern { text: text.to_owned(), root, regex })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// For Postgres' `~` (an advanced regular expression).
    pub fn to_postgres(&self) -> String {
        write(&self.root, Reader::Postgres)
    }

    /// For the `regex` crate.
    pub fn to_rust(&self) -> String {
        write(&self.root, Reader::Rust)
    }

    /// For JSON Schema's `pattern` (ECMA-262).
    pub fn to_json_schema(&self) -> String {
        write(&self.root, Reader::JsonSchema)
    }

    /// Whether the text matches, somewhere unless the pattern is anchored.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Writes `value matches` as a boolean SQL expression; NULL for a value that is null. It cannot raise.
    pub fn to_sql(&self, sql: &mut Sql, value: impl FnOnce(&mut Sql)) {
        sql.raw("(");
        value(sql);
        // Under "C" a class is what its code points say, whatever the database's locale.
        sql.raw(" collate \"C\" ~ ").bind_text(self.to_postgres()).raw(")");
    }
}

fn fault(span: Range<usize>, message: impl Into<String>, hint: Option<&str>) -> Fault {
    Fault { span, message: message.into(), hint: hint.map(str::to_owned) }
}

impl Branches {
    fn atoms(&self) -> u64 {
        let piece = |piece: &Piece| {
            let once = match &piece.atom {
                Atom::Group(inner) => inner.atoms(),
                Atom::Literal(_) | Atom::Class(_) | Atom::Start | Atom::End => 1,
            };
            let times = piece.repeat.map_or(1, |repeat| repeat.most.unwrap_or(repeat.least).max(1));
            once.saturating_mul(u64::from(times))
        };
        self.0.iter().flatten().map(piece).fold(self.0.len() as u64, u64::saturating_add)
    }
}

fn write(root: &Branches, reader: Reader) -> String {
    let mut out = String::new();
    write_group(&mut out, root, reader);
    out
}

fn write_group(out: &mut String, branches: &Branches, reader: Reader) {
    out.push_str("(?:");
    for (at, branch) in branches.0.iter().enumerate() {
        if at > 0 {
            out.push('|');
        }
        for piece in branch {
            match &piece.atom {
                Atom::Literal(c) => write_char(out, *c, reader),
                Atom::Class(class) => write_class(out, class, reader),
                Atom::Start => out.push('^'),
                Atom::End => out.push('$'),
                Atom::Group(inner) => write_group(out, inner, reader),
            }
            // Writing to a String cannot fail.
            let _ = match piece.repeat {
                None => Ok(()),
                Some(Repeat { least: 0, most: None }) => write!(out, "*"),
                Some(Repeat { least: 1, most: None }) => write!(out, "+"),
                Some(Repeat { least: 0, most: Some(1) }) => write!(out, "?"),
                Some(Repeat { least, most: None }) => write!(out, "{{{least},}}"),
                Some(Repeat { least, most: Some(most) }) => write!(out, "{{{least},{most}}}"),
            };
        }
    }
    out.push(')');
}

/// Escapes all ASCII punctuation that means something to one of the readers, in a class or outside.
fn write_char(out: &mut String, c: char, reader: Reader) {
    let escaped = match reader {
        Reader::Postgres | Reader::Rust => "\\^$.[]|()*+?{}-&~#",
        // ECMA-262 with the `u` flag, which JSON Schema asks for, refuses needless escapes.
        Reader::JsonSchema => "\\^$.[]|()*+?{}/",
    };
    if escaped.contains(c) {
        out.push('\\');
    }
    out.push(c);
}

fn write_class(out: &mut String, class: &Class, reader: Reader) {
    // A set that reaches the last code point was made by a negation; written so, it is short and has no U+0000.
    let negated = class.0.last().is_some_and(|(_, high)| *high == LAST);
    let complement;
    let ranges = if negated {
        complement = class.complement();
        &complement.0
    } else {
        &class.0
    };
    if negated && ranges.is_empty() {
        // Everything, written so that all three read it so.
        out.push_str("(?:[\n]|[^\n])");
        return;
    }
    out.push_str(if negated { "[^" } else { "[" });
    for (low, high) in ranges {
        // Ends of ranges are characters that stood in the pattern, or the ASCII ends of `\d \w \s` and their
        // complements; none of them is a surrogate.
        write_class_char(out, *low, reader);
        if high > low {
            if high - low > 1 {
                out.push('-');
            }
            write_class_char(out, *high, reader);
        }
    }
    out.push(']');
}

fn write_class_char(out: &mut String, code: u32, reader: Reader) {
    match char::from_u32(code) {
        // ECMA-262 takes `\-` in a class, and only there.
        Some('-') => out.push_str("\\-"),
        Some(c) => write_char(out, c, reader),
        None => {}
    }
}
