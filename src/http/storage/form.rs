//! Content in a form (RFC 7578): fields that say something of it, and one part that is it.

use std::cell::Cell;
use std::rc::Rc;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;

use super::said;
use crate::error::{Error, StorageCode};
use crate::http::body;
use crate::objects::Objects;
use crate::objects::upload::{Stored, Upload};

/// What a form may have beside its file, in bytes: fields, and what stands between the parts.
const AROUND: u64 = 128 << 10;
/// All fields together.
const FIELDS: usize = 64 << 10;

/// The request's body is a form.
pub(super) fn is_one(request: &HttpRequest) -> bool {
    let form = "multipart/form-data";
    said::text(request.headers(), &header::CONTENT_TYPE)
        .and_then(|kind| kind.get(..form.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(form))
}

/// Takes a form field by field; none of its content is ever held whole. `upload` becomes what the fields say of it.
///
/// # Errors
/// `InvalidRequest` for what is no form, has no file or two; `InvalidParameter` for what a field says; those of
/// [`Objects::admit`] before the file is read, and of [`Objects::receive`].
pub(super) async fn gather(
    objects: &Objects<'_>,
    request: &HttpRequest,
    payload: Payload,
    upload: &mut Upload,
) -> Result<Stored, Error> {
    let most = objects.context.catalog.limits.upload.saturating_add(AROUND);
    let body = Rc::new(Cell::new(Some(body::pieces(request, payload, most)?)));
    // The parser's stream has errors of its own kind: ours waits beside it.
    let fault = Fault::default();
    let aside = fault.clone();
    let pieces = unfold(Rc::clone(&body), move |body| {
        let aside = aside.clone();
        async move {
            let mut pieces = body.take()?;
            let piece = pieces.next().await.transpose();
            body.set(Some(pieces));
            let piece = piece?.map_err(|error| {
                aside.0.set(Some(error));
                PayloadError::Incomplete(None)
            });
            Some((piece, body))
        }
    });
    // The parser looks again behind the end.
    let pieces = pieces.fuse();
    // Its length is that of the whole form.
    let announced = upload.length.take();
    let mut form = Multipart::new(request.headers(), pieces);
    let mut room = FIELDS;
    let mut stored: Option<Stored> = None;
    let outcome = async {
        while let Some(field) = form.next().await {
            let mut field = field.map_err(|error| fault.told(&error))?;
            if is_file(&field) {
                if stored.is_some() {
                    return Err(refused("The form has two files"));
                }
                if upload.mime.is_none() {
                    upload.mime = said::text(field.headers(), &header::CONTENT_TYPE).map(str::to_owned);
                }
                let terms = objects.admit(upload).await?;
                terms.fits(announced.unwrap_or(0).saturating_sub(AROUND))?;
                let content = field.map(|piece| piece.map_err(|error| fault.told(&error)));
                stored = Some(objects.receive(upload, &terms, content).await?);
                continue;
            }
            let text = short(&mut field, &mut room, &fault).await?;
            match field.name() {
                Some("cacheControl") => upload.cache_control = said::max_age(utf8(&text)?)?,
                Some("metadata" | "userMetadata") => upload.metadata = said::metadata(&text)?,
                Some("contentType") if stored.is_none() => upload.mime = Some(utf8(&text)?.to_owned()),
                Some(_) | None => {}
            }
        }
        Ok(())
    }
    .await;
    drop(form);
    if let (Err(_), Some(pieces)) = (&outcome, body.take()) {
        pieces.discard().await;
    }
    outcome?;
    stored.ok_or_else(|| refused("The form has no file"))
}

/// Browsers send files with a file name, whatever the field is called; clients of this wire call it nothing.
fn is_file(field: &Field) -> bool {
    let disposition = field.content_disposition();
    disposition.is_some_and(|told| told.get_filename().is_some() || told.get_filename_ext().is_some())
        || matches!(field.name(), Some("" | "file"))
}

/// A field that is no file, as long as all of them are short.
async fn short(field: &mut Field, room: &mut usize, fault: &Fault) -> Result<Bytes, Error> {
    // An empty one is not for nothing.
    *room = room.saturating_sub(256);
    let mut text = BytesMut::new();
    while let Some(piece) = field.next().await {
        let piece = piece.map_err(|error| fault.told(&error))?;
        *room = room.checked_sub(piece.len()).ok_or(StorageCode::EntityTooLarge)?;
        text.extend_from_slice(&piece);
    }
    Ok(text.freeze())
}

fn utf8(text: &Bytes) -> Result<&str, Error> {
    std::str::from_utf8(text).map_err(|_| refused("A field of the form is not UTF-8"))
}

fn refused(sentence: &'static str) -> Error {
    Error::with(StorageCode::InvalidRequest, sentence)
}

/// What went wrong with the body under a form.
#[derive(Clone, Default)]
struct Fault(Rc<Cell<Option<Error>>>);

impl Fault {
    /// Why the parser stopped, in our words.
    fn told(&self, error: &MultipartError) -> Error {
        self.0.take().unwrap_or_else(|| refused("The form cannot be read").source(error.to_string()))
    }
}
