//! [`Row`]: one row as it came, and the parameter type that sends text.

use std::error::Error;

use bytes::BytesMut;
use postgres_types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::sql::Param;

/// One row of an answer; every column is in Postgres' binary format.
#[derive(Clone, Debug)]
pub struct Row {
    row: tokio_postgres::Row,
    /// Columns before the first one.
    passed: usize,
}

impl Row {
    pub(super) fn new(row: tokio_postgres::Row) -> Row {
        Row { row, passed: 0 }
    }

    /// The row without its first columns.
    pub(super) fn after(self, columns: usize) -> Row {
        Row { passed: self.passed + columns, ..self }
    }

    /// The number of columns.
    pub fn len(&self) -> usize {
        self.row.len().saturating_sub(self.passed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A column's bytes; `None` is NULL, and a column that is not there.
    pub fn raw(&self, column: usize) -> Option<&[u8]> {
        self.row.try_get::<_, Raw<'_>>(self.passed + column).ok().and_then(|raw| raw.0)
    }

    /// A column's type; 0 for one that is not there.
    pub fn oid(&self, column: usize) -> u32 {
        self.row.columns().get(self.passed + column).map_or(0, |column| column.type_().oid())
    }

    /// A column of type `text`, `name`, `json` or alike; `None` is NULL, or bytes that are no text.
    pub fn text(&self, column: usize) -> Option<&str> {
        std::str::from_utf8(self.raw(column)?).ok()
    }

    /// A column of type `boolean`; `None` is NULL or another type.
    pub fn boolean(&self, column: usize) -> Option<bool> {
        match self.raw(column)? {
            [byte] => Some(*byte != 0),
            _ => None,
        }
    }

    /// A column of type `smallint`, `integer` or `bigint`; `None` is NULL or another type.
    pub fn integer(&self, column: usize) -> Option<i64> {
        match *self.raw(column)? {
            [a, b] => Some(i16::from_be_bytes([a, b]).into()),
            [a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d]).into()),
            [a, b, c, d, e, f, g, h] => Some(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            _ => None,
        }
    }
}

/// Bytes of any type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A bound value in Postgres' text format, whatever its type.
#[derive(Debug)]
pub(super) struct Text<'a>(Option<&'a str>);

impl<'a> Text<'a> {
    pub(super) fn all(params: &'a [Param]) -> impl ExactSizeIterator<Item = Text<'a>> {
        params.iter().map(|param| Text(param.value.as_deref()))
    }
}

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
