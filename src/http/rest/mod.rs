//! The PostgREST dialect under `/rest/v1`: wire ↔ domain, and nothing else.

mod answer;
mod collection;
mod explain;
mod function;
mod headers;
mod root;

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};

use crate::http::routes::no_such_method;

/// The routes of this dialect, relative to `/rest/v1`.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource(["", "/"])
            .route(web::get().to(root::describe))
            .route(web::head().to(root::describe))
            .route(web::method(Method::OPTIONS).to(root::options))
            .default_service(web::to(no_such_method)),
    );
    cfg.service(web::resource("/rpc/{function}").default_service(web::to(function::call)));
    cfg.service(
        web::resource("/{collection}")
            .route(web::get().to(collection::read))
            .route(web::head().to(collection::read))
            .route(web::post().to(collection::create))
            .route(web::put().to(collection::put))
            .route(web::patch().to(collection::update))
            .route(web::delete().to(collection::delete))
            .route(web::method(Method::OPTIONS).to(collection::options))
            .default_service(web::to(collection::other)),
    );
}

/// An answer to `OPTIONS` that is no preflight: what may be done here, whoever asks.
fn allowed(methods: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::ALLOW, methods))
        .insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .finish()
}
