//! `/health/live`: the process answers. `/health/ready`: it can serve. Neither does any work of its own: a
//! background task keeps the answer.

use actix_web::{HttpResponse, web};
use serde_json::json;

use super::reply;
use crate::app::{App, Readiness};
use crate::error::{Code, Error};

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

pub(super) async fn ready(app: web::Data<App>) -> HttpResponse {
    match app.readiness() {
        Readiness::Ready => HttpResponse::Ok().json(json!({ "status": "ready" })),
        Readiness::Not(reason) => {
            let error = Error::with(Code::Unavailable, "Not ready").details(reason).retry_after(1);
            reply::render(&error, None, reply::Dialect::Rest)
        }
    }
}
