//! `GET /_/schema.json`: the schema of the project's files, for editors.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::reply::Failure;
use crate::error::Error;
use crate::project::editor;

/// It is the same for every project and every caller: editors ask without a key.
pub(super) async fn schema() -> Result<HttpResponse, Failure> {
    let bytes = serde_json::to_vec(&editor::schema()).map_err(Error::internal)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/schema+json"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(bytes))
}
