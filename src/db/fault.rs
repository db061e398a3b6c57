//! [`DbError`]: what Postgres or the way to it said, and what a caller may be told of it.

use std::error::Error as _;
use std::fmt;

use super::lanes::Purpose;
use crate::error::{Code, Error};

/// Seconds after which a caller may try again.
const RETRY_AFTER: u32 = 1;

/// What the server reported. `detail` may hold values of rows: it is for logs only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Five characters, as in Postgres' appendix A.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The constraint that a statement would break.
    pub constraint: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// The server answered with an error.
    Server(Box<Report>),
    /// There is no connection.
    Unreachable(String),
    /// The connection was lost while the statement was under way.
    Lost(String),
    /// No connection of the pool became free in time.
    Busy,
    /// The rows of the answer are larger than we keep in memory.
    TooLarge,
    /// More parameters than the protocol can count.
    TooMany,
    /// The driver could not send the statement or understand the answer: a defect of ours.
    Driver(String),
}

/// Why a statement brought no rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbError {
    kind: Kind,
    /// The statement may have been committed: it must not be tried again, and the caller must be told.
    pub outcome_unknown: bool,
}

impl DbError {
    pub(super) fn unreachable(why: impl Into<String>) -> DbError {
        DbError { kind: Kind::Unreachable(why.into()), outcome_unknown: false }
    }

    pub(super) fn busy() -> DbError {
        DbError { kind: Kind::Busy, outcome_unknown: false }
    }

    pub(super) fn too_large() -> DbError {
        DbError { kind: Kind::TooLarge, outcome_unknown: false }
    }

    pub(super) fn too_many() -> DbError {
        DbError { kind: Kind::TooMany, outcome_unknown: false }
    }

    /// The connection ended while something was under way that has no effect.
    pub(crate) fn lost(why: impl Into<String>) -> DbError {
        DbError { kind: Kind::Lost(why.into()), outcome_unknown: false }
    }

    /// The server answered with an error.
    pub(super) fn reported(report: Report) -> DbError {
        DbError { kind: Kind::Server(Box::new(report)), outcome_unknown: false }
    }

    pub(crate) fn driver(why: impl Into<String>) -> DbError {
        DbError { kind: Kind::Driver(why.into()), outcome_unknown: false }
    }

    /// An error of a statement that has no effect, or of the preparation of any statement.
    pub(super) fn from_reading(e: &tokio_postgres::Error) -> DbError {
        if let Some(report) = e.as_db_error() {
            let kind = Kind::Server(Box::new(Report {
                sqlstate: same_in_every_version(report.code().code()).to_owned(),
                message: report.message().to_owned(),
                detail: report.detail().map(str::to_owned),
                hint: report.hint().map(str::to_owned),
                constraint: report.constraint().map(str::to_owned),
                table: report.table().map(str::to_owned),
                column: report.column().map(str::to_owned),
            }));
            return DbError { kind, outcome_unknown: false };
        }
        let io = e.source().is_some_and(|source| source.is::<std::io::Error>());
        let kind = if e.is_closed() || io { Kind::Lost(chain(e)) } else { Kind::Driver(chain(e)) };
        DbError { kind, outcome_unknown: false }
    }

    /// An error of a statement that may have been committed before the connection was lost.
    pub(super) fn from_writing(e: &tokio_postgres::Error) -> DbError {
        let error = DbError::from_reading(e);
        DbError { outcome_unknown: error.connection_is_gone(), ..error }
    }

    /// An error of making a connection. What the server said then (a wrong password, no connections left)
    /// is about us, not about the request: only the log gets it.
    pub(super) fn from_connecting(e: &tokio_postgres::Error) -> DbError {
        DbError::unreachable(chain(e))
    }

    /// The server's report, if it was the server who refused.
    pub fn report(&self) -> Option<&Report> {
        match &self.kind {
            Kind::Server(report) => Some(report),
            Kind::Unreachable(_)
            | Kind::Lost(_)
            | Kind::Busy
            | Kind::TooLarge
            | Kind::TooMany
            | Kind::Driver(_) => None,
        }
    }

    pub fn sqlstate(&self) -> Option<&str> {
        self.report().map(|report| report.sqlstate.as_str())
    }

    /// The constraint that a statement would break.
    pub fn constraint(&self) -> Option<&str> {
        self.report().and_then(|report| report.constraint.as_deref())
    }

    /// The database was not there or went away, as opposed to refusing the statement.
    pub fn is_unavailable(&self) -> bool {
        matches!(self.kind, Kind::Unreachable(_)) || self.connection_is_gone()
    }

    /// The statement was undone because somebody else holds a lock that it needs.
    pub fn waits_for_a_lock(&self) -> bool {
        self.sqlstate() == Some("55P03")
    }

    /// The statement was refused for what it is, and nothing of it was done: it can be tried again in another form.
    pub(super) fn is_refusal(&self, purpose: Purpose) -> bool {
        match &self.kind {
            Kind::Server(_) => !self.connection_is_gone(),
            Kind::TooLarge => purpose == Purpose::Reading,
            Kind::TooMany => true,
            Kind::Unreachable(_) | Kind::Lost(_) | Kind::Busy | Kind::Driver(_) => false,
        }
    }

    /// The connection ended before the answer came.
    pub(super) fn connection_is_gone(&self) -> bool {
        match &self.kind {
            Kind::Lost(_) => true,
            // Class 08 and the operator's orders end the session; they may arrive instead of the answer.
            Kind::Server(report) => {
                report.sqlstate.starts_with("08")
                    || matches!(report.sqlstate.as_str(), "57P01" | "57P02" | "57P03" | "57P05")
            }
            Kind::Unreachable(_) | Kind::Busy | Kind::TooLarge | Kind::TooMany | Kind::Driver(_) => false,
        }
    }

    /// The prepared statement no longer fits the tables or is gone: preparing it again helps. Raised before
    /// anything was done.
    pub(super) fn statement_is_stale(&self) -> bool {
        self.report().is_some_and(|report| {
            report.sqlstate == "26000"
                || (report.sqlstate == "0A000" && report.message.contains("cached plan must not change"))
        })
    }

    /// What the caller is told. Constraints that a project declared are turned into faults of fields by
    /// `records`, before this.
    pub fn into_error(self) -> Error {
        let error = match &self.kind {
            Kind::Busy => Error::new(Code::PoolTimeout).retry_after(RETRY_AFTER),
            Kind::Driver(_) => Error::new(Code::Internal),
            Kind::TooLarge => answer_too_large(),
            Kind::TooMany => {
                Error::with(Code::QueryString, "The request needs more values than one statement can have")
            }
            Kind::Server(report) if !self.connection_is_gone() => refused(report),
            Kind::Unreachable(_) | Kind::Lost(_) | Kind::Server(_) => {
                Error::new(Code::Unavailable).retry_after(RETRY_AFTER)
            }
        };
        let error = if self.outcome_unknown {
            error.details(
                "The connection was lost while the change was under way: it may or may not have been made",
            )
        } else {
            error
        };
        error.source(self)
    }
}

fn answer_too_large() -> Error {
    Error::new(Code::AnswerTooLarge)
        .hint("Ask for fewer records: give `limit`, and `rel.limit` for embedded ones")
}

/// PostgreSQL 18 gives `on delete restrict` a code of its own (23001); to 17 it is 23503, as other broken references
/// are, and that is what clients know.
fn same_in_every_version(sqlstate: &str) -> &str {
    match sqlstate {
        "23001" => "23503",
        other => other,
    }
}

fn refused(report: &Report) -> Error {
    let state = report.sqlstate.as_str();
    match state {
        "42501" => return Error::new(Code::Denied),
        "BW413" => return answer_too_large(),
        // The server is starting, full or out of resources.
        _ if state.starts_with("53") && state != "53400" => {
            return Error::new(Code::Unavailable).retry_after(RETRY_AFTER);
        }
        _ => {}
    }
    let code = Code::Sqlstate(report.sqlstate.clone());
    let error = match state {
        "23502" => Error::with(code, "a required value is missing"),
        "23503" => Error::with(code, "a referenced record does not exist, or this one is still referenced"),
        "23505" => Error::with(code, "a record with this value exists already"),
        "23514" => Error::with(code, "a value is outside what is allowed"),
        "23P01" => Error::with(code, "the record conflicts with another one"),
        // Too long for an index, too many columns: Postgres would name indexes, and by them fields.
        _ if state.starts_with("54") => Error::with(code, "the request goes beyond a limit of the database"),
        "57014" => Error::with(code, "the request asked for too much work and was cancelled"),
        "55P03" | "40001" | "40P01" => {
            Error::with(code, "the request met another one at work on the same records; try again")
                .retry_after(RETRY_AFTER)
        }
        _ => match state.get(..2).unwrap_or_default() {
            // What the caller sent does not fit: Postgres' own sentence, which speaks of the caller's input.
            "21" | "22" | "42" | "0A" | "P0" | "PT" | "BW" => Error::with(code, report.message.clone()),
            // The rest speaks of the server or may speak of rows.
            _ => Error::new(code),
        },
    };
    match &report.hint {
        Some(hint) if matches!(state.get(..2), Some("22" | "42" | "P0" | "PT")) => error.hint(hint.clone()),
        _ => error,
    }
}

fn chain(e: &tokio_postgres::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(cause) = source {
        text += ": ";
        text += &cause.to_string();
        source = cause.source();
    }
    text
}

/// For logs: what happened, without the detail, which may hold values.
impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Server(report) => write!(f, "{}: {}", report.sqlstate, report.message)?,
            Kind::Unreachable(why) => write!(f, "the database cannot be reached: {why}")?,
            Kind::Lost(why) => write!(f, "the connection to the database was lost: {why}")?,
            Kind::TooLarge => f.write_str("the answer is larger than is kept in memory")?,
            Kind::TooMany => f.write_str("the statement has more parameters than Postgres takes")?,
            Kind::Busy => f.write_str("no database connection became free in time")?,
            Kind::Driver(why) => write!(f, "the database driver failed: {why}")?,
        }
        if self.outcome_unknown { f.write_str(" (outcome unknown)") } else { Ok(()) }
    }
}

impl std::error::Error for DbError {}

impl From<DbError> for Error {
    fn from(e: DbError) -> Error {
        e.into_error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(sqlstate: &str) -> DbError {
        let report = Report {
            sqlstate: sqlstate.to_owned(),
            message: format!("message of {sqlstate}"),
            detail: Some("Key (email)=(secret@example.org) already exists.".to_owned()),
            ..Report::default()
        };
        DbError { kind: Kind::Server(Box::new(report)), outcome_unknown: false }
    }

    fn check(error: DbError, code: &str, status: u16) -> Error {
        let error = error.into_error();
        assert_eq!((error.code.as_str(), error.code.status()), (code, status), "{error:?}");
        error
    }

    #[test]
    fn each_refusal_has_the_status_that_its_sqlstate_asks_for() {
        check(reported("22P02"), "22P02", 400);
        check(reported("23505"), "23505", 409);
        check(reported("23503"), "23503", 409);
        check(reported("42501"), "42501", 403);
        check(reported("57014"), "57014", 504);
        check(reported("40001"), "40001", 503);
        check(reported("53300"), "PGRST001", 503);
        check(reported("57P01"), "PGRST001", 503);
        check(DbError::busy(), "PGRST003", 504);
        check(DbError::unreachable("no"), "PGRST001", 503);
        check(DbError::driver("no"), "internal", 500);
    }

    #[test]
    fn a_record_that_is_still_referenced_has_the_same_code_on_every_version() {
        assert_eq!(same_in_every_version("23001"), "23503");
        assert_eq!(same_in_every_version("23503"), "23503");
        assert_eq!(same_in_every_version("23505"), "23505");
    }

    #[test]
    fn values_of_rows_never_reach_the_answer() {
        for state in ["23505", "23503", "23514", "23502", "54000", "XX000", "58030"] {
            let error = reported(state).into_error();
            let told = format!("{} {:?} {:?}", error.message, error.details, error.hint);
            assert!(!told.contains("secret@example.org") && !told.contains("message of"), "{state}: {told}");
        }
        assert_eq!(reported("22P02").into_error().message, "message of 22P02");
    }

    #[test]
    fn an_unknown_outcome_is_told() {
        let error = DbError { kind: Kind::Lost("reset".into()), outcome_unknown: true }.into_error();
        assert!(error.details.unwrap().as_str().unwrap().contains("may or may not"));
    }
}
