//! Rows as they came from Postgres → JSON or CSV, straight into the response's buffer.

use super::encode;
use crate::db::Row;
use crate::error::Error;
use crate::query::plan::{NodePlan, Yields};

/// The members of each answered object, ready to be written: `"title":` and how its bytes are read.
#[derive(Debug)]
pub struct Layout {
    members: Vec<(Vec<u8>, Yields)>,
    /// Members that are null are left out.
    stripped: bool,
}

impl Layout {
    pub fn of(node: &NodePlan) -> Layout {
        let member = |(key, yields): (&str, Yields)| {
            let mut text = Vec::with_capacity(key.len() + 3);
            encode::encode_text(&mut text, key);
            text.push(b':');
            (text, yields)
        };
        Layout { members: node.columns().map(member).collect(), stripped: false }
    }

    /// The same without members that are null, at any depth.
    pub fn without_nulls(self) -> Layout {
        Layout { stripped: true, ..self }
    }

    /// All rows as CSV: a line of names, a line for each row, none of them ended by a line break but the first.
    ///
    /// # Errors
    /// As [`Layout::array`].
    pub fn csv(node: &NodePlan, rows: &[Row]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for (at, (key, _)) in node.columns().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            encode::csv_field(&mut out, key.as_bytes());
        }
        out.push(b'\n');
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                out.push(b'\n');
            }
            for (at, (_, yields)) in node.columns().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                match (yields, row.raw(at)) {
                    (Yields::Kind(kind), raw) => {
                        encode::encode_csv(&mut out, kind, raw).map_err(Error::internal)?;
                    }
                    (Yields::Json, Some(raw)) => encode::csv_field(&mut out, raw),
                    (Yields::Json, None) => {}
                }
            }
        }
        Ok(out)
    }

    /// All rows as a JSON array.
    ///
    /// # Errors
    /// Internal, if Postgres sent bytes that are not of the promised kind.
    pub fn array(&self, rows: &[Row]) -> Result<Vec<u8>, Error> {
        // A guess that saves most of the growing: rows of one answer are of similar size.
        let mut out = Vec::with_capacity(64 + rows.len() * self.members.len() * 24);
        out.push(b'[');
        for (at, row) in rows.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.write(&mut out, row)?;
        }
        out.push(b']');
        Ok(out)
    }

    /// One row as a JSON object.
    ///
    /// # Errors
    /// As [`Layout::array`].
    pub fn object(&self, row: &Row) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(64 + self.members.len() * 24);
        self.write(&mut out, row)?;
        Ok(out)
    }

    fn write(&self, out: &mut Vec<u8>, row: &Row) -> Result<(), Error> {
        if self.stripped {
            return self.write_stripped(out, row);
        }
        out.push(b'{');
        for (at, (key, yields)) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            value(out, *yields, row.raw(at))?;
        }
        out.push(b'}');
        Ok(())
    }

    fn write_stripped(&self, out: &mut Vec<u8>, row: &Row) -> Result<(), Error> {
        let mut whole = Vec::new();
        out.push(b'{');
        let mut first = true;
        for (at, (key, yields)) in self.members.iter().enumerate() {
            whole.clear();
            value(&mut whole, *yields, row.raw(at))?;
            if whole == b"null" {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(key);
            // Only JSON holds members of its own, and a text that looks like some is quoted.
            encode::strip_nulls(out, &whole);
        }
        out.push(b'}');
        Ok(())
    }
}

fn value(out: &mut Vec<u8>, yields: Yields, raw: Option<&[u8]>) -> Result<(), Error> {
    match yields {
        Yields::Kind(kind) => encode::encode(out, kind, raw),
        Yields::Json => encode::encode_json(out, raw),
    }
    .map_err(Error::internal)
}
