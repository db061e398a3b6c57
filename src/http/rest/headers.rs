//! What the headers of a request ask for: media type, preferences, range, schema.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

use crate::error::{Code, Error};
use crate::query::body::Format;
use crate::query::preferences::Preferences;

/// How rows are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/json`: an array.
    Array,
    /// `application/vnd.pgrst.object+json`: exactly one row, as an object.
    Object,
    /// Either of them with `;nulls=stripped`: members that are null are left out.
    ArrayStripped,
    ObjectStripped,
    /// `text/csv`: a line of names, then a line for each row.
    Csv,
}

impl Media {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Media::Array => "application/json; charset=utf-8",
            Media::Object => "application/vnd.pgrst.object+json; charset=utf-8",
            Media::ArrayStripped => "application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8",
            Media::ObjectStripped => "application/vnd.pgrst.object+json;nulls=stripped; charset=utf-8",
            Media::Csv => "text/csv; charset=utf-8",
        }
    }

    /// One row was asked for.
    pub(super) fn singular(self) -> bool {
        match self {
            Media::Object | Media::ObjectStripped => true,
            Media::Array | Media::ArrayStripped | Media::Csv => false,
        }
    }
}

const OPENAPI: &str = "application/openapi+json; charset=utf-8";
const PREFER: HeaderName = HeaderName::from_static("prefer");

fn values<'r>(request: &'r HttpRequest, name: &'r HeaderName) -> impl Iterator<Item = &'r str> {
    request.headers().get_all(name).filter_map(|value| value.to_str().ok())
}

/// Picks the first media type of `Accept` that is served.
///
/// # Errors
/// PGRST107 (406) if none is; PGRST127 for those of the dialect that are not built.
pub(super) fn media(request: &HttpRequest) -> Result<Media, Error> {
    let mut refused = Vec::new();
    let mut unbuilt = None;
    let mut asked = false;
    for range in values(request, &header::ACCEPT).flat_map(|value| value.split(',')) {
        asked = true;
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let stripped = parts.any(|part| part.eq_ignore_ascii_case("nulls=stripped"));
        match essence.as_str() {
            "" => {}
            "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array" if stripped => {
                return Ok(Media::ArrayStripped);
            }
            "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" if stripped => {
                return Ok(Media::ObjectStripped);
            }
            "*/*"
            | "application/*"
            | "application/json"
            | "application/vnd.pgrst.array+json"
            | "application/vnd.pgrst.array" => return Ok(Media::Array),
            "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" => return Ok(Media::Object),
            "text/csv" => return Ok(Media::Csv),
            "application/vnd.pgrst.plan+json"
            | "application/vnd.pgrst.plan+text"
            | "application/vnd.pgrst.plan" => {
                unbuilt = unbuilt.or(Some("execution plans"));
            }
            other => refused.push(other.to_owned()),
        }
    }
    match unbuilt {
        Some(what) => {
            Err(Error::new(Code::NotSupported).details(format!("{what} is not supported by this version")))
        }
        None if asked && !refused.is_empty() => Err(Error::with(
            Code::MediaType,
            format!("None of these media types are available: {}", refused.join(", ")),
        )),
        None => Ok(Media::Array),
    }
}

/// The first media type of `Accept` in which the root is described.
///
/// # Errors
/// PGRST107 (406) if none is.
pub(super) fn description(request: &HttpRequest) -> Result<&'static str, Error> {
    let mut refused = Vec::new();
    for range in values(request, &header::ACCEPT).flat_map(|value| value.split(',')) {
        let essence = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => {}
            "*/*" | "application/*" | "application/openapi+json" => return Ok(OPENAPI),
            "application/json" => return Ok("application/json; charset=utf-8"),
            other => refused.push(other.to_owned()),
        }
    }
    if refused.is_empty() {
        return Ok(OPENAPI);
    }
    Err(Error::with(
        Code::MediaType,
        format!("None of these media types are available: {}", refused.join(", ")),
    ))
}

/// How the body is written; without a `Content-Type` it is JSON.
///
/// # Errors
/// 415 for what is none of the dialect's.
pub(super) fn format(request: &HttpRequest) -> Result<Format, Error> {
    let Some(value) = request.headers().get(header::CONTENT_TYPE) else { return Ok(Format::Json) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "" => Ok(Format::Json),
        "text/csv" => Ok(Format::Csv),
        "application/x-www-form-urlencoded" => Ok(Format::Form),
        _ => Err(Error::with(Code::ContentType, format!("Content-Type not acceptable: {essence}"))),
    }
}

/// Reads every `Prefer` header.
pub(super) fn preferences(request: &HttpRequest) -> Result<Preferences, Error> {
    Ok(Preferences::parse(values(request, &PREFER))?)
}

/// The only schema is `public`; whether it was named.
///
/// # Errors
/// PGRST106 (406) for any other.
pub(super) fn schema(request: &HttpRequest) -> Result<bool, Error> {
    let mut named = false;
    for name in [HeaderName::from_static("accept-profile"), HeaderName::from_static("content-profile")] {
        for schema in values(request, &name) {
            if schema != "public" {
                return Err(Error::with(Code::Schema, format!("Invalid schema: {schema}"))
                    .hint("Only the following schemas are exposed: public"));
            }
            named = true;
        }
    }
    Ok(named)
}

/// The first `Range` header.
pub(super) fn range(request: &HttpRequest) -> Option<&str> {
    request.headers().get(header::RANGE).and_then(|value| value.to_str().ok())
}
