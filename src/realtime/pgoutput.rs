//! The messages of the `pgoutput` plugin, protocol version 1 with binary columns: PostgreSQL's manual, "Logical
//! Replication Message Formats". Bytes that are no such message are an error, never a panic.

use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::change::{Change, Column, Relation, Row, What};

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Begin {
        /// Where the commit begins in the WAL.
        commit: u64,
        /// Microseconds since 2000-01-01 UTC.
        committed: i64,
        xid: u32,
    },
    Commit {
        /// Where the commit ends in the WAL.
        end: u64,
        /// Microseconds since 2000-01-01 UTC.
        committed: i64,
    },
    /// What the rows that follow are of.
    Relation(Relation),
    /// An inserted, updated or deleted row of a relation; [`change`] reads the message.
    Row {
        relation: u32,
    },
    Truncate {
        relations: Vec<u32>,
    },
    /// What somebody put into the WAL with `pg_logical_emit_message`.
    Emitted {
        transactional: bool,
        /// Where it begins in the WAL.
        lsn: u64,
        prefix: String,
        content: Bytes,
    },
    /// A type or an origin: nothing of ours hangs on it.
    Other,
}

/// Bytes that are no message of the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The message's first byte.
    pub message: u8,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (message, why) = (char::from(self.message).escape_default(), self.why);
        write!(f, "the message `{message}` of the WAL cannot be read: {why}")
    }
}

impl std::error::Error for Malformed {}

/// What is kept of a truncated table.
pub(super) const TRUNCATED: &[u8] = b"T";

const SHORT: &str = "it ends too early";

impl Message {
    /// Reads a message. Of a row, only which relation it is of.
    pub(super) fn parse(message: &Bytes) -> Result<Message, Malformed> {
        let mut reader = Reader { rest: message.clone() };
        let tag = reader.u8().unwrap_or_default();
        reader.message(tag).map_err(|why| Malformed { message: tag, why })
    }
}

/// Reads the message of a row, or of a truncated table, of a relation.
pub(super) fn change(relation: &Arc<Relation>, message: Bytes) -> Result<Change, Malformed> {
    let mut reader = Reader { rest: message };
    let tag = reader.u8().unwrap_or_default();
    let what = reader.what(tag, relation.columns.len()).map_err(|why| Malformed { message: tag, why })?;
    Ok(Change { relation: Arc::clone(relation), what })
}

/// A value of a row.
enum Cell {
    Null,
    /// Stored elsewhere, and not changed: not sent again.
    Unchanged,
    Value(Bytes),
}

struct Reader {
    rest: Bytes,
}

type Read<T> = Result<T, &'static str>;

impl Reader {
    fn message(&mut self, tag: u8) -> Read<Message> {
        let message = match tag {
            b'B' => Message::Begin { commit: self.u64()?, committed: self.i64()?, xid: self.u32()? },
            b'C' => {
                let (_flags, _begins) = (self.u8()?, self.u64()?);
                Message::Commit { end: self.u64()?, committed: self.i64()? }
            }
            b'R' => Message::Relation(self.relation()?),
            // What stands in it is checked when it is read.
            b'I' | b'U' | b'D' => return Ok(Message::Row { relation: self.u32()? }),
            b'T' => {
                let count = self.u32()?;
                let _cascade_and_identities = self.u8()?;
                let relations = (0..count).map(|_| self.u32()).collect::<Read<_>>()?;
                Message::Truncate { relations }
            }
            b'M' => {
                let transactional = self.u8()? & 1 == 1;
                let (lsn, prefix) = (self.u64()?, self.text()?);
                let length = self.u32()? as usize;
                Message::Emitted { transactional, lsn, prefix, content: self.bytes(length)? }
            }
            b'Y' | b'O' => return Ok(Message::Other),
            _ => return Err("it is none of this version"),
        };
        self.end()?;
        Ok(message)
    }

    fn relation(&mut self) -> Read<Relation> {
        let oid = self.u32()?;
        let schema = self.text()?;
        // The plugin's way of saving room.
        let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
        let table = self.text()?;
        let _identity = self.u8()?;
        let count = self.u16()?;
        let columns = (0..count).map(|_| self.column()).collect::<Read<_>>()?;
        Ok(Relation { oid, schema, table, columns })
    }

    fn column(&mut self) -> Read<Column> {
        let key = self.u8()? & 1 == 1;
        let name = self.text()?;
        let kind = self.u32()?;
        let _modifier = self.u32()?;
        Ok(Column { name, kind, key })
    }

    fn what(&mut self, tag: u8, columns: usize) -> Read<What> {
        if tag == TRUNCATED[0] {
            return Ok(What::Truncate);
        }
        let _relation = self.u32()?;
        let what = match tag {
            b'I' => {
                self.expect(b'N')?;
                What::Insert { new: row(self.cells(columns)?).ok_or("a new row lacks a value")? }
            }
            b'U' => {
                let old = match self.u8()? {
                    b'N' => None,
                    before => {
                        let old = self.old(before, columns)?;
                        self.expect(b'N')?;
                        old
                    }
                };
                let new = self.cells(columns)?;
                match old {
                    Some(old) => What::Update { new: row(filled(new, &old)).ok_or(SHORT)?, old: Some(old) },
                    // Without the old row, what is unchanged is not known either: the change is torn.
                    None => What::Update { new: Row(new.into_iter().map(Cell::value).collect()), old: None },
                }
            }
            b'D' => {
                let before = self.u8()?;
                What::Delete { old: self.old(before, columns)? }
            }
            _ => return Err("it holds no row"),
        };
        self.end()?;
        Ok(what)
    }

    /// The row before a change, if all of it is there.
    fn old(&mut self, before: u8, columns: usize) -> Read<Option<Row>> {
        let cells = self.cells(columns)?;
        match before {
            b'O' => Ok(row(cells)),
            // Its key alone: everything else stands there as null.
            b'K' => Ok(None),
            _ => Err("it holds neither an old nor a new row"),
        }
    }

    fn cells(&mut self, columns: usize) -> Read<Vec<Cell>> {
        if usize::from(self.u16()?) != columns {
            return Err("the row has another number of columns than its table");
        }
        (0..columns).map(|_| self.cell()).collect()
    }

    fn cell(&mut self) -> Read<Cell> {
        match self.u8()? {
            b'n' => Ok(Cell::Null),
            b'u' => Ok(Cell::Unchanged),
            b'b' | b't' => {
                let length = self.u32()? as usize;
                Ok(Cell::Value(self.bytes(length)?))
            }
            _ => Err("a column is in no known format"),
        }
    }

    fn expect(&mut self, tag: u8) -> Read<()> {
        if self.u8()? == tag { Ok(()) } else { Err("a row is not where it should be") }
    }

    fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err("something follows it") }
    }

    fn u8(&mut self) -> Read<u8> {
        self.rest.try_get_u8().map_err(|_| SHORT)
    }

    fn u16(&mut self) -> Read<u16> {
        self.rest.try_get_u16().map_err(|_| SHORT)
    }

    fn u32(&mut self) -> Read<u32> {
        self.rest.try_get_u32().map_err(|_| SHORT)
    }

    fn u64(&mut self) -> Read<u64> {
        self.rest.try_get_u64().map_err(|_| SHORT)
    }

    fn i64(&mut self) -> Read<i64> {
        self.rest.try_get_i64().map_err(|_| SHORT)
    }

    fn bytes(&mut self, length: usize) -> Read<Bytes> {
        if self.rest.len() < length { Err(SHORT) } else { Ok(self.rest.split_to(length)) }
    }

    /// Up to the next zero byte.
    fn text(&mut self) -> Read<String> {
        let length = self.rest.iter().position(|byte| *byte == 0).ok_or("a name does not end")?;
        let text = self.rest.split_to(length);
        self.rest.advance(1);
        String::from_utf8(text.into()).map_err(|_| "a name is not UTF-8")
    }
}

impl Cell {
    fn value(self) -> Option<Bytes> {
        match self {
            Cell::Null | Cell::Unchanged => None,
            Cell::Value(value) => Some(value),
        }
    }
}

/// A row, if all its values are known.
fn row(cells: Vec<Cell>) -> Option<Row> {
    let whole = !cells.iter().any(|cell| matches!(cell, Cell::Unchanged));
    whole.then(|| Row(cells.into_iter().map(Cell::value).collect()))
}

/// A new row with what is unchanged taken from the old one.
fn filled(new: Vec<Cell>, old: &Row) -> Vec<Cell> {
    let mut old = old.0.iter();
    new.into_iter()
        .map(|cell| match (cell, old.next()) {
            (Cell::Unchanged, Some(Some(value))) => Cell::Value(value.clone()),
            (Cell::Unchanged, Some(None)) => Cell::Null,
            (cell, _) => cell,
        })
        .collect()
}

/// The message that [`change`] reads as this.
#[cfg(test)]
pub(super) fn message_of(change: &Change) -> Vec<u8> {
    let key = Row(change.relation.columns.iter().map(|_| None).collect());
    let (tag, rows): (u8, Vec<(u8, &Row)>) = match &change.what {
        What::Insert { new } => (b'I', vec![(b'N', new)]),
        What::Update { old: None, new } => (b'U', vec![(b'N', new)]),
        What::Update { old: Some(old), new } => (b'U', vec![(b'O', old), (b'N', new)]),
        What::Delete { old: None } => (b'D', vec![(b'K', &key)]),
        What::Delete { old: Some(old) } => (b'D', vec![(b'O', old)]),
        What::Truncate => return TRUNCATED.to_vec(),
    };
    let mut message = vec![tag];
    message.extend(change.relation.oid.to_be_bytes());
    for (kind, row) in rows {
        message.push(kind);
        message.extend((row.0.len() as u16).to_be_bytes());
        for value in &row.0 {
            match value {
                None => message.push(b'n'),
                Some(value) => {
                    message.push(b'b');
                    message.extend((value.len() as u32).to_be_bytes());
                    message.extend_from_slice(value);
                }
            }
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn relation(columns: usize) -> Arc<Relation> {
        let columns = (0..columns).map(|n| Column { name: format!("c{n}"), kind: 25, key: true }).collect();
        Arc::new(Relation { oid: 7, schema: "public".to_owned(), table: "t".to_owned(), columns })
    }

    /// A row: `Some` is a value, `None` is null, `u` unchanged.
    fn tuple(cells: &[&str]) -> Vec<u8> {
        let mut bytes = (cells.len() as u16).to_be_bytes().to_vec();
        for cell in cells {
            match *cell {
                "null" => bytes.push(b'n'),
                "unchanged" => bytes.push(b'u'),
                value => {
                    bytes.push(b'b');
                    bytes.extend((value.len() as u32).to_be_bytes());
                    bytes.extend(value.as_bytes());
                }
            }
        }
        bytes
    }

    fn message(tag: u8, rows: &[(u8, &[&str])]) -> Bytes {
        let mut bytes = vec![tag, 0, 0, 0, 7];
        for (kind, cells) in rows {
            bytes.push(*kind);
            bytes.extend(tuple(cells));
        }
        bytes.into()
    }

    fn read(tag: u8, rows: &[(u8, &[&str])]) -> Result<What, &'static str> {
        change(&relation(2), message(tag, rows)).map(|change| change.what).map_err(|e| e.why)
    }

    fn row_of(cells: [Option<&'static str>; 2]) -> Row {
        Row(cells.into_iter().map(|cell| cell.map(Bytes::from)).collect())
    }

    #[test]
    fn rows_are_read_with_their_nulls() {
        let (a, b) = (row_of([Some("1"), None]), row_of([Some("2"), Some("")]));
        assert_eq!(read(b'I', &[(b'N', &["1", "null"])]), Ok(What::Insert { new: a.clone() }));
        assert_eq!(
            read(b'U', &[(b'O', &["1", "null"]), (b'N', &["2", ""])]),
            Ok(What::Update { old: Some(a.clone()), new: b })
        );
        assert_eq!(read(b'D', &[(b'O', &["1", "null"])]), Ok(What::Delete { old: Some(a) }));
        assert_eq!(change(&relation(2), Bytes::from_static(TRUNCATED)).unwrap().what, What::Truncate);
    }

    #[test]
    fn what_is_unchanged_is_taken_from_the_old_row() {
        let (old, new) = (row_of([Some("1"), Some("long")]), row_of([Some("2"), Some("long")]));
        assert_eq!(
            read(b'U', &[(b'O', &["1", "long"]), (b'N', &["2", "unchanged"])]),
            Ok(What::Update { old: Some(old), new })
        );
        let (old, new) = (row_of([Some("1"), None]), row_of([Some("2"), None]));
        assert_eq!(
            read(b'U', &[(b'O', &["1", "null"]), (b'N', &["2", "unchanged"])]),
            Ok(What::Update { old: Some(old), new })
        );
    }

    #[test]
    fn a_change_whose_old_row_is_not_whole_has_none() {
        let new = || row_of([Some("2"), None]);
        for old in [None, Some((b'K', ["1", "null"])), Some((b'O', ["1", "unchanged"]))] {
            let after: (u8, &[&str]) = (b'N', &["2", "unchanged"]);
            let what = match &old {
                None => read(b'U', &[after]),
                Some((kind, cells)) => read(b'U', &[(*kind, cells), after]),
            };
            assert_eq!(what, Ok(What::Update { old: None, new: new() }), "{old:?}");
        }
        assert_eq!(read(b'D', &[(b'K', &["1", "null"])]), Ok(What::Delete { old: None }));
        assert!(read(b'I', &[(b'N', &["1", "unchanged"])]).is_err(), "an inserted row has all its values");
    }

    #[test]
    fn rows_that_do_not_fit_their_table_are_refused() {
        for rows in [
            &[(b'N', &["1"] as &[&str])] as &[(u8, &[&str])],
            &[(b'N', &["1", "2", "3"])],
            &[(b'X', &["1", "2"])],
            &[(b'N', &["1", "2"]), (b'N', &["1", "2"])],
            &[],
        ] {
            assert!(read(b'I', rows).is_err(), "{rows:?}");
        }
    }

    #[test]
    fn the_frame_of_a_transaction_is_read() {
        let mut begin = b"B".to_vec();
        begin.extend(100u64.to_be_bytes());
        begin.extend((-5i64).to_be_bytes());
        begin.extend(9u32.to_be_bytes());
        let parsed = Message::parse(&begin.clone().into());
        assert_eq!(parsed, Ok(Message::Begin { commit: 100, committed: -5, xid: 9 }));
        begin.push(0);
        assert!(Message::parse(&begin.into()).is_err(), "something follows");

        let mut truncate = b"T\0\0\0\x02\0".to_vec();
        truncate.extend([0, 0, 0, 7, 0, 0, 0, 8]);
        let parsed = Message::parse(&truncate.into());
        assert_eq!(parsed, Ok(Message::Truncate { relations: vec![7, 8] }));
        // A count that no message could hold costs nothing.
        assert!(Message::parse(&Bytes::from_static(b"T\xff\xff\xff\xff\0")).is_err());
    }

    /// Messages of every kind, whole.
    fn messages() -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = vec![
            message(b'I', &[(b'N', &["1", "null"])]).into(),
            message(b'U', &[(b'O', &["1", "a"]), (b'N', &["2", "unchanged"])]).into(),
            message(b'U', &[(b'K', &["1", "null"]), (b'N', &["2", "b"])]).into(),
            message(b'D', &[(b'O', &["1", "b"])]).into(),
            b"R\0\0\0\x07public\0t\0f\0\x01\x01c0\0\0\0\0\x19\xff\xff\xff\xff".to_vec(),
            b"T\0\0\0\x01\0\0\0\0\x07".to_vec(),
            b"M\x01\0\0\0\0\0\0\0\x01p\0\0\0\0\x02hi".to_vec(),
        ];
        all.push([b"B" as &[u8], &[1; 20]].concat());
        all.push([b"C" as &[u8], &[1; 25]].concat());
        all
    }

    #[test]
    fn every_message_that_is_cut_short_is_refused() {
        for whole in messages() {
            let read = |bytes: &[u8]| {
                let bytes = Bytes::copy_from_slice(bytes);
                match Message::parse(&bytes) {
                    Ok(Message::Row { .. }) => change(&relation(2), bytes).is_ok(),
                    other => other.is_ok(),
                }
            };
            assert!(read(&whole), "{whole:?}");
            for length in 0..whole.len() {
                assert!(!read(&whole[..length]), "{:?}", &whole[..length]);
            }
        }
    }

    #[test]
    fn what_is_written_for_tests_is_read_as_it_was() {
        let (a, b) = (row_of([Some("1"), None]), row_of([Some("2"), Some("")]));
        for what in [
            What::Insert { new: a.clone() },
            What::Update { old: Some(a.clone()), new: b.clone() },
            What::Update { old: None, new: b },
            What::Delete { old: Some(a) },
            What::Delete { old: None },
            What::Truncate,
        ] {
            let written = Change { relation: relation(2), what };
            let message = message_of(&written).into();
            assert_eq!(change(&written.relation, message), Ok(written));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(tag in prop::sample::select(b"BCRIUDTMYO?".to_vec()), rest: Vec<u8>) {
            let bytes: Bytes = [vec![tag], rest].concat().into();
            let _ = Message::parse(&bytes);
            let _ = change(&relation(2), bytes);
        }

        #[test]
        fn no_damage_to_a_message_makes_the_decoder_panic(
            whole in prop::sample::select(messages()),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = whole;
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let bytes: Bytes = bytes.into();
            let _ = Message::parse(&bytes);
            let _ = change(&relation(2), bytes);
        }
    }
}
