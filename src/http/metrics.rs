//! `GET /metrics`: how the server is, in the text format that Prometheus reads. For whoever holds the secret key.

use std::fmt::Write as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::principal::holds_secret_key;
use super::reply::Failure;
use crate::app::{App, Readiness};
use crate::error::{Code, Error};

pub(super) async fn metrics(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    if !holds_secret_key(&request) {
        return Err(Failure(Error::with(Code::Denied, "The metrics are for the secret key")));
    }
    let feed = app.feed();
    let (transactions, bytes) = feed.window();
    let seconds = |at: Option<std::time::Duration>| at.map_or(-1.0, |at| at.as_secs_f64());
    let mut text = String::new();
    for (name, help, value) in [
        (
            "basewright_feed_lag_seconds",
            "How long ago it was last known that no committed change is missing; -1 if it never was or the WAL is away.",
            seconds(feed.lag()),
        ),
        (
            "basewright_feed_position_bytes",
            "The place in the WAL up to which subscribers were told.",
            feed.position().map_or(0, |position| position.lsn) as f64,
        ),
        ("basewright_feed_window_transactions", "Transactions in the replay window.", transactions as f64),
        ("basewright_feed_window_bytes", "Bytes of rows of the replay window in memory.", bytes as f64),
        ("basewright_sockets", "Open WebSockets.", app.hub().open() as f64),
        (
            "basewright_ready",
            "1 if the server can serve.",
            f64::from(u8::from(app.readiness() == Readiness::Ready)),
        ),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4")).body(text))
}
