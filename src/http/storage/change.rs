//! What happens to objects that are there: they move, are copied, go.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::door::Door;
use super::upload::{METADATA, upserts};
use super::{path, said, shape};
use crate::error::{Error, StorageCode};
use crate::http::reply::Failure;
use crate::objects::change::Move;
use crate::objects::copy::Copy;
use crate::objects::delete;
use crate::objects::key::Key;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Places {
    bucket_id: String,
    source_key: String,
    destination_bucket: Option<String>,
    destination_key: String,
    /// Of a copy: what is said of the object goes with it.
    copy_metadata: Option<bool>,
    /// Of a copy: what is said of it instead.
    metadata: Option<Instead>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instead {
    cache_control: Option<String>,
    mimetype: Option<String>,
}

impl Places {
    fn destination(&self) -> Result<String, Error> {
        path::sound_bucket(self.destination_bucket.as_ref().unwrap_or(&self.bucket_id).clone())
    }
}

/// `POST /object/move`
pub(super) async fn relocate(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let (door, places): (Door, Places) = Door::with_json(&request, payload).await?;
    let wish = Move {
        to_bucket: places.destination()?,
        bucket: path::sound_bucket(places.bucket_id)?,
        key: Key::parse(&places.source_key)?,
        to: Key::parse(&places.destination_key)?,
    };
    let object = door.objects().relocate(&wish).await?;
    let mut body = shape::uploaded(&object);
    if let Some(members) = body.as_object_mut() {
        members.insert("message".to_owned(), "Successfully moved".into());
    }
    Ok(HttpResponse::Ok().json(body))
}

/// `POST /object/copy`
pub(super) async fn copy(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let metadata = said::text(request.headers(), &METADATA).map(said::encoded_metadata).transpose()?;
    let (door, places): (Door, Places) = Door::with_json(&request, payload).await?;
    let to_bucket = places.destination()?;
    let instead = places.metadata.unwrap_or_default();
    let wish = Copy {
        bucket: path::sound_bucket(places.bucket_id)?,
        key: Key::parse(&places.source_key)?,
        to_bucket,
        to: Key::parse(&places.destination_key)?,
        upserts: upserts(&request),
        keeps: places.copy_metadata.unwrap_or(true),
        metadata,
        cache_control: instead.cache_control.as_deref().map(said::cache_control).transpose()?,
        mime: instead.mimetype,
    };
    let object = door.objects().copy(&wish).await?;
    let mut body = shape::copied(&object);
    if let (Some(members), Value::Object(uploaded)) = (body.as_object_mut(), shape::uploaded(&object)) {
        members.extend(uploaded);
    }
    Ok(HttpResponse::Ok().json(body))
}

#[derive(Deserialize)]
struct Named {
    prefixes: Vec<String>,
}

/// `DELETE /object/{bucket}`
pub(super) async fn delete_many(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let bucket = path::bucket_alone(&request, "/object/")?;
    let (door, named): (Door, Named) = Door::with_keys(&request, payload).await?;
    if named.prefixes.is_empty() || named.prefixes.len() > delete::MOST {
        let sentence = format!("prefixes is a list of 1 to {} keys", delete::MOST);
        return Err(Error::with(StorageCode::InvalidRequest, sentence).into());
    }
    // What no object can be called is not there.
    let keys: Vec<Key> = named.prefixes.iter().filter_map(|text| Key::parse(text).ok()).collect();
    let deleted = door.objects().delete(&bucket, &keys).await?;
    Ok(HttpResponse::Ok().json(deleted.iter().map(shape::deleted).collect::<Vec<Value>>()))
}

/// `DELETE /object/{bucket}/{key}`
pub(super) async fn delete_one(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/")?;
    let door = Door::open(&request).await?;
    door.objects().delete_one(&bucket, &key).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Successfully deleted" })))
}
