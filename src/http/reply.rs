//! [`Failure`]: the one place where an [`Error`] becomes a response.
//!
//! What `source` holds goes to the log under the request's id and never into an answer.

use std::fmt;

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;

use super::request_id::RequestId;
use crate::error::{AuthCode, Code, Error, FieldFault};

/// In whose words an error is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Everything that has no other words.
    Rest,
    /// Sign-in. Newer clients name the date of the shape they read, and look for its echo.
    Auth { dated: bool },
    /// Objects. Nearly every refusal is a 400 whose body says the status that is meant.
    Storage,
    /// Resumable uploads: the same bodies, under the statuses that are meant.
    Resumable,
}

/// Where a client of sign-in names the date of the shape that it reads, and the first of that shape.
const API_VERSION: HeaderName = HeaderName::from_static("x-supabase-api-version");
const DATED: &str = "2024-01-01";
/// The code of an error of sign-in, beside its body.
const AUTH_CODE: HeaderName = HeaderName::from_static("x-sb-error-code");

impl Dialect {
    /// The dialect of a request.
    pub fn of(head: &RequestHead) -> Dialect {
        if head.uri.path().starts_with("/auth/v1") {
            let version = head.headers.get(API_VERSION).and_then(|version| version.to_str().ok());
            // Dates of this form are ordered as texts are.
            let dated = version.is_some_and(|version| version.len() == DATED.len() && version >= DATED);
            Dialect::Auth { dated }
        } else if head.uri.path().starts_with("/storage/v1/upload/resumable") {
            Dialect::Resumable
        } else if head.uri.path().starts_with("/storage/v1") {
            Dialect::Storage
        } else {
            Dialect::Rest
        }
    }
}

/// Names the fault to proxies (RFC 9209).
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// An error on its way out of a handler.
#[derive(Debug)]
pub struct Failure(pub Error);

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        status(&self.0)
    }

    fn error_response(&self) -> HttpResponse {
        render(&self.0, None, Dialect::Rest)
    }
}

/// The status of an error's answer.
pub(super) fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The body of an error: four members always, the rest where there is something to say.
#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    details: Option<&'a serde_json::Value>,
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[FieldFault]>::is_empty")]
    fields: &'a [FieldFault],
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// An error as a response in the shape that clients of a dialect read.
pub fn render(error: &Error, id: Option<RequestId>, dialect: Dialect) -> HttpResponse {
    match dialect {
        Dialect::Rest => render_rest(error, id),
        Dialect::Auth { dated } => render_auth(error, id, dated),
        Dialect::Storage => render_storage(error, id, false),
        Dialect::Resumable => render_storage(error, id, true),
    }
}

/// The body of an error of sign-in, in both shapes.
#[derive(Serialize)]
#[serde(untagged)]
enum AuthBody<'a> {
    Dated {
        code: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        weak_password: Option<&'a serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_id: Option<String>,
    },
    Plain {
        code: u16,
        error_code: &'a str,
        msg: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        weak_password: Option<&'a serde_json::Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_id: Option<String>,
    },
}

fn render_auth(error: &Error, id: Option<RequestId>, dated: bool) -> HttpResponse {
    let (word, status) = error.code.in_sign_in();
    let weak = error.code == Code::Auth(AuthCode::WeakPassword);
    let weak_password = error.details.as_ref().filter(|_| weak);
    let error_id = id.map(|id| id.to_string());
    let message = error.message.as_str();
    let body = if dated {
        AuthBody::Dated { code: word, message, weak_password, error_id }
    } else {
        AuthBody::Plain { code: status, error_code: word, msg: message, weak_password, error_id }
    };
    let mut response = begin(error, word, StatusCode::from_u16(status).unwrap_or_default());
    if let Ok(value) = HeaderValue::from_str(word) {
        response.insert_header((AUTH_CODE, value));
    }
    if dated {
        response.insert_header((API_VERSION, HeaderValue::from_static(DATED)));
    }
    finish(response, &body)
}

/// The body of an error of storage.
#[derive(Serialize)]
struct StorageBody<'a> {
    /// The status that is meant, as text.
    #[serde(rename = "statusCode")]
    status: String,
    code: &'a str,
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

fn render_storage(error: &Error, id: Option<RequestId>, genuine: bool) -> HttpResponse {
    let (word, meant, short) = error.code.in_storage();
    // Players of media look for 416, clients and proxies for what may be tried again.
    let status = if genuine || meant >= 500 || matches!(meant, 416 | 429) { meant } else { 400 };
    let body = StorageBody {
        status: meant.to_string(),
        code: word,
        error: short,
        message: &error.message,
        hint: error.hint.as_deref(),
        request_id: id.map(|id| id.to_string()),
    };
    finish(begin(error, word, StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)), &body)
}

fn render_rest(error: &Error, id: Option<RequestId>) -> HttpResponse {
    let code = error.code.as_str();
    let body = Body {
        code,
        message: &error.message,
        details: error.details.as_ref(),
        hint: error.hint.as_deref(),
        fields: &error.fields,
        request_id: id.map(|id| id.to_string()),
    };
    finish(begin(error, code, status(error)), &body)
}

/// What the answer to every error has besides its body.
fn begin(error: &Error, code: &str, status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    // A SQLSTATE is five letters and digits, and ours are words: both are tokens of RFC 9209.
    if let Ok(value) = HeaderValue::from_str(&format!("basewright; error={code}")) {
        response.insert_header((PROXY_STATUS, value));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.insert_header((header::WWW_AUTHENTICATE, challenge(error)));
    }
    if let Some(seconds) = error.retry_after.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1)) {
        response.insert_header((header::RETRY_AFTER, HeaderValue::from(seconds)));
    }
    // What remains of a body that nobody will read must not be taken for the next request.
    if matches!(
        error.code,
        Code::PayloadTooLarge | Code::RequestTimeout | Code::HeadersTooLarge | Code::UriTooLong
    ) {
        response.force_close();
    }
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")));
    response
}

fn finish(mut response: HttpResponseBuilder, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => response.body(bytes),
        Err(_) => response.finish(),
    }
}

/// What a client should do about a 401 (RFC 6750, 3).
fn challenge(error: &Error) -> HeaderValue {
    let plain = HeaderValue::from_static("Bearer");
    match error.code {
        Code::Token | Code::Claims => {
            // The message is one of our own sentences; a quote or control character would end the value.
            let sentence: String = error
                .message
                .chars()
                .filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\'))
                .collect();
            HeaderValue::from_str(&format!(
                "Bearer error=\"invalid_token\", error_description=\"{sentence}\""
            ))
            .unwrap_or(plain)
        }
        _ => plain,
    }
}

/// What actix itself refuses, in our words.
pub(super) fn foreign(error: &actix_web::Error) -> Error {
    match error.as_response_error().status_code().as_u16() {
        404 => Error::new(Code::Path),
        405 => Error::new(Code::Method),
        408 => Error::new(Code::RequestTimeout),
        413 => Error::new(Code::PayloadTooLarge),
        414 => Error::new(Code::UriTooLong),
        415 => Error::new(Code::ContentType),
        431 => Error::new(Code::HeadersTooLarge),
        400..=499 => Error::with(Code::Body, "The request is malformed"),
        _ => Error::internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;

    async fn body(response: HttpResponse) -> serde_json::Value {
        serde_json::from_slice(&to_bytes(response.into_body()).await.unwrap()).unwrap()
    }

    #[actix_web::test]
    async fn the_four_members_are_always_there_and_the_source_never_is() {
        let error = Error::internal("the password is hunter2");
        let response = render(&error, None, Dialect::Rest);
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers().get("proxy-status").unwrap(), "basewright; error=internal");
        let body = body(response).await;
        assert_eq!(
            body,
            serde_json::json!({ "code": "internal", "message": "Something went wrong on the server", "details": null, "hint": null })
        );
    }

    #[actix_web::test]
    async fn a_refused_token_is_challenged_and_an_overload_says_when_to_come_back() {
        let expired = render(&Error::with(Code::Claims, "JWT \"expired\"\r\n"), None, Dialect::Rest);
        assert_eq!(
            expired.headers().get("www-authenticate").unwrap(),
            "Bearer error=\"invalid_token\", error_description=\"JWT expired\""
        );
        let missing = render(&Error::new(Code::CredentialRequired), None, Dialect::Rest);
        assert_eq!(missing.headers().get("www-authenticate").unwrap(), "Bearer");
        assert_eq!(
            render(&Error::new(Code::Unavailable), None, Dialect::Rest).headers().get("retry-after").unwrap(),
            "1"
        );
        let later = render(&Error::new(Code::TooManyRequests).retry_after(7), None, Dialect::Rest);
        assert_eq!(later.headers().get("retry-after").unwrap(), "7");
    }

    #[actix_web::test]
    async fn fields_and_the_requests_id_ride_along() {
        let mut error = Error::new(Code::Validation);
        error.fields.push(FieldFault {
            pointer: "/a".into(),
            code: "required".into(),
            message: "is missing".into(),
        });
        let id = RequestId::new();
        let body = body(render(&error, Some(id), Dialect::Rest)).await;
        assert_eq!(body["request_id"], id.to_string());
        assert_eq!(body["fields"][0]["pointer"], "/a");
    }
}
