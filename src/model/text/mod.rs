//! [`Value`] as text: what Postgres' input functions take, and back.
//!
//! Parsing takes the strict forms only (ISO dates and times, plain decimals, `\x` hexadecimal): a text that
//! Postgres would read in several ways depending on its settings is not a value here. Writing gives a text
//! that Postgres reads back as exactly the same value. The writers of single kinds are shared with the
//! encoder of rows, so that a value never has two spellings.

mod array;
pub(crate) use array::elements;
pub(crate) mod inet;
pub(crate) mod interval;
pub(crate) mod number;
pub(crate) mod time;

use uuid::Uuid;

use super::{Kind, Scalar, Value};

impl Value {
    /// Reads a text as a value of a kind. `None` if it is none, or one that Postgres could not hold.
    ///
    /// No white space around a value is taken, and no text is [`Value::Null`] (inside an array literal an
    /// unquoted `NULL` is).
    pub fn parse(kind: Kind, text: &str) -> Option<Value> {
        if kind.array {
            return array::parse(kind.scalar, text).map(Value::Array);
        }
        match kind.scalar {
            // Postgres' text holds any code point but this one.
            Scalar::Text => (!text.contains('\0')).then(|| Value::text(text)),
            Scalar::Integer => number::parse_integer(text)
                .filter(|number| i32::try_from(*number).is_ok())
                .map(Value::Integer),
            Scalar::Bigint => number::parse_integer(text).map(Value::Integer),
            Scalar::Float => number::parse_float(text).map(Value::Float),
            Scalar::Decimal => number::parse_decimal(text).map(Value::Decimal),
            Scalar::Boolean => match text {
                "true" | "t" => Some(Value::Boolean(true)),
                "false" | "f" => Some(Value::Boolean(false)),
                _ => None,
            },
            Scalar::Uuid => parse_uuid(text).map(Value::Uuid),
            Scalar::Timestamp => time::parse_timestamp(text).map(Value::Timestamp),
            Scalar::Date => time::parse_date(text).map(Value::Date),
            Scalar::Time => time::parse_time(text).map(Value::Time),
            Scalar::Interval => interval::parse(text).map(Value::Interval),
            Scalar::Json => serde_json::from_str(text).ok().filter(storable).map(Value::Json),
            Scalar::Bytes => parse_bytes(text).map(Value::Bytes),
            Scalar::Inet => inet::parse(text).map(|(address, prefix)| Value::Inet(address, prefix)),
        }
    }

    /// The text that Postgres' input function for the value's kind reads back as exactly this value.
    /// `None` for [`Value::Null`].
    pub fn to_text(&self) -> Option<String> {
        if self.is_null() {
            return None;
        }
        let mut out = Vec::new();
        self.write_text(&mut out);
        // Every writer writes UTF-8.
        Some(String::from_utf8(out).unwrap_or_default())
    }

    fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => {}
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Integer(number) => number::write_integer(out, *number),
            Value::Float(number) => number::write_float(out, *number),
            Value::Decimal(decimal) => number::write_decimal(out, decimal),
            Value::Boolean(truth) => {
                out.extend_from_slice(if *truth { b"true" } else { b"false" });
            }
            Value::Uuid(uuid) => write_uuid(out, uuid.as_bytes()),
            Value::Timestamp(at) => time::write_timestamp(out, *at, time::Style::Text),
            Value::Date(days) => time::write_date(out, *days),
            Value::Time(at) => time::write_time(out, *at),
            Value::Interval(interval) => interval::write(out, *interval),
            Value::Json(json) => out.extend_from_slice(json.to_string().as_bytes()),
            Value::Bytes(bytes) => {
                out.extend_from_slice(b"\\x");
                write_hex(out, bytes);
            }
            Value::Inet(address, prefix) => inet::write(out, *address, *prefix),
            Value::Array(elements) => array::write(out, elements),
        }
    }
}

/// `jsonb` refuses the escape `\u0000` anywhere: its strings are Postgres texts.
pub(crate) fn storable(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => true,
        serde_json::Value::String(text) => !text.contains('\0'),
        serde_json::Value::Array(elements) => elements.iter().all(storable),
        serde_json::Value::Object(members) => {
            members.iter().all(|(key, value)| !key.contains('\0') && storable(value))
        }
    }
}

/// The hyphenated form, in either case. The other spellings that Postgres takes would make two texts of one key.
fn parse_uuid(text: &str) -> Option<Uuid> {
    let hyphens = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
    if hyphens { Uuid::try_parse(text).ok() } else { None }
}

fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    digits.chunks_exact(2).map(|pair| Some((nibble(pair[0])? << 4 | nibble(pair[1])?) as u8)).collect()
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Two lower-case digits a byte.
pub(crate) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
}

/// `8-4-4-4-12` in lower case.
pub(crate) fn write_uuid(out: &mut Vec<u8>, uuid: &[u8; 16]) {
    for (at, part) in [&uuid[0..4], &uuid[4..6], &uuid[6..8], &uuid[8..10], &uuid[10..16]].iter().enumerate()
    {
        if at > 0 {
            out.push(b'-');
        }
        write_hex(out, part);
    }
}

/// Reads a text from its start, byte by byte, for the parsers of single kinds.
struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Scan<'a> {
        Scan { rest: text.as_bytes() }
    }

    fn done(&self) -> bool {
        self.rest.is_empty()
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// `+`, `-` or nothing; true for `-`.
    fn sign(&mut self) -> bool {
        let negative = self.eat(b'-');
        if !negative {
            self.eat(b'+');
        }
        negative
    }

    /// The decimal digits that stand here, perhaps none.
    fn digits(&mut self) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }

    /// A number of `least` to `most` digits; `most` is at most 18.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let digits = self.digits();
        if digits.len() < least || digits.len() > most {
            return None;
        }
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    /// `.123` as microseconds, rounded half to even beyond the sixth digit; 0 where no point stands.
    fn microseconds(&mut self) -> Option<i64> {
        if !self.eat(b'.') {
            return Some(0);
        }
        let digits = self.digits();
        if digits.is_empty() {
            return None;
        }
        let whole = (0..6)
            .fold(0, |number, at| number * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0')));
        let rest = digits.get(6..).unwrap_or_default();
        let half = match rest.split_first() {
            None => std::cmp::Ordering::Less,
            Some((first, more)) => first.cmp(&b'5').then_with(|| {
                if more.iter().all(|digit| *digit == b'0') {
                    std::cmp::Ordering::Equal
                } else {
                    std::cmp::Ordering::Greater
                }
            }),
        };
        let up = match half {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => whole % 2 == 1,
            std::cmp::Ordering::Greater => true,
        };
        Some(whole + i64::from(up))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Decimal;
    use super::*;

    /// Asserts that a text is a value and is written back as `canonical`.
    fn reads(kind: &str, text: &str, canonical: &str) {
        let kind = Kind::from_yaml(kind).unwrap();
        let value = Value::parse(kind, text).unwrap_or_else(|| panic!("{kind}: {text:?} is a value"));
        let written = value.to_text().unwrap();
        assert_eq!(written, canonical, "{kind}: {text:?}");
        let again = Value::parse(kind, &written).unwrap().to_text().unwrap();
        assert_eq!(again, written);
    }

    fn refuses(kind: &str, text: &str) {
        let kind = Kind::from_yaml(kind).unwrap();
        assert_eq!(Value::parse(kind, text), None, "{kind}: {text:?}");
    }

    #[test]
    fn each_kind_reads_its_strict_forms() {
        for (kind, text, canonical) in [
            ("text", "", ""),
            ("text", "NULL", "NULL"),
            ("integer", "-2147483648", "-2147483648"),
            ("integer", "+7", "7"),
            ("bigint", "-9223372036854775808", "-9223372036854775808"),
            ("bigint", "007", "7"),
            ("float", "1e15", "1e+15"),
            ("float", "123456789012345", "123456789012345"),
            ("float", "0.0001", "0.0001"),
            ("float", "0.00001", "1e-05"),
            ("float", "-0", "-0"),
            ("float", "1e23", "9.999999999999999e+22"),
            ("float", "5e-324", "5e-324"),
            ("float", "NaN", "NaN"),
            ("float", "-inf", "-Infinity"),
            ("decimal", "1.10", "1.10"),
            ("decimal", "1.5e3", "1500"),
            ("decimal", "-.5", "-0.5"),
            ("decimal", "1.50e-1", "0.150"),
            ("decimal", "0e9", "0"),
            ("decimal", "-0.00", "0.00"),
            ("decimal", "nan", "NaN"),
            ("boolean", "t", "true"),
            ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
            ("timestamp", "2024-01-02T03:04:05.1234567Z", "2024-01-02 03:04:05.123457+00"),
            ("timestamp", "2024-01-02 03:04:05+02", "2024-01-02 01:04:05+00"),
            ("timestamp", "2024-01-02 03:04-0530", "2024-01-02 08:34:00+00"),
            ("timestamp", "2024-02-29", "2024-02-29 00:00:00+00"),
            ("timestamp", "4714-11-24 00:00:00+00 BC", "4714-11-24 00:00:00+00 BC"),
            ("timestamp", "294276-12-31 23:59:59.999999+00", "294276-12-31 23:59:59.999999+00"),
            ("timestamp", "-infinity", "-infinity"),
            ("date", "5874897-12-31", "5874897-12-31"),
            ("date", "0044-03-15 BC", "0044-03-15 BC"),
            ("date", "infinity", "infinity"),
            ("time", "24:00:00", "24:00:00"),
            ("time", "03:04", "03:04:00"),
            ("interval", "1 year 2 mons -3 days +04:05:06.7", "1 year 2 mons -3 days +04:05:06.7"),
            ("interval", "P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("interval", "-90 minutes", "-01:30:00"),
            ("interval", "2 weeks", "14 days"),
            ("interval", "00:00:00", "00:00:00"),
            ("json", r#" {"a" : [1, null]} "#, r#"{"a":[1,null]}"#),
            ("bytes", "\\xDEad", "\\xdead"),
            ("bytes", "\\x", "\\x"),
            ("inet", "192.168.0.1/24", "192.168.0.1/24"),
            ("inet", "192.168.0.1/32", "192.168.0.1"),
            ("inet", "2001:DB8::1", "2001:db8::1"),
            ("text[]", r#"{a, "b,\"c", NULL, "NULL"}"#, r#"{"a","b,\"c",NULL,"NULL"}"#),
            ("integer[]", "{}", "{}"),
            ("integer[]", "{1,2}", r#"{"1","2"}"#),
        ] {
            reads(kind, text, canonical);
        }
    }

    #[test]
    fn what_is_no_value_of_the_kind_is_refused() {
        for (kind, text) in [
            ("text", "a\0b"),
            ("integer", "2147483648"),
            ("integer", "1.0"),
            ("integer", " 1"),
            ("integer", ""),
            ("integer", "--1"),
            ("bigint", "9223372036854775808"),
            ("float", "1e400"),
            ("float", "1e-400"),
            ("float", "0x10"),
            ("float", "."),
            ("float", "1e"),
            ("decimal", "1e131072"),
            ("decimal", "1e-16384"),
            ("decimal", "1e99999999999999999999"),
            ("decimal", "1_000"),
            ("boolean", "yes"),
            ("uuid", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
            ("uuid", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1}"),
            ("timestamp", "2023-02-29"),
            ("timestamp", "01/02/2024"),
            ("timestamp", "294277-01-01"),
            ("timestamp", "2024-01-02T03:04:05+16:00"),
            ("timestamp", "now"),
            ("date", "4714-11-23 BC"),
            ("date", "0000-01-01"),
            ("date", "5874898-01-01"),
            ("time", "24:00:00.000001"),
            ("time", "23:59:60"),
            ("interval", ""),
            ("interval", "1"),
            ("interval", "1 day 2 days"),
            ("interval", "P"),
            ("interval", "99999999999 years"),
            ("json", "{"),
            ("json", r#""\u0000""#),
            ("bytes", "\\x1"),
            ("bytes", "00"),
            ("inet", "10.0.0.1/33"),
            ("inet", "10.0.0"),
            ("text[]", "{{a}}"),
            ("text[]", "{a,}"),
            ("text[]", "{a"),
            ("text[]", "a"),
            ("text[]", "{\"a"),
            ("integer[]", "{x}"),
        ] {
            refuses(kind, text);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,40}") {
            for scalar in Scalar::all() {
                let _ = Value::parse(Kind::one(scalar), &text);
                let _ = Value::parse(Kind::many(scalar), &text);
            }
        }

        #[test]
        fn what_is_read_is_written_and_read_alike(text in "[-+{}\"\\\\:.,/ 0-9a-fxTZPYMDHSBC]{0,24}") {
            for scalar in Scalar::all() {
                for kind in [Kind::one(scalar), Kind::many(scalar)] {
                    if let Some(value) = Value::parse(kind, &text) {
                        let written = value.to_text().unwrap_or_default();
                        let again = Value::parse(kind, &written);
                        proptest::prop_assert_eq!(again, Some(value), "{}: {}", kind, written);
                    }
                }
            }
        }
    }

    #[test]
    fn decimals_beyond_any_numeric_are_still_written_in_bounded_space() {
        let huge = bigdecimal::BigDecimal::new(7.into(), -2_000_000_000);
        let text = Value::Decimal(Decimal::Finite(huge)).to_text().unwrap();
        assert_eq!(text, "7e2000000000");
    }
}
