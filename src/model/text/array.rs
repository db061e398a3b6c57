//! One-dimensional array literals: `{a,"b \"c\"",NULL}`.

use super::super::{Kind, Scalar, Value};

/// `None` for what is no array, has an element that is none, or has more than one dimension.
pub(super) fn parse(scalar: Scalar, text: &str) -> Option<Vec<Value>> {
    elements(text)?
        .into_iter()
        .map(|element| match element {
            None => Some(Value::Null),
            Some(text) => Value::parse(Kind::one(scalar), &text),
        })
        .collect()
}

/// Splits an array literal into its elements' texts; `None` stands for an unquoted NULL.
pub(crate) fn elements(text: &str) -> Option<Vec<Option<String>>> {
    let inside = text.trim_matches(is_space).strip_prefix('{')?;
    let mut elements = Vec::new();
    let mut rest = inside.trim_start_matches(is_space);
    if let Some(end) = rest.strip_prefix('}') {
        return end.is_empty().then_some(elements);
    }
    loop {
        let (element, after) = element(rest)?;
        elements.push(element);
        let mut chars = after.trim_start_matches(is_space).chars();
        match chars.next()? {
            ',' => rest = chars.as_str().trim_start_matches(is_space),
            '}' => return chars.as_str().is_empty().then_some(elements),
            _ => return None,
        }
    }
}

/// What Postgres' array input skips around elements.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// One element and what follows it.
fn element(text: &str) -> Option<(Option<String>, &str)> {
    let quoted = text.starts_with('"');
    let mut element = String::new();
    // White space at the end of an unquoted element is not part of it unless escaped.
    let mut kept = 0;
    let mut escaped = false;
    let mut chars = text[usize::from(quoted)..].chars();
    loop {
        let before = chars.as_str();
        match chars.next()? {
            '\\' => {
                element.push(chars.next()?);
                kept = element.len();
                escaped = true;
            }
            '"' if quoted => return Some((Some(element), chars.as_str())),
            ',' | '}' if !quoted => {
                element.truncate(kept);
                if element.is_empty() {
                    return None;
                }
                let null = !escaped && element.eq_ignore_ascii_case("null");
                return Some(((!null).then_some(element), before));
            }
            '{' | '"' if !quoted => return None,
            letter => {
                element.push(letter);
                if !is_space(letter) {
                    kept = element.len();
                }
            }
        }
    }
}

/// Every element but NULL is quoted: that is always right, for every kind.
pub(super) fn write(out: &mut Vec<u8>, elements: &[Value]) {
    out.push(b'{');
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if element.is_null() {
            out.extend_from_slice(b"NULL");
            continue;
        }
        let mut text = Vec::new();
        element.write_text(&mut text);
        out.push(b'"');
        for byte in text {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
        out.push(b'"');
    }
    out.push(b'}');
}
