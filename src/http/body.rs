//! Reading a request's body: bounded in bytes, in how slowly they may come, and, where the caller says so, in time.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpMessage as _, HttpRequest};
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::frame::Deadline;
use crate::error::{Code, Error};

/// Longest silence between two pieces.
const IDLE: Duration = Duration::from_secs(30);
/// From here on a body must have come at [`RATE`] or faster.
const GRACE: Duration = Duration::from_secs(10);
/// Longest time in which a body must have come, however long it is: what is gathered meanwhile is swept away in the end.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Bytes a second.
const RATE: u64 = 1024;
/// How much of a refused body is still read, and for how long.
const DISCARDED: u64 = 16 << 20;
const DISCARDING: Duration = Duration::from_secs(5);

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
    payload: Payload,
    limit: usize,
    end: Option<Instant>,
) -> Result<Bytes, Error> {
    let mut pieces = pieces_until(request, payload, limit as u64, end)?;
    // What is announced is not yet sent: a stranger must not make us reserve it all.
    let announced = pieces.announced;
    let room = usize::try_from(announced.unwrap_or(0)).unwrap_or(limit).min(limit).min(64 << 10);
    let mut body = BytesMut::with_capacity(room);
    while let Some(piece) = pieces.next().await? {
        // One piece is the usual case, and can be passed on as it is.
        if body.is_empty() && announced == Some(piece.len() as u64) {
            return Ok(piece);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// How many bytes the body is announced to have.
pub fn announced(request: &HttpRequest) -> Option<u64> {
    let length = request.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}

/// The body piece by piece, at most `limit` bytes. While it is there, time does not count against the handler.
///
/// # Errors
/// 413 where a longer one is announced, 415 when it is compressed. Its own are those of [`Pieces::next`].
pub fn pieces(request: &HttpRequest, payload: Payload, limit: u64) -> Result<Pieces, Error> {
    pieces_until(request, payload, limit, Some(Instant::now() + LONGEST))
}

fn pieces_until(
    request: &HttpRequest,
    payload: Payload,
    limit: u64,
    end: Option<Instant>,
) -> Result<Pieces, Error> {
    let coding =
        request.headers().get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).map(str::trim);
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(Error::with(Code::ContentType, "Compressed request bodies are not accepted"));
    }
    let announced = announced(request);
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let deadline = request.extensions().get::<Deadline>().cloned();
    if let Some(deadline) = &deadline {
        deadline.suspend();
    }
    let started = Instant::now();
    Ok(Pieces { payload, limit, announced, end, deadline, started, last: started, taken: 0 })
}

/// A body that is taken piece by piece.
pub struct Pieces {
    payload: Payload,
    limit: u64,
    announced: Option<u64>,
    end: Option<Instant>,
    deadline: Option<Deadline>,
    /// Later by what was not the sender's time.
    started: Instant,
    /// When the last piece was given out.
    last: Instant,
    taken: u64,
}

impl Pieces {
    /// The next piece; none at the end.
    ///
    /// # Errors
    /// 413 over the limit, 408 when it comes too slowly, 400 when the connection breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        // The time that whoever takes the pieces needs is not the sender's.
        let now = Instant::now();
        self.started += now.duration_since(self.last);
        let paid = Duration::from_secs(self.taken / RATE);
        let due = (now + IDLE).min(self.started + GRACE.max(paid));
        let due = self.end.map_or(due, |end| due.min(end));
        match timeout_at(due, self.payload.next()).await {
            Err(_) => Err(Error::new(Code::RequestTimeout)),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => {
                Err(Error::with(Code::Body, "The body broke off").source(error.to_string()))
            }
            Ok(Some(Ok(piece))) => {
                self.taken += piece.len() as u64;
                if self.taken > self.limit {
                    return Err(too_large(self.limit));
                }
                self.last = Instant::now();
                Ok(Some(piece))
            }
        }
    }

    /// The same, for whoever takes a stream.
    pub fn stream(&mut self) -> impl Stream<Item = Result<Bytes, Error>> {
        unfold(self, |pieces| async move {
            let piece = pieces.next().await.transpose()?;
            Some((piece, pieces))
        })
    }

    /// The same, for whoever keeps it. It may be asked once more after its end, as readers of forms do.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> {
        unfold(self, |mut pieces| async move {
            let piece = pieces.next().await.transpose()?;
            Some((piece, pieces))
        })
        .fuse()
    }

    /// Reads on and throws away what is left of a body that was refused, if it ends soon: many clients send all of it before
    /// they look at the answer, and would see a broken connection instead.
    pub async fn discard(mut self) {
        let reading = async {
            let until = self.taken.saturating_add(DISCARDED);
            while self.taken < until && matches!(self.next().await, Ok(Some(_))) {}
        };
        // Whoever takes longer sees his connection end.
        let _ = tokio::time::timeout(DISCARDING, reading).await;
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(deadline) = &self.deadline {
            deadline.restart();
        }
    }
}

fn too_large(limit: u64) -> Error {
    Error::new(Code::PayloadTooLarge).details(format!("The limit is {limit} bytes."))
}
