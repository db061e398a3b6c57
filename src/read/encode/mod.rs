//! Binary columns → JSON, byte for byte what Postgres' own `to_json` prints.
//!
//! A session of ours is in UTC with ISO dates, `postgres` intervals and `extra_float_digits` at 1; that is what
//! the spelling here follows. Columns go straight into the response's buffer: no value is built on the way.
//! What a row, a page or a response looks like around its columns is not known here.

mod plain;
mod string;
mod strip;

pub use plain::{csv_field, encode_csv, encode_plain};
pub use string::encode_text;
pub use strip::strip_nulls;

use crate::model::binary::{self, ArrayHeader, NumericHeader};
use crate::model::text::time::Style;
use crate::model::text::{inet, interval, number, time, write_hex, write_uuid};
use crate::model::{Kind, Malformed, Scalar};

/// Appends one column as JSON; `None` is SQL's NULL. A column that is cast to text is one of kind text.
///
/// # Errors
/// [`Malformed`] if the bytes are not of that kind; what was appended until then is no JSON.
pub fn encode(out: &mut Vec<u8>, kind: Kind, raw: Option<&[u8]>) -> Result<(), Malformed> {
    match raw {
        None => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        Some(raw) if kind.array => array(out, kind, raw),
        Some(raw) => element(out, kind.element(), raw),
    }
}

/// Appends a column of type `json` (not `jsonb`), such as an embed that Postgres aggregated: its bytes are JSON as
/// they stand.
///
/// # Errors
/// [`Malformed::Encoding`] if the bytes are not UTF-8.
pub fn encode_json(out: &mut Vec<u8>, raw: Option<&[u8]>) -> Result<(), Malformed> {
    let text = raw.map_or(Ok("null"), |raw| binary::utf8(Kind::JSON, raw))?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn element(out: &mut Vec<u8>, kind: Kind, raw: &[u8]) -> Result<(), Malformed> {
    match kind.scalar {
        Scalar::Text => encode_text(out, binary::utf8(kind, raw)?),
        Scalar::Integer => {
            number::write_integer(out, i32::from_be_bytes(binary::exact(kind, raw)?).into());
        }
        Scalar::Bigint => number::write_integer(out, i64::from_be_bytes(binary::exact(kind, raw)?)),
        Scalar::Float => {
            let number = f64::from_be_bytes(binary::exact(kind, raw)?);
            if number.is_finite() {
                number::write_float(out, number);
            } else {
                quoted(out, |out| number::write_float(out, number));
            }
        }
        Scalar::Decimal => {
            let numeric = NumericHeader::read(raw)?;
            if numeric.is_finite() {
                numeric.write(out);
            } else {
                quoted(out, |out| numeric.write(out));
            }
        }
        Scalar::Boolean => {
            let [truth] = binary::exact(kind, raw)?;
            out.extend_from_slice(if truth == 0 { b"false" } else { b"true" });
        }
        Scalar::Uuid => {
            let uuid = binary::exact(kind, raw)?;
            quoted(out, |out| write_uuid(out, &uuid));
        }
        Scalar::Timestamp => {
            let at = i64::from_be_bytes(binary::exact(kind, raw)?);
            quoted(out, |out| time::write_timestamp(out, at, Style::Json));
        }
        Scalar::Date => {
            let days = i32::from_be_bytes(binary::exact(kind, raw)?);
            quoted(out, |out| time::write_date(out, days));
        }
        Scalar::Time => {
            let at = binary::time(kind, raw)?;
            quoted(out, |out| time::write_time(out, at));
        }
        Scalar::Interval => {
            let interval = binary::interval(kind, raw)?;
            quoted(out, |out| interval::write(out, interval));
        }
        Scalar::Json => {
            let text = binary::utf8(kind, binary::jsonb(kind, raw)?)?;
            out.extend_from_slice(text.as_bytes());
        }
        Scalar::Bytes => quoted(out, |out| {
            out.extend_from_slice(br"\\x");
            write_hex(out, raw);
        }),
        Scalar::Inet => {
            let (address, prefix) = binary::inet(kind, raw)?;
            quoted(out, |out| inet::write(out, address, prefix));
        }
    }
    Ok(())
}

/// Puts quotes around what needs no escaping between them.
fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

/// `[1,null]`, and `[[1,2],[3,4]]` for more than one dimension.
fn array(out: &mut Vec<u8>, kind: Kind, raw: &[u8]) -> Result<(), Malformed> {
    let array = ArrayHeader::read(kind, raw)?;
    let dimensions = array.dimensions();
    if dimensions.is_empty() {
        out.extend_from_slice(b"[]");
    }
    for (at, raw) in array.elements().enumerate() {
        let raw = raw?;
        // A dimension opens before an element whose place is a multiple of the elements in it.
        let opened = boundaries(dimensions, at);
        if at > 0 {
            out.push(b',');
        }
        out.resize(out.len() + opened, b'[');
        encode(out, kind.element(), raw)?;
        let closed = boundaries(dimensions, at + 1);
        out.resize(out.len() + closed, b']');
    }
    Ok(())
}

/// How many dimensions begin (and end) at the place of an element.
fn boundaries(dimensions: &[usize], at: usize) -> usize {
    let mut size = 1usize;
    dimensions
        .iter()
        .rev()
        .take_while(|dimension| {
            size = size.saturating_mul(**dimension);
            at.is_multiple_of(size)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: &str, raw: &[u8]) -> Result<String, Malformed> {
        let mut out = Vec::new();
        encode(&mut out, Kind::from_yaml(kind).unwrap(), Some(raw))?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn words(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn each_kind_has_its_json() {
        let spring = 763_527_845_123_400_i64;
        for (kind, raw, expected) in [
            ("text", b"a\"b\n".to_vec(), r#""a\"b\n""#),
            ("integer", (-7_i32).to_be_bytes().to_vec(), "-7"),
            ("bigint", i64::MIN.to_be_bytes().to_vec(), "-9223372036854775808"),
            ("float", 1e15_f64.to_be_bytes().to_vec(), "1e+15"),
            ("float", f64::NEG_INFINITY.to_be_bytes().to_vec(), r#""-Infinity""#),
            ("decimal", vec![0, 1, 0, 0, 0, 0, 0, 2, 0, 7], "7.00"),
            ("decimal", vec![0, 0, 0, 0, 0xC0, 0, 0, 0], r#""NaN""#),
            ("boolean", vec![1], "true"),
            ("uuid", vec![0xab; 16], r#""abababab-abab-abab-abab-abababababab""#),
            ("timestamp", spring.to_be_bytes().to_vec(), r#""2024-03-12T03:04:05.1234+00:00""#),
            ("timestamp", i64::MAX.to_be_bytes().to_vec(), r#""infinity""#),
            ("date", 0_i32.to_be_bytes().to_vec(), r#""2000-01-01""#),
            ("time", 86_400_000_000_i64.to_be_bytes().to_vec(), r#""24:00:00""#),
            ("interval", vec![0; 16], r#""00:00:00""#),
            ("json", b"\x01{\"a\": 1}".to_vec(), r#"{"a": 1}"#),
            ("bytes", vec![0, 255], r#""\\x00ff""#),
            ("inet", vec![2, 24, 0, 4, 10, 0, 0, 1], r#""10.0.0.1/24""#),
            ("integer[]", words(&[0, 0, 23]), "[]"),
            ("integer[]", words(&[1, 1, 23, 2, 1, 4, 7, -1]), "[7,null]"),
            ("integer[]", words(&[2, 0, 23, 2, 1, 2, 1, 4, 1, 4, 2, 4, 3, 4, 4]), "[[1,2],[3,4]]"),
        ] {
            assert_eq!(json(kind, &raw).as_deref(), Ok(expected), "{kind}");
        }
    }

    #[test]
    fn null_is_null_whatever_the_kind() {
        let mut out = Vec::new();
        encode(&mut out, Kind::many(Scalar::Text), None).unwrap();
        encode_json(&mut out, None).unwrap();
        assert_eq!(out, b"nullnull");
    }

    #[test]
    fn bytes_of_another_kind_are_malformed() {
        assert_eq!(json("integer", &[0; 8]), Err(Malformed::Length(Kind::one(Scalar::Integer))));
        assert_eq!(json("text", &[0xff]), Err(Malformed::Encoding(Kind::TEXT)));
        assert_eq!(json("time", &(-1_i64).to_be_bytes()), Err(Malformed::Value(Kind::one(Scalar::Time))));
        assert_eq!(json("json", b"\x02{}"), Err(Malformed::Value(Kind::JSON)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            for scalar in Scalar::all() {
                for kind in [Kind::one(scalar), Kind::many(scalar)] {
                    let _ = encode(&mut Vec::new(), kind, Some(&raw));
                }
            }
        }
    }
}
