//! `limit`, `offset` and the `Range` header: which of the rows a page holds.

use super::Fault;
use super::fault::RangeFault;
use crate::query::request::Node;

/// Postgres' own LIMIT and OFFSET are `bigint`.
const MOST: u64 = i64::MAX as u64;

/// Rows `offset` to `offset + limit - 1`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub offset: u64,
    /// `None`: to the last.
    pub limit: Option<u64>,
}

/// Reads `limit` or `offset`.
pub(super) fn number(what: &'static str, text: &str) -> Result<u64, Fault> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if let Some(at) = digits.find(|letter: char| !letter.is_ascii_digit()).or(digits.is_empty().then_some(0))
    {
        let column = text[..text.len() - digits.len() + at].chars().count() + 1;
        let found = digits[at..].chars().next();
        return Err(Fault::Syntax { what, text: text.to_owned(), column, found, expected: "digits" });
    }
    let number = digits.parse().unwrap_or(MOST).min(MOST);
    match (negative && number > 0, what) {
        (false, _) => Ok(number),
        (true, "limit") => Err(Fault::Range(RangeFault::NegativeLimit)),
        (true, _) => Err(Fault::Range(RangeFault::NegativeOffset)),
    }
}

/// Reads a `Range` header: `0-9` or `10-`. Anything else, byte ranges among it, asks nothing of rows: `None`.
///
/// # Errors
/// [`Fault::Range`] if it ends before it begins.
pub fn range(header: &str) -> Result<Option<Window>, Fault> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((first, last)) = header.trim().split_once('-') else { return Ok(None) };
    if first.is_empty() || !digits(first) || !digits(last) {
        return Ok(None);
    }
    let number = |text: &str| text.parse().unwrap_or(MOST).min(MOST);
    let first: u64 = number(first);
    if last.is_empty() {
        return Ok(Some(Window { offset: first, limit: None }));
    }
    let last: u64 = number(last);
    if last < first {
        return Err(Fault::Range(RangeFault::Reversed));
    }
    Ok(Some(Window { offset: first, limit: Some((last - first + 1).min(MOST)) }))
}

impl Window {
    /// Narrows a node's `limit` and `offset` to what lies in this window too.
    ///
    /// # Errors
    /// [`Fault::Range`] if no row can lie in both; a limit of 0 asks for no row and is content.
    pub fn narrow(self, node: &mut Node) -> Result<(), Fault> {
        let offset = node.offset.unwrap_or(0);
        let end = |offset: u64, limit: Option<u64>| limit.map(|limit| offset.saturating_add(limit));
        let start = offset.max(self.offset);
        let stop = match (end(offset, node.limit), end(self.offset, self.limit)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if node.limit == Some(0) {
            return Ok(());
        }
        if stop.is_some_and(|stop| stop <= start) {
            return Err(Fault::Range(RangeFault::Disjoint));
        }
        node.offset = (node.offset.is_some() || start > 0).then_some(start);
        node.limit = stop.map(|stop| stop - start);
        Ok(())
    }
}
