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

#[cfg(test)]
mod tests {
    use super::super::{Body, Format, payload};
    use crate::catalog::Limits;
    use crate::error::Code;
    use crate::model::Kind;

    fn kind(name: &str) -> Option<Kind> {
        let known = [
            ("t", "text"),
            ("n", "integer"),
            ("d", "decimal"),
            ("b", "boolean"),
            ("j", "json"),
            ("ts", "text[]"),
            ("ns", "integer[]"),
            ("js", "json[]"),
        ];
        known.into_iter().find(|(known, _)| *known == name).and_then(|(_, kind)| Kind::from_yaml(kind))
    }

    fn read(format: Format, text: &str) -> Result<String, crate::error::Error> {
        let body = Body::of_texts(format, text.as_bytes(), &Limits::default(), &kind)?;
        let mut names: Vec<String> = Vec::new();
        for name in body.records.iter().flat_map(|record| record.names()) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Ok(payload(&body.records, &names, &[], |_, _| None))
    }

    fn refusal(format: Format, text: &str) -> String {
        let error = read(format, text).unwrap_err();
        assert_eq!(error.code, Code::Body, "{text:?}: {error:?}");
        format!("{} {}", error.message, error.details.unwrap_or_default())
    }

    #[test]
    fn a_csv_says_what_the_same_as_json_would() {
        for (csv, json) in [
            ("t,n\na,1\nb,2\n", r#"[{"t":"a","n":1},{"t":"b","n":2}]"#),
            ("t,n\r\na,1\r\nb,2", r#"[{"t":"a","n":1},{"t":"b","n":2}]"#),
            ("\u{feff}t\n\n\na\n\n", r#"[{"t":"a"}]"#),
            (
                "t,n\nNULL,NULL\n\"NULL\",007\n,",
                r#"[{"t":null,"n":null},{"t":"NULL","n":"007"},{"t":"","n":""}]"#,
            ),
            ("\"t\",n\n\"a,\"\"b\"\"\r\nc\",-1", r#"[{"t":"a,\"b\"\r\nc","n":-1}]"#),
            ("t\n\"\"\n\"\"\"\"", r#"[{"t":""},{"t":"\""}]"#),
            (
                "d,b\n1.50,t\nNaN,false\n1e3,maybe",
                r#"[{"d":1.50,"b":true},{"d":"NaN","b":false},{"d":1e3,"b":"maybe"}]"#,
            ),
            (
                "j\n\"{\"\"a\"\": [1.0]}\"\nnull\nword\n\"\"\"s\"\"\"",
                r#"[{"j":{"a": [1.0]}},{"j":null},{"j":"word"},{"j":"s"}]"#,
            ),
            (
                "ts,ns\n\"{a,NULL,\"\"b c\"\"}\",{}\n[1],\"{1,2}\"",
                r#"[{"ts":["a",null,"b c"],"ns":[]},{"ts":"[1]","ns":[1,2]}]"#,
            ),
            ("js\n\"{\"\"[1]\"\",2}\"", r#"[{"js":[[1],2]}]"#),
            ("other\n1\ntrue", r#"[{"other":"1"},{"other":"true"}]"#),
            ("t", "[]"),
            (" t \n a ", r#"[{" t ":" a "}]"#),
        ] {
            assert_eq!(read(Format::Csv, csv).unwrap(), json, "{csv:?}");
        }
    }

    #[test]
    fn a_csv_that_could_be_read_in_two_ways_is_refused_with_its_line() {
        for (csv, said) in [
            ("", "Empty or invalid CSV"),
            ("\n\n", "Empty or invalid CSV"),
            ("t,n\na", "All lines must have same number of fields"),
            ("t\na,b", "Line 2 differs"),
            ("t\n\"x\n\ny\"\na,b", "Line 5 differs"),
            ("t,t\n", "stands twice"),
            ("t\n\"a", "not closed"),
            ("t\n\"a\"b", "Line 2"),
            ("t\na\"b", "quoted as a whole"),
            ("t\na\rb", "quoted as a whole"),
        ] {
            assert!(refusal(Format::Csv, csv).contains(said), "{csv:?}: {}", refusal(Format::Csv, csv));
        }
        let names: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
        assert!(refusal(Format::Csv, &names.join(",")).contains("too many members"));
        assert!(refusal(Format::Csv, &format!("t{}", "\na".repeat(10_001))).contains("10000 records"));
        assert!(refusal(Format::Csv, &format!("j\n{}{}", "[".repeat(70), "]".repeat(70))).contains("deeper"));
    }

    #[test]
    fn a_form_is_one_record() {
        for (form, json) in [
            ("t=a+b%21&n=1&b=true", r#"[{"t":"a b!","n":1,"b":true}]"#),
            ("t=NULL&ts={a}", r#"[{"t":"NULL","ts":["a"]}]"#),
            ("t", r#"[{"t":""}]"#),
            ("", "[{}]"),
        ] {
            assert_eq!(read(Format::Form, form).unwrap(), json, "{form:?}");
        }
        assert!(refusal(Format::Form, "t=a&t=b").contains("stands twice"));
        assert!(refusal(Format::Form, "t=%00").contains("NUL"));
        assert!(refusal(Format::Form, "t=%ff").contains("UTF-8"));
        assert!(refusal(Format::Form, &"&a=1".repeat(100_000)).contains("too many members"));
    }

    #[test]
    fn few_bytes_do_not_become_many() {
        let csv = format!("{}\n{}", "n".repeat(1 << 20), "1\n".repeat(9_999));
        assert_eq!(read(Format::Csv, &csv).unwrap_err().code, Code::PayloadTooLarge);
    }
}
