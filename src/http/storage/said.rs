//! What is said of an object beside its content: by headers, by fields of a form.

use actix_web::http::header::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Map;

use crate::error::{Error, StorageCode};
use crate::model::{Kind, Value};

/// What an object says of caching where nothing is said.
pub(super) const NOT_CACHED: &str = "no-cache";
/// Longest `Cache-Control` that is kept, in bytes.
const MAX_CACHE_CONTROL: usize = 512;
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A header's text; none where there is no such header, or no text in it.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A `Cache-Control` as it is kept.
///
/// # Errors
/// `InvalidParameter`, for what is too long or could not stand in a header.
pub(super) fn cache_control(text: &str) -> Result<String, Error> {
    let sound = text.len() <= MAX_CACHE_CONTROL && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if sound { Ok(text.to_owned()) } else { Err(invalid("The cache control is no such header")) }
}

/// A header of that name for an answer that is not everybody's: whoever stored the object decides how long a browser keeps it,
/// and nobody lets caches between keep it (RFC 9111, 5.2.2). `most` is for how many seconds the answer is good at all.
pub(super) fn private(cache_control: &str, most: Option<i64>) -> String {
    let mut kept = String::from("private");
    for directive in cache_control.split(',').map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim().to_ascii_lowercase();
        match (name.as_str(), most, value.trim().parse::<i64>()) {
            ("" | "public" | "private" | "s-maxage" | "immutable", ..) => {}
            ("max-age", Some(most), Ok(seconds)) => kept += &format!(", max-age={}", seconds.min(most)),
            // One that cannot be read lasts no time.
            ("max-age", _, Err(_)) => kept += ", max-age=0",
            _ => {
                kept += ", ";
                kept += directive;
            }
        }
    }
    kept
}

/// `Cache-Control` from the seconds that clients write: a form has no such header.
///
/// # Errors
/// As [`cache_control`].
pub(super) fn max_age(seconds: &str) -> Result<String, Error> {
    match seconds.trim() {
        "" => Ok(NOT_CACHED.to_owned()),
        seconds => cache_control(&format!("max-age={seconds}")),
    }
}

/// Longest metadata, in bytes: it is kept in the object's row, and moves with it.
const MAX_METADATA: usize = 8 << 10;

/// Metadata as JSON text.
///
/// # Errors
/// `InvalidParameter`, for anything but an object that Postgres can keep.
pub(super) fn metadata(text: &[u8]) -> Result<Map<String, serde_json::Value>, Error> {
    if text.len() > MAX_METADATA {
        return Err(invalid("The metadata is longer than 8 KiB"));
    }
    let json = serde_json::from_slice(text).map_err(|_| invalid("The metadata is no JSON"))?;
    if Value::from_json(Kind::JSON, &json).is_none() {
        return Err(invalid("The metadata has text that cannot be kept"));
    }
    match json {
        serde_json::Value::Object(metadata) => Ok(metadata),
        _ => Err(invalid("The metadata is no JSON object")),
    }
}

/// Metadata as base64 of JSON text, in either alphabet (RFC 4648, 4 and 5).
///
/// # Errors
/// `InvalidParameter`.
pub(super) fn encoded_metadata(text: &str) -> Result<Map<String, serde_json::Value>, Error> {
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let decoded = GeneralPurpose::new(&alphabet, LENIENT).decode(text.trim());
    metadata(&decoded.map_err(|_| invalid("The metadata is no base64"))?)
}

fn invalid(sentence: &'static str) -> Error {
    Error::with(StorageCode::InvalidParameter, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_everybodys_is_kept_by_browsers_alone_and_for_no_longer_than_it_is_good() {
        for (said, most, expected) in [
            ("no-cache", None, "private, no-cache"),
            ("max-age=3600", None, "private, max-age=3600"),
            ("max-age=3600", Some(60), "private, max-age=60"),
            ("max-age=30", Some(60), "private, max-age=30"),
            ("Public, S-MaxAge=9, max-age=31536000, immutable", Some(60), "private, max-age=60"),
            ("max-age=soon", Some(60), "private, max-age=0"),
            ("private,, no-store", None, "private, no-store"),
        ] {
            assert_eq!(private(said, most), expected, "{said}");
        }
    }

    #[test]
    fn metadata_is_an_object_that_can_be_kept() {
        for (text, holds) in [
            ("{}", true),
            (r#"{"a": {"b": [1, null, "ü"]}}"#, true),
            ("[]", false),
            ("null", false),
            ("\"text\"", false),
            ("", false),
            ("{", false),
            (r#"{"a": "\u0000"}"#, false),
            (r#"{"a\u0000": 1}"#, false),
            (r#"{"a": "\ud800"}"#, false),
            (r#"{"a": 1e999}"#, false),
        ] {
            assert_eq!(metadata(text.as_bytes()).is_ok(), holds, "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(metadata(deep.as_bytes()).is_err());
        assert!(metadata(b"{\"a\": \"\xff\"}").is_err());
    }

    #[test]
    fn metadata_comes_in_either_alphabet_with_or_without_padding() {
        for text in ["eyJhIjoiPz8_In0", "eyJhIjoiPz8/In0=", "eyJhIjoiPz8/In0"] {
            assert_eq!(encoded_metadata(text).unwrap()["a"], "???", "{text}");
        }
        for text in ["", "!", "eyJh", "eyJhIjoiPz8_In0/"] {
            assert!(encoded_metadata(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_said_of_caching_fits_into_a_header() {
        assert_eq!(max_age("3600").unwrap(), "max-age=3600");
        assert_eq!(max_age("").unwrap(), "no-cache");
        for text in ["1\r\nx: y", "1\u{0}", "ü", "1".repeat(600).as_str()] {
            assert!(max_age(text).is_err(), "{text:?}");
        }
    }
}
