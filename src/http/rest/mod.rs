//! The PostgREST dialect under `/rest/v1`: wire ↔ domain, and nothing else.

mod answer;
mod collection;
mod explain;
mod headers;
mod root;

use actix_web::{HttpResponse, web};

use crate::error::{Code, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

/// The routes of this dialect, relative to `/rest/v1`.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource(["", "/"])
            .route(web::get().to(root::describe))
            .route(web::head().to(root::describe))
            .default_service(web::to(no_such_method)),
    );
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

/// Calls of declared functions.
async fn function() -> Result<HttpResponse, Failure> {
    Err(Failure(Error::new(Code::NotSupported).details("Functions are not supported by this version")))
}
