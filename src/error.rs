//! [`Error`]: the one error of use cases, and the one table of codes.
//!
//! Pure floors return small faults of their own; where they meet a request they become an `Error`.
//! `http::reply` renders it in each dialect's shape. What `source` holds is for the log only.

mod auth;
mod channel;
mod sqlstate;
mod storage;

use std::fmt;

pub use auth::AuthCode;
pub use channel::CHANNEL_CODES;
pub use sqlstate::SQLSTATES;
pub use storage::StorageCode;

/// One row a code: the word on the wire, the status, the sentence.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $sentence:literal;)*) => {
        /// What went wrong, as a stable code. A code is never reused for another meaning.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// Something Postgres said, by its SQLSTATE.
            Sqlstate(String),
            /// What sign-in refuses.
            Auth(AuthCode),
            /// What storage refuses.
            Storage(StorageCode),
        }

        impl Code {
            /// Those of requests in general and for records. Sign-in, storage and Postgres have tables of their own.
            pub const PLAIN: &[Code] = &[$(Code::$name,)*];

            /// (wire code, HTTP status, sentence).
            fn row(&self) -> (&str, u16, &'static str) {
                match self {
                    $(Code::$name => ($word, $status, $sentence),)*
                    Code::Sqlstate(state) => (state, sqlstate::status(state), "The database refused the request"),
                    Code::Auth(code) => code.row(),
                    Code::Storage(code) => code.row(),
                }
            }
        }
    };
}

codes! {
    /// The database cannot be reached, or the outcome of a commit is unknown.
    Unavailable = "PGRST001", 503, "Database client error. Retrying the connection.";
    /// No connection became free in time.
    PoolTimeout = "PGRST003", 504, "Timed out acquiring connection from connection pool.";
    /// The query string cannot be parsed.
    QueryString = "PGRST100", 400, "The query string could not be parsed";
    /// The body cannot be parsed.
    Body = "PGRST102", 400, "Empty or invalid json";
    /// Limit, offset or Range ask for what is not there.
    Range = "PGRST103", 416, "Requested range not satisfiable";
    /// A schema other than `public`.
    Schema = "PGRST106", 406, "Only the schema public is exposed";
    /// No offered media type is acceptable.
    MediaType = "PGRST107", 406, "None of these media types are available";
    /// The body's media type is not supported.
    ContentType = "PGRST107", 415, "Content-Type not acceptable";
    /// A `PUT` whose filters are not exactly the primary key.
    PutFilters = "PGRST105", 405, "Filters must include all and only primary key columns with 'eq' operators";
    /// A `PUT` with a window.
    PutWindow = "PGRST114", 400, "limit/offset querystring parameters are not allowed for PUT";
    /// A `PUT` whose body is not one record with the key that the URL names.
    PutKey = "PGRST115", 400, "Payload values do not match URL in primary key column(s)";
    /// A nested modifier names what `select` does not embed.
    NotEmbedded = "PGRST108", 400, "Not an embedded resource in this request";
    /// One row was asked for and another number found.
    NotSingular = "PGRST116", 406, "Cannot coerce the result to a single JSON object";
    Method = "PGRST117", 405, "Unsupported HTTP method";
    /// A method that calls no function.
    FunctionMethod = "PGRST101", 405, "This method calls no function";
    /// Ordering by a related collection that is not to-one.
    RelatedOrder = "PGRST118", 400, "A related order is not possible";
    /// An operator other than `is.null` on an embed.
    EmbedFilter = "PGRST120", 400, "Bad operator on an embedded resource";
    /// `handling=strict` met a preference that is not known.
    Preferences = "PGRST122", 400, "Invalid preferences given with handling=strict";
    AggregatesOff = "PGRST123", 400, "Use of aggregate functions is not allowed";
    /// More rows would be affected than `max-affected` allows.
    MaxAffected = "PGRST124", 400, "Query result exceeds max-affected preference constraint";
    Path = "PGRST125", 404, "Invalid path specified in request URL";
    /// Part of the dialect that is not built.
    NotSupported = "PGRST127", 400, "Feature not implemented";
    NoRelationship = "PGRST200", 400, "Could not find a relationship";
    AmbiguousRelationship = "PGRST201", 300, "More than one relationship was found";
    /// A function that does not exist.
    NoFunction = "PGRST202", 404, "Could not find the function in the schema cache";
    /// A column of the body or of `columns` that the caller does not know.
    UnknownColumn = "PGRST204", 400, "Could not find the column";
    /// A collection that does not exist or that no rule of the caller speaks of.
    UnknownCollection = "PGRST205", 404, "Could not find the table in the schema cache";
    /// A token that cannot be decoded or verified.
    Token = "PGRST301", 401, "JWT could not be decoded";
    /// A credential is required.
    CredentialRequired = "PGRST302", 401, "Anonymous access is disabled";
    /// A token whose claims do not hold (expired, not yet valid, another audience).
    Claims = "PGRST303", 401, "JWT claims are not valid";
    /// A session's token whose user is gone.
    UserGone = "PGRST303", 401, "The user of the JWT does not exist";
    /// A session's token whose user is banned.
    UserBanned = "PGRST303", 401, "The user of the JWT is banned";
    /// A token whose session is over.
    SessionEnded = "PGRST303", 401, "The session of the JWT is over";
    /// No rule allows it, and nobody is signed in.
    DeniedAnonymous = "42501", 401, "permission denied";
    /// No rule allows it.
    Denied = "42501", 403, "permission denied";
    /// The body does not meet the collection's schema; `fields` holds every fault.
    Validation = "validation_failed", 400, "The body does not meet the collection's schema";
    PayloadTooLarge = "payload_too_large", 413, "The body is larger than the limit";
    /// What was asked for is larger than one answer may be.
    AnswerTooLarge = "answer_too_large", 400, "The answer would be larger than 64 MiB, or a live list without a limit larger than a page";
    UriTooLong = "uri_too_long", 414, "The request's URI is longer than the limit";
    HeadersTooLarge = "headers_too_large", 431, "The request's headers are larger than the limit";
    RequestTimeout = "request_timeout", 408, "The request took too long to arrive";
    TooManyRequests = "too_many_requests", 429, "Too many requests";
    /// A defect of ours; the cause is in the log under the request's id.
    Internal = "internal", 500, "Something went wrong on the server";
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
