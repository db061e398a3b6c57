use super::cursor::System;
use super::transaction::Transaction;
use crate::db::{DbError, Target};
use std::sync::Arc;
#[derive(Clone, Debug)]
pub struct Node(pub String);
impl Node {
    pub fn parse(t: &str) -> Result<Node, String> {
        Ok(Node(t.to_owned()))
    }
}
#[derive(Debug, thiserror::Error)]
pub enum WalFault {
    #[error(transparent)]
    Database(#[from] DbError),
}
pub struct Wal;
pub enum Event {
    Transaction(Arc<Transaction>),
    Position(u64),
}
pub struct Opened {
    pub wal: Wal,
    pub system: System,
    pub begins: u64,
    pub head: u64,
}
pub async fn open(_t: &Target, _n: &Node) -> Result<Opened, WalFault> {
    std::future::pending().await
}
impl Wal {
    pub async fn next(&mut self) -> Result<Event, WalFault> {
        std::future::pending().await
    }
    pub async fn confirm(&mut self, _l: u64) -> Result<(), WalFault> {
        Ok(())
    }
    pub async fn ask(&mut self) -> Result<(), WalFault> {
        Ok(())
    }
}
