//! `/admin/keys`: the signing keys and the API keys of the running server, for whoever holds the secret key. The keys
//! themselves are told once, to whoever made them.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door;
use crate::app::App;
use crate::auth::keys::{Algorithm, Keyring};
use crate::auth::token::KeyRole;
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    let resource = |path: &str| web::resource(path.to_owned()).default_service(web::to(no_such_method));
    cfg.service(resource("/admin/keys").route(web::get().to(list)))
        .service(resource("/admin/keys/rotate").route(web::post().to(rotate)))
        .service(resource("/admin/keys/revoke").route(web::post().to(revoke)))
        .service(resource("/admin/keys/{kid}").route(web::delete().to(drop_key)));
}

/// What there is, by its ids.
fn shape(ring: &Keyring) -> Value {
    let signing: Vec<Value> = ring
        .signing()
        .iter()
        .map(|key| {
            let active = key.kid() == ring.active().kid();
            json!({ "kid": key.kid(), "alg": key.algorithm(), "created": key.created(), "active": active })
        })
        .collect();
    let [publishable, secret] = ring.api_key_ids();
    let api_keys = json!([
        { "role": KeyRole::Anon.as_str(), "jti": publishable },
        { "role": KeyRole::Service.as_str(), "jti": secret },
    ]);
    json!({ "api_keys": api_keys, "signing": signing })
}

async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    Ok(HttpResponse::Ok().json(shape(visit.keyring())))
}

#[derive(Deserialize)]
struct Rotation {
    #[serde(default = "es256")]
    alg: Algorithm,
    #[serde(default)]
    drop_old: bool,
}

fn es256() -> Algorithm {
    Algorithm::Es256
}

async fn rotate(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let Rotation { alg, drop_old } = door::json(&request, payload).await?;
    let ring = visit.rotate_keys(alg, drop_old).await?;
    let mut answer = shape(&ring);
    answer["publishable"] = ring.publishable().into();
    answer["secret"] = ring.secret().into();
    Ok(HttpResponse::Ok().json(answer))
}

#[derive(Deserialize)]
struct Revocation {
    jti: String,
}

async fn revoke(
    request: HttpRequest,
    payload: Payload,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    let Revocation { jti } = door::json(&request, payload).await?;
    visit.revoke_key(&jti).await?;
    app.revocations().extend([jti.as_str()]);
    Ok(HttpResponse::NoContent().finish())
}

async fn drop_key(
    request: HttpRequest,
    kid: web::Path<String>,
    app: web::Data<App>,
) -> Result<HttpResponse, Failure> {
    let visit = door::visit_as_admin(&request, &app).await?;
    Ok(HttpResponse::Ok().json(shape(&visit.drop_key(&kid).await?)))
}
