//! `limits:`: what bounds a request, in units that people write (`1MB`, `8s`).

use std::time::Duration;

use super::Limits;
use super::fault::Faults;
use super::gather::Definition;
use super::later::Place;
use super::yaml::{Node, Plain, Tree};

pub(super) const KEYS: [&str; 9] = [
    "rows",
    "body",
    "embed_depth",
    "statement_timeout",
    "filter_terms",
    "in_values",
    "bulk_rows",
    "json_depth",
    "upload",
];

/// Bytes of the largest object that the server stores.
const MAX_UPLOAD: u64 = 5 << 30;

/// The limits that are plain numbers. The upper ends are what the server can still serve, not what is wise.
pub(super) const NUMBERS: [(&str, u64, u64); 6] = [
    ("rows", 1, 1_000_000),
    ("embed_depth", 0, 16),
    ("filter_terms", 1, 10_000),
    ("in_values", 1, 100_000),
    ("bulk_rows", 1, 100_000),
    ("json_depth", 1, 127),
];

pub(super) fn read(definitions: &[Definition<'_>], faults: &mut Faults<'_>) -> Limits {
    let mut limits = Limits::default();
    for (key, node) in definitions {
        let what = format!("`{}`", key.text);
        if let Some((_, least, most)) = NUMBERS.iter().find(|(name, _, _)| *name == key.text) {
            if let Some(number) = faults.number(node, &what, *least, *most) {
                set(&mut limits, &key.text, number);
            }
            continue;
        }
        match key.text.as_str() {
            "body" => match scalar(node).and_then(bytes) {
                Some(size) if (1 << 10..=1 << 30).contains(&size) => {
                    limits.body = usize::try_from(size).unwrap_or(limits.body);
                }
                _ => refuse(node, &what, "a size from 1KiB to 1GiB, as in `1MB`", faults),
            },
            "upload" => match scalar(node).and_then(bytes) {
                Some(size) if (1..=MAX_UPLOAD).contains(&size) => limits.upload = size,
                _ => refuse(node, &what, "a size up to 5GiB, as in `50MB`", faults),
            },
            "statement_timeout" => match scalar(node).and_then(duration) {
                Some(time) if (Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(&time) => {
                    limits.statement_timeout = time;
                }
                _ => refuse(node, &what, "a duration from 10ms to 1h, as in `8s`", faults),
            },
            other => faults.unknown(key.at, Place::Limits.word(), other, KEYS),
        }
    }
    limits
}

/// What a limit bounds, for whoever writes it in an editor.
pub(super) fn says(key: &str) -> String {
    let limits = Limits::default();
    let mib = |bytes: u64| format!("{}MiB", bytes >> 20);
    let (what, default) = match key {
        "rows" => ("Records of one page, and of one embed", limits.rows.to_string()),
        "body" => ("Bytes of a request's body, as in `1MB`", mib(limits.body as u64)),
        "embed_depth" => ("Levels of embedded records in one read", limits.embed_depth.to_string()),
        "statement_timeout" => (
            "How long Postgres may work on one statement, as in `8s`",
            format!("{}s", limits.statement_timeout.as_secs()),
        ),
        "filter_terms" => ("Terms of all filters of a request together", limits.filter_terms.to_string()),
        "in_values" => ("Values of one list in a filter", limits.in_values.to_string()),
        "bulk_rows" => ("Records that one request makes", limits.bulk_rows.to_string()),
        "json_depth" => ("How deep a body's JSON is nested", limits.json_depth.to_string()),
        "upload" => ("Bytes of the largest object that any bucket takes, as in `50MiB`", mib(limits.upload)),
        _ => return String::new(),
    };
    format!("{what}; {default} unless said.")
}

/// Sets one of [`NUMBERS`].
fn set(limits: &mut Limits, key: &str, number: u64) {
    let size = usize::try_from(number).unwrap_or(usize::MAX);
    match key {
        "rows" => limits.rows = number,
        "embed_depth" => limits.embed_depth = size,
        "filter_terms" => limits.filter_terms = size,
        "in_values" => limits.in_values = size,
        "bulk_rows" => limits.bulk_rows = size,
        "json_depth" => limits.json_depth = size,
        _ => {}
    }
}

pub(super) fn refuse(node: &Node, what: &str, form: &str, faults: &mut Faults<'_>) {
    if !matches!(node.tree, Tree::Bad) {
        faults.add(node.at, format!("{what} is {form}"));
    }
}

pub(super) fn scalar(node: &Node) -> Option<&str> {
    match (&node.tree, node.plain()) {
        (Tree::Scalar(text, _), Some(Plain::Text | Plain::Number)) => Some(text),
        _ => None,
    }
}

/// A whole number and its unit.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, text[digits..].trim_start()))
}

/// `500KB`, `1MB`, `2GiB`, `4096`: K, M, G, T are powers of 1,000, Ki, Mi, Gi, Ti of 1,024.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (count, unit) = split(text)?;
    let unit = match unit {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    count.checked_mul(unit)
}

/// `250ms`, `8s`, `2m`, `1h`. A number without a unit would be a guess.
fn duration(text: &str) -> Option<Duration> {
    let (count, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(count.checked_mul(milliseconds)?))
}
