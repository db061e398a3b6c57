//! Binary columns → Postgres' own text format, and that as a field of CSV.
//!
//! The same rules as the JSON beside it: UTC, ISO dates, shortest digits; byte for byte what a cast to text prints.
//! Fields are quoted as Postgres quotes the members of a record, which is what clients of the dialect know: a
//! backslash is doubled like a quote.

use super::boundaries;
use crate::model::binary::{self, ArrayHeader, NumericHeader};
use crate::model::text::time::Style;
use crate::model::text::{inet, interval, number, time, write_hex, write_uuid};
use crate::model::{Kind, Malformed, Scalar};

/// Appends a column as a field of CSV; `None` is SQL's NULL, which is an empty field.
///
/// # Errors
/// [`Malformed`] if the bytes are not of that kind.
pub fn encode_csv(out: &mut Vec<u8>, kind: Kind, raw: Option<&[u8]>) -> Result<(), Malformed> {
    let Some(raw) = raw else { return Ok(()) };
    let mut text = Vec::new();
    encode_plain(&mut text, kind, raw)?;
    csv_field(out, &text);
    Ok(())
}

/// Appends a text as a field of CSV. The empty text is quoted: it is not NULL.
pub fn csv_field(out: &mut Vec<u8>, text: &[u8]) {
    let quoted = text.is_empty()
        || text.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',') || is_space(*byte));
    if !quoted {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// White space to Postgres.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Appends a column that is not NULL in Postgres' text format.
///
/// # Errors
/// [`Malformed`] if the bytes are not of that kind.
pub fn encode_plain(out: &mut Vec<u8>, kind: Kind, raw: &[u8]) -> Result<(), Malformed> {
    if kind.array {
        return array(out, kind, raw);
    }
    match kind.scalar {
        Scalar::Text => out.extend_from_slice(binary::utf8(kind, raw)?.as_bytes()),
        Scalar::Integer => {
            number::write_integer(out, i32::from_be_bytes(binary::exact(kind, raw)?).into());
        }
        Scalar::Bigint => number::write_integer(out, i64::from_be_bytes(binary::exact(kind, raw)?)),
        Scalar::Float => number::write_float(out, f64::from_be_bytes(binary::exact(kind, raw)?)),
        Scalar::Decimal => NumericHeader::read(raw)?.write(out),
        Scalar::Boolean => {
            let [truth] = binary::exact(kind, raw)?;
            out.push(if truth == 0 { b'f' } else { b't' });
        }
        Scalar::Uuid => write_uuid(out, &binary::exact(kind, raw)?),
        Scalar::Timestamp => {
            time::write_timestamp(out, i64::from_be_bytes(binary::exact(kind, raw)?), Style::Text);
        }
        Scalar::Date => time::write_date(out, i32::from_be_bytes(binary::exact(kind, raw)?)),
        Scalar::Time => time::write_time(out, binary::time(kind, raw)?),
        Scalar::Interval => interval::write(out, binary::interval(kind, raw)?),
        Scalar::Json => {
            out.extend_from_slice(binary::utf8(kind, binary::jsonb(kind, raw)?)?.as_bytes());
        }
        Scalar::Bytes => {
            out.extend_from_slice(b"\\x");
            write_hex(out, raw);
        }
        Scalar::Inet => {
            let (address, prefix) = binary::inet(kind, raw)?;
            inet::write(out, address, prefix);
        }
    }
    Ok(())
}

/// `{1,NULL,"a b"}`, and `{{1,2},{3,4}}` for more than one dimension.
fn array(out: &mut Vec<u8>, kind: Kind, raw: &[u8]) -> Result<(), Malformed> {
    let array = ArrayHeader::read(kind, raw)?;
    let dimensions = array.dimensions();
    if dimensions.is_empty() {
        out.extend_from_slice(b"{}");
    }
    let mut text = Vec::new();
    for (at, raw) in array.elements().enumerate() {
        let raw = raw?;
        if at > 0 {
            out.push(b',');
        }
        out.resize(out.len() + boundaries(dimensions, at), b'{');
        match raw {
            None => out.extend_from_slice(b"NULL"),
            Some(raw) => {
                text.clear();
                encode_plain(&mut text, kind.element(), raw)?;
                element(out, &text);
            }
        }
        out.resize(out.len() + boundaries(dimensions, at + 1), b'}');
    }
    Ok(())
}

/// An element, quoted where Postgres quotes it.
fn element(out: &mut Vec<u8>, text: &[u8]) {
    let quoted = text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_space(*byte));
    if !quoted {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
