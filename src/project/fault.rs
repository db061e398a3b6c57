//! Faults of a project: collected all at once, each at its place, shown like a compiler's.

use std::fmt::Write as _;

use super::{Fault, Sources};

/// More faults than anybody reads in one go; a file of garbage must not cost quadratic time or a page of memory.
const MOST: usize = 500;

/// A place in a project's files: a range of bytes of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

struct File<'s> {
    path: &'s str,
    text: &'s str,
    /// The byte at which each line starts.
    lines: Vec<usize>,
}

/// The faults found so far, and the files that they point into.
pub(super) struct Faults<'s> {
    files: Vec<File<'s>>,
    list: Vec<Fault>,
    /// What no fault may show.
    hidden: Vec<At>,
}

impl<'s> Faults<'s> {
    pub(super) fn new(sources: &'s Sources) -> Faults<'s> {
        let files = sources
            .0
            .iter()
            .map(|(path, text)| {
                let starts =
                    text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
                File { path, text, lines: std::iter::once(0).chain(starts).collect() }
            })
            .collect();
        Faults { files, list: Vec::new(), hidden: Vec::new() }
    }

    /// The files in the order of their [`At::file`]: path and text.
    pub(super) fn files(&self) -> impl Iterator<Item = (usize, &'s str, &'s str)> + use<'s> {
        let all: Vec<_> =
            self.files.iter().enumerate().map(|(at, file)| (at, file.path, file.text)).collect();
        all.into_iter()
    }

    pub(super) fn path(&self, file: usize) -> &'s str {
        self.files[file].path
    }

    pub(super) fn text(&self, file: usize) -> &'s str {
        self.files[file].text
    }

    pub(super) fn add(&mut self, at: At, message: impl Into<String>) {
        self.put(at, message.into(), None);
    }

    pub(super) fn hint(&mut self, at: At, message: impl Into<String>, hint: impl Into<String>) {
        self.put(at, message.into(), Some(hint.into()));
    }

    /// Keeps what stands at a place out of every fault that shows the line.
    pub(super) fn hide(&mut self, at: At) {
        self.hidden.push(at);
    }

    /// Says that `word` is not known where `allowed` are, with the nearest of them.
    pub(super) fn unknown<'a>(
        &mut self,
        at: At,
        what: &str,
        word: &str,
        allowed: impl IntoIterator<Item = &'a str>,
    ) {
        let allowed: Vec<&str> = allowed.into_iter().collect();
        let hint = match nearest(word, allowed.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if allowed.is_empty() || allowed.len() > 24 => None,
            None => Some(format!("possible here: {}", listed(&allowed))),
        };
        self.put(at, format!("unknown {what} `{word}`"), hint);
    }

    fn put(&mut self, at: At, message: String, hint: Option<String>) {
        if self.list.len() >= MOST {
            return;
        }
        let fault =
            Fault { message: readable(&message), hint: hint.map(|hint| readable(&hint)), ..self.at(at) };
        if !self.list.contains(&fault) {
            self.list.push(fault);
        }
    }

    /// A place, as a fault that says nothing yet.
    pub(super) fn at(&self, at: At) -> Fault {
        let (line, column) = self.position(at);
        let file = &self.files[at.file];
        let start = file.lines[line - 1];
        let end = file.lines.get(line).copied().unwrap_or(file.text.len());
        let text = file.text[start..end].trim_end_matches(['\n', '\r']);
        let from = start + text.chars().take(column - 1).map(char::len_utf8).sum::<usize>();
        let to = file.text.floor_char_boundary(at.end.min(start + text.len())).max(from);
        let width = file.text[from..to].chars().count().max(1);
        let (file, text) = (file.path.to_owned(), text.to_owned());
        Fault { file, line, column, text, width, message: String::new(), hint: None }
    }

    /// Line and column of a place, both from 1, the column in characters.
    pub(super) fn position(&self, at: At) -> (usize, usize) {
        let file = &self.files[at.file];
        let start = file.text.floor_char_boundary(at.start.min(file.text.len()));
        let line = file.lines.partition_point(|first| *first <= start);
        let column = file.text[file.lines[line - 1]..start].chars().count() + 1;
        (line, column)
    }

    /// `collections/posts.yaml:7:12`, for a message that names a second place.
    pub(super) fn place(&self, at: At) -> String {
        let (line, column) = self.position(at);
        format!("{}:{line}:{column}", self.path(at.file))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are so far.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// The faults in the order of files, lines and columns.
    pub(super) fn finish(mut self) -> Vec<Fault> {
        for at in std::mem::take(&mut self.hidden) {
            let hidden = self.at(at);
            let covered = hidden.column - 1..hidden.column - 1 + hidden.width;
            for fault in &mut self.list {
                if fault.file == hidden.file && fault.line == hidden.line {
                    let shown = fault.text.chars().enumerate();
                    fault.text = shown.map(|(at, c)| if covered.contains(&at) { '*' } else { c }).collect();
                }
            }
        }
        self.list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.list
    }
}

/// A message quotes what a file holds: control characters must not reach a terminal.
fn readable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `a, b and c`, each in backquotes.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// The word that was most likely meant.
pub(super) fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 80 {
        return None;
    }
    let reach = (word.chars().count() / 3).max(1);
    allowed
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Writes faults as a compiler does: place and message, the line, the text underlined, the hint.
pub fn render(faults: &[Fault]) -> String {
    let mut out = String::new();
    for (at, fault) in faults.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        let number = fault.line.to_string();
        let margin = " ".repeat(number.len());
        // A tab before the place stays a tab, so that the carets stand under the text whatever its width.
        let indent: String =
            fault.text.chars().take(fault.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let line: String =
            fault.text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}:{}:{}: {}", fault.file, fault.line, fault.column, fault.message);
        let _ = writeln!(out, "  {number} | {line}");
        let _ = writeln!(out, "  {margin} | {indent}{}", "^".repeat(fault.width));
        if let Some(hint) = &fault.hint {
            let _ = writeln!(out, "  {margin} = {hint}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_slip_is_near_and_another_word_is_not() {
        assert_eq!(nearest("txet", ["text", "time"]), Some("text"));
        assert_eq!(nearest("colections", ["collections", "conditions"]), Some("collections"));
        assert_eq!(nearest("banana", ["text", "time"]), None);
    }

    #[test]
    fn a_place_counts_characters_and_never_splits_one() {
        let sources = Sources([("a.yaml".to_owned(), "ä: b\r\nc: ö\n".to_owned())].into());
        let mut faults = Faults::new(&sources);
        faults.add(At { file: 0, start: 4, end: 5 }, "one");
        faults.add(At { file: 0, start: 11, end: 99 }, "two");
        let list = faults.finish();
        assert_eq!((list[0].line, list[0].column, list[0].width, list[0].text.as_str()), (1, 4, 1, "ä: b"));
        assert_eq!((list[1].line, list[1].column, list[1].width, list[1].text.as_str()), (2, 4, 1, "c: ö"));
    }
}
