//! The text of a pattern → its tree.

use super::class::Class;
use super::{Atom, Branches, MAX_REPEAT, Piece, Repeat, fault};
use crate::condition::Fault;

const MAX_DEPTH: usize = 32;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) depth: usize,
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

    pub(super) fn branches(&mut self) -> Result<Branches, Fault> {
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
