//! The one integration binary: its tree mirrors the floors and the URLs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod auth;
mod cli;
mod db;
mod http;
mod schema;
mod support;
