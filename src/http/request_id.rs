//! [`RequestId`]: one id in the answer, in its error body and in every log line of a request.

use std::fmt;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest};
use uuid::Uuid;

/// The header that carries it.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Ours alone: an id that a client sends is not taken over, so nobody can forge or collide log lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(Uuid);

/// The id of a request; none only where the frame does not stand around the handler.
pub fn of(request: &HttpRequest) -> Option<RequestId> {
    request.extensions().get::<RequestId>().copied()
}

impl RequestId {
    /// A new id; later ones sort behind earlier ones (UUID version 7).
    #[expect(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    pub fn new() -> RequestId {
        RequestId(Uuid::now_v7())
    }

    /// The id as a header's value.
    pub fn header(self) -> HeaderValue {
        let mut buffer = Uuid::encode_buffer();
        let text: &str = self.0.hyphenated().encode_lower(&mut buffer);
        HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}
