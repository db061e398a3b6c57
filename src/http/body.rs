//! Reading a request's body: bounded in bytes, in how slowly they may come, and, where the caller says so, in time.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpMessage as _, HttpRequest};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::frame::Deadline;
use crate::error::{Code, Error};

/// Longest silence between two pieces.
const IDLE: Duration = Duration::from_secs(30);
/// From here on a body must have come at [`RATE`] or faster.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes a second.
const RATE: u64 = 1024;

/// Reads the whole body, at most `limit` bytes. The time it takes does not count against the handler.
///
/// # Errors
/// 413 over the limit (at once where the length is announced), 408 when it comes too slowly, 415 when it is
/// compressed, 400 when the connection breaks off.
pub async fn read(request: &HttpRequest, payload: Payload, limit: usize) -> Result<Bytes, Error> {
    read_until(request, payload, limit, None).await
}

/// As [`read`], and all of it must have come within this time.
///
/// # Errors
/// As [`read`].
pub async fn read_within(
    request: &HttpRequest,
    payload: Payload,
    limit: usize,
    within: Duration,
) -> Result<Bytes, Error> {
    read_until(request, payload, limit, Some(Instant::now() + within)).await
}

async fn read_until(
    request: &HttpRequest,
    mut payload: Payload,
    limit: usize,
    end: Option<Instant>,
) -> Result<Bytes, Error> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if header(header::CONTENT_ENCODING).is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity"))
    {
        return Err(Error::with(Code::ContentType, "Compressed request bodies are not accepted"));
    }
    let announced = header(header::CONTENT_LENGTH).and_then(|length| length.trim().parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let deadline = request.extensions().get::<Deadline>().cloned();
    if let Some(deadline) = &deadline {
        deadline.suspend();
    }
    let outcome = collect(&mut payload, limit, announced, end).await;
    if let Some(deadline) = &deadline {
        deadline.restart();
    }
    outcome
}

async fn collect(
    payload: &mut Payload,
    limit: usize,
    announced: Option<u64>,
    end: Option<Instant>,
) -> Result<Bytes, Error> {
    let started = Instant::now();
    let mut last = started;
    // What is announced is not yet sent: a stranger must not make us reserve it all.
    let room = usize::try_from(announced.unwrap_or(0)).unwrap_or(limit).min(limit).min(64 << 10);
    let mut body = BytesMut::with_capacity(room);
    loop {
        let paid = Duration::from_secs(body.len() as u64 / RATE);
        let due = (last + IDLE).min(started + GRACE.max(paid));
        let due = end.map_or(due, |end| due.min(end));
        match timeout_at(due, payload.next()).await {
            Err(_) => return Err(Error::new(Code::RequestTimeout)),
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(Err(error))) => {
                return Err(Error::with(Code::Body, "The body broke off").source(error.to_string()));
            }
            Ok(Some(Ok(piece))) => {
                if body.len() + piece.len() > limit {
                    return Err(too_large(limit));
                }
                // One piece is the usual case, and can be passed on as it is.
                if body.is_empty() && announced == Some(piece.len() as u64) {
                    return Ok(piece);
                }
                body.extend_from_slice(&piece);
                last = Instant::now();
            }
        }
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::PayloadTooLarge).details(format!("The limit is {limit} bytes."))
}
