//! [`Caller`]: the one extractor that turns a request's credentials into a principal.
//!
//! It reads two headers and nothing else: no query parameter, cookie or other header can say who is asking.
//! It runs before a body is read, and once more when it has come. It asks the database only for the roles of a verified session.

use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, web};

use super::peer;
use super::reply::Failure;
use super::server::Options;
use crate::app::{App, Worker, now};
use crate::auth::noted::Noted;
use crate::auth::resolve::{self, Credentials};
use crate::auth::token::{Holder, KeyRole, TokenFault, Verified};
use crate::error::{Code, Error};
use crate::model::Principal;

const API_KEY: HeaderName = HeaderName::from_static("apikey");

/// Who is asking, verified.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Principal>);

impl Deref for Caller {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.0
    }
}

impl FromRequest for Caller {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Caller, Failure>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let caller = caller(&request).await?;
            admit(&request, &caller)?;
            Ok(caller)
        })
    }
}

/// Counts a request of nobody in particular, by where it comes from. Whoever shows a token of a user or the secret key is
/// not counted.
pub(super) fn admit(request: &HttpRequest, caller: &Principal) -> Result<(), Error> {
    match request.app_data::<web::Data<App>>() {
        Some(app) if caller.is_nobody() => app.desk().admit(peer::address(request)),
        Some(_) | None => Ok(()),
    }
}

/// The caller of a request; found once and kept with it.
///
/// # Errors
/// 401 for a credential that does not hold or is missing, 503 if the roles of a session cannot be had.
pub async fn caller(request: &HttpRequest) -> Result<Caller, Error> {
    if let Some(known) = request.extensions().get::<Caller>() {
        return Ok(known.clone());
    }
    caller_now(request).await
}

/// The caller of a request as he is judged at this moment. A body may be long in coming, and what was judged before it, a
/// session, a ban, a role, a key or an expiry, may hold no more when the last of it has come: whoever reads a body asks
/// this before he acts on it. Where nothing has changed, everything is remembered and nobody is asked.
///
/// # Errors
/// As [`caller`].
pub(super) async fn caller_now(request: &HttpRequest) -> Result<Caller, Error> {
    Ok(verified_caller(request).await?.0)
}

/// The caller of a request, and the credential that says so.
///
/// # Errors
/// As [`caller`].
pub(super) async fn verified_caller(request: &HttpRequest) -> Result<(Caller, Option<Arc<Verified>>), Error> {
    let (Some(app), Some(options), Some(worker)) = (
        request.app_data::<web::Data<App>>(),
        request.app_data::<web::Data<Options>>(),
        request.app_data::<Rc<Worker>>(),
    ) else {
        return Err(Error::internal("the server was built without its App or its Worker"));
    };
    let credentials = credentials(request.headers())?;
    // Another issuer's token is the only one for which somebody may have to be asked.
    let foreign = match credentials.bearer {
        Some(bearer) => app.desk().verify_foreign(bearer, now()).await.transpose()?,
        None => None,
    };
    let verified = resolve::identify(credentials, options.keyless, |token| match &foreign {
        Some(verified) if credentials.bearer == Some(token) => Ok(Arc::clone(verified)),
        Some(_) | None => verify(app, worker, token),
    })?;
    let principal = match &verified {
        None => Arc::new(Principal::anonymous()),
        Some(verified) => resolve::principal(verified, worker.lanes(), app.caches().standings()).await?,
    };
    let caller = Caller(principal);
    request.extensions_mut().insert(caller.clone());
    Ok((caller, verified))
}

/// Whoever a credential stands for, at this moment, that was noted when something was granted to its holder.
///
/// # Errors
/// As [`caller`].
pub(super) async fn recalled(request: &HttpRequest, noted: &Noted) -> Result<Caller, Error> {
    let (Some(app), Some(options), Some(worker)) = (
        request.app_data::<web::Data<App>>(),
        request.app_data::<web::Data<Options>>(),
        request.app_data::<Rc<Worker>>(),
    ) else {
        return Err(Error::internal("the server was built without its App or its Worker"));
    };
    let Some(verified) = noted.recall(&app.keys(), now())? else {
        return if options.keyless {
            Ok(Caller(Arc::new(Principal::anonymous())))
        } else {
            Err(Error::new(Code::CredentialRequired))
        };
    };
    if verified.jti.as_ref().is_some_and(|jti| app.revocations().contains(jti)) {
        return Err(TokenFault::Revoked.into());
    }
    if !app.desk().still_accepts(&verified) {
        return Err(TokenFault::Issuer.into());
    }
    Ok(Caller(resolve::principal(&verified, worker.lanes(), app.caches().standings()).await?))
}

/// The request's API key is the secret one, whoever it is judged as: with it comes the operator.
pub fn holds_secret_key(request: &HttpRequest) -> bool {
    let (Some(app), Some(worker)) = (request.app_data::<web::Data<App>>(), request.app_data::<Rc<Worker>>())
    else {
        return false;
    };
    let key = one(request.headers(), &API_KEY).ok().flatten();
    key.and_then(|key| verify(app, worker, key).ok())
        .is_some_and(|verified| verified.holder == Holder::Key { role: KeyRole::Service })
}

/// Verifies a token, against what is revoked too.
pub(super) fn verify(app: &App, worker: &Worker, token: &str) -> Result<Arc<Verified>, TokenFault> {
    let verified = worker.tokens().verify(token, &app.keys(), now())?;
    match &verified.jti {
        Some(jti) if app.revocations().contains(jti) => Err(TokenFault::Revoked),
        Some(_) | None => Ok(verified),
    }
}

/// The two headers that carry credentials. Twice the same header is refused: a proxy before us may have
/// judged the other one.
fn credentials(headers: &HeaderMap) -> Result<Credentials<'_>, Error> {
    let bearer = match one(headers, &header::AUTHORIZATION)? {
        None => None,
        Some(value) => match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim_matches(' ')),
            Some(_) | None => {
                return Err(Error::with(
                    Code::Token,
                    "The Authorization header must be `Bearer` and a token",
                ));
            }
        },
    };
    Ok(Credentials { bearer, api_key: one(headers, &API_KEY)? })
}

pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match visible(value.as_bytes()) {
            Some(text) => Ok(Some(text)),
            None => Err(Error::with(Code::Token, format!("The {name} header is no visible ASCII text"))),
        },
        (Some(_), Some(_)) => Err(Error::with(Code::Token, format!("The {name} header is given twice"))),
    }
}

/// Visible ASCII. Tokens are long, and this looks at many of their bytes at once: no early way out.
fn visible(bytes: &[u8]) -> Option<&str> {
    let all = bytes.iter().fold(true, |all, byte| all & (matches!(byte, b' '..=b'~') | (*byte == b'\t')));
    if all { std::str::from_utf8(bytes).ok() } else { None }
}
