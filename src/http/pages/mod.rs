//! The project's pages: the files of its folder `public/`, served at `/` to everybody.
//!
//! The folder is looked at anew for each request: a save is visible at once, and its absence is nothing but a 404. The
//! server's own paths come first and are never files ([`RESERVED`]).

mod address;
mod file;

use std::path::Path;

use actix_web::body::SizedStream;
use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use futures_util::stream;
use tokio::task::spawn_blocking;

use self::address::Address;
pub use self::address::RESERVED;
pub(super) use self::file::content_tag;
use self::file::{Found, Opened};
use super::conditional::{Portion, Validators};
use super::reply::{self, Dialect, Failure};
use super::request_id;
use super::server::Options;
use crate::app::App;
use crate::error::{Code, Error};

/// A project that has this page gives it, as found, to whoever navigates to what is no file: an application that reads
/// the address itself.
const EVERYWHERE: &str = "200.html";
/// A project's own words for what is not there.
const NOT_FOUND: &str = "404.html";

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// Says that a browser wants a script to stand between a site's pages and the network.
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

/// Whether a browser asks for a service worker where no page can be. What is served there may be anybody's, and a service
/// worker would answer for the pages next to it.
pub(super) fn is_stray_worker(head: &RequestHead) -> bool {
    head.headers.contains_key(SERVICE_WORKER) && address::is_reserved(head.uri.path())
}

/// Whatever no route answers: a file, or what is said where there is none.
pub(super) async fn page(
    request: HttpRequest,
    app: web::Data<App>,
    options: web::Data<Options>,
) -> Result<HttpResponse, Failure> {
    let (names, is_folder) = match Address::of(request.uri().path()) {
        Address::Reserved => return Err(Failure(Error::new(Code::Path))),
        Address::Nowhere => return Ok(nothing(&request, &options).await?),
        Address::File { names, is_folder } => (names, is_folder),
    };
    let is_root = names.is_empty();
    match look(&options.public, names, is_folder).await? {
        Found::File(_) | Found::Folder if *request.method() == Method::OPTIONS => {
            Ok(HttpResponse::NoContent().insert_header((header::ALLOW, METHODS)).finish())
        }
        Found::File(_) | Found::Folder if !is_reading(&request) => {
            let mut response =
                reply::render(&Error::new(Code::Method), request_id::of(&request), Dialect::Rest);
            response.headers_mut().insert(header::ALLOW, METHODS);
            Ok(response)
        }
        Found::File(opened) => Ok(answer(&request, opened, StatusCode::OK)),
        Found::Folder => Ok(with_slash(&request)),
        Found::Nothing if is_root && is_inviting(&app, &options) => Err(Failure(
            Error::new(Code::Path)
                .hint("The files of the project's folder `public` are served here: give it an index.html"),
        )),
        Found::Nothing => Ok(nothing(&request, &options).await?),
    }
}

/// Whoever develops and has no page yet is told where one would be.
fn is_inviting(app: &App, options: &Options) -> bool {
    app.desk().settings().is_ok_and(|settings| settings.is_dev) && !options.public.is_dir()
}

fn is_reading(request: &HttpRequest) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

async fn look(public: &Path, names: Vec<String>, is_folder: bool) -> Result<Found, Error> {
    let root = public.to_owned();
    let found = spawn_blocking(move || file::find(&root, &names, is_folder)).await;
    found.map_err(Error::internal)?.map_err(|error| {
        // Files are short for a moment, or the disk is away: nothing is known of the page.
        Error::with(Code::Unavailable, "The page cannot be read at the moment").retry_after(1).source(error)
    })
}

/// What is said where there is no file: to a person a page of the project's, if it has one, to everybody else an error.
async fn nothing(request: &HttpRequest, options: &Options) -> Result<HttpResponse, Error> {
    if is_reading(request) && wants_page(request) {
        for (name, status) in [(EVERYWHERE, StatusCode::OK), (NOT_FOUND, StatusCode::NOT_FOUND)] {
            if let Found::File(opened) = look(&options.public, vec![name.to_owned()], false).await? {
                let mut response = answer(request, opened, status);
                // A program that asks here gets something else.
                response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
                return Ok(response);
            }
        }
    }
    Err(Error::new(Code::Path))
}

/// Whether somebody navigates here. Programs, pictures and scripts take anything, but do not ask for a page by its type.
fn wants_page(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT);
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.to_ascii_lowercase().contains("text/html"))
}

/// Leads from `/docs` to `/docs/`, so that links on the page mean what they meant to its author. The way is relative: the
/// server need not know what a proxy puts before its paths, and no path can lead to another host.
fn with_slash(request: &HttpRequest) -> HttpResponse {
    let last = request.uri().path().rsplit('/').next().unwrap_or_default();
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = HttpResponse::PermanentRedirect();
    dress(&mut response);
    response.insert_header((header::LOCATION, format!("./{last}/{query}"))).finish()
}

/// What every answer with a page's file wears.
fn dress(response: &mut HttpResponseBuilder) {
    response
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::REFERRER_POLICY, "strict-origin-when-cross-origin"))
        .insert_header((header::X_FRAME_OPTIONS, "SAMEORIGIN"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "frame-ancestors 'self'"));
}

/// The file, as far as the request asks for it.
fn answer(request: &HttpRequest, opened: Opened, status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    dress(&mut response);
    response.insert_header((header::CONTENT_TYPE, kind(&opened.name)));
    let reads = *request.method() == Method::GET;
    let mut range = 0..opened.size;
    // There is nothing to resume or to keep of what is not there.
    if status == StatusCode::OK {
        let content = Validators { etag: &opened.etag, modified: opened.modified, size: opened.size };
        response
            .insert_header((header::ETAG, format!("\"{}\"", opened.etag)))
            .insert_header((header::LAST_MODIFIED, httpdate::fmt_http_date(content.second())))
            .insert_header((header::ACCEPT_RANGES, "bytes"));
        match Portion::of(request.headers(), content, reads) {
            Portion::Whole => {}
            Portion::Part(part) => {
                let place = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), opened.size);
                response.status(StatusCode::PARTIAL_CONTENT).insert_header((header::CONTENT_RANGE, place));
                range = part;
            }
            Portion::NotModified => return response.status(StatusCode::NOT_MODIFIED).finish(),
            Portion::Failed => return response.status(StatusCode::PRECONDITION_FAILED).finish(),
            Portion::Outside => {
                let id = request_id::of(request);
                let mut refused = reply::render(&Error::new(Code::Range), id, Dialect::Rest);
                if let Ok(place) = HeaderValue::from_str(&format!("bytes */{}", opened.size)) {
                    refused.headers_mut().insert(header::CONTENT_RANGE, place);
                }
                return refused;
            }
        }
    }
    let size = range.end - range.start;
    if !reads {
        // The answer to HEAD says how long the other one would be.
        return response.body(SizedStream::new(size, stream::empty::<std::io::Result<_>>()));
    }
    match opened.content(range) {
        Ok(bytes) => response.body(bytes),
        Err(pieces) => response.body(SizedStream::new(size, Box::pin(pieces))),
    }
}

/// The type of a file, by its name. Text is UTF-8.
fn kind(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let kind = match guess.essence_str() {
        // The library has it under its older name (RFC 9239, 6).
        "application/javascript" => "text/javascript",
        kind => kind,
    };
    if kind.starts_with("text/") { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn a_type_is_what_browsers_take_for_it() {
        for (name, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.min.JS", "text/javascript; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.json", "application/json"),
            ("a.js.map", "text/plain; charset=utf-8"),
            ("a.webmanifest", "application/manifest+json"),
            ("a.wasm", "application/wasm"),
            ("a.woff2", "font/woff2"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("favicon.ico", "image/x-icon"),
            ("a.mp4", "video/mp4"),
            ("a.pdf", "application/pdf"),
            ("LICENSE", "application/octet-stream"),
            ("a.nothing-known", "application/octet-stream"),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
