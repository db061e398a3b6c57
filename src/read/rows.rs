//! Rows as they came from Postgres → JSON, straight into the response's buffer.

use super::encode;
use crate::db::Row;
use crate::error::Error;
use crate::query::plan::{NodePlan, Yields};

/// The members of each answered object, ready to be written: `"title":` and how its bytes are read.
#[derive(Debug)]
pub struct Layout {
    members: Vec<(Vec<u8>, Yields)>,
}

impl Layout {
    pub fn of(node: &NodePlan) -> Layout {
        let member = |(key, yields): (&str, Yields)| {
            let mut text = Vec::with_capacity(key.len() + 3);
            encode::encode_text(&mut text, key);
            text.push(b':');
            (text, yields)
        };
        Layout { members: node.columns().map(member).collect() }
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
        out.push(b'{');
        for (at, (key, yields)) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            let raw = row.raw(at);
            match yields {
                Yields::Kind(kind) => encode::encode(out, *kind, raw),
                Yields::Json => encode::encode_json(out, raw),
            }
            .map_err(Error::internal)?;
        }
        out.push(b'}');
        Ok(())
    }
}
