//! The JSON of an event's `data`: what one subscriber sees of one change.
//!
//! Columns are written by the encoder that answers requests, so that a record here is the record there.

use bytes::Bytes;

use super::change::Row;
use super::cursor::Cursor;
use super::line::Operation;
use super::rows::Mapping;
use crate::model::text::time::{self, Style};
use crate::model::{Collection, FieldId, FieldSet, Kind, Malformed};
use crate::read::encode::{encode, encode_text};

/// Longest record that is sent whole; of a longer one, only short fields are.
const WHOLE: usize = 768 << 10;
/// What counts as short then, in bytes of JSON: the reference's own number.
const SHORT: usize = 64;

/// A row as somebody sees it: its bytes, and which of the known fields are masked.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) row: &'a Row,
    pub(super) hidden: &'a FieldSet,
}

/// What happened, when and where, for whoever sees it.
pub(super) struct Frame<'a> {
    pub(super) collection: &'a Collection,
    pub(super) mapping: &'a Mapping,
    pub(super) operation: Operation,
    /// Microseconds since 2000-01-01 UTC.
    pub(super) committed: i64,
    pub(super) cursor: Cursor,
    /// The fields that the records have.
    pub(super) shown: &'a FieldSet,
    pub(super) old: Option<Seen<'a>>,
    pub(super) new: Option<Seen<'a>>,
}

impl Frame<'_> {
    /// The JSON of `data`.
    ///
    /// # Errors
    /// [`Malformed`] if a column's bytes are not of its kind.
    pub(super) fn data(&self) -> Result<Bytes, Malformed> {
        let whole = self.write(usize::MAX)?;
        if whole.len() <= WHOLE { Ok(whole.into()) } else { Ok(self.write(SHORT)?.into()) }
    }

    fn write(&self, longest: usize) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(br#"{"schema":""#);
        out.extend_from_slice(self.collection.schema.as_str().as_bytes());
        out.extend_from_slice(br#"","table":"#);
        encode_text(&mut out, self.collection.name.as_str());
        out.extend_from_slice(br#","type":""#);
        out.extend_from_slice(self.operation.as_str().as_bytes());
        out.extend_from_slice(br#"","commit_timestamp":""#);
        time::write_timestamp(&mut out, self.committed, Style::Json);
        out.extend_from_slice(br#"","columns":["#);
        for (at, field) in self.shown.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let field = self.collection.field(field);
            out.extend_from_slice(br#"{"name":"#);
            encode_text(&mut out, field.name.as_str());
            out.extend_from_slice(br#","type":""#);
            out.extend_from_slice(type_name(field.kind).as_bytes());
            out.extend_from_slice(br#""}"#);
        }
        out.push(b']');
        let mut cut = false;
        for (word, seen) in [(&br#","record":"#[..], self.new), (&br#","old_record":"#[..], self.old)] {
            if let Some(seen) = seen {
                out.extend_from_slice(word);
                cut |= self.record(&mut out, seen, longest)?;
            }
        }
        out.extend_from_slice(br#","errors":"#);
        out.extend_from_slice(if cut { br#"["Error 413: Payload Too Large"]"# } else { b"null" });
        out.extend_from_slice(br#","cursor":""#);
        out.extend_from_slice(self.cursor.to_string().as_bytes());
        out.extend_from_slice(br#""}"#);
        Ok(out)
    }

    /// True if a field was too long.
    fn record(&self, out: &mut Vec<u8>, seen: Seen<'_>, longest: usize) -> Result<bool, Malformed> {
        let mut cut = false;
        let mut first = true;
        out.push(b'{');
        for id in self.shown.iter() {
            let field = self.collection.field(id);
            let before = out.len();
            if !first {
                out.push(b',');
            }
            encode_text(out, field.name.as_str());
            out.push(b':');
            let value = out.len();
            let raw = if seen.hidden.contains(id) { None } else { self.mapping.raw(seen.row, id) };
            encode(out, field.kind, raw.map(|raw| &raw[..]))?;
            if out.len() - value > longest {
                out.truncate(before);
                cut = true;
            } else {
                first = false;
            }
        }
        out.push(b'}');
        Ok(cut)
    }
}

/// Whether two states of a row look the same to somebody who knows these fields.
pub(super) fn look_alike(mapping: &Mapping, known: &FieldSet, old: Seen<'_>, new: Seen<'_>) -> bool {
    let of = |seen: Seen<'_>, field: FieldId| {
        if seen.hidden.contains(field) { None } else { mapping.raw(seen.row, field).cloned() }
    };
    known.iter().all(|field| of(old, field) == of(new, field))
}

/// The name of Postgres' type as clients of this wire know it: `pg_type.typname`.
fn type_name(kind: Kind) -> &'static str {
    use crate::model::Scalar;
    match (kind.scalar, kind.array) {
        (Scalar::Text, false) => "text",
        (Scalar::Text, true) => "_text",
        (Scalar::Integer, false) => "int4",
        (Scalar::Integer, true) => "_int4",
        (Scalar::Bigint, false) => "int8",
        (Scalar::Bigint, true) => "_int8",
        (Scalar::Float, false) => "float8",
        (Scalar::Float, true) => "_float8",
        (Scalar::Decimal, false) => "numeric",
        (Scalar::Decimal, true) => "_numeric",
        (Scalar::Boolean, false) => "bool",
        (Scalar::Boolean, true) => "_bool",
        (Scalar::Uuid, false) => "uuid",
        (Scalar::Uuid, true) => "_uuid",
        (Scalar::Timestamp, false) => "timestamptz",
        (Scalar::Timestamp, true) => "_timestamptz",
        (Scalar::Date, false) => "date",
        (Scalar::Date, true) => "_date",
        (Scalar::Time, false) => "time",
        (Scalar::Time, true) => "_time",
        (Scalar::Interval, false) => "interval",
        (Scalar::Interval, true) => "_interval",
        (Scalar::Json, false) => "jsonb",
        (Scalar::Json, true) => "_jsonb",
        (Scalar::Bytes, false) => "bytea",
        (Scalar::Bytes, true) => "_bytea",
        (Scalar::Inet, false) => "inet",
        (Scalar::Inet, true) => "_inet",
    }
}
