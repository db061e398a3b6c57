//! `GET /rest/v1/`: the description of what the caller may do.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::headers;
use crate::app::App;
use crate::error::Error;
use crate::http::principal::Caller;
use crate::http::reply::Failure;
use crate::query::openapi;
use crate::query::plan::Context;

/// `GET` and `HEAD` of the root.
///
/// # Errors
/// PGRST107 (406) where the description is wanted in another media type, 401 as everywhere.
pub(super) async fn describe(
    request: HttpRequest,
    caller: Caller,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    headers::schema(&request)?;
    let media = headers::description(&request)?;
    let catalog = app.catalog()?;
    let document = openapi::document(Context { catalog: &catalog, principal: &caller.0 });
    let bytes = serde_json::to_vec(&document).map_err(Error::internal)?;
    // Another caller sees another document under the same address.
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media))
        .insert_header((header::VARY, "Accept, Authorization, apikey"))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .body(bytes))
}

/// `OPTIONS` that is no preflight.
pub(super) async fn options() -> HttpResponse {
    super::allowed("OPTIONS,GET,HEAD")
}
