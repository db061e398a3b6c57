//! Uploads that somebody grants to whoever has the token.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, json};
use uuid::Uuid;

use super::door::Door;
use super::{path, shape, sign, upload};
use crate::app::now;
use crate::auth::noted::Noted;
use crate::auth::pass::{Pass, Purpose};
use crate::auth::token::{Holder, Verified};
use crate::error::Error;
use crate::http::principal;
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;
use crate::objects::grant::Grant;
use crate::objects::key::Key;
use crate::objects::upload::{Manner, Upload};

/// Seconds for which an upload is granted.
const LASTS: i64 = 2 * 3600;

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/object/upload/sign/{bucket}/{key:.+}")
            .route(web::post().to(grant))
            .route(web::put().to(take))
            .default_service(web::to(no_such_method)),
    );
}

/// `POST /object/upload/sign/{bucket}/{key}`
async fn grant(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, BEFORE)?;
    let door = Door::open(&request).await?;
    let (_, verified) = principal::verified_caller(&request).await?;
    let upserts = upload::upserts(&request);
    let wished = Upload {
        bucket,
        key,
        mime: None,
        cache_control: String::new(),
        metadata: Map::new(),
        manner: if upserts { Manner::Upsert } else { Manner::Create },
        length: None,
    };
    door.objects().admit(&wished).await?;
    let (issued, verified) = (now(), verified.as_deref());
    let seconds = verified.map_or(LASTS, |verified| lasts(verified, issued));
    let credential = serde_json::to_value(Noted::of(verified)).map_err(Error::internal)?;
    let id = door.objects().grant(&wished, &credential, seconds).await?;
    let url = format!("{}/{}", wished.bucket, wished.key);
    let address = format!("/object/upload/sign/{}/{}", wished.bucket, path::written(wished.key.as_str()));
    let pass = Pass {
        purpose: Purpose::Upload,
        url,
        object: None,
        upload: Some(id),
        issued,
        expires: issued + seconds,
    };
    let token = pass.mint(door.app().keys().active()).map_err(Error::internal)?;
    Ok(HttpResponse::Ok().json(json!({ "url": format!("{address}?token={token}"), "token": token })))
}

/// A session can be asked for later. Nothing that is over with its token grants anything beyond that.
fn lasts(verified: &Verified, now: i64) -> i64 {
    match verified.holder {
        Holder::Session { .. } => LASTS,
        Holder::Key { .. } | Holder::Operator { .. } | Holder::Foreign { .. } => {
            verified.expires.saturating_sub(now).clamp(1, LASTS)
        }
    }
}

/// `PUT /object/upload/sign/{bucket}/{key}?token=`
async fn take(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, BEFORE)?;
    let token = sign::token(&request)?;
    let (door, grant) = by_token(&request, &token, Some((&bucket, &key))).await?;
    let (upload, stored) =
        upload::gather(&door.objects(), &request, payload, bucket, key, grant.manner()).await?;
    let door = again(&request, door, &grant).await?;
    let object = door.objects().settle(&upload, stored, grant.claim()).await?;
    Ok(HttpResponse::Ok().json(shape::uploaded(&object)))
}

const BEFORE: &str = "/object/upload/sign/";

/// The door as it opens to whoever granted what a token is for. Where a bucket and a key are given, it must be for these.
///
/// # Errors
/// `InvalidUploadSignature`, `ExpiredToken`, `NoSuchUpload`; as for a credential that holds no more, if that of whoever
/// granted it does not.
pub(super) async fn by_token(
    request: &HttpRequest,
    token: &str,
    asked: Option<(&str, &Key)>,
) -> Result<(Door, Grant), Error> {
    let to_all = Door::open_to_all(request)?;
    let Named { id, bucket, key } = named(&to_all, token)?;
    if asked.is_some_and(|asked| asked != (bucket.as_str(), &key)) {
        return Err(Pass::refusal(Purpose::Upload));
    }
    let grant = to_all.objects().granted(id, &bucket, &key).await?;
    Ok((granter(request, &grant).await?, grant))
}

/// How many bytes the object has that an upload became which used a token up.
///
/// # Errors
/// `InvalidUploadSignature`, `ExpiredToken`, `NoSuchUpload`.
pub(super) async fn stored(request: &HttpRequest, token: &str, upload: Uuid) -> Result<u64, Error> {
    let to_all = Door::open_to_all(request)?;
    let Named { bucket, key, .. } = named(&to_all, token)?;
    to_all.objects().stored(upload, &bucket, &key).await
}

/// What a token says.
struct Named {
    /// Of what was granted.
    id: Uuid,
    bucket: String,
    key: Key,
}

/// # Errors
/// `InvalidUploadSignature`, `ExpiredToken`.
fn named(door: &Door, token: &str) -> Result<Named, Error> {
    let pass = Pass::verify(token, &door.app().keys(), Purpose::Upload, now())?;
    let place = pass.url.split_once('/').and_then(|(bucket, key)| Some((bucket, Key::parse(key).ok()?)));
    match (place, pass.upload) {
        (Some((bucket, key)), Some(id)) => Ok(Named { id, bucket: bucket.to_owned(), key }),
        _ => Err(Pass::refusal(Purpose::Upload)),
    }
}

/// The door as it opens now to whoever granted an upload, if the grant is not over: content may have been long in coming.
///
/// # Errors
/// `NoSuchUpload`; as for a credential that holds no more.
pub(super) async fn again(request: &HttpRequest, door: Door, grant: &Grant) -> Result<Door, Error> {
    let grant = door.objects().granted(grant.id, &grant.bucket, &grant.key).await?;
    granter(request, &grant).await
}

async fn granter(request: &HttpRequest, grant: &Grant) -> Result<Door, Error> {
    let noted: Noted = serde_json::from_value(grant.credential.clone()).map_err(Error::internal)?;
    let caller = principal::recalled(request, &noted).await?;
    Door::open_for(request, caller)
}
