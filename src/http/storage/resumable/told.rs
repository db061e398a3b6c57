//! What the sender of a resumable upload says of it.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;

use super::super::{path, said};
use super::{DEFERRED, LENGTH};
use crate::error::{Error, StorageCode};

/// Longest header, in bytes.
const MAX_BYTES: usize = 8 << 10;
/// Longest media type, in bytes.
const MAX_MIME: usize = 255;

/// `Upload-Metadata`: pairs of a key and a value in base64, with commas between them (tus 1.0.0, "Upload-Metadata"). Keys
/// that are not known are passed over, as long as they are written soundly.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
    pub(super) mime: Option<String>,
    pub(super) cache_control: String,
    pub(super) metadata: Map<String, serde_json::Value>,
}

impl Told {
    /// # Errors
    /// `InvalidParameter`, `InvalidBucketName`.
    pub(super) fn read(header: &str) -> Result<Told, Error> {
        let mut pairs = pairs(header)?;
        let mut text = |name: &str| match pairs.remove(name) {
            None => Ok(None),
            Some(bytes) => {
                String::from_utf8(bytes).map(Some).map_err(|_| invalid(format!("{name} is not UTF-8")))
            }
        };
        let mime = text("contentType")?.filter(|mime| !mime.is_empty());
        if mime
            .as_ref()
            .is_some_and(|mime| mime.len() > MAX_MIME || !mime.bytes().all(|b| matches!(b, b' '..=b'~')))
        {
            return Err(invalid("contentType is no media type".to_owned()));
        }
        Ok(Told {
            bucket: text("bucketName")?.map(path::sound_bucket).transpose()?,
            key: text("objectName")?,
            mime,
            cache_control: said::max_age(&text("cacheControl")?.unwrap_or_default())?,
            metadata: match text("metadata")?.filter(|json| !json.is_empty()) {
                Some(json) => said::metadata(json.as_bytes())?,
                None => Map::new(),
            },
        })
    }
}

fn pairs(header: &str) -> Result<HashMap<&str, Vec<u8>>, Error> {
    if header.len() > MAX_BYTES {
        return Err(invalid(format!("it has more than {MAX_BYTES} bytes")));
    }
    let mut pairs = HashMap::new();
    if header.trim().is_empty() {
        return Ok(pairs);
    }
    for pair in header.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("a key is empty or no visible ASCII".to_owned()));
        }
        let value = STANDARD.decode(value).map_err(|_| invalid(format!("{key} is no base64")))?;
        if pairs.insert(key, value).is_some() {
            return Err(invalid(format!("{key} is told twice")));
        }
    }
    Ok(pairs)
}

fn invalid(why: String) -> Error {
    Error::with(StorageCode::InvalidParameter, format!("Upload-Metadata: {why}"))
}

/// How long a new upload is; none where that will be told later.
///
/// # Errors
/// `MissingParameter`, `InvalidParameter`.
pub(super) fn length(request: &HttpRequest) -> Result<Option<u64>, Error> {
    let deferred = request.headers().get(&DEFERRED);
    match (upload_length(request)?, deferred) {
        (Some(length), None) => Ok(Some(length)),
        (None, Some(value)) if value == "1" => Ok(None),
        (None, None) => Err(Error::with(
            StorageCode::MissingParameter,
            "Upload-Length is missing, and Upload-Defer-Length too",
        )),
        (None | Some(_), Some(_)) => Err(Error::with(
            StorageCode::InvalidParameter,
            "Upload-Defer-Length can only be 1, and only where there is no Upload-Length",
        )),
    }
}

/// `Upload-Length`, where it is told.
///
/// # Errors
/// `InvalidParameter`.
pub(super) fn upload_length(request: &HttpRequest) -> Result<Option<u64>, Error> {
    number(request, &LENGTH)
}

/// A header that is a count of bytes.
///
/// # Errors
/// `InvalidParameter`, where it is given twice, too.
pub(super) fn number(request: &HttpRequest, name: &HeaderName) -> Result<Option<u64>, Error> {
    let mut values = request.headers().get_all(name);
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else { return Ok(None) };
    let digits =
        value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
    // What Postgres counts with is what a file can have.
    let number =
        digits.and_then(|text| text.parse::<i64>().ok()).and_then(|number| u64::try_from(number).ok());
    match number.filter(|_| more.is_none()) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::with(StorageCode::InvalidParameter, format!("{name} is no count of bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn b64(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn metadata_are_pairs_of_a_key_and_base64() {
        let header = format!(
            "bucketName {}, objectName {},contentType {},cacheControl {},metadata {},relativePath,is_confidential ,x {}",
            b64("avatars"),
            b64("ada/größe.png"),
            b64("image/png"),
            b64("3600"),
            b64("{\"a\":1}"),
            STANDARD.encode([0xff, 0x00]),
        );
        let told = Told::read(&header).unwrap();
        assert_eq!(told.bucket.as_deref(), Some("avatars"));
        assert_eq!(told.key.as_deref(), Some("ada/größe.png"));
        assert_eq!(told.mime.as_deref(), Some("image/png"));
        assert_eq!(told.cache_control, "max-age=3600");
        assert_eq!(told.metadata["a"], 1);
        let nothing = Told::read("").unwrap();
        assert!(nothing.bucket.is_none() && nothing.mime.is_none() && nothing.metadata.is_empty());
    }

    #[test]
    fn metadata_that_are_not_sound_are_refused() {
        let long = format!("x {}", "A".repeat(MAX_BYTES));
        for header in [
            ",",
            "a YQ==,",
            ",a YQ==",
            "a YQ==,,b YQ==",
            "a YQ==,a YQ==",
            "a YQ",
            "a YQ=",
            "a YR==",
            "a Y Q==",
            "a  YQ==",
            "a\tYQ==",
            "a !!!!",
            "a YQ==;b YQ==",
            "a Yg-_",
            "ü YQ==",
            "bucketName /w==",
            "objectName /w==",
            "contentType /w==",
            "contentType YQ1i",
            "contentType w7w=",
            "cacheControl MQ0KeDogeQ==",
            "metadata /w==",
            "metadata e30K,metadata e30K",
            "metadata W10=",
            "metadata ew==",
            "metadata eyJhIjoiXHUwMDAwIn0=",
            "bucketName Li4vYQ==",
            "bucketName ",
            &long,
        ] {
            assert!(Told::read(header).is_err(), "{header}");
        }
    }

    #[test]
    fn a_length_is_told_or_deferred_and_a_number() {
        let length = |headers: &[(&'static str, &'static str)]| {
            let request =
                headers.iter().fold(TestRequest::post(), |request, header| request.append_header(*header));
            length(&request.to_http_request()).map_err(|error| error.code.as_str().to_owned())
        };
        assert_eq!(length(&[("upload-length", "0")]), Ok(Some(0)));
        assert_eq!(length(&[("upload-length", "9223372036854775807")]), Ok(Some(i64::MAX as u64)));
        assert_eq!(length(&[("upload-defer-length", "1")]), Ok(None));
        assert_eq!(length(&[]), Err("MissingParameter".to_owned()));
        for headers in [
            &[("upload-length", "-1")][..],
            &[("upload-length", "")],
            &[("upload-length", "1.5")],
            &[("upload-length", "+1")],
            &[("upload-length", "0x10")],
            &[("upload-length", "9223372036854775808")],
            &[("upload-length", "99999999999999999999999")],
            &[("upload-length", "1"), ("upload-length", "2")],
            &[("upload-length", "1"), ("upload-defer-length", "1")],
            &[("upload-defer-length", "0")],
            &[("upload-defer-length", "true")],
        ] {
            assert_eq!(length(headers), Err("InvalidParameter".to_owned()), "{headers:?}");
        }
    }
}
