//! What can be wrong with parameters, and how the dialect says so.

use crate::error::{Code, Error};

/// Parameters that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("\"failed to parse {what} ({text})\" (line 1, column {column})")]
    Syntax {
        /// `filter`, `order`, `select parameter`, …
        what: &'static str,
        /// The whole text that was parsed.
        text: String,
        /// Where, in characters from 1.
        column: usize,
        /// What stands there; `None` at the end.
        found: Option<char>,
        expected: &'static str,
    },
    /// A parameter's path names what `select` does not embed.
    #[error("'{0}' is not an embedded resource in this request")]
    NotEmbedded(String),
    /// More of something than the request may have.
    #[error("the request has more than {most} {what}")]
    TooMany { what: &'static str, most: usize },
    #[error("Requested range not satisfiable")]
    Range(RangeFault),
    /// The query string is not UTF-8, or has a NUL in it.
    #[error("the query string holds {0}")]
    Encoding(&'static str),
    /// `handling=strict`, and these preferences are not known.
    #[error("Invalid preferences given with handling=strict")]
    Preferences(Vec<String>),
}

/// Why a window on the rows is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeFault {
    NegativeLimit,
    NegativeOffset,
    /// `Range: 5-3`
    Reversed,
    /// `Range` and `limit`/`offset` have no row in common.
    Disjoint,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        let message = fault.to_string();
        match fault {
            Fault::Syntax { found, expected, .. } => {
                let found =
                    found.map_or_else(|| "end of input".to_owned(), |letter| format!("\"{letter}\""));
                Error::with(Code::QueryString, message)
                    .details(format!("unexpected {found} expecting {expected}"))
            }
            Fault::NotEmbedded(name) => Error::with(Code::NotEmbedded, message)
                .hint(format!("Verify that '{name}' is included in the 'select' query parameter.")),
            Fault::TooMany { .. } | Fault::Encoding(_) => Error::with(Code::QueryString, message),
            Fault::Range(why) => Error::with(Code::Range, message).details(match why {
                RangeFault::NegativeLimit => "Limit should be greater than or equal to zero.",
                RangeFault::NegativeOffset => "Offset should be greater than or equal to zero.",
                RangeFault::Reversed => {
                    "The lower boundary must be lower than or equal to the upper boundary in the Range header."
                }
                RangeFault::Disjoint => "The Range header and the limit and offset have no row in common.",
            }),
            Fault::Preferences(unknown) => Error::with(Code::Preferences, message)
                .details(format!("Invalid preferences: {}", unknown.join(", "))),
        }
    }
}
