//! What the headers of a request ask for: media type, preferences, range, schema.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderName};

use crate::error::{Code, Error};
use crate::query::body::Format;
use crate::query::preferences::Preferences;
use crate::records::explain::Wanted;

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

/// What an answer is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// How rows are answered, or would be.
    pub(super) media: Media,
    /// The request is to be explained instead.
    pub(super) explain: Option<Wanted>,
}

/// Picks the first media type of `Accept` that is served. Plans are offered to the secret key, and to everybody
/// else they are a media type like any other that is not. `holds_secret_key` is asked only where it matters.
///
/// # Errors
/// PGRST107 (406) if none is.
pub(super) fn accepted(
    request: &HttpRequest,
    holds_secret_key: impl Fn() -> bool,
) -> Result<Accepted, Error> {
    let mut refused = Vec::new();
    let mut details = None;
    for range in values(request, &header::ACCEPT).flat_map(|value| unquoted(value, ',')) {
        let (essence, parameters) = taken_apart(range);
        match essence.as_str() {
            "" => {}
            PLAN | PLAN_TEXT | PLAN_JSON if holds_secret_key() => {
                match plan(essence == PLAN_JSON, &parameters) {
                    Ok(accepted) => return Ok(accepted),
                    Err(why) => {
                        details = details.or(Some(why));
                        refused.push(essence);
                    }
                }
            }
            _ => match offered(&essence, &parameters) {
                Some(media) => return Ok(Accepted { media, explain: None }),
                None => refused.push(essence),
            },
        }
    }
    if refused.is_empty() {
        return Ok(Accepted { media: Media::Array, explain: None });
    }
    let error = not_available(&refused);
    Err(match details {
        Some(why) => error.details(why),
        None => error,
    })
}

const PLAN: &str = "application/vnd.pgrst.plan";
const PLAN_TEXT: &str = "application/vnd.pgrst.plan+text";
const PLAN_JSON: &str = "application/vnd.pgrst.plan+json";

fn not_available(refused: &[String]) -> Error {
    let message = format!("None of these media types are available: {}", refused.join(", "));
    Error::with(Code::MediaType, message)
}

/// The media type of rows that a range of `Accept` names.
fn offered(essence: &str, parameters: &[(String, String)]) -> Option<Media> {
    let stripped = parameters.iter().any(|(name, value)| name == "nulls" && value == "stripped");
    Some(match essence {
        "*/*" | "application/*" | "application/json" => Media::Array,
        "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array" if stripped => {
            Media::ArrayStripped
        }
        "application/vnd.pgrst.array+json" | "application/vnd.pgrst.array" => Media::Array,
        "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" if stripped => {
            Media::ObjectStripped
        }
        "application/vnd.pgrst.object+json" | "application/vnd.pgrst.object" => Media::Object,
        "text/csv" => Media::Csv,
        _ => return None,
    })
}

/// What the parameters of a plan's media type ask for: `for` is the media type that the request would have,
/// `options` are those of EXPLAIN. `Err` says what cannot be met.
fn plan(json: bool, parameters: &[(String, String)]) -> Result<Accepted, String> {
    let mut media = Media::Array;
    let mut wanted = Wanted { json, ..Wanted::default() };
    for (name, value) in parameters {
        match name.as_str() {
            "for" => {
                let (essence, parameters) = taken_apart(value);
                media = offered(&essence, &parameters)
                    .ok_or_else(|| format!("`for` names a media type that is not available: {essence}"))?;
            }
            "options" => {
                for option in value.split('|').map(str::trim).filter(|option| !option.is_empty()) {
                    let flag = match option {
                        "analyze" => &mut wanted.analyze,
                        "verbose" => &mut wanted.verbose,
                        "settings" => &mut wanted.settings,
                        "buffers" => &mut wanted.buffers,
                        "wal" => &mut wanted.wal,
                        _ => {
                            return Err(format!(
                                "{option} is no option of a plan: analyze, verbose, settings, buffers, wal"
                            ));
                        }
                    };
                    *flag = true;
                }
            }
            _ => {}
        }
    }
    if wanted.wal && !wanted.analyze {
        return Err("The option wal of a plan needs analyze".to_owned());
    }
    Ok(Accepted { media, explain: Some(wanted) })
}

/// The parts of a header's value between separators that stand outside of quotes.
fn unquoted(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

/// A media range: its essence in lower case, and its parameters without their quotes.
fn taken_apart(range: &str) -> (String, Vec<(String, String)>) {
    let mut parts = unquoted(range, ';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameters = parts.filter_map(|part| part.split_once('=')).map(|(name, value)| {
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        (name.trim().to_ascii_lowercase(), bare.to_ascii_lowercase())
    });
    (essence, parameters.collect())
}

/// The first media type of `Accept` in which the root is described.
///
/// # Errors
/// PGRST107 (406) if none is.
pub(super) fn description(request: &HttpRequest) -> Result<&'static str, Error> {
    let mut refused = Vec::new();
    for range in values(request, &header::ACCEPT).flat_map(|value| unquoted(value, ',')) {
        let (essence, _) = taken_apart(range);
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
    Err(not_available(&refused))
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
