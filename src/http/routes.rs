//! The one list of routes.

use actix_web::{FromRequest, Handler, Resource, Responder, web};

use super::reply::Failure;
use super::{auth, editor, health, mailbox, metrics, realtime, rest, sdk, storage};
use crate::error::{Code, Error};

/// Every path this server answers by itself. What is not here may be a file of the project's (`pages`), or else is 404 in
/// the dialect's own words. A new prefix is also to be reserved there (`pages::RESERVED`).
pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(reading("/health/live", health::live))
        .service(reading("/health/ready", health::ready))
        .service(reading("/metrics", metrics::metrics))
        .service(reading("/_/schema.json", editor::schema))
        .configure(mailbox::configure)
        .configure(sdk::configure)
        .service(web::scope("/auth/v1").configure(auth::configure))
        .service(web::scope("/realtime/v1").configure(realtime::configure))
        .service(web::scope("/rest/v1").configure(rest::configure))
        .service(web::scope("/storage/v1").configure(storage::configure));
}

/// A path that can only be read.
pub(super) fn reading<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args> + Clone,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(no_such_method))
}

/// A path that exists under another method.
pub(super) async fn no_such_method() -> Result<&'static str, Failure> {
    Err(Failure(Error::new(Code::Method)))
}
