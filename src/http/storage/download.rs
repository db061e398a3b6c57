//! Content that is asked for.

use actix_web::body::SizedStream;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::door::Door;
use super::path;
use crate::error::Error;
use crate::http::reply::Failure;
use crate::objects::find::Object;
use crate::objects::sniff;

/// `GET /object/authenticated/{bucket}/{key}`
pub(super) async fn authenticated(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/authenticated/")?;
    let door = Door::open(&request).await?;
    let object = door.objects().find(&bucket, &key).await?;
    Ok(content(&door, object).await?)
}

/// `GET /object/public/{bucket}/{key}`
pub(super) async fn public(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/public/")?;
    let door = Door::open_to_all(&request)?;
    let object = door.objects().find_public(&bucket, &key).await?;
    Ok(content(&door, object).await?)
}

/// `GET /object/{bucket}/{key}`
pub(super) async fn plain(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/")?;
    let door = Door::open(&request).await?;
    let object = door.objects().find(&bucket, &key).await?;
    Ok(content(&door, object).await?)
}

async fn content(door: &Door, object: Object) -> Result<HttpResponse, Error> {
    let stream = door.objects().blobs.read(object.version, 0..object.size).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, sniff::served(&object.mime, object.inline)))
        .insert_header((header::ETAG, format!("\"{}\"", object.etag)))
        .body(SizedStream::new(object.size, stream)))
}
