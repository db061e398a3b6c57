//! Resumable uploads: tus 1.0.0 with its extensions creation, creation-with-upload, creation-defer-length, expiration and
//! termination.
//!
//! Whoever has the token of a signed upload comes by paths of its own (`…/sign`), with the token in `x-signature`.

mod comer;
mod told;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use uuid::Uuid;

use self::comer::Comer;
use self::told::{Told, length, upload_length};
use super::{said, upload};
use crate::app::App;
use crate::error::{Error, StorageCode};
use crate::http::reply::Failure;
use crate::http::routes::no_such_method;
use crate::http::{body, peer};
use crate::objects::resume::{Resumable, Standing};
use crate::objects::upload::{Manner, Terms, Upload};

/// The version of the protocol, which every answer tells (tus 1.0.0, "Tus-Resumable").
pub(in crate::http) const VERSION: &str = "1.0.0";
pub(in crate::http) const VERSION_HEADER: HeaderName = HeaderName::from_static("tus-resumable");
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,termination";
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const DEFERRED: HeaderName = HeaderName::from_static("upload-defer-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// The media type of pieces (tus 1.0.0, "PATCH").
const PIECE: &str = "application/offset+octet-stream";

pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    for path in ["/upload/resumable", "/upload/resumable/sign"] {
        cfg.service(
            web::resource(path)
                .route(web::method(actix_web::http::Method::OPTIONS).to(capabilities))
                .route(web::post().to(create))
                .default_service(web::to(no_such_method)),
        );
    }
    for path in ["/upload/resumable/sign/{upload}", "/upload/resumable/{upload}"] {
        cfg.service(
            web::resource(path)
                .route(web::method(actix_web::http::Method::OPTIONS).to(capabilities))
                .route(web::head().to(standing))
                .route(web::patch().to(append))
                .route(web::delete().to(give_up))
                .default_service(web::to(no_such_method)),
        );
    }
}

/// `OPTIONS`, of anybody.
async fn capabilities(app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let largest = app.catalog()?.limits.upload;
    Ok(HttpResponse::NoContent()
        .insert_header(("tus-version", VERSION))
        .insert_header(("tus-extension", EXTENSIONS))
        .insert_header(("tus-max-size", largest))
        .finish())
}

/// `POST`
async fn create(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    of_this_version(&request)?;
    let comer = Comer::of(&request).await?;
    Ok(away(create_for(request, payload, comer)).await?)
}

async fn create_for(request: HttpRequest, payload: Payload, comer: Comer) -> Result<HttpResponse, Error> {
    let told = Told::read(said::text(request.headers(), &METADATA).unwrap_or_default())?;
    let (bucket, key) = comer.place(&told)?;
    let wished = Upload {
        bucket,
        key,
        mime: told.mime,
        cache_control: told.cache_control,
        metadata: told.metadata,
        manner: comer.manner(if upload::upserts(&request) { Manner::Upsert } else { Manner::Create }),
        length: length(&request)?,
    };
    let carries = is_piece(&request);
    if !carries && body::announced(&request).is_some_and(|length| length > 0) {
        return Err(not_a_piece());
    }
    let terms = comer.objects().admit(&wished).await?;
    let text = said::text(request.headers(), &METADATA).map(str::to_owned);
    let found = comer.objects().begin(wished, text, comer.right()).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location(&request, &comer, found.id)?));
    expiry(&mut response, &found);
    let turn = comer.door().app().turns().take(found.id).await?;
    let outcome = begin(&request, carries.then_some(payload), comer, found, &terms).await;
    turn.give_back().await;
    if let Some(offset) = outcome? {
        response.insert_header((OFFSET, offset));
    }
    Ok(response.finish())
}

/// Takes what came with the creation: how much that was.
async fn begin(
    request: &HttpRequest,
    payload: Option<Payload>,
    mut comer: Comer,
    mut found: Resumable,
    terms: &Terms,
) -> Result<Option<u64>, Error> {
    let mut offset = None;
    if let Some(payload) = payload {
        comer = add(request, payload, comer, &mut found, terms).await?;
        offset = Some(found.offset());
    }
    if found.is_whole() {
        comer.objects().complete(found, terms).await?;
    }
    Ok(offset)
}

/// `HEAD`
async fn standing(request: HttpRequest) -> Result<HttpResponse, Failure> {
    of_this_version(&request)?;
    let (offset, found) = match asked(&request).await? {
        Asked::Done(size) => (size, None),
        // Its last piece came, and whoever took it came no further.
        Asked::UnderWay(comer, found) if found.is_whole() => {
            (found.offset(), Some(away(finish(comer, *found)).await?))
        }
        Asked::UnderWay(_, found) => (found.offset(), Some(*found)),
    };
    let mut response = HttpResponse::Ok();
    response.insert_header((OFFSET, offset));
    match &found {
        None => drop(response.insert_header((LENGTH, offset))),
        Some(found) => {
            match found.upload.length {
                Some(length) => response.insert_header((LENGTH, length)),
                None => response.insert_header((DEFERRED, "1")),
            };
            if let Some(told) = &found.told {
                response.insert_header((METADATA, told.as_str()));
            }
            expiry(&mut response, found);
        }
    }
    Ok(response.finish())
}

/// What there is of the upload that a request names.
enum Asked {
    UnderWay(Comer, Box<Resumable>),
    /// It is an object of so many bytes.
    Done(u64),
}

/// # Errors
/// As [`Comer::of`] and [`Objects::standing`](crate::objects::Objects::standing).
async fn asked(request: &HttpRequest) -> Result<Asked, Error> {
    let known = async {
        let comer = Comer::of(request).await?;
        Ok::<_, Error>(match comer.objects().standing(id(request)?, comer.right()).await? {
            Standing::Done(size) => Asked::Done(size),
            Standing::UnderWay(found) => Asked::UnderWay(comer, found),
        })
    };
    match known.await {
        // The last piece used the token up: whoever lost the answer to that asks with it once more.
        Err(error) if error.code == StorageCode::NoSuchUpload.into() => {
            Comer::came(request, id(request)?).await.map(Asked::Done)
        }
        known => known,
    }
}

async fn finish(comer: Comer, found: Resumable) -> Result<Resumable, Error> {
    let turn = comer.door().app().turns().take(found.id).await?;
    let outcome = async {
        match comer.objects().under_way(found.id, comer.right()).await {
            Ok(found) => {
                let terms = comer.objects().admit(&found.upload).await?;
                comer.objects().complete(found, &terms).await
            }
            // Whoever had the turn before may have finished it.
            Err(error) if error.code == StorageCode::NoSuchUpload.into() => {
                let Upload { bucket, key, .. } = &found.upload;
                comer.objects().stored(found.id, bucket, key).await.map(drop)
            }
            Err(error) => Err(error),
        }
    };
    let outcome = outcome.await;
    turn.give_back().await;
    outcome.map(|()| found)
}

/// `PATCH`
async fn append(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    of_this_version(&request)?;
    // Somebody else's is not there, whether or not it has its turn.
    match asked(&request).await? {
        Asked::UnderWay(comer, _) => Ok(away(append_for(request, payload, comer)).await?),
        // Nothing more comes of what is whole.
        Asked::Done(size)
            if told::number(&request, &OFFSET)? == Some(size)
                && body::announced(&request).is_none_or(|length| length == 0) =>
        {
            Ok(HttpResponse::NoContent().insert_header((OFFSET, size)).finish())
        }
        Asked::Done(_) => Err(Failure(StorageCode::NoSuchUpload.into())),
    }
}

async fn append_for(request: HttpRequest, payload: Payload, comer: Comer) -> Result<HttpResponse, Error> {
    let id = id(&request)?;
    if !is_piece(&request) {
        return Err(not_a_piece());
    }
    let offset = told::number(&request, &OFFSET)?
        .ok_or_else(|| Error::with(StorageCode::MissingParameter, "Upload-Offset is missing"))?;
    let turn = comer.door().app().turns().take(id).await?;
    let outcome = go_on(&request, payload, comer, id, offset).await;
    turn.give_back().await;
    outcome
}

/// Adds a piece for whoever has the turn.
async fn go_on(
    request: &HttpRequest,
    payload: Payload,
    comer: Comer,
    id: Uuid,
    offset: u64,
) -> Result<HttpResponse, Error> {
    let mut found = comer.objects().under_way(id, comer.right()).await?;
    let terms = comer.objects().admit(&found.upload).await?;
    if let Some(length) = upload_length(request)? {
        comer.objects().tell_length(&mut found, length, &terms).await?;
    }
    if offset != found.offset() {
        let message = format!("The upload stands at {}", found.offset());
        return Err(Error::with(StorageCode::OffsetMismatch, message));
    }
    let comer = add(request, payload, comer, &mut found, &terms).await?;
    let mut response = HttpResponse::NoContent();
    response.insert_header((OFFSET, found.offset()));
    expiry(&mut response, &found);
    if found.is_whole() {
        comer.objects().complete(found, &terms).await?;
    }
    Ok(response.finish())
}

/// Adds what the request carries. Whoever sent it is judged as he is when it has come.
async fn add(
    request: &HttpRequest,
    payload: Payload,
    comer: Comer,
    found: &mut Resumable,
    terms: &Terms,
) -> Result<Comer, Error> {
    let most = found.upload.length.unwrap_or(terms.limit).saturating_sub(found.offset());
    let mut pieces = body::pieces(request, payload, most)?;
    comer.objects().append(found, terms, pieces.stream()).await?;
    drop(pieces);
    comer.again(request).await
}

/// `DELETE`
async fn give_up(request: HttpRequest) -> Result<HttpResponse, Failure> {
    of_this_version(&request)?;
    let comer = Comer::of(&request).await?;
    let id = id(&request)?;
    comer.objects().under_way(id, comer.right()).await?;
    let turn = comer.door().app().turns().take(id).await?;
    let outcome = async {
        let found = comer.objects().under_way(id, comer.right()).await?;
        comer.objects().give_up(found).await
    };
    let outcome = outcome.await;
    turn.give_back().await;
    outcome?;
    Ok(HttpResponse::NoContent().finish())
}

/// Does something that must come to its end where the connection goes away meanwhile: what has come is to be kept, and the
/// turn is to be given back after that.
async fn away<T: 'static>(work: impl Future<Output = Result<T, Error>> + 'static) -> Result<T, Error> {
    match actix_web::rt::spawn(work).await {
        Ok(outcome) => outcome,
        Err(ended) => match ended.try_into_panic() {
            // It is caught where those of other handlers are.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => Err(Error::internal(ended)),
        },
    }
}

/// # Errors
/// `InvalidTusVersion`.
fn of_this_version(request: &HttpRequest) -> Result<(), Error> {
    match said::text(request.headers(), &VERSION_HEADER) {
        Some(VERSION) => Ok(()),
        Some(_) | None => Err(StorageCode::UploadVersion.into()),
    }
}

fn is_piece(request: &HttpRequest) -> bool {
    said::text(request.headers(), &header::CONTENT_TYPE).is_some_and(|said| said.eq_ignore_ascii_case(PIECE))
}

fn not_a_piece() -> Error {
    Error::with(StorageCode::InvalidMimeType, format!("Content-Type must be {PIECE}"))
}

/// # Errors
/// `NoSuchUpload`: no upload is called otherwise.
fn id(request: &HttpRequest) -> Result<Uuid, Error> {
    let text = request.match_info().get("upload").unwrap_or_default();
    match Uuid::try_parse(text) {
        Ok(id) if id.to_string() == text => Ok(id),
        Ok(_) | Err(_) => Err(StorageCode::NoSuchUpload.into()),
    }
}

fn location(request: &HttpRequest, comer: &Comer, id: Uuid) -> Result<String, Error> {
    let origin = match peer::origin(request) {
        Some(origin) => origin,
        None => comer.door().app().desk().settings()?.public_url.clone(),
    };
    let way = if comer.is_granted() { "/sign" } else { "" };
    Ok(format!("{origin}/storage/v1/upload/resumable{way}/{id}"))
}

/// When the upload is over (tus 1.0.0, "Upload-Expires").
fn expiry(response: &mut HttpResponseBuilder, found: &Resumable) {
    let since = std::time::Duration::from_secs(u64::try_from(found.expires).unwrap_or(0));
    let text = httpdate::fmt_http_date(std::time::UNIX_EPOCH + since);
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.insert_header((EXPIRES, value));
    }
}
