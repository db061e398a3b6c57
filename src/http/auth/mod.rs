//! The GoTrue dialect under `/auth/v1`: wire ↔ domain, and nothing else. Each file has the routes of its subject.

mod admin;
mod audit;
mod door;
mod factors;
mod identities;
mod keys;
mod mailed;
mod oauth;
mod session;
mod shape;
mod signup;
mod told;
mod user;
mod wellknown;

use actix_web::web;

use crate::error::{AuthCode, Error};
use crate::http::reply::Failure;

/// The routes of this dialect, relative to `/auth/v1`.
pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    wellknown::configure(cfg);
    session::configure(cfg);
    signup::configure(cfg);
    user::configure(cfg);
    mailed::configure(cfg);
    oauth::configure(cfg);
    identities::configure(cfg);
    factors::configure(cfg);
    keys::configure(cfg);
    admin::configure(cfg);
    audit::configure(cfg);
    for prefix in [
        "/sso",
        "/oauth",
        "/scim",
        "/passkeys",
        "/saml",
        "/admin/sso",
        "/admin/oauth",
        "/admin/custom-providers",
    ] {
        cfg.service(web::scope(prefix).default_service(web::to(not_built)));
    }
}

/// Parts of the dialect that are known and not built.
async fn not_built() -> Result<&'static str, Failure> {
    Err(Error::new(AuthCode::FeatureDisabled).into())
}
