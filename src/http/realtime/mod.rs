//! Phoenix channels under `/realtime/v1`: the handshake, the sockets and what is said on them.
//!
//! `upgrade` takes a connection out of HTTP, `handshake` judges who may have a socket; a `socket` writes, `reading`
//! reads, a `conversation` answers, `join` makes a `channel` of a `wish`. `sockets` are those of one worker: `telling`
//! is what the stream of changes and other channels have to say to them, `watching` what time does.

mod broadcast;
mod channel;
mod conversation;
mod handshake;
mod join;
mod reading;
mod socket;
mod sockets;
mod telling;
mod upgrade;
mod watching;
mod wish;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

pub(super) use sockets::Sockets;
pub(super) use upgrade::Upgrade;

use crate::error::Error;

/// What topics begin with on a socket.
const PREFIX: &str = "realtime:";

/// Close codes: what cannot be understood, and what is not permitted.
const UNSUPPORTED: u16 = 1003;
const POLICY: u16 = 1008;

/// The routes of this dialect, relative to `/realtime/v1`.
pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/websocket")
            .route(web::get().to(handshake::open))
            .default_service(web::to(super::routes::no_such_method)),
    );
    cfg.service(
        web::resource("/api/broadcast")
            .route(web::post().to(broadcast::several))
            .default_service(web::to(super::routes::no_such_method)),
    );
    cfg.service(
        web::resource("/api/broadcast/{topic}/events/{event}")
            .route(web::post().to(broadcast::one))
            .default_service(web::to(super::routes::no_such_method)),
    );
}

/// An answer in the words of this dialect.
fn refusal(status: StatusCode, sentence: &str) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "error": sentence }))
}

/// An error in the words of this dialect.
fn refused(error: &Error) -> HttpResponse {
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let code = error.code.as_str();
    HttpResponse::build(status).json(serde_json::json!({ "error": error.message, "code": code }))
}
