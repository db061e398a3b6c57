//! Answers that carry a session.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName};

use super::shape;
use crate::auth::session::Grant;

const USER: HeaderName = HeaderName::from_static("sb-auth-user-id");
const SESSION: HeaderName = HeaderName::from_static("sb-auth-session-id");

/// A session, for nobody else and for no cache.
pub(super) fn granted(grant: &Grant) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((USER, grant.user.id.to_string()))
        .insert_header((SESSION, grant.session.to_string()))
        .json(shape::grant(grant))
}

/// Something that is told this once, for nobody else and for no cache.
pub(super) fn secret(shape: &serde_json::Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(shape)
}
