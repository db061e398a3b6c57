//! Identities of a signed-in user: `/user/identities`.

use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::{door, oauth};
use crate::app::App;
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/user/identities/authorize")
            .route(web::get().to(link))
            .default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/user/identities/{identity_id}")
            .route(web::delete().to(unlink))
            .default_service(web::to(no_such_method)),
    );
}

async fn link(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    Ok(oauth::depart(&request, &visit, true).await?)
}

async fn unlink(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    visit.unlink(door::id(&request, "identity_id")?).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}
