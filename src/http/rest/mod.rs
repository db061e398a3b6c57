//! The PostgREST dialect under `/rest/v1`.

use actix_web::web;

/// The routes of this dialect, relative to `/rest/v1`.
pub fn configure(_cfg: &mut web::ServiceConfig) {}
