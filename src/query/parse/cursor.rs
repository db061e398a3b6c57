//! A place in a text, and the words that all parts of the dialect share: names, paths, quoted values.

use super::Fault;
use crate::query::request::{Path, Step};

/// Where parsing stopped and what would have helped.
pub(super) enum Stop {
    Unexpected {
        /// In bytes.
        at: usize,
        expected: &'static str,
    },
    TooMany {
        what: &'static str,
        most: usize,
    },
}

pub(super) const NAME: &str = "field name (* or [a..z0..9_$])";

#[derive(Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// Parses the whole of a text; anything left over is a fault.
pub(super) fn whole<'a, T>(
    what: &'static str,
    text: &'a str,
    parse: impl FnOnce(&mut Cursor<'a>) -> Result<T, Stop>,
) -> Result<T, Fault> {
    let mut cursor = Cursor { text, at: 0 };
    let parsed = parse(&mut cursor)
        .and_then(|parsed| if cursor.done() { Ok(parsed) } else { Err(cursor.stop("end of input")) });
    parsed.map_err(|stop| match stop {
        Stop::TooMany { what, most } => Fault::TooMany { what, most },
        Stop::Unexpected { at, expected } => Fault::Syntax {
            what,
            text: text.to_owned(),
            column: text[..at].chars().count() + 1,
            found: text[at..].chars().next(),
            expected,
        },
    })
}

impl<'a> Cursor<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn done(&self) -> bool {
        self.at == self.text.len()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    pub(super) fn stop(&self, expected: &'static str) -> Stop {
        Stop::Unexpected { at: self.at, expected }
    }

    pub(super) fn eat(&mut self, letter: char) -> bool {
        self.eat_text(letter.encode_utf8(&mut [0; 4]))
    }

    pub(super) fn eat_text(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(super) fn expect(&mut self, letter: char, expected: &'static str) -> Result<(), Stop> {
        if self.eat(letter) { Ok(()) } else { Err(self.stop(expected)) }
    }

    pub(super) fn spaces(&mut self) {
        self.take_while(char::is_whitespace);
    }

    pub(super) fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|letter| !accept(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Everything up to the end.
    pub(super) fn remainder(&mut self) -> &'a str {
        let rest = self.rest();
        self.at = self.text.len();
        rest
    }

    /// An unquoted word: letters, digits, `_`, `$` and inner spaces.
    pub(super) fn identifier(&mut self, expected: &'static str) -> Result<String, Stop> {
        let start = self.clone();
        let word = self.take_while(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '$' | ' '));
        if word.trim().is_empty() { Err(start.stop(expected)) } else { Ok(word.trim().to_owned()) }
    }

    /// A field's, relation's or alias's name: quoted, or an identifier in which `-` may stand.
    pub(super) fn name(&mut self) -> Result<String, Stop> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        self.dashed(NAME, |letter| letter.is_alphanumeric() || matches!(letter, '_' | '$' | ' '))
    }

    /// Letters that are accepted, and `-` where it is not the start of an arrow.
    fn dashed(&mut self, expected: &'static str, accept: impl Fn(char) -> bool) -> Result<String, Stop> {
        let start = self.clone();
        loop {
            self.take_while(&accept);
            if self.peek() != Some('-') || self.rest().starts_with("->") {
                break;
            }
            self.at += 1;
        }
        let word = start.text[start.at..self.at].trim();
        if word.is_empty() { Err(start.stop(expected)) } else { Ok(word.to_owned()) }
    }

    /// `"…"`, in which a backslash takes the next character as it is.
    pub(super) fn quoted(&mut self) -> Result<String, Stop> {
        self.expect('"', "\"")?;
        let mut value = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(value),
                Some('\\') => value.push(self.next().ok_or_else(|| self.stop("any character"))?),
                Some(letter) => value.push(letter),
                None => return Err(self.stop("\"")),
            }
        }
    }

    /// A name and the JSON path behind it.
    pub(super) fn field(&mut self) -> Result<Path, Stop> {
        let name = self.name()?;
        self.path(name)
    }

    /// `->key->0->>key` behind a name.
    pub(super) fn path(&mut self, field: String) -> Result<Path, Stop> {
        let mut path = Path::field(field);
        while self.rest().starts_with("->") {
            if path.text {
                return Err(self.stop("the end of the path, because ->> gives text"));
            }
            self.at += 2;
            path.text = self.eat('>');
            let step = match self.index() {
                Some(index) => Step::Index(index),
                None if self.peek() == Some('"') => Step::Key(self.quoted()?),
                None => {
                    Step::Key(self.dashed("any non reserved character different from: .,>()", |letter| {
                        !matches!(letter, '(' | '-' | ':' | '.' | ',' | '>' | ')')
                    })?)
                }
            };
            path.steps.push(step);
        }
        Ok(path)
    }

    /// An index is nothing but digits (and a sign) up to what ends a step; `0a` is a key.
    fn index(&mut self) -> Option<i32> {
        let rest = self.rest();
        let digits = rest.strip_prefix('-').unwrap_or(rest);
        let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
        let after = &digits[end..];
        let ends = after.is_empty() || ["->", "::", ".", ",", ")"].iter().any(|end| after.starts_with(end));
        if end == 0 || !ends {
            return None;
        }
        let length = rest.len() - after.len();
        let index = rest[..length].parse().ok()?;
        self.at += length;
        Some(index)
    }
}
