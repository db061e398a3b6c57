//! Providers: `/authorize`, `/callback`.

use std::collections::HashMap;

use actix_web::http::{Method, header};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::{door, told};
use crate::app::App;
use crate::auth::desk::Visit;
use crate::auth::flow::Challenge;
use crate::auth::oauth::{Answer, Outcome, Wish};
use crate::auth::redirect::location;
use crate::error::Error;
use crate::http::body;
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

/// Longest form that a provider lets the browser post, in bytes.
const MAX_FORM: usize = 64 << 10;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/authorize").route(web::get().to(authorize)).default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/callback")
            .route(web::get().to(callback))
            .route(web::post().to(callback))
            .default_service(web::to(no_such_method)),
    );
}

#[derive(Deserialize)]
struct Wished {
    provider: Option<String>,
    scopes: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
    skip_http_redirect: Option<String>,
    #[serde(flatten)]
    more: HashMap<String, String>,
}

async fn authorize(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_openly(&request, &app)?;
    Ok(depart(&request, &visit, false).await?)
}

/// Sends a browser to a provider, or says where that is. Also for somebody who links an identity.
pub(super) async fn depart(
    request: &HttpRequest,
    visit: &Visit<'_>,
    link: bool,
) -> Result<HttpResponse, Error> {
    let wished: Wished = door::query(request)?;
    let challenge =
        Challenge::parse(wished.code_challenge.as_deref(), wished.code_challenge_method.as_deref())?;
    let wish = Wish {
        provider: wished.provider.unwrap_or_default(),
        scopes: wished.scopes,
        redirect_to: door::destination(request, visit, None)?,
        challenge,
        more: wished.more.into_iter().collect(),
    };
    let address = visit.depart(wish, link).await?;
    if wished.skip_http_redirect.as_deref() == Some("true") {
        return Ok(HttpResponse::Ok().json(json!({ "url": address })));
    }
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, address))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish())
}

/// A browser is back from a provider: by its address, or by a form that the provider's page posts.
async fn callback(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_openly(&request, &app)?;
    let answer = if request.method() == Method::POST {
        answer(&body::read(&request, payload, MAX_FORM).await?)
    } else {
        answer(request.query_string().as_bytes())
    };
    let landing = visit.arrive(answer).await;
    Ok(match landing.outcome {
        Outcome::Session(grant) => {
            let own = [
                ("provider_token", grant.provider_token.as_deref()),
                ("provider_refresh_token", grant.provider_refresh_token.as_deref()),
            ];
            let own: Vec<(&str, &str)> =
                own.into_iter().filter_map(|(name, token)| Some((name, token?))).collect();
            told::sent_to(&told::arrived(&landing.to, &grant, &own))
        }
        Outcome::Code(code) => told::sent_to(&location(&landing.to, &[("code", &code)], &[])),
        Outcome::Refused { word: Some(word), error } => told::refused_as(&word, &landing.to, &error, true),
        Outcome::Refused { word: None, error } => told::refused_at(&landing.to, &error, true),
    })
}

/// What a provider says. What it says twice, it has not said: two readers could take one each.
fn answer(form: &[u8]) -> Answer {
    let mut said: HashMap<String, Option<String>> = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(form) {
        said.entry(name.into_owned()).and_modify(|first| *first = None).or_insert(Some(value.into_owned()));
    }
    let mut take = |name: &str| said.remove(name).flatten();
    Answer {
        state: take("state"),
        code: take("code"),
        error: take("error"),
        error_description: take("error_description"),
        issuer: take("iss"),
    }
}
