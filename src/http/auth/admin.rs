//! `/admin` and `/invite`: users as whoever holds the secret key keeps them.

use actix_web::http::header::{self, HeaderName};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::{door, shape};
use crate::app::App;
use crate::auth::admin::Kept;
use crate::auth::invite::LinkWish;
use crate::auth::one_time::Purpose;
use crate::auth::rights::Granting;
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
/// Users of a page, where nobody says how many, and at most.
const PER_PAGE: u32 = 50;
const MAX_PER_PAGE: u32 = 1_000;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    let other = || web::to(no_such_method);
    cfg.service(web::resource("/invite").route(web::post().to(invite)).default_service(other()))
        .service(
            web::resource("/admin/generate_link").route(web::post().to(make_link)).default_service(other()),
        )
        .service(
            web::resource("/admin/users")
                .route(web::get().to(list))
                .route(web::post().to(make))
                .default_service(other()),
        )
        .service(
            web::resource("/admin/users/{user_id}")
                .route(web::get().to(read))
                .route(web::put().to(change))
                .route(web::delete().to(delete))
                .default_service(other()),
        )
        .service(
            web::resource("/admin/users/{user_id}/logout")
                .route(web::post().to(end_sessions))
                .default_service(other()),
        )
        .service(
            web::resource("/admin/users/{user_id}/roles")
                .route(web::get().to(roles))
                .route(web::put().to(set_roles))
                .route(web::post().to(add_role))
                .default_service(other()),
        )
        .service(
            web::resource("/admin/users/{user_id}/roles/{role}")
                .route(web::delete().to(remove_role))
                .default_service(other()),
        )
        .service(
            web::resource("/admin/users/{user_id}/sessions")
                .route(web::get().to(sessions))
                .default_service(other()),
        )
        .service(
            web::resource("/admin/users/{user_id}/sessions/{session_id}")
                .route(web::delete().to(end_session))
                .default_service(other()),
        );
}

#[derive(Deserialize)]
struct Listing {
    page: Option<String>,
    per_page: Option<String>,
    filter: Option<String>,
}

/// A number of the query; clients send empty ones too.
pub(super) fn number(text: Option<&str>, name: &str, otherwise: u32) -> Result<u32, Error> {
    match text {
        None | Some("") => Ok(otherwise),
        Some(text) => text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
            Error::with(AuthCode::ValidationFailed, format!("{name} must be a number from 1 on"))
        }),
    }
}

async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let asked: Listing = door::query(&request)?;
    let page = number(asked.page.as_deref(), "page", 1)?;
    let per_page = number(asked.per_page.as_deref(), "per_page", PER_PAGE)?.min(MAX_PER_PAGE);
    let found = visit.users(page, per_page, asked.filter.as_deref()).await?;
    let last = u32::try_from(found.total).unwrap_or(u32::MAX).div_ceil(per_page);
    let link = |page: u32, rel: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("page", &page.to_string()).append_pair("per_page", &per_page.to_string());
        if let Some(filter) = &asked.filter {
            query.append_pair("filter", filter);
        }
        format!("<{}?{}>; rel=\"{rel}\"", request.path(), query.finish())
    };
    let mut links: Vec<String> = (page < last).then(|| link(page + 1, "next")).into_iter().collect();
    links.push(link(last, "last"));
    let users: Vec<Value> = found.users.iter().map(shape::user).collect();
    Ok(HttpResponse::Ok()
        .insert_header((header::LINK, links.join(", ")))
        .insert_header((TOTAL, found.total.to_string()))
        .json(json!({ "users": users, "aud": "authenticated" })))
}

#[derive(Deserialize)]
struct Body {
    id: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    email_confirm: Option<bool>,
    password: Option<String>,
    password_hash: Option<String>,
    user_metadata: Option<Value>,
    app_metadata: Option<Value>,
    ban_duration: Option<String>,
    role: Option<String>,
}

impl Body {
    fn kept(self) -> Result<Kept, Error> {
        if self.phone.is_some_and(|phone| !phone.is_empty()) {
            return Err(AuthCode::PhoneProviderDisabled.into());
        }
        let id: Option<Result<Uuid, Error>> = self.id.filter(|id| !id.is_empty()).map(|id| {
            let invalid = || Error::with(AuthCode::ValidationFailed, "ID must conform to the uuid v4 format");
            id.parse().ok().filter(|id: &Uuid| !id.is_nil()).ok_or_else(invalid)
        });
        Ok(Kept {
            id: id.transpose()?,
            email: self.email,
            email_confirm: self.email_confirm,
            password: self.password,
            password_hash: self.password_hash,
            user_metadata: self.user_metadata,
            app_metadata: self.app_metadata,
            ban_duration: self.ban_duration,
            role: self.role,
        })
    }
}

async fn make(request: HttpRequest, payload: Payload, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let body: Body = door::json(&request, payload).await?;
    Ok(HttpResponse::Ok().json(shape::user(&visit.make_user(body.kept()?).await?)))
}

async fn read(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    Ok(HttpResponse::Ok().json(shape::user(&visit.user(door::id(&request, "user_id")?).await?)))
}

async fn change(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let id = door::id(&request, "user_id")?;
    let body: Body = door::json(&request, payload).await?;
    Ok(HttpResponse::Ok().json(shape::user(&visit.change_user(id, body.kept()?).await?)))
}

#[derive(Deserialize)]
struct Deleting {
    should_soft_delete: Option<bool>,
}

async fn delete(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let id = door::id(&request, "user_id")?;
    let Deleting { should_soft_delete } = door::json(&request, payload).await?;
    visit.delete_user(id, should_soft_delete == Some(true)).await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

#[derive(Deserialize)]
struct Inviting {
    email: Option<String>,
    data: Option<Value>,
}

async fn invite(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let body: Inviting = door::json(&request, payload).await?;
    let redirect_to = door::destination(&request, &visit, None)?;
    let user = visit.invite(&body.email.unwrap_or_default(), body.data, &redirect_to).await?;
    Ok(HttpResponse::Ok().json(shape::user(&user)))
}

#[derive(Deserialize)]
struct Linking {
    #[serde(rename = "type")]
    kind: Option<String>,
    email: Option<String>,
    new_email: Option<String>,
    password: Option<String>,
    data: Option<Value>,
    redirect_to: Option<String>,
}

async fn make_link(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let body: Linking = door::json(&request, payload).await?;
    let purpose = Purpose::parse(body.kind.as_deref().unwrap_or_default())
        .ok_or_else(|| Error::with(AuthCode::ValidationFailed, "Invalid email action link type requested"))?;
    let redirect_to = door::destination(&request, &visit, body.redirect_to.as_deref())?;
    let link = visit
        .make_link(LinkWish {
            purpose,
            email: body.email.as_deref().unwrap_or_default(),
            new_email: body.new_email.as_deref(),
            password: body.password.as_deref(),
            data: body.data,
            redirect_to,
        })
        .await?;
    Ok(HttpResponse::Ok().json(shape::link(&link)))
}

async fn end_sessions(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    visit.end_sessions(door::id(&request, "user_id")?).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn told(roles: &[String]) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "roles": roles }))
}

async fn roles(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    Ok(told(&visit.user(door::id(&request, "user_id")?).await?.roles))
}

#[derive(Deserialize)]
struct Roles {
    roles: Vec<String>,
}

async fn set_roles(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let id = door::id(&request, "user_id")?;
    let Roles { roles } = door::json(&request, payload).await?;
    Ok(told(&visit.grant_roles(id, Granting::Exactly(&roles)).await?))
}

#[derive(Deserialize)]
struct Role {
    role: String,
}

async fn add_role(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let id = door::id(&request, "user_id")?;
    let Role { role } = door::json(&request, payload).await?;
    Ok(told(&visit.grant_roles(id, Granting::Also(&role)).await?))
}

async fn remove_role(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let id = door::id(&request, "user_id")?;
    let role = request.match_info().get("role").unwrap_or_default();
    Ok(told(&visit.grant_roles(id, Granting::Without(role)).await?))
}

async fn sessions(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let sessions = visit.sessions(door::id(&request, "user_id")?).await?;
    let sessions: Vec<Value> = sessions.iter().map(|session| shape::session(session, None)).collect();
    Ok(HttpResponse::Ok().json(json!({ "sessions": sessions })))
}

async fn end_session(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let (id, session) = (door::id(&request, "user_id")?, door::id(&request, "session_id")?);
    visit.end_session(id, session).await?;
    Ok(HttpResponse::NoContent().finish())
}
