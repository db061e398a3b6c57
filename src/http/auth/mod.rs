//! The GoTrue dialect under `/auth/v1`: so far the public halves of the signing keys.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use crate::app::App;

/// The routes of this dialect, relative to `/auth/v1`.
pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(super::routes::reading("/.well-known/jwks.json", jwks));
}

/// The JWK Set (RFC 7517, 5) by which others can verify our tokens.
async fn jwks(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=600")).json(app.keys().jwks())
}
