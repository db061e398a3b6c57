//! Answers that carry a session, and those that send a browser on.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderName};

use super::shape;
use crate::auth::redirect::location;
use crate::auth::session::Grant;
use crate::error::Error;

const USER: HeaderName = HeaderName::from_static("sb-auth-user-id");
const SESSION: HeaderName = HeaderName::from_static("sb-auth-session-id");

/// A session.
pub(super) fn granted(grant: &Grant) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((USER, grant.user.id.to_string()))
        .insert_header((SESSION, grant.session.to_string()))
        .json(shape::grant(grant))
}

/// Sends a browser on. What the address carries is for nobody else, nor for the next page's `Referer`.
pub(super) fn sent_to(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .finish()
}

/// Sends a browser on with what went wrong: in the fragment, and for the flow with codes in the query too.
pub(super) fn refused_at(redirect_to: &str, error: &Error, is_pkce: bool) -> HttpResponse {
    // RFC 6749, 4.1.2.1.
    let word = match error.code.status() {
        401 | 403 => "access_denied",
        404 | 400 | 422 => "invalid_request",
        _ => "temporarily_unavailable",
    };
    refused_as(word, redirect_to, error, is_pkce)
}

/// As above, in a word that somebody else has chosen.
pub(super) fn refused_as(word: &str, redirect_to: &str, error: &Error, is_pkce: bool) -> HttpResponse {
    let code = error.code.as_str();
    let told =
        [("error", word), ("error_code", code), ("error_description", error.message.as_str()), ("sb", "")];
    sent_to(&location(redirect_to, if is_pkce { &told[..3] } else { &[] }, &told))
}

/// Where a browser goes with a session in its fragment, which no server sees. `more` are further parameters.
pub(super) fn arrived(redirect_to: &str, grant: &Grant, more: &[(&str, &str)]) -> String {
    let (expires_in, expires_at) = (grant.expires_in.to_string(), grant.expires_at.to_string());
    let mut fragment = vec![
        ("access_token", grant.access_token.as_str()),
        ("expires_at", &expires_at),
        ("expires_in", &expires_in),
        ("refresh_token", &grant.refresh_token),
        ("sb", ""),
        ("token_type", "bearer"),
    ];
    fragment.extend_from_slice(more);
    location(redirect_to, &[], &fragment)
}
