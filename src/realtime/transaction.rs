//! [`Transaction`]: what one commit changed, in memory or, where that is much, in a file without a name.
//!
//! Changes are kept as they came, one after the other: a length, which relation, and the message. In memory and in
//! the file they are the same bytes, and each pass over them decodes them again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::change::{Change, Relation};
use super::pgoutput;

/// Bytes of changes that one transaction may have in memory.
const IN_MEMORY: usize = 16 << 20;

/// Bytes of changes that one transaction may have in a file.
const ON_DISK: u64 = 4 << 30;

/// Bytes that are read from a file at once.
const BLOCK: usize = 256 << 10;

/// What stands before each change: its length, and its relation's place among those of the transaction.
const HEAD: usize = 8;

/// A commit and what it changed.
#[derive(Debug)]
pub struct Transaction {
    pub xid: u32,
    /// Where the commit ends in the WAL.
    pub lsn: u64,
    /// When it was committed: microseconds since 2000-01-01 UTC.
    pub committed: i64,
    pub changes: Changes,
}

/// The changes of a transaction in their order, to be gone through as often as needed.
#[derive(Debug)]
pub struct Changes {
    relations: Vec<Arc<Relation>>,
    len: usize,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Memory(Bytes),
    File {
        file: File,
        bytes: u64,
    },
    /// Too many, or there was no room for them: why.
    Lost(String),
}

impl Changes {
    /// How many there are, also of those that are lost.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The changes could not be kept; what they touched is known.
    pub fn is_lost(&self) -> bool {
        matches!(self.held, Held::Lost(_))
    }

    pub fn bytes_in_memory(&self) -> usize {
        match &self.held {
            Held::Memory(bytes) => bytes.len(),
            Held::File { .. } | Held::Lost(_) => 0,
        }
    }

    pub fn bytes_on_disk(&self) -> u64 {
        match &self.held {
            Held::File { bytes, .. } => *bytes,
            Held::Memory(_) | Held::Lost(_) => 0,
        }
    }

    /// What was touched. A table that was altered on the way is here once in each form that had changes.
    pub fn relations(&self) -> &[Arc<Relation>] {
        &self.relations
    }

    /// From the first to the last. `nth` and `skip` pass over changes without decoding them.
    ///
    /// # Errors
    /// The file cannot be read, a change cannot be decoded, or the changes are lost. Nothing follows an error.
    pub fn iter(&self) -> Iter<'_> {
        let buffer = match &self.held {
            Held::Memory(bytes) => bytes.clone(),
            Held::File { .. } | Held::Lost(_) => Bytes::new(),
        };
        Iter { changes: self, buffer, read: 0, ended: false }
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = io::Result<Change>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// One pass over [`Changes`].
#[derive(Debug)]
pub struct Iter<'a> {
    changes: &'a Changes,
    /// What is at hand.
    buffer: Bytes,
    /// Bytes taken from the file so far.
    read: u64,
    ended: bool,
}

impl Iter<'_> {
    /// The next change as it is kept.
    fn frame(&mut self) -> io::Result<Option<(usize, Bytes)>> {
        if !self.at_hand(HEAD)? {
            return Ok(None);
        }
        let mut head = self.buffer.split_to(HEAD);
        let (length, relation) = (head.get_u32() as usize, head.get_u32() as usize);
        if !self.at_hand(length)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((relation, self.buffer.split_to(length))))
    }

    /// Makes sure of that many bytes; `false` at the end.
    fn at_hand(&mut self, wanted: usize) -> io::Result<bool> {
        if self.buffer.len() >= wanted {
            return Ok(true);
        }
        match &self.changes.held {
            Held::Memory(_) if self.buffer.is_empty() => Ok(false),
            Held::Memory(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Held::Lost(why) => Err(io::Error::other(why.clone())),
            Held::File { file, bytes } => {
                let left = bytes - self.read;
                if left == 0 && self.buffer.is_empty() {
                    return Ok(false);
                }
                let missing = wanted - self.buffer.len();
                let more = usize::try_from(left).unwrap_or(usize::MAX).min(missing.max(BLOCK));
                if more < missing {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let rest = self.buffer.len();
                let mut block = vec![0; rest + more];
                block[..rest].copy_from_slice(&self.buffer);
                file.read_exact_at(&mut block[rest..], self.read)?;
                self.read += more as u64;
                self.buffer = block.into();
                Ok(true)
            }
        }
    }

    fn decoded(&self, relation: usize, message: Bytes) -> io::Result<Change> {
        let relation = self.changes.relations.get(relation).ok_or(io::ErrorKind::InvalidData)?;
        pgoutput::change(relation, message).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }
}

impl Iterator for Iter<'_> {
    type Item = io::Result<Change>;

    fn next(&mut self) -> Option<io::Result<Change>> {
        self.nth(0)
    }

    fn nth(&mut self, n: usize) -> Option<io::Result<Change>> {
        for passed in 0..=n {
            if self.ended {
                return None;
            }
            let change = match self.frame() {
                Ok(Some(_)) if passed < n => continue,
                Ok(Some((relation, message))) => self.decoded(relation, message),
                Ok(None) => {
                    self.ended = true;
                    return None;
                }
                Err(e) => Err(e),
            };
            self.ended = change.is_err();
            return Some(change);
        }
        None
    }
}

/// How much of a transaction is kept, and where.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) in_memory: usize,
    pub(super) on_disk: u64,
    /// Where files are made.
    pub(super) folder: PathBuf,
}

impl Default for Room {
    fn default() -> Room {
        Room { in_memory: IN_MEMORY, on_disk: ON_DISK, folder: std::env::temp_dir() }
    }
}

/// The changes of a transaction that is still coming.
#[derive(Debug)]
pub(super) struct Collector {
    room: Room,
    relations: Vec<Arc<Relation>>,
    len: usize,
    buffer: Vec<u8>,
    /// What is written already, and how much.
    file: Option<(File, u64)>,
    lost: Option<String>,
}

impl Collector {
    pub(super) fn new(room: Room) -> Collector {
        // Room for what most transactions change.
        let buffer = Vec::with_capacity(1 << 10);
        Collector { room, relations: Vec::new(), len: 0, buffer, file: None, lost: None }
    }

    /// Adds the message of a change.
    pub(super) fn push(&mut self, relation: &Arc<Relation>, message: &[u8]) {
        self.len += 1;
        // The last ones first: changes of one table come together.
        let known =
            self.relations.iter().rposition(|known| Arc::ptr_eq(known, relation) || known == relation);
        let place = known.unwrap_or_else(|| {
            self.relations.push(Arc::clone(relation));
            self.relations.len() - 1
        });
        if self.lost.is_some() {
            return;
        }
        let (Ok(length), Ok(place)) = (u32::try_from(message.len()), u32::try_from(place)) else {
            return self.lose("a change is larger than a file's frame".to_owned());
        };
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(&place.to_be_bytes());
        self.buffer.extend_from_slice(message);
        let block = if self.file.is_some() { BLOCK } else { self.room.in_memory };
        if self.buffer.len() > block {
            self.write();
        }
    }

    /// Moves what is in memory to the file.
    fn write(&mut self) {
        let (file, written) = match self.file.take() {
            Some(known) => known,
            None => match nameless(&self.room) {
                Ok(file) => (file, 0),
                Err(e) => return self.lose(format!("a file for a large transaction cannot be made: {e}")),
            },
        };
        let after = written + self.buffer.len() as u64;
        if after > self.room.on_disk {
            return self
                .lose(format!("the transaction has more than {} bytes of changes", self.room.on_disk));
        }
        if let Err(e) = file.write_all_at(&self.buffer, written) {
            return self.lose(format!("a large transaction cannot be written to a file: {e}"));
        }
        self.buffer.clear();
        self.file = Some((file, after));
    }

    fn lose(&mut self, why: String) {
        tracing::error!(reason = why, "the changes of a transaction are lost");
        self.lost = Some(why);
        self.buffer = Vec::new();
        self.file = None;
    }

    /// All have come.
    pub(super) fn finish(mut self) -> Changes {
        if self.file.is_some() && !self.buffer.is_empty() {
            self.write();
        }
        let held = match (self.lost, self.file) {
            (Some(why), _) => Held::Lost(why),
            (None, Some((file, bytes))) => Held::File { file, bytes },
            // No more than is needed: it may stay for long, and an allocator that shrinks leaves up to half unused.
            (None, None) => Held::Memory(Bytes::copy_from_slice(&self.buffer)),
        };
        Changes { relations: self.relations, len: self.len, held }
    }
}

/// A file that is gone with the process, however it ends.
fn nameless(room: &Room) -> io::Result<File> {
    let path = room.folder.join(format!("basewright-{}", uuid::Uuid::new_v4()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
impl Changes {
    /// As if they had come from the WAL.
    pub(super) fn in_memory(changes: Vec<Change>) -> Changes {
        let mut collector = Collector::new(Room::default());
        for change in changes {
            collector.push(&change.relation, &pgoutput::message_of(&change));
        }
        collector.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::{Column, Row, What};
    use super::*;

    fn relation(oid: u32) -> Arc<Relation> {
        let column = Column { name: "a".to_owned(), kind: 25, key: true };
        let (schema, table) = ("public".to_owned(), format!("t{oid}"));
        Arc::new(Relation { oid, schema, table, columns: vec![column] })
    }

    fn insert(value: &[u8]) -> Vec<u8> {
        let mut message = b"I\0\0\0\x01N\0\x01b".to_vec();
        message.extend((value.len() as u32).to_be_bytes());
        message.extend(value);
        message
    }

    fn room(in_memory: usize, on_disk: u64) -> Room {
        Room { in_memory, on_disk, ..Room::default() }
    }

    fn collected(room: Room, count: usize) -> Changes {
        let relations = [relation(1), relation(2)];
        let mut collector = Collector::new(room);
        for n in 0..count {
            collector.push(&relations[n % 2], &insert(format!("value {n}").as_bytes()));
        }
        collector.finish()
    }

    fn check_all(changes: &Changes, count: usize) {
        assert_eq!((changes.len(), changes.relations().len()), (count, 2));
        for _pass in 0..2 {
            let mut seen = 0;
            for (n, change) in changes.iter().enumerate() {
                let change = change.unwrap();
                assert_eq!(change.relation.oid, n as u32 % 2 + 1);
                let value = Bytes::from(format!("value {n}"));
                assert_eq!(change.what, What::Insert { new: Row(Box::new([Some(value)])) });
                seen += 1;
            }
            assert_eq!(seen, count);
        }
        let tail: Vec<Change> = changes.iter().skip(count - 2).map(Result::unwrap).collect();
        assert_eq!(tail, changes.iter().map(Result::unwrap).collect::<Vec<_>>()[count - 2..]);
    }

    #[test]
    fn a_small_transaction_is_in_memory_and_can_be_gone_through_again() {
        let changes = collected(Room::default(), 100);
        assert!(changes.bytes_in_memory() > 100 && changes.bytes_on_disk() == 0 && !changes.is_lost());
        check_all(&changes, 100);
    }

    #[test]
    fn a_large_transaction_is_in_a_file_without_a_name_and_reads_the_same() {
        // Enough for several blocks of the file.
        let count = 30_000;
        let changes = collected(room(1_000, ON_DISK), count);
        assert!(changes.bytes_in_memory() == 0 && changes.bytes_on_disk() > 2 * BLOCK as u64);
        check_all(&changes, count);
        let Held::File { file, .. } = &changes.held else { panic!("not in a file") };
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&file.metadata().unwrap()), 0);
    }

    #[test]
    fn a_change_larger_than_a_block_is_read_back_whole() {
        let relation = relation(1);
        let mut collector = Collector::new(room(10, ON_DISK));
        let large = vec![b'x'; 3 * BLOCK];
        collector.push(&relation, &insert(b"first"));
        collector.push(&relation, &insert(&large));
        collector.push(&relation, &insert(b"last"));
        let changes = collector.finish();
        let sizes: Vec<usize> = changes
            .iter()
            .map(|change| match change.unwrap().what {
                What::Insert { new } => new.0[0].as_ref().unwrap().len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes, [5, large.len(), 4]);
    }

    #[test]
    fn what_does_not_fit_is_lost_and_known_by_its_relations() {
        let changes = collected(room(1_000, 2_000), 500);
        assert!(changes.is_lost() && changes.bytes_in_memory() == 0 && changes.bytes_on_disk() == 0);
        assert_eq!((changes.len(), changes.relations().len()), (500, 2));
        let read: Vec<io::Result<Change>> = changes.iter().collect();
        assert!(matches!(read.as_slice(), [Err(_)]), "one error, and nothing after it");
    }

    #[test]
    fn a_folder_that_takes_no_file_loses_the_changes_and_nothing_else() {
        let nowhere = Room { folder: "/nonexistent".into(), ..room(10, ON_DISK) };
        assert!(collected(nowhere, 10).is_lost());
    }
}
