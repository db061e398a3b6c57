//! Bucket and key, as a URL names them.

use actix_web::HttpRequest;
use percent_encoding::percent_decode_str;

use crate::error::{Error, StorageCode};
use crate::objects::key::Key;

/// The part of the path behind `/storage/v1` that begins with `before`: a bucket and a key. It is taken from the path as it
/// was sent and decoded once, so that no layer before sees other slashes than this one.
///
/// # Errors
/// `InvalidKey`, `InvalidBucketName`.
pub(super) fn bucket_and_key(request: &HttpRequest, before: &str) -> Result<(String, Key), Error> {
    let rest = behind(request, before)?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((self::bucket(bucket)?, Key::parse(&decoded(key, StorageCode::InvalidKey)?)?))
}

/// The part of the path behind `/storage/v1` that begins with `before`: a bucket.
///
/// # Errors
/// `InvalidBucketName`.
pub(super) fn bucket_alone(request: &HttpRequest, before: &str) -> Result<String, Error> {
    bucket_between(request, before, "")
}

/// The same, before what the path ends with.
///
/// # Errors
/// `InvalidBucketName`.
pub(super) fn bucket_between(request: &HttpRequest, before: &str, after: &str) -> Result<String, Error> {
    let rest = behind(request, before)?.trim_end_matches('/');
    bucket(rest.strip_suffix(after).unwrap_or(rest))
}

/// A key as it stands in an address: what would end the path is encoded, and so is what marks that. The rest is left to
/// whoever sends it, since published clients encode what they are given.
pub(super) fn written(key: &str) -> String {
    key.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

fn behind<'r>(request: &'r HttpRequest, before: &str) -> Result<&'r str, Error> {
    let path = request.uri().path();
    path.strip_prefix("/storage/v1")
        .and_then(|rest| rest.strip_prefix(before))
        .ok_or_else(|| Error::with(StorageCode::InvalidKey, "The path is not written plainly"))
}

fn bucket(encoded: &str) -> Result<String, Error> {
    sound_bucket(decoded(encoded, StorageCode::InvalidBucketName)?)
}

/// A bucket's name, if it can be one.
///
/// # Errors
/// `InvalidBucketName`.
pub(super) fn sound_bucket(name: String) -> Result<String, Error> {
    let sound =
        (1..=100).contains(&name.len()) && !name.contains(['/', '\\']) && !name.chars().any(char::is_control);
    if sound { Ok(name) } else { Err(StorageCode::InvalidBucketName.into()) }
}

fn decoded(encoded: &str, code: StorageCode) -> Result<String, Error> {
    let text = percent_decode_str(encoded).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|_| Error::with(code, "The path is not UTF-8"))
}
