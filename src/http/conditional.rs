//! What a request asks of content before it takes it: preconditions (RFC 9110, 13) and ranges (RFC 9110, 14).

use std::ops::Range;
use std::time::{Duration, SystemTime};

use actix_web::http::header::{self, HeaderMap, HeaderName};

/// Content, as validators speak of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    /// Without quotes; a strong one.
    pub(super) etag: &'a str,
    /// Milliseconds since the epoch.
    pub(super) modified: i64,
    /// Bytes.
    pub(super) size: u64,
}

/// What a request gets of content that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Portion {
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Outside,
}

impl Portion {
    /// What the headers of a `GET` or `HEAD` ask for, in the order of RFC 9110, 13.2.2. What cannot be read in them is
    /// passed over, as that text has it, and so are several ranges at once (14.2).
    pub(super) fn of(headers: &HeaderMap, content: Validators<'_>, ranges: bool) -> Portion {
        if headers.contains_key(header::IF_MATCH) {
            if !lists(headers, &header::IF_MATCH, content.etag, Comparison::Strong) {
                return Portion::Failed;
            }
        } else if let Some(date) = date(headers, &header::IF_UNMODIFIED_SINCE)
            && content.second() > date
        {
            return Portion::Failed;
        }
        if headers.contains_key(header::IF_NONE_MATCH) {
            if lists(headers, &header::IF_NONE_MATCH, content.etag, Comparison::Weak) {
                return Portion::NotModified;
            }
        } else if let Some(date) = date(headers, &header::IF_MODIFIED_SINCE)
            && content.second() <= date
        {
            return Portion::NotModified;
        }
        match one(headers, &header::RANGE) {
            Some(range) if ranges && still_the_same(headers, content) => part(range, content.size),
            Some(_) | None => Portion::Whole,
        }
    }
}

/// Whether a cache says that it has the content with this entity tag.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    lists(headers, &header::IF_NONE_MATCH, etag, Comparison::Weak)
}

impl Validators<'_> {
    /// When it was last modified, as dates of HTTP tell it.
    pub(super) fn second(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(self.modified / 1_000).unwrap_or(0))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags has this one (RFC 9110, 8.8.3.2).
fn lists(headers: &HeaderMap, name: &HeaderName, etag: &str, comparison: Comparison) -> bool {
    headers.get_all(name).filter_map(|value| value.to_str().ok()).any(|value| {
        let mut rest = value.trim();
        if rest == "*" {
            return true;
        }
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let (weak, tag) = match rest.strip_prefix("W/") {
                Some(tag) => (true, tag),
                None => (false, rest),
            };
            let Some((tag, behind)) = tag.strip_prefix('"').and_then(|tag| tag.split_once('"')) else {
                return false;
            };
            if tag == etag && (comparison == Comparison::Weak || !weak) {
                return true;
            }
            rest = behind;
        }
    })
}

/// `If-Range`: a part may only be added to what it is a part of. A date is never good enough, since content may be replaced
/// twice within its second (RFC 9110, 8.8.2.2 and 13.1.5).
fn still_the_same(headers: &HeaderMap, content: Validators<'_>) -> bool {
    match headers.contains_key(header::IF_RANGE) {
        false => true,
        true => one(headers, &header::IF_RANGE)
            .and_then(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'))
            .is_some_and(|tag| tag == content.etag),
    }
}

fn part(range: &str, size: u64) -> Portion {
    let Some((unit, set)) = range.split_once('=') else { return Portion::Whole };
    let Some((first, last)) = set.trim().split_once('-') else { return Portion::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Portion::Whole;
    }
    match (number(first), number(last)) {
        // The last so many. Of empty content they are all there is.
        (Some(None), Some(Some(0))) => Portion::Outside,
        (Some(None), Some(Some(_))) if size == 0 => Portion::Whole,
        (Some(None), Some(Some(count))) => Portion::Part(size.saturating_sub(count)..size),
        (Some(Some(first)), Some(last)) if last.is_none_or(|last| last >= first) => match last {
            _ if first >= size => Portion::Outside,
            Some(last) if last < size => Portion::Part(first..last + 1),
            Some(_) | None => Portion::Part(first..size),
        },
        _ => Portion::Whole,
    }
}

/// Digits, or nothing at all; a number beyond all contents is as good as the greatest one.
#[expect(clippy::option_option, reason = "no number is not the same as nothing")]
fn number(text: &str) -> Option<Option<u64>> {
    let text = text.trim_matches([' ', '\t']);
    match text {
        "" => Some(None),
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => Some(Some(text.parse().unwrap_or(u64::MAX))),
        _ => None,
    }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(one(headers, name)?).ok()
}

/// The one value of a header; none where it is given twice.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// 2026-01-02 03:04:05.678 in UTC.
    const CONTENT: Validators<'_> = Validators { etag: "abc", modified: 1_767_323_045_678, size: 10 };
    const THEN: &str = "Fri, 02 Jan 2026 03:04:05 GMT";
    const BEFORE: &str = "Fri, 02 Jan 2026 03:04:04 GMT";

    #[track_caller]
    fn check(given: &[(&'static str, &'static str)], portion: Portion) {
        check_of(CONTENT, given, portion);
    }

    #[track_caller]
    fn check_of(content: Validators<'_>, given: &[(&'static str, &'static str)], portion: Portion) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(Portion::of(&headers, content, true), portion, "{given:?}");
    }

    #[test]
    fn ranges_of_bytes() {
        for (range, portion) in [
            ("bytes=0-0", Portion::Part(0..1)),
            ("bytes=0-9", Portion::Part(0..10)),
            ("bytes=2-4", Portion::Part(2..5)),
            ("BYTES = 2-4", Portion::Part(2..5)),
            ("bytes=2-", Portion::Part(2..10)),
            ("bytes=9-", Portion::Part(9..10)),
            ("bytes=5-500", Portion::Part(5..10)),
            ("bytes=5-99999999999999999999999", Portion::Part(5..10)),
            ("bytes=5-18446744073709551615", Portion::Part(5..10)),
            ("bytes=-3", Portion::Part(7..10)),
            ("bytes=-10", Portion::Part(0..10)),
            ("bytes=-500", Portion::Part(0..10)),
            ("bytes=10-", Portion::Outside),
            ("bytes=10-20", Portion::Outside),
            ("bytes=99999999999999999999999-", Portion::Outside),
            ("bytes=-0", Portion::Outside),
            // What is no range is passed over, and so are several.
            ("bytes=4-2", Portion::Whole),
            ("bytes=0-1,3-4", Portion::Whole),
            ("bytes=0-0,-1", Portion::Whole),
            ("bytes=", Portion::Whole),
            ("bytes=-", Portion::Whole),
            ("bytes", Portion::Whole),
            ("", Portion::Whole),
            ("bytes=a-b", Portion::Whole),
            ("bytes=0x1-2", Portion::Whole),
            ("bytes=+1-2", Portion::Whole),
            ("bytes=--1", Portion::Whole),
            ("bytes=1--2", Portion::Whole),
            ("bytes=1", Portion::Whole),
            ("items=0-1", Portion::Whole),
        ] {
            check(&[("range", range)], portion);
        }
        check(&[("range", "bytes=0-1"), ("range", "bytes=2-3")], Portion::Whole);
    }

    #[test]
    fn nothing_is_a_part_of_empty_content() {
        let empty = Validators { size: 0, ..CONTENT };
        check_of(empty, &[("range", "bytes=0-")], Portion::Outside);
        check_of(empty, &[("range", "bytes=0-0")], Portion::Outside);
        check_of(empty, &[("range", "bytes=-1")], Portion::Whole);
    }

    #[test]
    fn a_part_is_added_only_to_what_it_is_a_part_of() {
        let range = ("range", "bytes=2-4");
        check(&[range, ("if-range", "\"abc\"")], Portion::Part(2..5));
        for other in ["\"abd\"", "W/\"abc\"", "abc", "*", THEN, "", "\"", "\"abc\", \"abd\""] {
            check(&[range, ("if-range", other)], Portion::Whole);
        }
        check(&[range, ("if-range", "\"abc\""), ("if-range", "\"abc\"")], Portion::Whole);
    }

    #[test]
    fn what_a_cache_has_is_not_sent_again() {
        for (tags, portion) in [
            ("\"abc\"", Portion::NotModified),
            ("W/\"abc\"", Portion::NotModified),
            ("*", Portion::NotModified),
            ("\"x\", \"abc\"", Portion::NotModified),
            ("\"x,\",\t W/\"abc\" ", Portion::NotModified),
            ("\"x\"", Portion::Whole),
            ("abc", Portion::Whole),
            ("\"abc", Portion::Whole),
            ("", Portion::Whole),
            ("\"\"", Portion::Whole),
        ] {
            check(&[("if-none-match", tags)], portion);
        }
        check(&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")], Portion::NotModified);
        check(&[("if-modified-since", THEN)], Portion::NotModified);
        check(&[("if-modified-since", BEFORE)], Portion::Whole);
        check(&[("if-modified-since", "yesterday")], Portion::Whole);
        // The tag says more than the date.
        check(&[("if-none-match", "\"x\""), ("if-modified-since", THEN)], Portion::Whole);
        check(&[("if-none-match", "\"abc\""), ("range", "bytes=0-1")], Portion::NotModified);
    }

    #[test]
    fn what_must_be_there_is_asked_first() {
        check(&[("if-match", "\"abc\"")], Portion::Whole);
        check(&[("if-match", "*")], Portion::Whole);
        check(&[("if-match", "W/\"abc\"")], Portion::Failed);
        check(&[("if-match", "\"x\"")], Portion::Failed);
        check(&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Portion::Failed);
        check(&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Portion::Whole);
        check(&[("if-unmodified-since", BEFORE)], Portion::Failed);
        check(&[("if-unmodified-since", THEN)], Portion::Whole);
        check(&[("if-unmodified-since", "garbage")], Portion::Whole);
        check(&[("if-match", "\"abc\""), ("range", "bytes=1-1")], Portion::Part(1..2));
    }

    #[test]
    fn ranges_are_for_get_alone() {
        let mut headers = HeaderMap::new();
        headers.append(header::RANGE, HeaderValue::from_static("bytes=2-4"));
        assert_eq!(Portion::of(&headers, CONTENT, false), Portion::Whole);
    }
}
