//! [`Value`]: one field's value in memory, exactly as Postgres holds it.
//!
//! `condition` evaluates over these, `project` parses literals into them, realtime decodes the WAL into
//! them. Reads never build them: `read::encode` goes from Postgres' bytes to JSON directly.

use std::net::IpAddr;

use bigdecimal::BigDecimal;
use uuid::Uuid;

/// One field's value. The variant always agrees with the field's `Kind` or is [`Value::Null`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// `text`, `enum`.
    Text(String),
    /// `integer` and `bigint`.
    Integer(i64),
    Float(f64),
    Decimal(Decimal),
    Boolean(bool),
    Uuid(Uuid),
    /// Microseconds since 2000-01-01 UTC; `i64::MAX` and `i64::MIN` are infinity and -infinity, as on the wire.
    Timestamp(i64),
    /// Days since 2000-01-01; `i32::MAX` and `i32::MIN` are infinity and -infinity.
    Date(i32),
    /// Microseconds since midnight, 24:00:00 included.
    Time(i64),
    Interval(Interval),
    Json(serde_json::Value),
    Bytes(Vec<u8>),
    /// Address and prefix length.
    Inet(IpAddr, u8),
    /// One-dimensional; elements may be null.
    Array(Vec<Value>),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into())
    }
}

/// A Postgres `numeric`.
#[derive(Clone, Debug, PartialEq)]
pub enum Decimal {
    NegativeInfinity,
    Finite(BigDecimal),
    Infinity,
    /// Equal to itself and greater than everything else, as in Postgres.
    NaN,
}

/// A Postgres `interval`: three numbers that do not convert into each other except for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Interval {
    pub months: i32,
    pub days: i32,
    pub microseconds: i64,
}

/// One row of a collection: a value for each field, in the collection's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(pub Vec<Value>);

impl Record {
    pub fn get(&self, field: super::FieldId) -> &Value {
        self.0.get(usize::from(field.0)).unwrap_or(&Value::Null)
    }
}
