//! Content that comes in one request.

use actix_web::http::header;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Map;

use super::door::Door;
use super::{path, shape};
use crate::error::Error;
use crate::http::body;
use crate::http::reply::Failure;
use crate::objects::upload::{Manner, Upload};

/// `POST /object/{bucket}/{key}`
pub(super) async fn create(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let upserts = request.headers().get("x-upsert").is_some_and(|value| value == "true");
    Ok(upload(&request, payload, if upserts { Manner::Upsert } else { Manner::Create }).await?)
}

/// `PUT /object/{bucket}/{key}`
pub(super) async fn replace(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let upserts = request.headers().get("x-upsert").is_some_and(|value| value == "true");
    Ok(upload(&request, payload, if upserts { Manner::Upsert } else { Manner::Replace }).await?)
}

async fn upload(request: &HttpRequest, payload: Payload, manner: Manner) -> Result<HttpResponse, Error> {
    let (bucket, key) = path::bucket_and_key(request, "/object/")?;
    let door = Door::open(request).await?;
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let upload = Upload {
        bucket,
        key,
        mime: text(header::CONTENT_TYPE).map(str::to_owned),
        cache_control: text(header::CACHE_CONTROL).unwrap_or("no-cache").to_owned(),
        metadata: Map::new(),
        manner,
        length: body::announced(request),
    };
    let terms = door.objects().admit(&upload).await?;
    let pieces = body::pieces(request, payload, terms.limit)?.stream();
    let stored = door.objects().receive(&upload, &terms, pieces).await?;
    let door = door.again(request).await?;
    let object = door.objects().settle(&upload, stored, None).await?;
    Ok(HttpResponse::Ok().json(shape::uploaded(&object)))
}
