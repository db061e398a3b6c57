//! Objects under `/storage/v1`: wire ↔ domain, and nothing else.

mod door;
mod download;
mod path;
mod shape;
mod upload;

use actix_web::web;

use crate::http::routes::no_such_method;

/// The routes of this dialect, relative to `/storage/v1`. The longest fixed beginning comes first: keys hold slashes.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/object/authenticated/{bucket}/{key:.+}")
            .route(web::get().to(download::authenticated))
            .route(web::head().to(download::authenticated))
            .default_service(web::to(no_such_method)),
    );
    cfg.service(
        web::resource("/object/public/{bucket}/{key:.+}")
            .route(web::get().to(download::public))
            .route(web::head().to(download::public))
            .default_service(web::to(no_such_method)),
    );
    cfg.service(
        web::resource("/object/{bucket}/{key:.+}")
            .route(web::get().to(download::plain))
            .route(web::head().to(download::plain))
            .route(web::post().to(upload::create))
            .route(web::put().to(upload::replace))
            .default_service(web::to(no_such_method)),
    );
}
