//! Content that is asked for, and what is known of it.

use actix_web::body::SizedStream;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use futures_util::{StreamExt as _, stream};

use super::door::Door;
use super::{disposition, path, said, shape};
use crate::error::{Error, StorageCode};
use crate::http::conditional::{Portion, Validators};
use crate::http::reply::{self, Dialect, Failure};
use crate::http::request_id;
use crate::objects::blobs::{BlobFault, Outgoing};
use crate::objects::find::Object;
use crate::objects::sniff;
use crate::objects::traffic::Passage;

/// What lies with us was written by others, and nothing of it may run as ours: no script, no form, no frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
);
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// `GET /object/authenticated/{bucket}/{key}`
pub(super) async fn authenticated(request: HttpRequest) -> Result<HttpResponse, Failure> {
    Ok(judged(&request, "/object/authenticated/").await?)
}

/// `GET /object/{bucket}/{key}`
pub(super) async fn plain(request: HttpRequest) -> Result<HttpResponse, Failure> {
    Ok(judged(&request, "/object/").await?)
}

/// `GET /object/public/{bucket}/{key}`
pub(super) async fn public(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/public/")?;
    let door = Door::open_to_all(&request)?;
    Ok(content(&door, &request, async || door.objects().find_public(&bucket, &key).await).await?)
}

async fn judged(request: &HttpRequest, before: &str) -> Result<HttpResponse, Error> {
    let (bucket, key) = path::bucket_and_key(request, before)?;
    let door = Door::open(request).await?;
    content(&door, request, async || door.objects().find(&bucket, &key).await).await
}

/// `GET /object/info/authenticated/{bucket}/{key}`
pub(super) async fn authenticated_info(request: HttpRequest) -> Result<HttpResponse, Failure> {
    Ok(judged_info(&request, "/object/info/authenticated/").await?)
}

/// `GET /object/info/{bucket}/{key}`
pub(super) async fn plain_info(request: HttpRequest) -> Result<HttpResponse, Failure> {
    Ok(judged_info(&request, "/object/info/").await?)
}

/// `GET /object/info/public/{bucket}/{key}`
pub(super) async fn public_info(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let (bucket, key) = path::bucket_and_key(&request, "/object/info/public/")?;
    let door = Door::open_to_all(&request)?;
    let object = door.objects().find_public(&bucket, &key).await?;
    Ok(HttpResponse::Ok().json(shape::info(&object)))
}

async fn judged_info(request: &HttpRequest, before: &str) -> Result<HttpResponse, Error> {
    let (bucket, key) = path::bucket_and_key(request, before)?;
    let door = Door::open(request).await?;
    let object = door.objects().find(&bucket, &key).await?;
    Ok(HttpResponse::Ok().json(shape::info(&object)))
}

/// The content of what `find` finds, as far as the request asks for it.
///
/// # Errors
/// Those of `find`; `InvalidParameter` for a query that cannot be read, 500 where there is a row and no content,
/// `StorageUnavailable`.
pub(super) async fn content(
    door: &Door,
    request: &HttpRequest,
    find: impl AsyncFn() -> Result<Object, Error>,
) -> Result<HttpResponse, Error> {
    let wish = disposition::wished(request)?;
    let gets = request.method() == Method::GET;
    let mut object = find().await?;
    let mut portion = Portion::of(request.headers(), validators(&object), gets);
    let mut opened = open(door, &object, &portion, gets).await;
    if opened.as_ref().is_err_and(is_gone) {
        // It was replaced since its row was read, and its content is gone: there is other content now.
        object = find().await?;
        portion = Portion::of(request.headers(), validators(&object), gets);
        opened = open(door, &object, &portion, gets).await;
    }
    let opened = opened?;

    let mut response = HttpResponse::build(match &portion {
        Portion::Whole => StatusCode::OK,
        Portion::Part(_) => StatusCode::PARTIAL_CONTENT,
        Portion::NotModified => StatusCode::NOT_MODIFIED,
        Portion::Failed => StatusCode::PRECONDITION_FAILED,
        Portion::Outside => return Ok(outside(request, object.size)),
    });
    dress(&mut response, door, &object);
    let size = match &portion {
        Portion::Whole => object.size,
        Portion::Part(range) => {
            let place = format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), object.size);
            response.insert_header((header::CONTENT_RANGE, place));
            range.end - range.start
        }
        Portion::NotModified | Portion::Failed | Portion::Outside => return Ok(response.finish()),
    };
    response.insert_header((header::CONTENT_TYPE, sniff::served(&object.mime, object.inline)));
    if let Some(disposition) = disposition::of(&object, wish.as_deref()) {
        response.insert_header((header::CONTENT_DISPOSITION, disposition));
    }
    Ok(match opened {
        Some((content, passage)) => {
            let content = content.inspect(move |_| {
                let _stays = &passage;
            });
            response.body(SizedStream::new(size, content))
        }
        // The answer to HEAD says how long the other one would be.
        None => response.body(SizedStream::new(size, stream::empty::<Result<_, BlobFault>>())),
    })
}

/// There is a row and no content.
fn is_gone(error: &Error) -> bool {
    let source = error.source.as_ref().and_then(|source| source.downcast_ref::<BlobFault>());
    matches!(source, Some(BlobFault::NotFound(_)))
}

/// Opens what is to be sent, if anything is, and the place that it takes until it is sent.
async fn open(
    door: &Door,
    object: &Object,
    portion: &Portion,
    gets: bool,
) -> Result<Option<(Outgoing, Passage)>, Error> {
    let range = match portion {
        Portion::Whole if gets => 0..object.size,
        Portion::Part(range) => range.clone(),
        Portion::Whole | Portion::NotModified | Portion::Failed | Portion::Outside => return Ok(None),
    };
    let passage = door.objects().traffic.go()?;
    Ok(Some((door.objects().blobs.read(object.version, range).await?, passage)))
}

fn validators(object: &Object) -> Validators<'_> {
    Validators { etag: &object.etag, modified: object.updated, size: object.size }
}

/// What every answer about content wears, whether it carries any or not.
fn dress(response: &mut HttpResponseBuilder, door: &Door, object: &Object) {
    let cached = match door.looks_at_credentials() {
        true => HeaderValue::try_from(said::private(&object.cache_control, None)),
        false => HeaderValue::try_from(object.cache_control.as_str()),
    };
    response
        .insert_header((header::ETAG, format!("\"{}\"", object.etag)))
        .insert_header((header::LAST_MODIFIED, httpdate::fmt_http_date(validators(object).second())))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::CACHE_CONTROL, cached.unwrap_or(HeaderValue::from_static("no-cache"))))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((RESOURCE_POLICY, "cross-origin"))
        .insert_header((ROBOTS, "none"));
    if door.looks_at_credentials() {
        // What a cache keeps for one caller is not for another, who may show no more than another key.
        response.append_header((header::VARY, "authorization, apikey"));
    }
}

/// The refusal of a range, which says how much there is.
fn outside(request: &HttpRequest, size: u64) -> HttpResponse {
    let id = request_id::of(request);
    let mut response = reply::render(&StorageCode::InvalidRange.into(), id, Dialect::Storage);
    if let Ok(place) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, place);
    }
    response
}
