//! What anybody may know: the public halves of the signing keys, discovery, health.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::app::App;
use crate::http::reply::Failure;
use crate::http::routes::reading;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(reading("/.well-known/jwks.json", jwks))
        .service(reading("/.well-known/openid-configuration", discovery))
        .service(reading("/health", health));
}

/// The JWK Set (RFC 7517, 5) by which others can verify our tokens.
async fn jwks(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=600")).json(app.keys().jwks())
}

/// What verifiers of our tokens look up (OpenID Connect Discovery 1.0, 3).
async fn discovery(app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let issuer = app.desk().settings()?.issuer();
    let algorithms: Vec<&str> = app.keys().signing().iter().map(|key| key.algorithm().as_str()).collect();
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=600")).json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/user"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256", "plain"],
    })))
}

/// That sign-in is there. Asks nothing of anybody.
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "version": env!("CARGO_PKG_VERSION"), "name": "GoTrue", "description": "Basewright signs users in",
    }))
}
