//! Rows and counts → responses: status, `Content-Range`, `Location`, `Preference-Applied`.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::headers::Media;
use crate::db::Row;
use crate::error::{Code, Error};
use crate::query::plan::NodePlan;
use crate::query::preferences::Preferences;
use crate::read::{Layout, Page};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// A place in the stream of changes.
pub(super) const CURSOR: HeaderName = HeaderName::from_static("basewright-cursor");
const CONTENT_PROFILE: HeaderName = HeaderName::from_static("content-profile");

/// The rows in the media type that was asked.
///
/// # Errors
/// PGRST116 (406) where one row was asked and another number found.
pub(super) fn body(node: &NodePlan, rows: &[Row], media: Media) -> Result<Vec<u8>, Error> {
    let layout = Layout::of(node);
    match (media, rows) {
        (Media::Array, rows) => layout.array(rows),
        (Media::ArrayStripped, rows) => layout.without_nulls().array(rows),
        (Media::Object, [row]) => layout.object(row),
        (Media::ObjectStripped, [row]) => layout.without_nulls().object(row),
        (Media::Object | Media::ObjectStripped, rows) => Err(not_singular(rows.len())),
        (Media::Csv, rows) => Layout::csv(node, rows),
    }
}

pub(super) fn not_singular(found: usize) -> Error {
    Error::new(Code::NotSingular).details(format!("The result contains {found} rows"))
}

/// Starts an answer with the headers that every answer of this dialect has.
pub(super) fn start(status: StatusCode, preferences: &Preferences, profile: bool) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::VARY, "Accept, Prefer, Range"));
    if profile {
        response.insert_header((CONTENT_PROFILE, "public"));
    }
    if !preferences.applied.is_empty()
        && let Ok(value) = HeaderValue::from_str(&preferences.applied.join(", "))
    {
        response.insert_header((PREFERENCE_APPLIED, value));
    }
    response
}

/// `0-19/57`, `*/57`, `0-19/*`, `*/*`
pub(super) fn content_range(first: u64, rows: u64, total: Option<u64>) -> String {
    let total = total.map_or_else(|| "*".to_owned(), |total| total.to_string());
    match rows {
        0 => format!("*/{total}"),
        rows => format!("{first}-{}/{total}", first + rows - 1),
    }
}

/// The status of a page: all, part, or beyond the end.
///
/// # Errors
/// PGRST103 (416) where the offset lies beyond a known total.
pub(super) fn page_status(page: &Page, offset: u64) -> Result<StatusCode, Error> {
    match page.total {
        // The end itself is an empty page, and not beyond the end.
        Some(total) if offset > total => Err(Error::new(Code::Range)
            .details(format!("An offset of {offset} was requested, but there are only {total} rows."))),
        Some(total) if (page.rows.len() as u64) < total => Ok(StatusCode::PARTIAL_CONTENT),
        Some(_) | None => Ok(StatusCode::OK),
    }
}

/// `/posts?id=eq.…` of a row that holds just its key; none where the key is hidden on this row.
pub(super) fn location(collection: &str, key: &[u8]) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(key).unwrap_or_default();
    if members.values().any(serde_json::Value::is_null) {
        return None;
    }
    let mut text = format!("/{collection}?");
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            text.push('&');
        }
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(name);
        text.push_str("=eq.");
        encode(&mut text, &value);
    }
    Some(text)
}

/// `/posts?id=eq.1&select=id`: what was read, under the one spelling that all orders of its parameters share.
pub(super) fn content_location(collection: &str, mut parameters: Vec<(String, String)>) -> String {
    // Repeated parameters keep their order: of some, the first one counts.
    parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut text = format!("/{collection}");
    for (at, (name, value)) in parameters.iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        encode(&mut text, name);
        text.push('=');
        encode(&mut text, value);
    }
    text
}

fn encode(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                text.push(char::from(byte));
            }
            _ => {
                text.push('%');
                text.push(char::from(HEX[usize::from(byte >> 4)]));
                text.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}
