//! The one integration binary: its tree mirrors the floors and the URLs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod db;
mod encoding;
mod layers;
mod schema;
mod support;
