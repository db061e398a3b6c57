//! The one integration binary: its tree mirrors the floors and the URLs.
// A binary has no outside, so `pub` here can only mean "for the other modules".
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod agreement;
mod auth;
mod campaign;
mod cli;
mod clients;
mod costs;
mod db;
mod dialect;
mod encoding;
mod examples;
mod fuzz;
mod hostile;
mod http;
mod layers;
mod matrix;
mod pages;
mod realtime;
mod rest;
mod schema;
mod storage;
mod support;
mod typescript;
