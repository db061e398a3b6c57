//! Second factors: `/factors` for whoever is signed in, `/admin/users/{id}/factors` for the operator.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{door, shape, told};
use crate::app::App;
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    let resource = |path: &str| web::resource(path.to_owned()).default_service(web::to(no_such_method));
    cfg.service(resource("/factors").route(web::post().to(enrol)))
        .service(resource("/factors/recovery-codes").route(web::post().to(make_recovery_codes)))
        .service(resource("/factors/recovery-codes/verify").route(web::post().to(use_recovery_code)))
        .service(resource("/factors/{factor}").route(web::delete().to(remove)))
        .service(resource("/factors/{factor}/challenge").route(web::post().to(challenge)))
        .service(resource("/factors/{factor}/verify").route(web::post().to(verify)))
        .service(resource("/admin/users/{user}/factors").route(web::get().to(list)))
        .service(
            resource("/admin/users/{user}/factors/{factor}")
                .route(web::delete().to(remove_of))
                .route(web::put().to(rename_of)),
        );
}

#[derive(Deserialize)]
struct Enrolling {
    factor_type: Option<String>,
    friendly_name: Option<String>,
    issuer: Option<String>,
}

async fn enrol(request: HttpRequest, payload: Payload, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let body: Enrolling = door::json(&request, payload).await?;
    match body.factor_type.as_deref() {
        Some("totp") => {}
        Some("phone") => return Err(Error::new(AuthCode::PhoneFactorDisabled).into()),
        Some("webauthn") => return Err(Error::new(AuthCode::WebauthnFactorDisabled).into()),
        _ => {
            let sentence = "factor_type needs to be totp, phone, or webauthn";
            return Err(Error::with(AuthCode::ValidationFailed, sentence).into());
        }
    }
    let enrolled = visit.enrol(body.friendly_name.as_deref(), body.issuer.as_deref()).await?;
    Ok(HttpResponse::Ok().json(json!({
        "id": enrolled.id, "type": "totp", "friendly_name": enrolled.friendly_name.unwrap_or_default(),
        "totp": { "qr_code": enrolled.picture, "secret": enrolled.secret, "uri": enrolled.uri },
    })))
}

async fn challenge(
    request: HttpRequest,
    app: web::Data<App>,
    factor: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let challenge = visit.challenge(id("factor_id", &factor)?).await?;
    Ok(HttpResponse::Ok().json(json!({
        "id": challenge.id, "type": "totp", "expires_at": challenge.expires_at,
    })))
}

#[derive(Deserialize)]
struct Verifying {
    challenge_id: Option<String>,
    code: Option<String>,
}

async fn verify(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
    factor: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let factor = id("factor_id", &factor)?;
    let body: Verifying = door::json(&request, payload).await?;
    let challenge = id("challenge_id", body.challenge_id.as_deref().unwrap_or_default())?;
    let code = code(body.code)?;
    Ok(told::granted(&visit.verify_factor(factor, challenge, &code).await?))
}

async fn remove(
    request: HttpRequest,
    app: web::Data<App>,
    factor: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let factor = id("factor_id", &factor)?;
    visit.remove_factor(factor).await?;
    Ok(HttpResponse::Ok().json(json!({ "id": factor })))
}

async fn make_recovery_codes(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    Ok(HttpResponse::Ok().json(json!({ "codes": visit.make_recovery_codes().await? })))
}

#[derive(Deserialize)]
struct Recovering {
    code: Option<String>,
}

async fn use_recovery_code(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let body: Recovering = door::json(&request, payload).await?;
    Ok(told::granted(&visit.use_recovery_code(&code(body.code)?).await?))
}

async fn list(
    request: HttpRequest,
    app: web::Data<App>,
    user: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let factors = visit.factors_of(id("user_id", &user)?).await?;
    Ok(HttpResponse::Ok().json(factors.iter().map(shape::factor).collect::<Vec<Value>>()))
}

async fn remove_of(
    request: HttpRequest,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let removed = visit.remove_factor_of(id("user_id", &path.0)?, id("factor_id", &path.1)?).await?;
    Ok(HttpResponse::Ok().json(shape::factor(&removed)))
}

#[derive(Deserialize)]
struct Renaming {
    friendly_name: Option<String>,
}

async fn rename_of(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let (user, factor) = (id("user_id", &path.0)?, id("factor_id", &path.1)?);
    let body: Renaming = door::json(&request, payload).await?;
    let renamed = visit.rename_factor_of(user, factor, body.friendly_name.as_deref()).await?;
    Ok(HttpResponse::Ok().json(shape::factor(&renamed)))
}

fn id(name: &str, text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error::with(AuthCode::ValidationFailed, format!("{name} must be an UUID")))
}

fn code(code: Option<String>) -> Result<String, Error> {
    code.filter(|code| !code.is_empty())
        .ok_or_else(|| Error::with(AuthCode::ValidationFailed, "Code needs to be non-empty"))
}
