//! Letters that are asked for (`/otp`, `/magiclink`, `/recover`, `/resend`, `/reauthenticate`), and showing what they bring
//! (`/verify`).

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{door, told};
use crate::app::App;
use crate::auth::desk::Visit;
use crate::auth::flow::Challenge;
use crate::auth::mailed::Asked;
use crate::auth::one_time::PKCE;
use crate::auth::redirect::location;
use crate::auth::verify::{HALF, Shown, Verified};
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/otp").route(web::post().to(otp)).default_service(web::to(no_such_method)))
        .service(
            web::resource("/magiclink").route(web::post().to(otp)).default_service(web::to(no_such_method)),
        )
        .service(
            web::resource("/recover").route(web::post().to(recover)).default_service(web::to(no_such_method)),
        )
        .service(
            web::resource("/resend").route(web::post().to(resend)).default_service(web::to(no_such_method)),
        )
        .service(
            web::resource("/reauthenticate")
                .route(web::get().to(reauthenticate))
                .default_service(web::to(no_such_method)),
        )
        .service(
            web::resource("/verify")
                .route(web::get().to(follow))
                .route(web::head().to(look))
                .route(web::post().to(verify))
                .default_service(web::to(no_such_method)),
        );
}

#[derive(Deserialize)]
struct Asking {
    email: Option<String>,
    phone: Option<String>,
    create_user: Option<bool>,
    data: Option<Value>,
    #[serde(rename = "type")]
    kind: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

impl Asking {
    fn asked(&self, request: &HttpRequest, visit: &Visit<'_>) -> Result<Asked<'_>, Error> {
        if self.phone.as_deref().is_some_and(|phone| !phone.is_empty()) {
            return Err(AuthCode::PhoneProviderDisabled.into());
        }
        let email = self.email.as_deref().filter(|email| !email.is_empty());
        Ok(Asked {
            email: email
                .ok_or_else(|| Error::with(AuthCode::ValidationFailed, "An email address is required"))?,
            challenge: Challenge::parse(
                self.code_challenge.as_deref(),
                self.code_challenge_method.as_deref(),
            )?,
            redirect_to: door::destination(request, visit, None)?,
        })
    }
}

fn done() -> HttpResponse {
    HttpResponse::Ok().json(json!({}))
}

async fn otp(request: HttpRequest, payload: Payload, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let asking: Asking = door::json(&request, payload).await?;
    let asked = asking.asked(&request, &visit)?;
    visit.mail_sign_in(asked, asking.create_user.unwrap_or(true), asking.data.clone()).await?;
    Ok(done())
}

async fn recover(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let asking: Asking = door::json(&request, payload).await?;
    visit.mail_recovery(asking.asked(&request, &visit)?).await?;
    Ok(done())
}

async fn resend(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let asking: Asking = door::json(&request, payload).await?;
    let asked = asking.asked(&request, &visit)?;
    match asking.kind.as_deref() {
        Some("signup") => visit.mail_sign_up_again(asked).await?,
        Some("email_change") => visit.mail_email_change_again(asked).await?,
        Some("sms" | "phone_change") => return Err(Error::new(AuthCode::PhoneProviderDisabled).into()),
        _ => {
            let sentence = "Missing one of these types: signup, email_change";
            return Err(Error::with(AuthCode::ValidationFailed, sentence).into());
        }
    }
    Ok(done())
}

async fn reauthenticate(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    visit.mail_reauthentication().await?;
    Ok(done())
}

#[derive(Deserialize)]
struct Showing {
    #[serde(rename = "type")]
    kind: Option<String>,
    token: Option<String>,
    token_hash: Option<String>,
    email: Option<String>,
    phone: Option<String>,
}

async fn verify(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let body: Showing = door::json(&request, payload).await?;
    let given = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
    let invalid = |sentence: &str| Error::with(AuthCode::ValidationFailed, sentence);
    let kind = given(&body.kind).ok_or_else(|| invalid("Verify requires a verification type"))?;
    let (token, hash, email) = (given(&body.token), given(&body.token_hash), given(&body.email));
    if given(&body.phone).is_some() {
        return Err(Error::new(AuthCode::PhoneProviderDisabled).into());
    }
    let shown = match (&token, &hash, &email) {
        (None, Some(hash), None) => Shown::Link(hash),
        (None, Some(_), Some(_)) => {
            return Err(invalid("Only the token_hash and type should be provided").into());
        }
        (Some(code), None, Some(address)) => Shown::Code { address, code },
        (Some(_), None, None) => {
            return Err(invalid("Only an email address or phone number should be provided on verify").into());
        }
        _ => return Err(invalid("Verify requires either a token or a token hash").into()),
    };
    Ok(match visit.verify(&kind, shown, None).await? {
        Verified::In(grant) => told::granted(&grant),
        Verified::Half => HttpResponse::Ok().json(json!({ "msg": HALF, "code": "200" })),
        // Only browsers are given one.
        Verified::Code(code) => HttpResponse::Ok().json(json!({ "code": code })),
    })
}

/// What only looks whether the link is there uses nothing up.
async fn look() -> HttpResponse {
    HttpResponse::Ok().finish()
}

/// A browser follows a link.
async fn follow(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_openly(&request, &app)?;
    let shown: Showing = door::query(&request)?;
    let redirect_to = door::destination(&request, &visit, None)?;
    let token = shown.token.or(shown.token_hash).unwrap_or_default();
    let kind = shown.kind.unwrap_or_default();
    let is_pkce = token.starts_with(PKCE);
    let outcome = match visit.verify(&kind, Shown::Link(&token), Some(&redirect_to)).await {
        Ok(outcome) => outcome,
        Err(error) if error.code.status() >= 500 => return Err(error.into()),
        Err(error) => return Ok(told::refused_at(&redirect_to, &error, is_pkce)),
    };
    let to = match outcome {
        Verified::In(grant) => told::arrived(&redirect_to, &grant, &[("type", &kind)]),
        Verified::Code(code) => location(&redirect_to, &[("code", &code)], &[]),
        Verified::Half => {
            let message = [("message", HALF), ("sb", "")];
            location(&redirect_to, if is_pkce { &message[..1] } else { &[] }, &message)
        }
    };
    Ok(told::sent_to(&to))
}
