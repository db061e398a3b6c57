//! `/user`: who is signed in.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{door, shape};
use crate::app::App;
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/user").route(web::get().to(read)).default_service(web::to(no_such_method)));
}

async fn read(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    Ok(HttpResponse::Ok().json(shape::user(&visit.user_shown().await?)))
}
