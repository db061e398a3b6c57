//! Objects under `/storage/v1`: wire ↔ domain, and nothing else.

mod bucket;
mod change;
mod disposition;
mod door;
mod download;
mod form;
mod granted;
mod list;
mod path;
pub(super) mod resumable;
mod said;
mod shape;
mod sign;
mod upload;

use actix_web::{HttpResponse, guard, web};

use crate::http::routes::{no_such_method, reading};

/// The routes of this dialect, relative to `/storage/v1`. The longest fixed beginning comes first: keys hold slashes. What
/// has one method alone leaves the others to buckets that are called like it.
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(reading("/status", status))
        .configure(sign::configure)
        .configure(granted::configure)
        .configure(resumable::configure)
        .configure(buckets)
        .configure(objects);
}

fn buckets(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/bucket")
            .route(web::get().to(bucket::all))
            .route(web::post().to(bucket::make))
            .default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/bucket/{id}/empty")
            .route(web::post().to(bucket::empty))
            .default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/bucket/{id}")
            .route(web::get().to(bucket::one))
            .route(web::put().to(bucket::change))
            .route(web::delete().to(bucket::remove))
            .default_service(web::to(no_such_method)),
    );
}

fn objects(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/object/list/{bucket}").guard(guard::Post()).to(list::level))
        .service(web::resource("/object/list-v2/{bucket}").guard(guard::Post()).to(list::pages))
        .service(web::resource("/object/move").guard(guard::Post()).to(change::relocate))
        .service(web::resource("/object/copy").guard(guard::Post()).to(change::copy))
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
                .route(web::delete().to(change::delete_one))
                .default_service(web::to(no_such_method)),
        )
        .service(
            web::resource("/object/{bucket}")
                .route(web::delete().to(change::delete_many))
                .default_service(web::to(no_such_method)),
        );
}

/// `GET /status`
async fn status() -> HttpResponse {
    HttpResponse::Ok().finish()
}
