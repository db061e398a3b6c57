//! [`Error`]: the one error of use cases, and the one table of codes.
//!
//! Pure floors return small faults of their own; where they meet a request they become an `Error`.
//! `http::reply` renders it in each dialect's shape. What `source` holds is for the log only.

mod auth;
mod storage;

use std::fmt;

pub use auth::AuthCode;
pub use storage::StorageCode;

/// What went wrong, as a stable code. The table in `Code::row` gives each its wire code, status and sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// The database cannot be reached, or the outcome of a commit is unknown.
    Unavailable,
    /// No connection became free in time.
    PoolTimeout,
    /// The query string cannot be parsed.
    QueryString,
    /// The body cannot be parsed.
    Body,
    /// Limit, offset or Range ask for what is not there.
    Range,
    /// A schema other than `public`.
    Schema,
    /// No offered media type is acceptable.
    MediaType,
    /// The body's media type is not supported.
    ContentType,
    /// A `PUT` whose filters are not exactly the primary key.
    PutFilters,
    /// A `PUT` with a window.
    PutWindow,
    /// A `PUT` whose body is not one record with the key that the URL names.
    PutKey,
    /// A nested modifier names what `select` does not embed.
    NotEmbedded,
    /// One row was asked for and another number found.
    NotSingular,
    Method,
    /// A method that calls no function.
    FunctionMethod,
    /// Ordering by a related collection that is not to-one.
    RelatedOrder,
    /// An operator other than `is.null` on an embed.
    EmbedFilter,
    /// `handling=strict` met a preference that is not known.
    Preferences,
    AggregatesOff,
    /// More rows would be affected than `max-affected` allows.
    MaxAffected,
    Path,
    /// Part of the dialect that is not built.
    NotSupported,
    NoRelationship,
    AmbiguousRelationship,
    /// A function that does not exist.
    NoFunction,
    /// A column of the body or of `columns` that the caller does not know.
    UnknownColumn,
    /// A collection that does not exist or that no rule of the caller speaks of.
    UnknownCollection,
    /// A token that cannot be decoded or verified.
    Token,
    /// A credential is required.
    CredentialRequired,
    /// A token whose claims do not hold (expired, not yet valid, another audience).
    Claims,
    /// A session's token whose user is gone.
    UserGone,
    /// A session's token whose user is banned.
    UserBanned,
    /// A token whose session is over.
    SessionEnded,
    /// No rule allows it, and nobody is signed in.
    DeniedAnonymous,
    /// No rule allows it.
    Denied,
    /// The body does not meet the collection's schema; `fields` holds every fault.
    Validation,
    PayloadTooLarge,
    /// What was asked for is larger than one answer may be.
    AnswerTooLarge,
    UriTooLong,
    HeadersTooLarge,
    RequestTimeout,
    TooManyRequests,
    /// A defect of ours; the cause is in the log under the request's id.
    Internal,
    /// Something Postgres said, by its SQLSTATE.
    Sqlstate(String),
    /// What sign-in refuses.
    Auth(AuthCode),
    /// What storage refuses.
    Storage(StorageCode),
}

impl From<AuthCode> for Code {
    fn from(code: AuthCode) -> Code {
        Code::Auth(code)
    }
}

impl From<StorageCode> for Code {
    fn from(code: StorageCode) -> Code {
        Code::Storage(code)
    }
}

impl Code {
    /// (wire code, HTTP status, sentence). A code is never reused for another meaning.
    fn row(&self) -> (&str, u16, &'static str) {
        match self {
            Code::Unavailable => ("PGRST001", 503, "Database client error. Retrying the connection."),
            Code::PoolTimeout => ("PGRST003", 504, "Timed out acquiring connection from connection pool."),
            Code::QueryString => ("PGRST100", 400, "The query string could not be parsed"),
            Code::Body => ("PGRST102", 400, "Empty or invalid json"),
            Code::Range => ("PGRST103", 416, "Requested range not satisfiable"),
            Code::Schema => ("PGRST106", 406, "Only the schema public is exposed"),
            Code::MediaType => ("PGRST107", 406, "None of these media types are available"),
            Code::ContentType => ("PGRST107", 415, "Content-Type not acceptable"),
            Code::PutFilters => {
                ("PGRST105", 405, "Filters must include all and only primary key columns with 'eq' operators")
            }
            Code::PutWindow => {
                ("PGRST114", 400, "limit/offset querystring parameters are not allowed for PUT")
            }
            Code::PutKey => ("PGRST115", 400, "Payload values do not match URL in primary key column(s)"),
            Code::NotEmbedded => ("PGRST108", 400, "Not an embedded resource in this request"),
            Code::NotSingular => ("PGRST116", 406, "Cannot coerce the result to a single JSON object"),
            Code::Method => ("PGRST117", 405, "Unsupported HTTP method"),
            Code::FunctionMethod => ("PGRST101", 405, "This method calls no function"),
            Code::RelatedOrder => ("PGRST118", 400, "A related order is not possible"),
            Code::EmbedFilter => ("PGRST120", 400, "Bad operator on an embedded resource"),
            Code::Preferences => ("PGRST122", 400, "Invalid preferences given with handling=strict"),
            Code::AggregatesOff => ("PGRST123", 400, "Use of aggregate functions is not allowed"),
            Code::MaxAffected => ("PGRST124", 400, "Query result exceeds max-affected preference constraint"),
            Code::Path => ("PGRST125", 404, "Invalid path specified in request URL"),
            Code::NotSupported => ("PGRST127", 400, "Feature not implemented"),
            Code::NoRelationship => ("PGRST200", 400, "Could not find a relationship"),
            Code::AmbiguousRelationship => ("PGRST201", 300, "More than one relationship was found"),
            Code::NoFunction => ("PGRST202", 404, "Could not find the function in the schema cache"),
            Code::UnknownColumn => ("PGRST204", 400, "Could not find the column"),
            Code::UnknownCollection => ("PGRST205", 404, "Could not find the table in the schema cache"),
            Code::Token => ("PGRST301", 401, "JWT could not be decoded"),
            Code::CredentialRequired => ("PGRST302", 401, "Anonymous access is disabled"),
            Code::Claims => ("PGRST303", 401, "JWT claims are not valid"),
            Code::UserGone => ("PGRST303", 401, "The user of the JWT does not exist"),
            Code::UserBanned => ("PGRST303", 401, "The user of the JWT is banned"),
            Code::SessionEnded => ("PGRST303", 401, "The session of the JWT is over"),
            Code::DeniedAnonymous => ("42501", 401, "permission denied"),
            Code::Denied => ("42501", 403, "permission denied"),
            Code::Validation => ("validation_failed", 400, "The body does not meet the collection's schema"),
            Code::PayloadTooLarge => ("payload_too_large", 413, "The body is larger than the limit"),
            Code::AnswerTooLarge => ("answer_too_large", 400, "The answer would be larger than 64 MiB"),
            Code::UriTooLong => ("uri_too_long", 414, "The request's URI is longer than the limit"),
            Code::HeadersTooLarge => {
                ("headers_too_large", 431, "The request's headers are larger than the limit")
            }
            Code::RequestTimeout => ("request_timeout", 408, "The request took too long to arrive"),
            Code::TooManyRequests => ("too_many_requests", 429, "Too many requests"),
            Code::Internal => ("internal", 500, "Something went wrong on the server"),
            Code::Sqlstate(state) => (state, sqlstate_status(state), "The database refused the request"),
            Code::Auth(code) => code.row(),
            Code::Storage(code) => code.row(),
        }
    }

    /// The code on the wire.
    pub fn as_str(&self) -> &str {
        self.row().0
    }

    pub fn status(&self) -> u16 {
        self.row().1
    }

    pub fn sentence(&self) -> &'static str {
        self.row().2
    }
}

/// PostgREST's mapping of SQLSTATE to HTTP status. 42501 is [`Code::Denied`] or [`Code::DeniedAnonymous`] and never comes here.
fn sqlstate_status(state: &str) -> u16 {
    match state {
        "57P01" => 503,
        "53400" => 500,
        "42P17" => 500,
        "23503" | "23505" => 409,
        "25006" => 405,
        // One body that names a record twice.
        "21000" => 400,
        "22023" => 400,
        "42883" | "42P01" => 404,
        "P0001" => 400,
        // statement_timeout: the request asked for too much work.
        "57014" => 504,
        // Our own runtime time-outs and retries: lock_timeout, serialization, deadlock.
        "55P03" | "40001" | "40P01" => 503,
        _ => match state.get(..2).unwrap_or_default() {
            // A trigger chose the status: `raise sqlstate 'PT402'`.
            "PT" => state[2..].parse().ok().filter(|status| (400..=599).contains(status)).unwrap_or(400),
            "08" | "53" => 503,
            "0L" | "0P" | "28" => 403,
            "09" | "25" | "2D" | "38" | "39" | "3B" | "40" | "55" | "57" | "58" | "F0" | "HV" | "P0"
            | "XX" => 500,
            _ => 400,
        },
    }
}

/// One fault of one field of a body.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldFault {
    /// A JSON pointer into the body: `/title`, `/0/tags/2`.
    pub pointer: String,
    /// A stable word: `required`, `kind`, `min`, `max`, `match`, `values`, `unique`, `reference`, `schema`, …
    pub code: String,
    /// A sentence for people. Never echoes a value.
    pub message: String,
}

/// A request that did not do what it asked.
#[derive(Debug)]
pub struct Error {
    pub code: Code,
    pub message: String,
    /// Text, or for an ambiguous embed the list of relationships.
    pub details: Option<serde_json::Value>,
    pub hint: Option<String>,
    pub fields: Vec<FieldFault>,
    /// Seconds after which trying again makes sense.
    pub retry_after: Option<u32>,
    /// Why, for the log only; never part of an answer.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with its code's own sentence.
    pub fn new(code: impl Into<Code>) -> Error {
        let code = code.into();
        let message = code.sentence().to_owned();
        Error::with(code, message)
    }

    pub fn with(code: impl Into<Code>, message: impl Into<String>) -> Error {
        Error {
            code: code.into(),
            message: message.into(),
            details: None,
            hint: None,
            fields: Vec::new(),
            retry_after: None,
            source: None,
        }
    }

    /// A defect of ours, with what is known about it for the log.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error { source: Some(source.into()), ..Error::new(Code::Internal) }
    }

    pub fn details(mut self, details: impl Into<serde_json::Value>) -> Error {
        self.details = Some(details.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }

    pub fn retry_after(mut self, seconds: u32) -> Error {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<AuthCode> for Error {
    fn from(code: AuthCode) -> Error {
        Error::new(code)
    }
}

impl From<StorageCode> for Error {
    fn from(code: StorageCode) -> Error {
        Error::new(code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
