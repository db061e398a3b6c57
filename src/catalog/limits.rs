//! [`Limits`]: what bounds a request.

use std::time::Duration;

/// What bounds a request; a project may narrow or widen these under `limits:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of one read (and of one embed).
    pub rows: u64,
    /// Bytes of a request's body.
    pub body: usize,
    /// Levels of embeds in one read.
    pub embed_depth: usize,
    /// How long Postgres may work on one statement.
    pub statement_timeout: Duration,
    /// Terms of all filters of a request together.
    pub filter_terms: usize,
    /// Values of one `in` list.
    pub in_values: usize,
    /// Records of one bulk insert.
    pub bulk_rows: usize,
    /// Nesting of a JSON body.
    pub json_depth: usize,
    /// Keys of a JSON body, all its records and nested objects together.
    pub json_keys: usize,
    /// Bytes of an object; a bucket may ask for less.
    pub upload: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: 1_000,
            body: 10 << 20,
            embed_depth: 5,
            statement_timeout: Duration::from_secs(8),
            filter_terms: 500,
            in_values: 1_000,
            bulk_rows: 10_000,
            json_depth: 64,
            json_keys: 1_000_000,
            upload: 50 << 20,
        }
    }
}
