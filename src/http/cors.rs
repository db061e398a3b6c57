//! Cross-origin sharing: preflights answered before anything else, on every path, and the headers that let
//! a browser read the answers.
//!
//! Credentials are never allowed: nothing here reads cookies, and a token is sent by the page itself. So
//! `*` is safe; an operator can narrow it to a list of origins.

use actix_web::HttpResponse;
use actix_web::dev::RequestHead;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
/// What clients of this wire send.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization, apikey, content-type, x-client-info, x-retry-count, prefer, accept, accept-profile, \
     content-profile, range, range-unit, x-supabase-api-version, x-upsert, x-metadata, x-signature, cache-control, \
     if-none-match, x-region, traceparent, tracestate, baggage, tus-resumable, upload-length, upload-offset, \
     upload-metadata, upload-defer-length",
);
/// What clients of this wire read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "content-range, location, content-location, preference-applied, x-total-count, link, x-supabase-api-version, \
     etag, retry-after, x-request-id, upload-offset, upload-length, tus-version, tus-resumable, tus-max-size, \
     tus-extension, upload-metadata, upload-defer-length, upload-expires, basewright-cursor",
);
/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Which pages may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Those of every origin.
    Any,
    /// Those of the listed origins, as a browser writes them: `https://app.example`.
    Listed(Vec<String>),
}

impl Origins {
    /// `*`, or origins between commas.
    ///
    /// # Errors
    /// Names the first that no browser would send.
    pub fn parse(text: &str) -> Result<Origins, String> {
        let listed: Vec<String> =
            text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        if listed == ["*"] {
            return Ok(Origins::Any);
        }
        for origin in &listed {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let plain = |host: &str| {
                !host.is_empty()
                    && host
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase() && !b"/?#@*,".contains(&b))
            };
            if !host.is_some_and(plain) {
                return Err(format!(
                    "`{origin}` is no origin: write scheme, host and port as a browser does, like https://app.example"
                ));
            }
        }
        if listed.is_empty() {
            Err("no origin is listed: write * for all".to_owned())
        } else {
            Ok(Origins::Listed(listed))
        }
    }

    /// Whether a request is a preflight: a question of the browser, not of the page, and never authenticated.
    pub(super) fn is_preflight(head: &RequestHead) -> bool {
        head.method == Method::OPTIONS
            && head.headers.contains_key(header::ORIGIN)
            && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The answer to a preflight, but for the permission itself: that stands on every answer ([`Origins::allow`]).
    pub(super) fn preflight() -> HttpResponse {
        let mut response = HttpResponse::NoContent().finish();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        response
    }

    /// Lets the page read an answer, if its origin may.
    pub(super) fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        match self {
            Origins::Any => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Origins::Listed(listed) => {
                // The answer differs by origin even where none was sent: a shared cache must know.
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                match origin {
                    Some(origin) if listed.iter().any(|one| one.as_bytes() == origin.as_bytes()) => {
                        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                    }
                    Some(_) | None => return,
                }
            }
        }
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_a_browser_writes_it() {
        assert_eq!(Origins::parse("*"), Ok(Origins::Any));
        let two = Origins::parse("https://a.example, http://localhost:5173").unwrap();
        assert_eq!(two, Origins::Listed(vec!["https://a.example".into(), "http://localhost:5173".into()]));
        for bad in [
            "",
            ",",
            "a.example",
            "https://",
            "https://a.example/",
            "https://*.example",
            "https://A.example",
            "null",
            "https://u@a.example",
            "ftp://a.example",
            "*, https://a.example",
        ] {
            assert!(Origins::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stranger_is_not_echoed() {
        let origins = Origins::parse("https://a.example").unwrap();
        for (origin, allowed) in [
            (Some("https://a.example"), true),
            (Some("https://a.example.evil"), false),
            (Some("https://evil"), false),
            (Some("null"), false),
            (None, false),
        ] {
            let mut headers = HeaderMap::new();
            let origin = origin.map(HeaderValue::from_static);
            origins.allow(origin.as_ref(), &mut headers);
            assert_eq!(headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), allowed, "{origin:?}");
            assert_eq!(headers.get(header::VARY).unwrap(), "Origin");
            assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
    }
}
