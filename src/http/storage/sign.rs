//! Addresses that open one object to whoever has them, for a while.

use actix_web::http::header;
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Number, json};
use uuid::Uuid;

use super::door::Door;
use super::{download, path, said};
use crate::app::now;
use crate::auth::pass::{Pass, Purpose};
use crate::error::{Error, StorageCode};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;
use crate::objects::key::Key;

/// Seconds for which an address may open something: seven days.
const LONGEST: i64 = 7 * 24 * 3600;
/// Keys that one request may sign.
const MAX_PATHS: usize = 1_000;
/// What a key is answered with that is not signed: clients know the sentence.
const NOT_SIGNED: &str = "Either the object does not exist or you do not have access to it";

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource("/object/sign/{bucket}")
            .route(web::post().to(sign_many))
            .default_service(web::to(no_such_method)),
    )
    .service(
        web::resource("/object/sign/{bucket}/{key:.+}")
            .route(web::get().to(open))
            .route(web::head().to(open))
            .route(web::post().to(sign))
            .default_service(web::to(no_such_method)),
    );
}

#[derive(Deserialize)]
struct Wish {
    #[serde(rename = "expiresIn")]
    expires_in: Option<Number>,
    transform: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ManyWishes {
    #[serde(rename = "expiresIn")]
    expires_in: Option<Number>,
    paths: Option<Vec<String>>,
}

/// `POST /object/sign/{bucket}/{key}`
async fn sign(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/sign/")?;
    let (door, wish) = Door::with_json::<Wish>(&request, payload).await?;
    let seconds = seconds(wish.expires_in.as_ref())?;
    if wish.transform.is_some() {
        return Err(Error::with(StorageCode::InvalidParameter, "Images are not transformed").into());
    }
    let object = door.objects().find(&bucket, &key).await?;
    let url = signed(&door, (&object.bucket, &object.name), object.id, seconds)?;
    Ok(HttpResponse::Ok().json(json!({ "signedURL": url })))
}

/// `POST /object/sign/{bucket}`
async fn sign_many(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let bucket = path::bucket_alone(&request, "/object/sign/")?;
    let (door, wishes) = Door::with_keys::<ManyWishes>(&request, payload).await?;
    let seconds = seconds(wishes.expires_in.as_ref())?;
    let paths = wishes.paths.ok_or_else(|| Error::with(StorageCode::MissingParameter, "paths is missing"))?;
    if paths.len() > MAX_PATHS {
        let message = format!("paths has more than {MAX_PATHS} keys");
        return Err(Error::with(StorageCode::InvalidParameter, message).into());
    }
    let keys: Vec<Option<Key>> = paths.iter().map(|path| Key::parse(path).ok()).collect();
    let sound: Vec<Key> = keys.iter().flatten().cloned().collect();
    let readable = door.objects().readable_keys(&bucket, &sound).await?;
    let mut answers = Vec::with_capacity(paths.len());
    for (path, key) in paths.iter().zip(&keys) {
        let object = key.as_ref().and_then(|key| Some((key.as_str(), *readable.get(key.as_str())?)));
        answers.push(match object {
            Some((key, id)) => {
                let url = signed(&door, (&bucket, key), id, seconds)?;
                json!({ "error": null, "path": path, "signedURL": url })
            }
            None => json!({ "error": NOT_SIGNED, "path": path, "signedURL": null }),
        });
    }
    Ok(HttpResponse::Ok().json(answers))
}

/// `GET /object/sign/{bucket}/{key}?token=`
async fn open(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/sign/")?;
    let door = Door::open_to_all(&request)?;
    let token = token(&request)?;
    let pass = Pass::verify(&token, &door.app().keys(), Purpose::Read, now())?;
    let (Some(key), Some(id)) = (named(&pass, &bucket, key), pass.object) else {
        return Err(Pass::refusal(Purpose::Read).into());
    };
    let mut response =
        download::content(&door, &request, async || door.objects().find_signed(&bucket, &key, id).await)
            .await?;
    // Nor does anybody keep it beyond the time of its address.
    let said = response.headers().get(header::CACHE_CONTROL).and_then(|said| said.to_str().ok());
    let kept = said::private(said.unwrap_or(said::NOT_CACHED), Some(pass.expires.saturating_sub(now())));
    if let Ok(kept) = header::HeaderValue::try_from(kept) {
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
    }
    // The address is the credential: it goes to nobody else with a link in what is opened.
    response.headers_mut().insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// The key that a pass names, if it is the one that was asked for. Published clients encode the address once more that
/// they are given, so that what was encoded in it comes encoded.
fn named(pass: &Pass, bucket: &str, key: Key) -> Option<Key> {
    let (place, name) = pass.url.split_once('/')?;
    if place != bucket {
        return None;
    }
    if key.as_str() == name || path::written(name) == key.as_str() { Key::parse(name).ok() } else { None }
}

/// The token of a query, which has one.
///
/// # Errors
/// `MissingParameter`; `InvalidParameter` where there are several.
pub(super) fn token(request: &HttpRequest) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Query {
        token: Option<String>,
    }
    let query = web::Query::<Query>::from_query(request.query_string());
    let query =
        query.map_err(|_| Error::with(StorageCode::InvalidParameter, "The query has no single token"))?;
    query.into_inner().token.ok_or_else(|| Error::with(StorageCode::MissingParameter, "token is missing"))
}

/// # Errors
/// `MissingParameter`; `InvalidParameter`.
fn seconds(said: Option<&Number>) -> Result<i64, Error> {
    let Some(said) = said else {
        return Err(Error::with(StorageCode::MissingParameter, "expiresIn is missing"));
    };
    said.as_i64().filter(|seconds| (1..=LONGEST).contains(seconds)).ok_or_else(|| {
        let message = format!("expiresIn must be a whole number of seconds from 1 to {LONGEST}");
        Error::with(StorageCode::InvalidParameter, message)
    })
}

fn signed(door: &Door, (bucket, key): (&str, &str), object: Uuid, seconds: i64) -> Result<String, Error> {
    let issued = now();
    let url = format!("{bucket}/{key}");
    let address = format!("/object/sign/{bucket}/{}", path::written(key));
    let pass = Pass {
        purpose: Purpose::Read,
        url,
        object: Some(object),
        upload: None,
        issued,
        expires: issued + seconds,
    };
    let token = pass.mint(door.app().keys().active()).map_err(Error::internal)?;
    Ok(format!("{address}?token={token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lasts_from_one_second_to_seven_days() {
        for (said, taken) in [
            ("1", true),
            ("604800", true),
            ("0", false),
            ("-1", false),
            ("604801", false),
            ("9223372036854775807", false),
            ("18446744073709551615", false),
            ("60.5", false),
            ("60.0", false),
            ("1e300", false),
        ] {
            let said: Number = serde_json::from_str(said).unwrap();
            assert_eq!(seconds(Some(&said)).is_ok(), taken, "{said}");
        }
        assert_eq!(seconds(None).unwrap_err().code.as_str(), "MissingParameter");
    }

    #[test]
    fn a_pass_names_one_key_in_the_ways_in_which_it_can_be_written() {
        let pass = |url: &str| Pass {
            purpose: Purpose::Read,
            url: url.to_owned(),
            object: Some(Uuid::nil()),
            upload: None,
            issued: 0,
            expires: 1,
        };
        let named = |url: &str, bucket: &str, key: &str| {
            named(&pass(url), bucket, Key::parse(key).unwrap()).map(|key| key.as_str().to_owned())
        };
        assert_eq!(named("a/b/c.png", "a", "b/c.png").as_deref(), Some("b/c.png"));
        assert_eq!(named("a/100%?.png", "a", "100%25%3F.png").as_deref(), Some("100%?.png"));
        for (url, bucket, key) in [
            ("a/b/c.png", "a", "b/C.png"),
            ("a/b/c.png", "b", "c.png"),
            ("a/b/c.png", "a", "b"),
            ("a/b/c.png", "a", "b/c.png/d"),
            ("a/b%20c", "a", "b c"),
            ("a/b c", "a", "b%20c"),
        ] {
            assert_eq!(named(url, bucket, key), None, "{url} {bucket} {key}");
        }
    }
}
