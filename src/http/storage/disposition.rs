//! `Content-Disposition` of an answer (RFC 6266): whether a browser shows content or saves it, and under which name.

use std::fmt::Write as _;

use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, web};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::error::{Error, StorageCode};
use crate::objects::find::Object;

/// Longest name that a file gets, in bytes: what common file systems take.
const MAX_NAME: usize = 255;
/// What stands for itself in an extended value (RFC 8187, 3.2.1).
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[derive(Deserialize)]
struct Wish {
    download: Option<String>,
}

/// `?download` or `?download=name`: the content is to be saved, under this name or, where it is empty, its own.
///
/// # Errors
/// `InvalidParameter`.
pub(super) fn wished(request: &HttpRequest) -> Result<Option<String>, Error> {
    web::Query::<Wish>::from_query(request.query_string())
        .map(|wish| wish.into_inner().download)
        .map_err(|_| Error::with(StorageCode::InvalidParameter, "The query cannot be read"))
}

/// The header of an answer; none where a browser may show what is in it.
pub(super) fn of(object: &Object, wish: Option<&str>) -> Option<HeaderValue> {
    match wish {
        None if object.inline => None,
        None => Some(HeaderValue::from_static("attachment")),
        Some("") => Some(attachment(object.name.rsplit('/').next().unwrap_or_default())),
        Some(name) => Some(attachment(name)),
    }
}

/// Both spellings of a name: older agents read the first, the rest the second.
fn attachment(name: &str) -> HeaderValue {
    let name = sound(name);
    let mut text = "attachment".to_owned();
    if !name.is_empty() {
        let ascii: String =
            name.chars().map(|c| if matches!(c, ' '..='~') && c != '%' { c } else { '_' }).collect();
        // Writing to a String cannot fail.
        let _ =
            write!(text, "; filename=\"{ascii}\"; filename*=UTF-8''{}", utf8_percent_encode(&name, PLAIN));
    }
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("attachment"))
}

/// A name without what ends the header's value, leads to other folders, or makes it look like another name.
fn sound(name: &str) -> String {
    let harmless = |c: char| match c {
        '"' | '\\' | '/' | ':' | '*' | '?' | '<' | '>' | '|' => '_',
        // Marks that turn the direction of writing make `exe.png` of `gnp.exe`.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '_',
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => '_',
        c => c,
    };
    let mut sound: String = name.chars().map(harmless).collect();
    while sound.len() > MAX_NAME {
        sound.pop();
    }
    sound.trim_matches([' ', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place() {
        for (name, header) in [
            ("a.png", "attachment; filename=\"a.png\"; filename*=UTF-8''a.png"),
            (
                "größe ☃.txt",
                "attachment; filename=\"gr__e _.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%E2%98%83.txt",
            ),
            (
                "a\"; filename=\"b.exe",
                "attachment; filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a_%3B%20filename%3D_b.exe",
            ),
            (
                "a\r\nset-cookie: x",
                "attachment; filename=\"a__set-cookie_ x\"; filename*=UTF-8''a__set-cookie_%20x",
            ),
            ("../../etc/passwd", "attachment; filename=\"_.._etc_passwd\"; filename*=UTF-8''_.._etc_passwd"),
            ("C:\\x", "attachment; filename=\"C__x\"; filename*=UTF-8''C__x"),
            ("gpj.\u{202e}exe", "attachment; filename=\"gpj._exe\"; filename*=UTF-8''gpj._exe"),
            ("100%.txt", "attachment; filename=\"100_.txt\"; filename*=UTF-8''100%25.txt"),
            ("it's", "attachment; filename=\"it's\"; filename*=UTF-8''it%27s"),
            ("..", "attachment"),
            (" . ", "attachment"),
        ] {
            assert_eq!(attachment(name).to_str().unwrap(), header, "{name:?}");
        }
        assert!(attachment(&"ü".repeat(300)).len() < 1_200);
    }
}
