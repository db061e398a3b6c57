use super::change::{Change, Relation};
use std::io;
use std::sync::Arc;
pub struct Transaction {
    pub xid: u32,
    pub lsn: u64,
    pub committed: i64,
    pub changes: Changes,
}
pub struct Changes(Vec<Change>, Vec<Arc<Relation>>);
impl Changes {
    pub fn in_memory(list: Vec<Change>) -> Changes {
        let mut r: Vec<Arc<Relation>> = Vec::new();
        for c in &list {
            if !r.iter().any(|k| k.oid == c.relation.oid) {
                r.push(c.relation.clone())
            }
        }
        Changes(list, r)
    }
    pub fn bytes_in_memory(&self) -> usize {
        100
    }
    pub fn bytes_on_disk(&self) -> u64 {
        0
    }
    pub fn relations(&self) -> &[Arc<Relation>] {
        &self.1
    }
    pub fn is_lost(&self) -> bool {
        false
    }
    pub fn iter(&self) -> impl Iterator<Item = io::Result<Change>> + '_ {
        self.0.iter().cloned().map(Ok)
    }
}
