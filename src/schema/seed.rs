//! First rows: SQL that a project brings along and that runs in the transaction that makes its tables.
//!
//! It runs in that transaction so that there is nothing to remember: either the tables are there with their
//! rows, or neither is, and a start after a fault begins again. Knows nothing of where the SQL comes from.

use futures_util::TryStreamExt as _;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{GenericClient, SimpleQueryMessage};

use super::Failure;

/// The project's own SQL for a database that has none of its tables yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// What faults call it, `seed.sql`.
    pub name: String,
    /// Any number of statements.
    pub sql: String,
}

/// What shaping tables sets is not what the rows are written under. The marker goes with the transaction.
const SETTINGS: &str = "set local search_path to public; set local timezone to default; \
    set local datestyle to default; set local intervalstyle to default; \
    set local extra_float_digits to default; set local bytea_output to default; \
    set local quote_all_identifiers to default; set local basewright.seeding to 'on'";

impl Seed {
    /// Runs all of it inside the caller's transaction.
    ///
    /// # Errors
    /// [`Failure::Seed`] with the line of the statement that Postgres refused, or if the SQL ended the
    /// transaction; [`Failure::Database`] if the connection was lost.
    pub(super) async fn run(&self, transaction: &impl GenericClient) -> Result<(), Failure> {
        transaction.batch_execute(SETTINGS).await?;
        let mut done = 0;
        let outcome = async {
            let answers = transaction.client().simple_query_raw(&self.sql).await?;
            let mut answers = std::pin::pin!(answers);
            while let Some(answer) = answers.try_next().await? {
                if let SimpleQueryMessage::CommandComplete(_) = answer {
                    done += 1;
                }
            }
            Ok(())
        }
        .await;
        outcome.map_err(|error| self.failed(error, done))?;
        let held = transaction
            .query_one("select coalesce(current_setting('basewright.seeding', true), '') = 'on'", &[])
            .await?;
        if held.try_get(0)? {
            return Ok(());
        }
        Err(Failure::Seed {
            place: self.name.clone(),
            message: "it ends the transaction that it runs in; leave out `begin`, `commit` and `rollback`"
                .to_owned(),
            source: None,
        })
    }

    fn failed(&self, error: tokio_postgres::Error, done: usize) -> Failure {
        let Some(said) = error.as_db_error() else { return Failure::Database(error) };
        // Faults of the text have a position; faults of the rows have only their statement.
        let at = match said.position() {
            Some(ErrorPosition::Original(position)) => {
                let characters = usize::try_from(*position).unwrap_or_default().saturating_sub(1);
                self.sql.char_indices().nth(characters).map(|(at, _)| at)
            }
            Some(ErrorPosition::Internal { .. }) | None => starts(&self.sql).get(done).copied(),
        };
        let place = match at {
            Some(at) => format!("{}:{}", self.name, line(&self.sql, at)),
            None => self.name.clone(),
        };
        let mut message = said.message().to_owned();
        for more in [said.detail(), said.hint()].into_iter().flatten() {
            message.push_str("; ");
            message.push_str(more);
        }
        Failure::Seed { place, message, source: Some(error) }
    }
}

fn line(sql: &str, at: usize) -> usize {
    sql.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// Where each statement begins. Postgres splits the text itself: this only names the line of a fault, so what
/// it does not know (the semicolons in `begin atomic … end`) costs precision and nothing else.
fn starts(sql: &str) -> Vec<usize> {
    let bytes = sql.as_bytes();
    let (mut found, mut begun, mut depth, mut at) = (Vec::new(), false, 0_usize, 0);
    while let Some(&byte) = bytes.get(at) {
        let next = match byte {
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = after(bytes, at, b"\n");
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                at = after_comment(bytes, at);
                continue;
            }
            b' ' | b'\t' | b'\n' | b'\r' | 0x0c => {
                at += 1;
                continue;
            }
            b';' if depth == 0 => {
                begun = false;
                at += 1;
                continue;
            }
            b'\'' => after_string(bytes, at),
            b'"' => after(bytes, at + 1, b"\""),
            b'$' if !is_word(bytes, at.wrapping_sub(1)) => match tag(bytes, at) {
                Some(tag) => after(bytes, at + tag.len(), tag),
                None => at + 1,
            },
            b'(' => {
                depth += 1;
                at + 1
            }
            b')' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            _ => at + 1,
        };
        if !begun {
            begun = true;
            found.push(at);
        }
        at = next;
    }
    found
}

/// The place behind the next `end`, or the end of the text.
fn after(bytes: &[u8], from: usize, end: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(end.len()).position(|window| window == end).map_or(bytes.len(), |at| from + at + end.len())
}

/// Comments in `/* */` nest.
fn after_comment(bytes: &[u8], from: usize) -> usize {
    let (mut at, mut open) = (from, 0_usize);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                open += 1;
                at += 2;
            }
            Some(b"*/") => {
                open -= 1;
                at += 2;
                if open == 0 {
                    return at;
                }
            }
            Some(_) | None => at += 1,
        }
    }
    at
}

/// A doubled quote begins what looks like another string, which ends where this one does.
fn after_string(bytes: &[u8], quote: usize) -> usize {
    let before = quote.wrapping_sub(1);
    let escapes = matches!(bytes.get(before), Some(b'e' | b'E')) && !is_word(bytes, before.wrapping_sub(1));
    let mut at = quote + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            b'\'' if escapes && bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_word(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80)
}

/// `$$` or `$name$`
fn tag(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at + 1..)?;
    let length = rest.iter().position(|byte| *byte == b'$')?;
    let name = rest.get(..length)?;
    let is_name = name.first().is_none_or(|first| !first.is_ascii_digit())
        && (0..name.len()).all(|at| is_word(name, at));
    if is_name { bytes.get(at..at + length + 2) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(sql: &str) -> Vec<usize> {
        starts(sql).into_iter().map(|at| line(sql, at)).collect()
    }

    #[test]
    fn a_statement_begins_at_its_first_word() {
        assert_eq!(lines("select 1;\nselect 2;\n\n  select\n3"), [1, 2, 4]);
        assert_eq!(lines("-- nothing; here\n;;/* a; /* b */ ; */ select 1;"), [2]);
        assert_eq!(lines(""), [0_usize; 0]);
    }

    #[test]
    fn a_semicolon_inside_something_ends_nothing() {
        assert_eq!(lines("select 'a;\n''b;';\nselect 2"), [1, 3]);
        assert_eq!(lines("select E'a\\';\n;';\nselect 2"), [1, 3]);
        assert_eq!(lines("select \"a;\n\"\"b\";\nselect 2"), [1, 3]);
        assert_eq!(lines("do $$ begin;\nend $$;\nselect $x$ $$; $x$;\nselect a$1;\nselect 3"), [1, 3, 4, 5]);
        assert_eq!(lines("create rule r as on insert to t do (select 1;\nselect 2);\nselect 3"), [1, 3]);
    }

    #[test]
    fn an_unfinished_text_is_no_panic() {
        for text in
            ["'", "E'\\", "\"", "$$", "$a", "$", "/*", "/* /* */", "--", "(", ")", "-", "/", "é$é$", ";"]
        {
            starts(text);
        }
    }
}
