use super::cursor::System;
use super::publication::Published;
use super::wal::Node;
use crate::db::{DbError, Pool};
pub async fn published(_p: &Pool, _n: &Node) -> Result<Option<Published>, DbError> {
    Ok(None)
}
pub async fn seen(_p: &Pool, _n: &Node, _s: System, _x: &Published) -> Result<(), DbError> {
    Ok(())
}
pub async fn alive(_p: &Pool, _n: &Node) -> Result<(), DbError> {
    Ok(())
}
