//! [`Pattern`]: the regular expressions of `matches` and of a field's `match`.
//!
//! A small language that is parsed here and written out for each of its readers, so that one text means the
//! same to Postgres, in memory and in JSON Schema: literals, `.`, classes, `^` and `$`, groups, `|`, and
//! `* + ? {m,n}`. There are no back-references, look-around, lazy quantifiers or locale classes. `.` is any
//! character but the line feed; `^` and `$` stand at the very start and end of the text; `\d \w \s` are
//! ASCII; matching looks anywhere in the text unless anchored.

use std::fmt::Write as _;
use std::ops::Range;

use regex::Regex;

use super::Fault;
use crate::sql::Sql;

/// Postgres' limit of a bounded repetition (RE_DUP_MAX).
const MAX_REPEAT: u32 = 255;
const MAX_DEPTH: usize = 32;
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

/// A set of characters: sorted ranges of code points that neither touch nor overlap.
#[derive(Clone, Debug, PartialEq)]
struct Class(Vec<(u32, u32)>);

const LAST: u32 = char::MAX as u32;
const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;

impl Class {
    fn new(mut ranges: Vec<(u32, u32)>) -> Class {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some((_, end)) if low <= end.saturating_add(1) => *end = (*end).max(high),
                _ => merged.push((low, high)),
            }
        }
        Class(merged)
    }

    fn complement(&self) -> Class {
        let mut ranges = Vec::with_capacity(self.0.len() + 1);
        // Text holds neither U+0000 nor surrogates, and neither can be written as an end of a range.
        let mut push = |low: u32, high: u32| {
            let low = if SURROGATES.contains(&low) { SURROGATES.end() + 1 } else { low };
            let high = if SURROGATES.contains(&high) { SURROGATES.start() - 1 } else { high };
            if low <= high {
                ranges.push((low, high));
            }
        };
        let mut next = 1;
        for (low, high) in &self.0 {
            if *low > next {
                push(next, low - 1);
            }
            next = high + 1;
        }
        if next <= LAST {
            push(next, LAST);
        }
        Class(ranges)
    }

    fn digit() -> Class {
        Class::new(vec![(0x30, 0x39)])
    }

    fn word() -> Class {
        Class::new(vec![(0x30, 0x39), (0x41, 0x5a), (0x5f, 0x5f), (0x61, 0x7a)])
    }

    fn space() -> Class {
        Class::new(vec![(0x09, 0x0d), (0x20, 0x20)])
    }

    /// `\d`, `\W` and so on.
    fn escaped(letter: char) -> Option<Class> {
        let class = match letter.to_ascii_lowercase() {
            'd' => Class::digit(),
            'w' => Class::word(),
            's' => Class::space(),
            _ => return None,
        };
        Some(if letter.is_ascii_uppercase() { class.complement() } else { class })
    }
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

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn branches(&mut self) -> Result<Branches, Fault> {
        let mut branches = vec![self.branch()?];
        while self.eat('|') {
            branches.push(self.branch()?);
        }
        Ok(Branches(branches))
    }

    fn branch(&mut self) -> Result<Vec<Piece>, Fault> {
        let mut pieces = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let start = self.at;
            let atom = self.atom()?;
            let repeat = self.repeat(start, &atom)?;
            pieces.push(Piece { atom, repeat });
        }
        Ok(pieces)
    }

    fn atom(&mut self) -> Result<Atom, Fault> {
        let start = self.at;
        Ok(match self.take() {
            None => return Err(fault(start..start, "the pattern ends too early", None)),
            Some('^') => Atom::Start,
            Some('$') => Atom::End,
            Some('.') => Atom::Class(Class::new(vec![(0x0a, 0x0a)]).complement()),
            Some('[') => Atom::Class(self.class(start)?),
            Some('(') => self.group(start)?,
            Some('\\') => match self.escape(start)? {
                Escape::Literal(c) => Atom::Literal(c),
                Escape::Class(class) => Atom::Class(class),
            },
            Some('*' | '+' | '?') => {
                return Err(fault(
                    start..self.at,
                    "there is nothing here to repeat",
                    Some("a literal one is written with `\\` before it"),
                ));
            }
            Some('{' | '}' | ']') => {
                return Err(fault(
                    start..self.at,
                    format!("`{}` stands alone", &self.text[start..self.at]),
                    Some("a literal one is written with `\\` before it"),
                ));
            }
            Some('\0') => return Err(fault(start..self.at, "text cannot hold the character U+0000", None)),
            Some(c) => Atom::Literal(c),
        })
    }

    fn group(&mut self, start: usize) -> Result<Atom, Fault> {
        if self.eat('?') && !self.eat(':') {
            return Err(fault(
                start..self.at,
                "look-around, named groups and inline flags are not part of the pattern language",
                Some("groups are `( … )` or `(?: … )`; write `[aA]` where case must not matter"),
            ));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault(start..self.at, format!("groups nest deeper than {MAX_DEPTH}"), None));
        }
        let inner = self.branches()?;
        self.depth -= 1;
        if !self.eat(')') {
            return Err(fault(
                start..start + 1,
                "the group does not end",
                Some("a literal `(` is written `\\(`"),
            ));
        }
        Ok(Atom::Group(inner))
    }

    fn escape(&mut self, start: usize) -> Result<Escape, Fault> {
        let Some(c) = self.take() else {
            return Err(fault(
                start..self.at,
                "the pattern ends after `\\`",
                Some("a literal one is written `\\\\`"),
            ));
        };
        if let Some(class) = Class::escaped(c) {
            return Ok(Escape::Class(class));
        }
        Ok(Escape::Literal(match c {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'f' => '\u{c}',
            'v' => '\u{b}',
            c if c.is_ascii_punctuation() || c == ' ' => c,
            'b' | 'B' | 'A' | 'Z' | 'z' => {
                return Err(fault(start..self.at, "the only anchors are `^` and `$`", None));
            }
            '0'..='9' => {
                return Err(fault(
                    start..self.at,
                    "back-references are not part of the pattern language",
                    None,
                ));
            }
            'p' | 'P' => {
                return Err(fault(
                    start..self.at,
                    "classes of Unicode are not part of the pattern language",
                    Some("write the characters or ranges that you mean: `[a-zà-ÿ]`"),
                ));
            }
            c => {
                return Err(fault(
                    start..self.at,
                    format!("`\\{}` is no escape", c.escape_debug()),
                    Some("there are `\\d \\w \\s`, `\\n \\r \\t \\f \\v`, and `\\` before punctuation"),
                ));
            }
        }))
    }

    fn class(&mut self, start: usize) -> Result<Class, Fault> {
        let open =
            |at: usize| fault(start..at, "the class does not end", Some("a literal `[` is written `\\[`"));
        let negated = self.eat('^');
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let item = self.at;
            if !first && self.eat(']') {
                break;
            }
            if first && self.peek() == Some(']') {
                return Err(fault(
                    item..item + 1,
                    "the class is empty",
                    Some("a literal `]` is written `\\]`"),
                ));
            }
            first = false;
            let low = match self.class_item(start)? {
                Escape::Class(class) => {
                    ranges.extend(class.0);
                    continue;
                }
                Escape::Literal(c) => c,
            };
            // `-` is a range only between two characters; at the end it is itself.
            if self.peek() != Some('-') || self.text[self.at + 1..].starts_with(']') {
                ranges.push((u32::from(low), u32::from(low)));
                continue;
            }
            self.eat('-');
            let high = match self.class_item(start)? {
                Escape::Literal(c) if c >= low => c,
                Escape::Literal(_) => {
                    return Err(fault(item..self.at, "the range runs backwards", None));
                }
                Escape::Class(_) => return Err(fault(item..self.at, "a class is no end of a range", None)),
            };
            ranges.push((u32::from(low), u32::from(high)));
            if self.at >= self.text.len() {
                return Err(open(self.at));
            }
        }
        let class = Class::new(ranges);
        let class = if negated { class.complement() } else { class };
        if class.0.is_empty() {
            return Err(fault(start..self.at, "no character is in this class", None));
        }
        Ok(class)
    }

    fn class_item(&mut self, start: usize) -> Result<Escape, Fault> {
        let at = self.at;
        match self.take() {
            None => {
                Err(fault(start..self.at, "the class does not end", Some("a literal `[` is written `\\[`")))
            }
            Some('\\') => self.escape(at),
            Some('[') => Err(fault(
                at..self.at,
                "`[` inside a class stands for nothing",
                Some("a literal one is written `\\[`; classes such as `[:alpha:]` depend on the locale"),
            )),
            Some('\0') => Err(fault(at..self.at, "text cannot hold the character U+0000", None)),
            Some(c) => Ok(Escape::Literal(c)),
        }
    }

    fn repeat(&mut self, start: usize, atom: &Atom) -> Result<Option<Repeat>, Fault> {
        let at = self.at;
        let repeat = match self.peek() {
            Some('*') => Repeat { least: 0, most: None },
            Some('+') => Repeat { least: 1, most: None },
            Some('?') => Repeat { least: 0, most: Some(1) },
            Some('{') => self.bounds()?,
            _ => return Ok(None),
        };
        if self.at == at {
            self.take();
        }
        if matches!(atom, Atom::Start | Atom::End) {
            return Err(fault(start..self.at, "an anchor cannot be repeated", None));
        }
        if matches!(self.peek(), Some('*' | '+' | '?' | '{')) {
            return Err(fault(
                at..self.at + 1,
                "a repetition cannot be repeated",
                Some(
                    "lazy repetition does not exist here: it changes what is captured, never whether a text matches",
                ),
            ));
        }
        Ok(Some(repeat))
    }

    /// `{m}`, `{m,}`, `{m,n}`
    fn bounds(&mut self) -> Result<Repeat, Fault> {
        let start = self.at;
        let inner = &self.text[start + 1..];
        let Some(end) = inner.find('}') else {
            return Err(fault(
                start..start + 1,
                "the bounds do not end",
                Some("a literal `{` is written `\\{`"),
            ));
        };
        let span = start..start + end + 2;
        let number = |digits: &str| -> Result<u32, Fault> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            match digits.parse::<u32>() {
                Ok(number) if plain && number <= MAX_REPEAT => Ok(number),
                _ if plain => Err(fault(span.clone(), format!("a bound is at most {MAX_REPEAT}"), None)),
                _ => Err(fault(
                    span.clone(),
                    "bounds are `{m}`, `{m,}` or `{m,n}`",
                    Some("a literal `{` is written `\\{`"),
                )),
            }
        };
        let (least, most) = match inner[..end].split_once(',') {
            None => {
                let exactly = number(&inner[..end])?;
                (exactly, Some(exactly))
            }
            Some((least, "")) => (number(least)?, None),
            Some((least, most)) => (number(least)?, Some(number(most)?)),
        };
        if most.is_some_and(|most| most < least) {
            return Err(fault(span, "the upper bound is under the lower one", None));
        }
        self.at = span.end;
        Ok(Repeat { least, most })
    }
}

enum Escape {
    Literal(char),
    Class(Class),
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
