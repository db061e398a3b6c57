//! `POST /token`, `POST /logout`, and what the project says of signing in (`GET /settings`).

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{door, told};
use crate::app::App;
use crate::auth::oauth::Brought;
use crate::auth::session::Scope;
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::{no_such_method, reading};

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/token").route(web::post().to(token)).default_service(web::to(no_such_method)),
    )
    .service(web::resource("/logout").route(web::post().to(logout)).default_service(web::to(no_such_method)))
    .service(reading("/settings", settings));
}

#[derive(Deserialize)]
struct Granting {
    grant_type: Option<String>,
}

#[derive(Deserialize)]
struct ByPassword {
    email: Option<String>,
    phone: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
struct ByRefresh {
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct ByCode {
    auth_code: Option<String>,
    code_verifier: Option<String>,
}

#[derive(Deserialize)]
struct ByIdToken {
    provider: Option<String>,
    issuer: Option<String>,
    id_token: Option<String>,
    access_token: Option<String>,
    nonce: Option<String>,
    link_identity: Option<bool>,
}

async fn token(request: HttpRequest, payload: Payload, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let Granting { grant_type } = door::query(&request)?;
    let grant = match grant_type.as_deref() {
        Some("password") => {
            let body: ByPassword = door::json(&request, payload).await?;
            if body.phone.is_some_and(|phone| !phone.is_empty()) {
                return Err(Error::new(AuthCode::PhoneProviderDisabled).into());
            }
            let (Some(email), Some(password)) = (body.email, body.password) else {
                return Err(Error::with(AuthCode::ValidationFailed, "missing email or password").into());
            };
            visit.sign_in(&email, &password).await?
        }
        Some("refresh_token") => {
            let body: ByRefresh = door::json(&request, payload).await?;
            let shown = body
                .refresh_token
                .ok_or_else(|| Error::with(AuthCode::ValidationFailed, "refresh_token is required"))?;
            visit.refresh(&shown).await?
        }
        Some("pkce") => {
            let body: ByCode = door::json(&request, payload).await?;
            let (Some(code), Some(verifier)) = (body.auth_code, body.code_verifier) else {
                let sentence = "auth_code and code_verifier are required";
                return Err(Error::with(AuthCode::ValidationFailed, sentence).into());
            };
            visit.exchange(&code, &verifier).await?
        }
        Some("id_token") => {
            let body: ByIdToken = door::json(&request, payload).await?;
            let id_token = body.id_token.as_deref().filter(|token| !token.is_empty());
            let id_token =
                id_token.ok_or_else(|| Error::with(AuthCode::ValidationFailed, "id_token is required"))?;
            let brought = Brought {
                provider: body.provider.as_deref(),
                issuer: body.issuer.as_deref(),
                id_token,
                access_token: body.access_token.as_deref().filter(|token| !token.is_empty()),
                nonce: body.nonce.as_deref(),
                link: body.link_identity.unwrap_or(false),
            };
            visit.by_id_token(&brought).await?
        }
        _ => return Err(Error::with(AuthCode::ValidationFailed, "unsupported_grant_type").into()),
    };
    Ok(told::granted(&grant))
}

#[derive(Deserialize)]
struct Leaving {
    scope: Option<String>,
}

async fn logout(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let Leaving { scope } = door::query(&request)?;
    let scope = match scope.as_deref() {
        None | Some("" | "global") => Scope::Global,
        Some("local") => Scope::Local,
        Some("others") => Scope::Others,
        Some(_) => {
            let sentence = "Unsupported logout scope: it is global, local or others";
            return Err(Error::with(AuthCode::ValidationFailed, sentence).into());
        }
    };
    visit.sign_out(scope).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn settings(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let settings = visit.settings();
    let project = &settings.project;
    let mut external: Map<String, Value> =
        project.oauth.keys().map(|name| (name.clone(), Value::Bool(true))).collect();
    external.insert("email".to_owned(), project.email.enabled.into());
    external.insert("phone".to_owned(), false.into());
    external.insert("anonymous_users".to_owned(), project.signup.anonymous.into());
    Ok(HttpResponse::Ok().json(json!({
        "external": external, "disable_signup": !project.signup.enabled,
        "mailer_autoconfirm": !project.signup.confirm_email, "phone_autoconfirm": false, "sms_provider": "",
        "saml_enabled": false, "passkeys_enabled": false,
    })))
}
