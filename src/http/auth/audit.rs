//! `/admin/audit`: the log of what happened, for whoever holds the secret key.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use uuid::Uuid;

use super::admin::number;
use super::door;
use crate::app::App;
use crate::auth::audit::Wanted;
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

/// Lines of a page, where nobody says how many, and at most.
const PER_PAGE: u32 = 50;
const MAX_PER_PAGE: u32 = 1_000;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/admin/audit").route(web::get().to(list)).default_service(web::to(no_such_method)),
    );
}

#[derive(Deserialize)]
struct Listing {
    page: Option<String>,
    per_page: Option<String>,
    event: Option<String>,
    subject: Option<String>,
    before: Option<String>,
}

async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let asked: Listing = door::query(&request)?;
    let page = number(asked.page.as_deref(), "page", 1)?;
    let per_page = number(asked.per_page.as_deref(), "per_page", PER_PAGE)?.min(MAX_PER_PAGE);
    let wanted = Wanted {
        event: asked.event.as_deref(),
        subject: id("subject", asked.subject.as_deref())?,
        before: id("before", asked.before.as_deref())?,
    };
    Ok(HttpResponse::Ok().json(visit.audit(wanted, page, per_page).await?))
}

fn id(name: &str, text: Option<&str>) -> Result<Option<Uuid>, Error> {
    let wrong = |_| Error::with(AuthCode::ValidationFailed, format!("{name} must be an UUID"));
    text.map(|text| text.parse().map_err(wrong)).transpose()
}
