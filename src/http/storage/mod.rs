//! Objects under `/storage/v1`: wire ↔ domain, and nothing else.

mod conditional;
mod disposition;
mod door;
mod download;
mod form;
mod granted;
mod path;
pub(super) mod resumable;
mod said;
mod shape;
mod sign;
mod upload;

use actix_web::web;

use crate::http::routes::{no_such_method, reading};

/// The routes of this dialect, relative to `/storage/v1`. The longest fixed beginning comes first: keys hold slashes.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.configure(sign::configure)
        .configure(granted::configure)
        .configure(resumable::configure)
        .service(reading("/object/info/authenticated/{bucket}/{key:.+}", download::authenticated_info))
        .service(reading("/object/info/public/{bucket}/{key:.+}", download::public_info))
        .service(reading("/object/info/{bucket}/{key:.+}", download::plain_info))
        .service(reading("/object/authenticated/{bucket}/{key:.+}", download::authenticated))
        .service(reading("/object/public/{bucket}/{key:.+}", download::public))
        .service(
            web::resource("/object/{bucket}/{key:.+}")
                .route(web::get().to(download::plain))
                .route(web::head().to(download::plain))
                .route(web::post().to(upload::create))
                .route(web::put().to(upload::replace))
                .default_service(web::to(no_such_method)),
        );
}
