//! [`Failure`]: the one place where an [`Error`] becomes a response.
//!
//! What `source` holds goes to the log under the request's id and never into an answer.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use super::request_id::RequestId;
use crate::error::{Code, Error, FieldFault};

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
        render(&self.0, None)
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

/// An error as a response in the shape that clients of the REST dialect read.
pub fn render(error: &Error, id: Option<RequestId>) -> HttpResponse {
    let code = error.code.as_str();
    let body = Body {
        code,
        message: &error.message,
        details: error.details.as_ref(),
        hint: error.hint.as_deref(),
        fields: &error.fields,
        request_id: id.map(|id| id.to_string()),
    };
    let status = status(error);
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
    match serde_json::to_vec(&body) {
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
        let response = render(&error, None);
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
        let expired = render(&Error::with(Code::Claims, "JWT \"expired\"\r\n"), None);
        assert_eq!(
            expired.headers().get("www-authenticate").unwrap(),
            "Bearer error=\"invalid_token\", error_description=\"JWT expired\""
        );
        let missing = render(&Error::new(Code::CredentialRequired), None);
        assert_eq!(missing.headers().get("www-authenticate").unwrap(), "Bearer");
        assert_eq!(render(&Error::new(Code::Unavailable), None).headers().get("retry-after").unwrap(), "1");
        let later = render(&Error::new(Code::TooManyRequests).retry_after(7), None);
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
        let body = body(render(&error, Some(id))).await;
        assert_eq!(body["request_id"], id.to_string());
        assert_eq!(body["fields"][0]["pointer"], "/a");
    }
}
