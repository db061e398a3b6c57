//! Content that comes in one request.

use actix_web::http::header::{self, HeaderName};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::door::Door;
use super::{form, path, said, shape};
use crate::error::Error;
use crate::http::body;
use crate::http::reply::Failure;
use crate::objects::Objects;
use crate::objects::key::Key;
use crate::objects::upload::{Manner, Stored, Upload};

const UPSERT: HeaderName = HeaderName::from_static("x-upsert");
pub(super) const METADATA: HeaderName = HeaderName::from_static("x-metadata");

/// `POST /object/{bucket}/{key}`
pub(super) async fn create(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let manner = if upserts(&request) { Manner::Upsert } else { Manner::Create };
    Ok(upload(&request, payload, manner).await?)
}

/// `PUT /object/{bucket}/{key}`
pub(super) async fn replace(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let manner = if upserts(&request) { Manner::Upsert } else { Manner::Replace };
    Ok(upload(&request, payload, manner).await?)
}

/// The request wishes to replace what may have the key already.
pub(super) fn upserts(request: &HttpRequest) -> bool {
    said::text(request.headers(), &UPSERT).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

async fn upload(request: &HttpRequest, payload: Payload, manner: Manner) -> Result<HttpResponse, Error> {
    let (bucket, key) = path::bucket_and_key(request, "/object/")?;
    let door = Door::open(request).await?;
    let (upload, stored) = gather(&door.objects(), request, payload, bucket, key, manner).await?;
    let door = door.again(request).await?;
    let object = door.objects().settle(&upload, stored, None).await?;
    Ok(HttpResponse::Ok().json(shape::uploaded(&object)))
}

/// Takes the content of a request, as it is or in a form, for an object of this key.
///
/// # Errors
/// Those of [`Objects::admit`] and [`Objects::receive`]; `InvalidParameter` and `InvalidRequest` for what is said beside.
pub(super) async fn gather(
    objects: &Objects<'_>,
    request: &HttpRequest,
    payload: Payload,
    bucket: String,
    key: Key,
    manner: Manner,
) -> Result<(Upload, Stored), Error> {
    let headers = request.headers();
    let metadata = said::text(headers, &METADATA).map(said::encoded_metadata).transpose()?;
    let mut upload = Upload {
        bucket,
        key,
        mime: None,
        cache_control: said::NOT_CACHED.to_owned(),
        metadata: metadata.unwrap_or_default(),
        manner,
        length: body::announced(request),
    };
    if form::is_one(request) {
        let stored = form::gather(objects, request, payload, &mut upload).await?;
        return Ok((upload, stored));
    }
    upload.mime = said::text(headers, &header::CONTENT_TYPE).map(str::to_owned);
    if let Some(cached) = said::text(headers, &header::CACHE_CONTROL) {
        upload.cache_control = said::cache_control(cached)?;
    }
    let mut pieces = body::pieces(request, payload, objects.context.catalog.limits.upload)?;
    let outcome = async {
        let terms = objects.admit(&upload).await?;
        objects.receive(&upload, &terms, pieces.stream()).await
    };
    match outcome.await {
        Ok(stored) => Ok((upload, stored)),
        Err(error) => {
            pieces.discard().await;
            Err(error)
        }
    }
}
