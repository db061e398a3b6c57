//! [`Value`] from Postgres' binary format, and the parts of that format that rows are encoded from.
//!
//! The layouts are those of each type's `…send` function in PostgreSQL. Bytes come from a server that we
//! trust, over a wire that may not be: whatever they hold, the answer is a value or a [`Malformed`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use super::text::number::{self, MAX_SCALE};
use super::{Decimal, Interval, Kind, Scalar, Value};

/// Bytes that are no value of the kind they are said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a {0} of the wrong length")]
    Length(Kind),
    #[error("a {0} that is not UTF-8")]
    Encoding(Kind),
    #[error("a {0} with a value outside its range")]
    Value(Kind),
    /// Collections hold one-dimensional arrays only; Postgres itself does not mind more.
    #[error("a {0} of more than one dimension")]
    Dimensions(Kind),
    /// An array whose elements are of another type.
    #[error("a {0} with elements of another type")]
    Element(Kind),
}

impl Value {
    /// Reads a value that is not NULL from its binary form.
    ///
    /// # Errors
    /// [`Malformed`] for what Postgres would never send, and for two things it may: an array of more than one
    /// dimension, and JSON with a number beyond an `f64` or nesting beyond 128.
    pub fn from_binary(kind: Kind, raw: &[u8]) -> Result<Value, Malformed> {
        if kind.array {
            let array = ArrayHeader::read(kind, raw)?;
            if array.dimensions().len() > 1 {
                return Err(Malformed::Dimensions(kind));
            }
            let mut elements = Vec::new();
            for element in array.elements() {
                elements.push(match element? {
                    None => Value::Null,
                    Some(raw) => Value::from_binary(kind.element(), raw)?,
                });
            }
            return Ok(Value::Array(elements));
        }
        Ok(match kind.scalar {
            Scalar::Text => Value::text(utf8(kind, raw)?),
            Scalar::Integer => Value::Integer(i32::from_be_bytes(exact(kind, raw)?).into()),
            Scalar::Bigint => Value::Integer(i64::from_be_bytes(exact(kind, raw)?)),
            Scalar::Float => Value::Float(f64::from_be_bytes(exact(kind, raw)?)),
            Scalar::Decimal => Value::Decimal(NumericHeader::read(raw)?.decimal()?),
            Scalar::Boolean => Value::Boolean(exact::<1>(kind, raw)?[0] != 0),
            Scalar::Uuid => Value::Uuid(Uuid::from_bytes(exact(kind, raw)?)),
            Scalar::Timestamp => Value::Timestamp(i64::from_be_bytes(exact(kind, raw)?)),
            Scalar::Date => Value::Date(i32::from_be_bytes(exact(kind, raw)?)),
            Scalar::Time => Value::Time(time(kind, raw)?),
            Scalar::Interval => Value::Interval(interval(kind, raw)?),
            Scalar::Json => {
                let text = utf8(kind, jsonb(kind, raw)?)?;
                Value::Json(serde_json::from_str(text).map_err(|_| Malformed::Value(kind))?)
            }
            Scalar::Bytes => Value::Bytes(raw.to_vec()),
            Scalar::Inet => {
                let (address, prefix) = inet(kind, raw)?;
                Value::Inet(address, prefix)
            }
        })
    }
}

pub(crate) fn exact<const N: usize>(kind: Kind, raw: &[u8]) -> Result<[u8; N], Malformed> {
    raw.try_into().map_err(|_| Malformed::Length(kind))
}

pub(crate) fn utf8(kind: Kind, raw: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(raw).map_err(|_| Malformed::Encoding(kind))
}

/// Microseconds since midnight.
pub(crate) fn time(kind: Kind, raw: &[u8]) -> Result<i64, Malformed> {
    let time = i64::from_be_bytes(exact(kind, raw)?);
    if (0..=super::text::time::MICROSECONDS_A_DAY).contains(&time) {
        Ok(time)
    } else {
        Err(Malformed::Value(kind))
    }
}

/// Microseconds, days, months: eight, four and four bytes.
pub(crate) fn interval(kind: Kind, raw: &[u8]) -> Result<Interval, Malformed> {
    let raw: [u8; 16] = exact(kind, raw)?;
    let [a, b, c, d, e, f, g, h, days @ .., i, j, k, l] = raw;
    Ok(Interval {
        months: i32::from_be_bytes([i, j, k, l]),
        days: i32::from_be_bytes(days),
        microseconds: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
    })
}

/// The text of a `jsonb`, behind its version.
pub(crate) fn jsonb(kind: Kind, raw: &[u8]) -> Result<&[u8], Malformed> {
    match raw.split_first() {
        None => Err(Malformed::Length(kind)),
        Some((1, text)) => Ok(text),
        Some(_) => Err(Malformed::Value(kind)),
    }
}

/// Family, prefix length, is it a `cidr`, length of the address, address.
pub(crate) fn inet(kind: Kind, raw: &[u8]) -> Result<(IpAddr, u8), Malformed> {
    /// `PGSQL_AF_INET` and the one after it, whatever the server's own numbers are.
    const V4: u8 = 2;
    const V6: u8 = 3;
    let [family, prefix, _cidr, length, address @ ..] = raw else {
        return Err(Malformed::Length(kind));
    };
    if usize::from(*length) != address.len() {
        return Err(Malformed::Length(kind));
    }
    let (address, bits): (IpAddr, u8) = match *family {
        V4 => (Ipv4Addr::from(exact::<4>(kind, address)?).into(), 32),
        V6 => (Ipv6Addr::from(exact::<16>(kind, address)?).into(), 128),
        _ => return Err(Malformed::Value(kind)),
    };
    if *prefix > bits { Err(Malformed::Value(kind)) } else { Ok((address, *prefix)) }
}

fn i32_at(raw: &[u8], at: usize) -> Option<i32> {
    raw.get(at..at + 4)?.try_into().ok().map(i32::from_be_bytes)
}

fn u16_at(raw: &[u8], at: usize) -> Option<u16> {
    raw.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// The sizes of an array's dimensions, and its elements.
pub(crate) struct ArrayHeader<'a> {
    kind: Kind,
    dimensions: [usize; MAX_DIMENSIONS],
    used: usize,
    elements: &'a [u8],
}

/// As many as Postgres allows.
const MAX_DIMENSIONS: usize = 6;

impl<'a> ArrayHeader<'a> {
    pub(crate) fn read(kind: Kind, raw: &'a [u8]) -> Result<ArrayHeader<'a>, Malformed> {
        let short = Malformed::Length(kind);
        let used = usize::try_from(i32_at(raw, 0).ok_or(short)?).map_err(|_| Malformed::Value(kind))?;
        if used > MAX_DIMENSIONS {
            return Err(Malformed::Value(kind));
        }
        // Bytes 4 to 7 say whether there are nulls, which their lengths say again.
        if i32_at(raw, 8).ok_or(short)? as u32 != kind.element().oid() {
            return Err(Malformed::Element(kind));
        }
        let mut dimensions = [0; MAX_DIMENSIONS];
        for (at, size) in dimensions.iter_mut().take(used).enumerate() {
            // The size, then the lower bound, which JSON and literals do not have.
            let found = i32_at(raw, 12 + at * 8).ok_or(short)?;
            *size = usize::try_from(found).map_err(|_| Malformed::Value(kind))?;
            if *size == 0 {
                return Err(Malformed::Value(kind));
            }
        }
        let elements = raw.get(12 + used * 8..).ok_or(short)?;
        Ok(ArrayHeader { kind, dimensions, used, elements })
    }

    pub(crate) fn dimensions(&self) -> &[usize] {
        &self.dimensions[..self.used]
    }

    /// Exactly as many elements as the dimensions say, or one [`Malformed`] and an end.
    pub(crate) fn elements(&self) -> impl Iterator<Item = Result<Option<&'a [u8]>, Malformed>> + use<'a> {
        let short = Malformed::Length(self.kind);
        let mut rest = self.elements;
        // Each element takes four bytes at least, so that no lie about sizes makes this long.
        let mut left = match self.dimensions().iter().try_fold(1usize, |all, size| all.checked_mul(*size)) {
            _ if self.used == 0 => 0,
            Some(all) => all,
            None => usize::MAX,
        };
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || (left == 0 && rest.is_empty()) {
                return None;
            }
            let element = (|| {
                let length = i32_at(rest, 0).filter(|_| left > 0)?;
                rest = &rest[4..];
                if length == -1 {
                    return Some(None);
                }
                let (element, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                Some(Some(element))
            })();
            left = left.saturating_sub(1);
            failed = element.is_none();
            Some(element.ok_or(short))
        })
    }
}

/// The header of a `numeric`: digits to the base 10,000, of which the first counts 10,000^weight.
pub(crate) struct NumericHeader<'a> {
    weight: i16,
    sign: NumericSign,
    /// Decimal digits behind the point.
    scale: usize,
    digits: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NumericSign {
    Positive,
    Negative,
    NaN,
    Infinity,
    NegativeInfinity,
}

impl<'a> NumericHeader<'a> {
    const KIND: Kind = Kind::one(Scalar::Decimal);

    pub(crate) fn read(raw: &'a [u8]) -> Result<NumericHeader<'a>, Malformed> {
        let part = |at| u16_at(raw, at).ok_or(Malformed::Length(Self::KIND));
        let (count, weight, sign, scale) = (part(0)?, part(2)?, part(4)?, part(6)?);
        let digits = &raw[8..];
        if digits.len() != usize::from(count) * 2 {
            return Err(Malformed::Length(Self::KIND));
        }
        let sign = match sign {
            0x0000 => NumericSign::Positive,
            0x4000 => NumericSign::Negative,
            0xC000 => NumericSign::NaN,
            0xD000 => NumericSign::Infinity,
            0xF000 => NumericSign::NegativeInfinity,
            _ => return Err(Malformed::Value(Self::KIND)),
        };
        let scale = usize::from(scale);
        let in_range = digits.chunks_exact(2).all(|digit| u16::from_be_bytes([digit[0], digit[1]]) < 10_000);
        if !in_range || scale > MAX_SCALE {
            return Err(Malformed::Value(Self::KIND));
        }
        Ok(NumericHeader { weight: weight.cast_signed(), sign, scale, digits })
    }

    /// False for NaN and the infinities, which are no JSON numbers.
    pub(crate) fn is_finite(&self) -> bool {
        matches!(self.sign, NumericSign::Positive | NumericSign::Negative)
    }

    /// The digit that counts 10,000^power.
    fn digit(&self, power: i32) -> u64 {
        let at = usize::try_from(i32::from(self.weight) - power);
        let digit = at.ok().and_then(|at| u16_at(self.digits, at.checked_mul(2)?));
        u64::from(digit.unwrap_or(0))
    }

    /// As `numeric` prints: all digits before the point, `scale` behind it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self.sign {
            NumericSign::NaN => return out.extend_from_slice(b"NaN"),
            NumericSign::Infinity => return out.extend_from_slice(b"Infinity"),
            NumericSign::NegativeInfinity => return out.extend_from_slice(b"-Infinity"),
            NumericSign::Negative => out.push(b'-'),
            NumericSign::Positive => {}
        }
        let weight = i32::from(self.weight);
        number::write_unsigned(out, self.digit(weight.max(0)));
        for power in (0..weight).rev() {
            let digit = self.digit(power);
            out.extend_from_slice(&number::pair(digit / 100));
            out.extend_from_slice(&number::pair(digit));
        }
        if self.scale == 0 {
            return;
        }
        out.push(b'.');
        let end = out.len() + self.scale;
        let mut power = -1;
        while out.len() < end {
            let digit = self.digit(power);
            out.extend_from_slice(&number::pair(digit / 100));
            out.extend_from_slice(&number::pair(digit));
            power -= 1;
        }
        out.truncate(end);
    }

    fn decimal(&self) -> Result<Decimal, Malformed> {
        let mut text = Vec::new();
        self.write(&mut text);
        let text = utf8(Self::KIND, &text)?;
        number::parse_decimal(text).ok_or(Malformed::Value(Self::KIND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_is_read_from_its_digits() {
        let read = |parts: &[u16]| {
            let raw: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
            Value::from_binary(Kind::one(Scalar::Decimal), &raw).map(|value| value.to_text().unwrap())
        };
        assert_eq!(read(&[2, 0, 0, 2, 12, 3400]).as_deref(), Ok("12.34"));
        assert_eq!(read(&[1, 0xFFFE, 0x4000, 8, 5]).as_deref(), Ok("-0.00000005"));
        assert_eq!(read(&[1, 2, 0, 0, 1]).as_deref(), Ok("100000000"));
        assert_eq!(read(&[0, 0, 0, 3]).as_deref(), Ok("0.000"));
        assert_eq!(read(&[0, 0, 0xC000, 0]).as_deref(), Ok("NaN"));
        assert_eq!(read(&[0, 0, 0xF000, 0x20]).as_deref(), Ok("-Infinity"));
        let kind = Kind::one(Scalar::Decimal);
        assert_eq!(read(&[1, 0, 0, 0, 10_000]), Err(Malformed::Value(kind)));
        assert_eq!(read(&[1, 0, 1, 0, 1]), Err(Malformed::Value(kind)));
        assert_eq!(read(&[2, 0, 0, 0, 1]), Err(Malformed::Length(kind)));
    }

    #[test]
    fn arrays_say_what_is_wrong_with_them() {
        let kind = Kind::many(Scalar::Integer);
        let read = |parts: &[i32]| {
            let raw: Vec<u8> = parts.iter().flat_map(|part| part.to_be_bytes()).collect();
            Value::from_binary(kind, &raw)
        };
        assert_eq!(read(&[0, 0, 23]), Ok(Value::Array(vec![])));
        assert_eq!(read(&[1, 1, 23, 2, 1, 4, 7, -1]), Ok(Value::Array(vec![Value::Integer(7), Value::Null])));
        assert_eq!(read(&[2, 0, 23, 1, 1, 1, 1, 4, 7]), Err(Malformed::Dimensions(kind)));
        assert_eq!(read(&[1, 0, 25, 1, 1, 4, 7]), Err(Malformed::Element(kind)));
        assert_eq!(read(&[1, 0, 23, 2, 1, 4, 7]), Err(Malformed::Length(kind)), "one element too few");
        assert_eq!(read(&[1, 0, 23, 1, 1, 4, 7, -1]), Err(Malformed::Length(kind)), "one too many");
        assert_eq!(read(&[1, 0, 23, i32::MAX, 1]), Err(Malformed::Length(kind)));
        assert_eq!(read(&[7, 0, 23]), Err(Malformed::Value(kind)));
        assert_eq!(read(&[-1, 0, 23]), Err(Malformed::Value(kind)));
        assert_eq!(read(&[1, 0, 23, 1, 1, -2]), Err(Malformed::Length(kind)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            for scalar in Scalar::all() {
                for kind in [Kind::one(scalar), Kind::many(scalar)] {
                    if let Ok(value) = Value::from_binary(kind, &raw) {
                        let _ = value.to_text();
                    }
                }
            }
        }
    }
}
