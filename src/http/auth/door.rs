//! Who comes to sign-in, and with what: credentials, body, query.

use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{self, Payload};
use actix_web::{FromRequest as _, HttpRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::app::{App, now};
use crate::auth::desk::{Visit, Visitor};
use crate::auth::token::Holder;
use crate::error::{AuthCode, Code, Error};
use crate::http::principal::{caller_now, verified_caller};
use crate::http::{body, peer};

/// Longest body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Longest time in which it must have come.
const WITHIN: Duration = Duration::from_secs(60);

/// A visit of somebody who shows an API key at least. His token, if he shows one, holds.
///
/// # Errors
/// `no_authorization`, `bad_jwt`, `user_not_found`, `session_not_found`, `user_banned`.
pub(super) async fn visit<'a>(request: &HttpRequest, app: &'a App) -> Result<Visit<'a>, Error> {
    let (caller, verified) = verified_caller(request).await?;
    let token = verified.filter(|verified| !matches!(verified.holder, Holder::Key { .. }));
    app.desk().visit(Visitor { token, is_admin: caller.is_service(), ..nobody(request) }, now())
}

/// A visit of a browser that follows a link: it shows nothing.
pub(super) fn visit_openly<'a>(request: &HttpRequest, app: &'a App) -> Result<Visit<'a>, Error> {
    app.desk().visit(nobody(request), now())
}

/// A visit of the operator.
///
/// # Errors
/// `not_admin` for anybody else.
pub(super) async fn visit_as_admin<'a>(request: &HttpRequest, app: &'a App) -> Result<Visit<'a>, Error> {
    let visit = visit(request, app).await?;
    if visit.is_admin() { Ok(visit) } else { Err(AuthCode::NotAdmin.into()) }
}

fn nobody(request: &HttpRequest) -> Visitor {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    Visitor {
        address: peer::address(request),
        user_agent: agent.map(str::to_owned),
        token: None,
        is_admin: false,
        at_console: false,
    }
}

/// The JSON body. What is not known in it is passed over; an empty body says nothing. Whoever sent it must still be who he
/// was when it began to come: a request that is sent halfway must not outlive the session, the ban or the key.
///
/// # Errors
/// `bad_json`; `validation_failed` for JSON of another shape; as [`visit`] for credentials that hold no more.
pub(super) async fn json<T: DeserializeOwned>(request: &HttpRequest, payload: Payload) -> Result<T, Error> {
    let bytes = body::read_within(request, payload, MAX_BODY, WITHIN).await?;
    caller_now(request).await?;
    let text: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
    serde_json::from_slice(text).map_err(|fault| {
        if fault.is_data() {
            Error::with(AuthCode::ValidationFailed, format!("The body does not fit: {fault}"))
        } else {
            Error::with(Code::Body, format!("Could not parse request body as JSON: {fault}"))
        }
    })
}

#[derive(Deserialize)]
struct Wished {
    redirect_to: Option<String>,
}

/// Where a link leads in the end: where the body or the query wishes, or to the page that asked, if the project allows it.
///
/// # Errors
/// `validation_failed`.
pub(super) fn destination(
    request: &HttpRequest,
    visit: &Visit<'_>,
    said: Option<&str>,
) -> Result<String, Error> {
    let Wished { redirect_to } = query(request)?;
    let wished = said.filter(|said| !said.is_empty()).or(redirect_to.as_deref());
    let referer = request.headers().get(header::REFERER).and_then(|referer| referer.to_str().ok());
    Ok(visit.settings().redirect(wished, referer))
}

/// An id in the path.
///
/// # Errors
/// `validation_failed`.
pub(super) fn id(request: &HttpRequest, name: &str) -> Result<Uuid, Error> {
    let text = request.match_info().get(name).unwrap_or_default();
    text.parse().map_err(|_| Error::with(AuthCode::ValidationFailed, format!("{name} must be an UUID")))
}

/// The query.
///
/// # Errors
/// `validation_failed`.
pub(super) fn query<T: DeserializeOwned + 'static>(request: &HttpRequest) -> Result<T, Error> {
    web::Query::<T>::extract(request)
        .into_inner()
        .map(web::Query::into_inner)
        .map_err(|fault| Error::with(AuthCode::ValidationFailed, format!("The query does not fit: {fault}")))
}
