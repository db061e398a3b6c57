//! What stands around every request: its id, the limits of its head, preflights, a deadline, the net that
//! catches a panic, the headers of every answer and the line in the log.
//!
//! Nothing here looks at credentials or at the query string, so neither can reach the log.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpResponse, ResponseError, web};
use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::cors::Origins;
use super::pages;
use super::principal::Caller;
use super::reply::{self, Dialect, Failure};
use super::request_id::{self, RequestId};
use super::server::Options;
use super::storage::resumable;
use crate::app::App;
use crate::error::{Code, Error};

/// Longest path and query, in bytes.
const MAX_URI: usize = 16 << 10;
/// Most headers, and their bytes together. The parser under us cuts at 96 headers and 128 KiB, and refuses what is no
/// request (a bare `>` in the target), before anything of ours is called: its 431 and 400 have no body and no id, and it
/// has no hook for either.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 32 << 10;
/// How long a handler may take, the reading of the body not counted.
const HANDLER: Duration = Duration::from_secs(30);

/// How often a deadline that stands still is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// When a request's handler is given up.
#[derive(Clone)]
pub(super) struct Deadline(Rc<Cell<Option<Instant>>>);

impl Deadline {
    fn new() -> Deadline {
        Deadline(Rc::new(Cell::new(Some(Instant::now() + HANDLER))))
    }

    /// While the body is read its own time-outs hold.
    pub(super) fn suspend(&self) {
        self.0.set(None);
    }

    pub(super) fn restart(&self) {
        self.0.set(Some(Instant::now() + HANDLER));
    }

    async fn passed(&self) {
        loop {
            let now = Instant::now();
            match self.0.get() {
                Some(due) if due <= now => return,
                Some(due) => sleep_until(due).await,
                // A body is being read: look again soon, so that the time after it is counted.
                None => sleep_until(now + LOOK).await,
            }
        }
    }
}

/// The outermost layer.
pub(super) async fn frame<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = RequestId::new();
    let span = tracing::info_span!("request", id = %id);
    around(request, next, id).instrument(span).await
}

async fn around<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
    id: RequestId,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let (Some(app), Some(options)) =
        (request.app_data::<web::Data<App>>().cloned(), request.app_data::<web::Data<Options>>().cloned())
    else {
        return Err(Failure(Error::internal("the server was built without its App")).into());
    };
    let method = request.method().clone();
    let path = request.path().to_owned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let dress = Dress { app, options, id, origin, dialect: Dialect::of(request.head()) };

    let outcome = if Origins::is_preflight(request.head()) {
        let answer = Origins::preflight();
        Ok(request.into_response(answer))
    } else if let Err(error) = judge_head(request.head()) {
        let answer = reply::render(&error, Some(id), dress.dialect);
        Ok(request.into_response(answer))
    } else {
        run(request, next, &dress).await
    };

    let mut answer = match outcome {
        Ok(answer) => answer,
        // No request is left to answer to: the response is made from the error itself.
        Err(error) => {
            log(&method, &path, error.code.status(), started, None);
            complain(&error);
            return Err(Lost { error, dress }.into());
        }
    };
    dress.put_on(answer.response_mut());
    let status = answer.status().as_u16();
    let caller = answer.request().extensions().get::<Caller>().cloned();
    log(&method, &path, status, started, caller.as_ref());
    Ok(answer)
}

/// Runs the handler under its deadline and over the net. `Err` is a handler that was given up or panicked.
async fn run<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
    dress: &Dress,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = dress.id;
    let deadline = Deadline::new();
    {
        let mut extensions = request.extensions_mut();
        extensions.insert(deadline.clone());
        extensions.insert(id);
    }
    let handler = pin!(AssertUnwindSafe(next.call(request)).catch_unwind());
    let answer = match select(handler, pin!(deadline.passed())).await {
        Either::Left((Ok(Ok(answer)), _)) => answer.map_into_boxed_body(),
        Either::Left((Ok(Err(error)), _)) => {
            return Err(reply::foreign(&error));
        }
        Either::Left((Err(_panic), _)) => {
            // The panic hook has said where and why.
            let panics = dress.app.count_panic();
            tracing::error!(panics, "a handler panicked; the server goes on");
            return Err(Error::internal("a handler panicked"));
        }
        Either::Right(_) => {
            let sentence = "The request took longer than 30 s; if it was a write, its outcome is unknown";
            return Err(Error::with(Code::Unavailable, sentence).retry_after(5));
        }
    };
    let rendered = match answer.response().error() {
        None => return Ok(answer),
        Some(error) => match error.as_error::<Failure>() {
            Some(Failure(error)) => {
                complain(error);
                reply::render(error, Some(id), dress.dialect)
            }
            None => {
                let error = reply::foreign(error);
                complain(&error);
                reply::render(&error, Some(id), dress.dialect)
            }
        },
    };
    Ok(answer.into_response(rendered))
}

/// The limits of a request's head, and the methods that exist at all.
fn judge_head(head: &RequestHead) -> Result<(), Error> {
    let uri = head.uri.path_and_query().map_or(0, |text| text.as_str().len());
    if uri > MAX_URI {
        return Err(Error::new(Code::UriTooLong).details(format!("The limit is {MAX_URI} bytes.")));
    }
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if head.headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(Error::new(Code::HeadersTooLarge)
            .details(format!("The limit is {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together.")));
    }
    if pages::is_stray_worker(head) {
        return Err(Error::with(Code::Denied, "A service worker is a file of the project's pages"));
    }
    match head.method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        _ => Err(Error::new(Code::Method)),
    }
}

/// What every answer wears.
#[derive(Debug)]
struct Dress {
    app: web::Data<App>,
    options: web::Data<Options>,
    id: RequestId,
    origin: Option<HeaderValue>,
    dialect: Dialect,
}

impl Dress {
    fn put_on<B>(&self, response: &mut HttpResponse<B>) {
        self.options.origins.allow(self.origin.as_ref(), response.headers_mut());
        let headers = response.headers_mut();
        headers.insert(request_id::HEADER, self.id.header());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Another caller gets another answer, or none. What may be kept says so itself.
        if !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.dialect == Dialect::Resumable {
            headers.insert(resumable::VERSION_HEADER, HeaderValue::from_static(resumable::VERSION));
        }
        if self.app.is_draining() {
            response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
        }
    }
}

/// An error whose request is gone.
#[derive(Debug)]
struct Lost {
    error: Error,
    dress: Dress,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Lost {
    fn status_code(&self) -> StatusCode {
        reply::status(&self.error)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = reply::render(&self.error, Some(self.dress.id), self.dress.dialect);
        self.dress.put_on(&mut response);
        response
    }
}

/// One line a request, without its query string and headers.
fn log(method: &Method, path: &str, status: u16, started: Instant, caller: Option<&Caller>) {
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let role = caller.map_or("-", |caller| caller.role.as_str());
    let who = caller.and_then(|caller| caller.id);
    let who = who.as_ref().map_or(&"-" as &dyn std::fmt::Display, |id| id);
    tracing::info!(target: "basewright::access", %method, path, status, micros, role, who = %who, "answered");
}

/// Says in the log why an answer is the server's fault.
fn complain(error: &Error) {
    if error.code.status() >= 500 {
        let source = error.source.as_ref().map(|source| source.to_string()).unwrap_or_default();
        tracing::error!(code = error.code.as_str(), message = %error.message, source = %source, "failed");
    } else if let Some(source) = &error.source {
        tracing::debug!(code = error.code.as_str(), source = %source, "refused");
    }
}
