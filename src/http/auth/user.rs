//! `/user`: who is signed in, what he changes of himself, and where else he is.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{door, shape};
use crate::app::App;
use crate::auth::flow::Challenge;
use crate::auth::update::Change;
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/user")
            .route(web::get().to(read))
            .route(web::put().to(change))
            .default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/user/sessions")
            .route(web::get().to(sessions))
            .default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/user/sessions/{session_id}")
            .route(web::delete().to(end_session))
            .default_service(web::to(no_such_method)),
    );
}

async fn read(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    Ok(HttpResponse::Ok().json(shape::user(&visit.user_shown().await?)))
}

#[derive(Deserialize)]
struct Body {
    data: Option<Value>,
    password: Option<String>,
    current_password: Option<String>,
    nonce: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

async fn change(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    // Who he is decides before what he says.
    visit.session_shown()?;
    let body: Body = door::json(&request, payload).await?;
    if body.phone.is_some_and(|phone| !phone.is_empty()) {
        return Err(Error::new(AuthCode::PhoneProviderDisabled).into());
    }
    let challenge = Challenge::parse(body.code_challenge.as_deref(), body.code_challenge_method.as_deref())?;
    let redirect_to = door::destination(&request, &visit, None)?;
    let change = Change {
        data: body.data,
        password: body.password,
        current_password: body.current_password,
        nonce: body.nonce,
        email: body.email,
        challenge,
        redirect_to,
    };
    Ok(HttpResponse::Ok().json(shape::user(&visit.change(change).await?)))
}

async fn sessions(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let (id, current) = visit.session_shown()?;
    let sessions = visit.sessions(id).await?;
    let sessions: Vec<Value> =
        sessions.iter().map(|session| shape::session(session, Some(current))).collect();
    Ok(HttpResponse::Ok().json(json!({ "sessions": sessions })))
}

async fn end_session(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let (id, _) = visit.session_shown()?;
    visit.end_session(id, door::id(&request, "session_id")?).await?;
    Ok(HttpResponse::NoContent().finish())
}
