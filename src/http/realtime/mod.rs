//! Phoenix channels under `/realtime/v1`: the handshake, the sockets and what is said on them.
//!
//! `upgrade` takes a connection out of HTTP, `handshake` judges who may have a socket; a `socket` writes, `reading`
//! reads, a `conversation` answers, `join` makes a `channel`. `sockets` are those of one worker, which it tells what
//! the stream of changes and other channels have to say.

mod channel;
mod conversation;
mod handshake;
mod join;
mod reading;
mod socket;
mod sockets;
mod upgrade;

use actix_web::{HttpResponse, web};

pub(super) use sockets::Sockets;
pub(super) use upgrade::Upgrade;

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
}

/// An answer in the words of this dialect.
fn refusal(status: actix_web::http::StatusCode, sentence: &str) -> HttpResponse {
    HttpResponse::build(status).json(serde_json::json!({ "error": sentence }))
}
