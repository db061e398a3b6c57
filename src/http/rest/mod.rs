//! The PostgREST dialect under `/rest/v1`: wire ↔ domain, and nothing else.

mod answer;
mod collection;
mod headers;

use actix_web::{HttpResponse, web};

use crate::error::{Code, Error};
use crate::http::reply::Failure;

/// The routes of this dialect, relative to `/rest/v1`.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource(["", "/"]).default_service(web::to(root)));
    cfg.service(web::resource("/rpc/{function}").default_service(web::to(function)));
    cfg.service(
        web::resource("/{collection}")
            .route(web::get().to(collection::read))
            .route(web::head().to(collection::read))
            .route(web::post().to(collection::create))
            .route(web::put().to(collection::put))
            .route(web::patch().to(collection::update))
            .route(web::delete().to(collection::delete))
            .route(web::method(actix_web::http::Method::OPTIONS).to(collection::options))
            .default_service(web::to(collection::other)),
    );
}

/// The description of what a caller may see.
async fn root() -> Result<HttpResponse, Failure> {
    Err(Failure(Error::new(Code::Root)))
}

/// Calls of declared functions.
async fn function() -> Result<HttpResponse, Failure> {
    Err(Failure(Error::new(Code::NotSupported).details("Functions are not supported by this version")))
}
