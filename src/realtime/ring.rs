//! [`Ring`]: the replay window: the last transactions, bounded in bytes, time and WAL.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::transaction::Transaction;

/// What the window holds at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of rows in memory.
    pub(super) memory: usize,
    /// Bytes of rows of large transactions, in files.
    pub(super) disk: u64,
    /// Age.
    pub(super) age: Duration,
    /// WAL between the oldest transaction and now: the slot keeps all of it, whoever wrote it.
    pub(super) wal: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { memory: 32 << 20, disk: 4 << 30, age: Duration::from_secs(600), wal: 256 << 20 }
    }
}

/// What a transaction without rows costs.
const ENTRY: usize = 256;

struct Entry {
    since: Instant,
    /// Where the stream was before it: its commit begins there or later.
    after: u64,
    transaction: Arc<Transaction>,
}

pub(super) struct Ring {
    bounds: Bounds,
    entries: VecDeque<Entry>,
    memory: usize,
    disk: u64,
    /// Every change that ended after this is here: where the last one stood that was let go.
    floor: u64,
    /// The same for tables of which something was lost since, by schema and name.
    floors: HashMap<(String, String), u64>,
}

impl Ring {
    /// A window that begins at a position.
    pub(super) fn new(bounds: Bounds, floor: u64) -> Ring {
        Ring { bounds, entries: VecDeque::new(), memory: 0, disk: 0, floor, floors: HashMap::new() }
    }

    pub(super) fn set_wal_bound(&mut self, wal: u64) {
        self.bounds.wal = wal;
    }

    /// Where the window begins.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Where it begins for one table.
    pub(super) fn floor_of(&self, schema: &str, table: &str) -> u64 {
        let own = self.floors.get(&(schema.to_owned(), table.to_owned())).copied().unwrap_or(0);
        own.max(self.floor)
    }

    /// Of this table, something before a position may be missing.
    pub(super) fn lost(&mut self, schema: &str, table: &str, before: u64) {
        let floor = self.floors.entry((schema.to_owned(), table.to_owned())).or_default();
        *floor = before.max(*floor);
    }

    /// Takes a transaction in; the stream was `after` before it.
    pub(super) fn push(&mut self, after: u64, transaction: Arc<Transaction>) {
        self.memory += ENTRY + transaction.changes.bytes_in_memory();
        self.disk += transaction.changes.bytes_on_disk();
        self.entries.push_back(Entry { since: Instant::now(), after, transaction });
    }

    /// Lets go what is out of bounds.
    pub(super) fn trim(&mut self, position: u64) {
        while let Some(Entry { since, after, transaction: oldest }) = self.entries.front() {
            let out = self.memory > self.bounds.memory
                || self.disk > self.bounds.disk
                || since.elapsed() > self.bounds.age
                || position.saturating_sub(*after) > self.bounds.wal;
            if !out {
                break;
            }
            self.floor = self.floor.max(oldest.lsn);
            self.memory = self.memory.saturating_sub(ENTRY + oldest.changes.bytes_in_memory());
            self.disk = self.disk.saturating_sub(oldest.changes.bytes_on_disk());
            self.entries.pop_front();
        }
        let floor = self.floor;
        self.floors.retain(|_, own| *own > floor);
    }

    /// Up to where nothing is needed of the WAL to make the window again.
    pub(super) fn begins(&self, position: u64) -> u64 {
        self.entries.front().map_or(position, |oldest| oldest.after).max(self.floor)
    }

    /// The transactions that end at or after a position.
    pub(super) fn since(&self, lsn: u64) -> impl Iterator<Item = &Arc<Transaction>> {
        let first = self.entries.partition_point(|entry| entry.transaction.lsn < lsn);
        self.entries.range(first..).map(|entry| &entry.transaction)
    }

    /// The transactions that end at or before a position, the last first.
    pub(super) fn before(&self, lsn: u64) -> impl Iterator<Item = &Arc<Transaction>> {
        let end = self.entries.partition_point(|entry| entry.transaction.lsn <= lsn);
        self.entries.range(..end).rev().map(|entry| &entry.transaction)
    }

    pub(super) fn bytes(&self) -> usize {
        self.memory
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
