//! How values of one kind are ordered: as Postgres orders them.

use std::cmp::Ordering;
use std::net::IpAddr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::Sign;

use super::arithmetic::DAY;
use crate::model::{Decimal, Interval, Kind, Scalar, Value};

/// The order of two values of comparable kinds. `None` if either is null, or if their kinds cannot be compared.
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => floats(*a, *b),
        (Value::Boolean(a), Value::Boolean(b)) => a.cmp(b),
        (Value::Uuid(a), Value::Uuid(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        // A date beyond every timestamp is still before infinity.
        (Value::Date(a), Value::Timestamp(b)) => date_and_timestamp(*a, *b),
        (Value::Timestamp(a), Value::Date(b)) => date_and_timestamp(*b, *a).reverse(),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Interval(a), Value::Interval(b)) => length(a).cmp(&length(b)),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Inet(a, p), Value::Inet(b, q)) => networks((a, *p), (b, *q)),
        (Value::Array(a), Value::Array(b)) => return arrays(a, b),
        (a, b) => decimals(&*decimal(a)?, &*decimal(b)?),
    })
}

/// A number as a decimal: a float is what its shortest text says, which Postgres prints too.
pub(super) fn decimal(value: &Value) -> Option<std::borrow::Cow<'_, Decimal>> {
    use std::borrow::Cow;
    Some(match value {
        Value::Decimal(number) => Cow::Borrowed(number),
        Value::Integer(number) => Cow::Owned(Decimal::Finite((*number).into())),
        Value::Float(_) => match Value::parse(Kind::one(Scalar::Decimal), &value.to_text()?)? {
            Value::Decimal(number) => Cow::Owned(number),
            _ => return None,
        },
        _ => return None,
    })
}

/// NaN equals itself and is greater than everything else; -0 is 0.
fn floats(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    }
}

fn decimals(a: &Decimal, b: &Decimal) -> Ordering {
    let rank = |number: &Decimal| match number {
        Decimal::NegativeInfinity => 0,
        Decimal::Finite(_) => 1,
        Decimal::Infinity => 2,
        Decimal::NaN => 3,
    };
    match (a, b) {
        (Decimal::Finite(a), Decimal::Finite(b)) => finite(a, b),
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Compares signs and magnitudes first: scaling 1e100000 to the digits of 1e-16000 would cost dearly.
fn finite(a: &BigDecimal, b: &BigDecimal) -> Ordering {
    let sign = |number: &BigDecimal| match number.sign() {
        Sign::Minus => -1,
        Sign::NoSign => 0,
        Sign::Plus => 1,
    };
    let magnitude = |number: &BigDecimal| number.digits() as i64 - number.as_bigint_and_exponent().1;
    match sign(a).cmp(&sign(b)) {
        Ordering::Equal => {}
        unequal => return unequal,
    }
    if sign(a) == 0 {
        return Ordering::Equal;
    }
    match magnitude(a).cmp(&magnitude(b)) {
        Ordering::Equal => a.cmp(b),
        unequal if sign(a) < 0 => unequal.reverse(),
        unequal => unequal,
    }
}

fn date_and_timestamp(date: i32, timestamp: i64) -> Ordering {
    match date {
        i32::MAX => i128::MAX.cmp(&infinite(timestamp)),
        i32::MIN => i128::MIN.cmp(&infinite(timestamp)),
        days => (i128::from(days) * i128::from(DAY)).cmp(&infinite(timestamp)),
    }
}

fn infinite(timestamp: i64) -> i128 {
    match timestamp {
        i64::MAX => i128::MAX,
        i64::MIN => i128::MIN,
        finite => i128::from(finite),
    }
}

/// Months count 30 days and days 24 hours, for comparing only.
fn length(interval: &Interval) -> i128 {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    days * i128::from(DAY) + i128::from(interval.microseconds)
}

/// IPv4 before IPv6; then the bits that both prefixes cover, the shorter prefix, and the whole address.
fn networks((a, a_prefix): (&IpAddr, u8), (b, b_prefix): (&IpAddr, u8)) -> Ordering {
    let bits = |address: &IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(*address)) << 96,
        IpAddr::V6(address) => u128::from(*address),
    };
    let common = a_prefix.min(b_prefix).min(128);
    let mask = if common == 0 { 0 } else { u128::MAX << (128 - u32::from(common)) };
    a.is_ipv6()
        .cmp(&b.is_ipv6())
        .then_with(|| (bits(a) & mask).cmp(&(bits(b) & mask)))
        .then(a_prefix.cmp(&b_prefix))
        .then_with(|| bits(a).cmp(&bits(b)))
}

/// Element by element; in an array null equals null and is greater than everything else.
fn arrays(a: &[Value], b: &[Value]) -> Option<Ordering> {
    for (a, b) in a.iter().zip(b) {
        let ordering = match (a.is_null(), b.is_null()) {
            (false, false) => compare(a, b)?,
            (a, b) => a.cmp(&b),
        };
        if ordering.is_ne() {
            return Some(ordering);
        }
    }
    Some(a.len().cmp(&b.len()))
}
