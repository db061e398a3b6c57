//! `POST /signup`.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::Value;

use super::{door, shape, told};
use crate::app::App;
use crate::auth::flow::Challenge;
use crate::auth::sign_up::{SignUp, SignedUp};
use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/signup").route(web::post().to(sign_up)).default_service(web::to(no_such_method)),
    );
}

#[derive(Deserialize)]
struct Body {
    email: Option<String>,
    phone: Option<String>,
    password: Option<String>,
    data: Option<Value>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

async fn sign_up(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit(&request, &app).await?;
    let body: Body = door::json(&request, payload).await?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (email, phone) = (given(body.email), given(body.phone));
    if phone.is_some() {
        return Err(Error::new(AuthCode::PhoneProviderDisabled).into());
    }
    let Some(email) = email else {
        if given(body.password).is_some() {
            let sentence = "To signup, please provide your email";
            return Err(Error::with(AuthCode::ValidationFailed, sentence).into());
        }
        return Ok(told::granted(&visit.sign_up_anonymously(body.data).await?));
    };
    let password = given(body.password)
        .ok_or_else(|| Error::with(AuthCode::ValidationFailed, "Signup requires a valid password"))?;
    let challenge = Challenge::parse(body.code_challenge.as_deref(), body.code_challenge_method.as_deref())?;
    let redirect_to = door::destination(&request, &visit, None)?;
    let wish = SignUp { email: &email, password: &password, data: body.data, challenge, redirect_to };
    Ok(match visit.sign_up(wish).await? {
        SignedUp::In(grant) => told::granted(&grant),
        SignedUp::Waits(user) => HttpResponse::Ok().json(shape::user(&user)),
    })
}
