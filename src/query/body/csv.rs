//! `text/csv` (RFC 4180): a line of names, then a line for each record.

use std::borrow::Cow;

use super::{Members, text::Texts};
use crate::error::{Code, Error};
use crate::model::MAX_FIELDS;

/// The records of a CSV text. A value that is `NULL` without quotes is null; a line without anything is no record.
///
/// # Errors
/// PGRST102 for lines of different lengths, stray quotes and carriage returns, a name that stands twice, and what is
/// over a limit.
pub(super) fn records(text: &str, texts: &mut Texts<'_>) -> Result<Vec<Members>, Error> {
    // Spreadsheets write a byte order mark.
    let mut lines = Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 0, next: 1 };
    let mut names: Vec<String> = Vec::new();
    let Some(header) = lines.next(MAX_FIELDS)? else {
        return Err(Error::with(Code::Body, "Empty or invalid CSV"));
    };
    for Cell { text, .. } in header {
        if names.iter().any(|name| *name == text) {
            return Err(lines.fault(&format!("the column {text:?} stands twice")));
        }
        names.push(text.into_owned());
    }
    let mut records = Vec::new();
    while let Some(cells) = lines.next(names.len())? {
        if cells.len() != names.len() {
            return Err(lines.uneven());
        }
        texts.another_record()?;
        let members = names.iter().zip(cells).map(|(name, cell)| {
            let text = (cell.quoted || cell.text != "NULL").then_some(&*cell.text);
            Ok((name.clone(), texts.member(name, text)?))
        });
        records.push(Members(members.collect::<Result<_, Error>>()?));
    }
    Ok(records)
}

struct Cell<'a> {
    text: Cow<'a, str>,
    quoted: bool,
}

/// What a cell ends at.
#[derive(PartialEq, Eq)]
enum End {
    Comma,
    Line,
}

struct Lines<'a> {
    rest: &'a str,
    /// Where the cells that were read last begin, counted from 1.
    line: usize,
    /// Where the rest begins.
    next: usize,
}

impl<'a> Lines<'a> {
    /// The cells of the next line that has any; not more than `most`.
    fn next(&mut self, most: usize) -> Result<Option<Vec<Cell<'a>>>, Error> {
        while let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            self.rest = rest;
            self.next += 1;
        }
        self.line = self.next;
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut cells = Vec::new();
        loop {
            if cells.len() == most {
                return Err(if self.line == 1 && most == MAX_FIELDS {
                    Error::with(Code::Body, "A record has too many members")
                } else {
                    self.uneven()
                });
            }
            cells.push(self.cell()?);
            if self.end()? == End::Line {
                return Ok(Some(cells));
            }
        }
    }

    fn cell(&mut self) -> Result<Cell<'a>, Error> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n', '\r', '"']).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Ok(Cell { text: Cow::Borrowed(text), quoted: false });
        };
        let mut text = Cow::Borrowed("");
        let mut rest = quoted;
        loop {
            let Some(end) = rest.find('"') else {
                return Err(self.fault("a quote is not closed"));
            };
            let piece = &rest[..end];
            self.next += piece.bytes().filter(|byte| *byte == b'\n').count();
            rest = &rest[end + 1..];
            let doubled = rest.strip_prefix('"');
            match (&mut text, doubled) {
                (Cow::Borrowed(""), None) => text = Cow::Borrowed(piece),
                (text, _) => text.to_mut().push_str(piece),
            }
            match doubled {
                Some(after) => {
                    text.to_mut().push('"');
                    rest = after;
                }
                None => break,
            }
        }
        self.rest = rest;
        Ok(Cell { text, quoted: true })
    }

    /// Goes over what ends a cell.
    fn end(&mut self) -> Result<End, Error> {
        if let Some(rest) = self.rest.strip_prefix(',') {
            self.rest = rest;
            return Ok(End::Comma);
        }
        if let Some(rest) = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix('\n')) {
            self.rest = rest;
            self.next += 1;
            return Ok(End::Line);
        }
        if self.rest.is_empty() {
            return Ok(End::Line);
        }
        Err(self.fault("a value with a quote or a carriage return in it must be quoted as a whole"))
    }

    fn uneven(&self) -> Error {
        Error::with(Code::Body, "All lines must have same number of fields")
            .details(format!("Line {} differs from the first", self.line))
    }

    fn fault(&self, why: &str) -> Error {
        Error::with(Code::Body, "Empty or invalid CSV").details(format!("Line {}: {why}", self.line))
    }
}
