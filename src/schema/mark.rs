//! [`Mark`]: the comment on a table that says it is a project's, and what we knew when we last shaped it.
//!
//! `basewright {…json…}`. The word alone is a mark too: it adopts a table whose comment was lost, and all
//! that then is unknown is made again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::database::Fingerprint;

const WORD: &str = "basewright";

/// The mark of a table of which nothing is noted yet.
pub(super) fn bare() -> String {
    WORD.to_owned()
}

/// What is noted on a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    /// The major release of Postgres that printed what the notes were taken of.
    pub postgres: u32,
    /// The rename that gave the table its name: it is not done a second time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<String>,
    /// The same of columns: present name, former name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// The constraints and indexes that we made. Others on the table are left alone.
    pub made: BTreeSet<String>,
    /// By column.
    pub defaults: BTreeMap<String, Note>,
    /// By constraint.
    pub checks: BTreeMap<String, Note>,
    /// Of the generated full-text column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Note>,
}

/// A definition as we wrote it and as Postgres printed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note(String, String);

impl Note {
    pub(super) fn new(written: Fingerprint, printed: &str) -> Note {
        Note(hex(written), hex(Fingerprint::of(printed)))
    }

    fn written(&self) -> Option<Fingerprint> {
        u64::from_str_radix(&self.0, 16).ok().map(Fingerprint)
    }
}

fn hex(fingerprint: Fingerprint) -> String {
    format!("{:016x}", fingerprint.0)
}

impl Mark {
    /// Reads a table's comment; `None` if the table is not ours.
    pub(super) fn read(comment: &str) -> Option<Mark> {
        let rest = comment.strip_prefix(WORD)?;
        if rest.is_empty() {
            return Some(Mark::default());
        }
        let json = rest.strip_prefix(' ').filter(|json| json.starts_with('{'))?;
        // Notes that cannot be read (of a newer version, edited) are no notes; the table is ours all the same.
        Some(serde_json::from_str(json).unwrap_or_default())
    }

    /// The comment's text.
    pub(super) fn text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(json) => format!("{WORD} {json}"),
            // Strings, numbers and maps with text keys always serialise.
            Err(_) => WORD.to_owned(),
        }
    }

    /// The fingerprint of what we wrote, if what Postgres prints now is what it printed then.
    pub(super) fn written(&self, note: Option<&Note>, printed: &str, postgres: u32) -> Option<Fingerprint> {
        let note = note?;
        let unaltered = self.postgres != postgres || note.1 == hex(Fingerprint::of(printed));
        if unaltered { note.written() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_other_comments_are_none() {
        let mut mark = Mark { postgres: 15, ..Mark::default() };
        mark.made.insert("it's".to_owned());
        mark.defaults.insert("a".to_owned(), Note::new(Fingerprint::of("1"), "1"));
        assert_eq!(Mark::read(&mark.text()), Some(mark));
        assert_eq!(Mark::read("basewright"), Some(Mark::default()));
        assert_eq!(Mark::read("basewright {broken"), Some(Mark::default()));
        for foreign in [
            "",
            "basewrights",
            "my notes on basewright",
            "basewright's table",
            "basewright made it",
            "basewright ",
        ] {
            assert_eq!(Mark::read(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_definition_altered_by_hand_is_unknown_and_one_printed_by_another_release_is_not() {
        let mark = Mark { postgres: 15, ..Mark::default() };
        let note = Note::new(Fingerprint::of("1"), "1::integer");
        assert_eq!(mark.written(Some(&note), "1::integer", 15), Some(Fingerprint::of("1")));
        assert_eq!(mark.written(Some(&note), "2", 15), None);
        assert_eq!(mark.written(Some(&note), "'1'", 16), Some(Fingerprint::of("1")));
    }
}
