//! [`Caught`]: the letters that `dev` keeps instead of sending them.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use serde::Serialize;

use super::Letter;
use crate::model::text::time::{Style, write_timestamp};
use crate::project::letters::Rendered;

/// So many are kept.
const MOST: usize = 200;

/// A letter that was written and not sent.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Counts up from 1.
    pub id: u64,
    pub to: String,
    pub from: String,
    pub subject: String,
    pub occasion: &'static str,
    pub text: String,
    pub html: String,
    pub link: Option<String>,
    pub code: Option<String>,
    /// As `to_json` of Postgres prints it.
    pub sent_at: String,
}

#[derive(Default)]
struct Shelf {
    letters: VecDeque<Kept>,
    count: u64,
}

/// Seconds from the epoch of Unix to that of Postgres.
const EPOCH: Duration = Duration::from_secs(946_684_800);

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH + EPOCH).unwrap_or_default();
    let mut text = Vec::new();
    write_timestamp(&mut text, i64::try_from(since.as_micros()).unwrap_or(i64::MAX), Style::Json);
    String::from_utf8_lossy(&text).into_owned()
}

/// The last letters, newest first.
#[derive(Default)]
pub struct Caught(RwLock<Shelf>);

impl Caught {
    pub(super) fn keep(&self, from: String, letter: Letter, rendered: Rendered) {
        let mut shelf = self.0.write();
        shelf.count += 1;
        let id = shelf.count;
        shelf.letters.push_front(Kept {
            id,
            to: letter.to,
            from,
            subject: rendered.subject,
            occasion: letter.occasion.as_str(),
            text: rendered.text,
            html: rendered.html,
            link: letter.link,
            code: letter.code,
            sent_at: now(),
        });
        shelf.letters.truncate(MOST);
    }

    /// The letters to an address, or to anybody.
    pub fn letters(&self, to: Option<&str>) -> Vec<Kept> {
        let shelf = self.0.read();
        let wanted = |letter: &&Kept| to.is_none_or(|to| letter.to.eq_ignore_ascii_case(to.trim()));
        shelf.letters.iter().filter(wanted).cloned().collect()
    }

    pub fn letter(&self, id: u64) -> Option<Kept> {
        self.0.read().letters.iter().find(|letter| letter.id == id).cloned()
    }

    pub fn clear(&self) {
        self.0.write().letters.clear();
    }
}
