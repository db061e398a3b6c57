//! Basewright turns a folder of YAML into a backend.
//!
//! The modules below are floors: a module may import from the floors under it and never from
//! those above (`tests/layers.rs` fails on an arrow that goes up). `ARCHITECTURE.md` walks a
//! request through them.

// --- the roof: what a person or a client touches
pub mod cli;
pub mod http;

// --- what a running server holds
pub mod app;

// --- use cases
pub mod auth;
pub mod objects;
pub mod records;

// --- changes, reading rows, shaping tables, talking to Postgres
pub mod realtime;

pub mod read;
pub mod schema;

pub mod db;

// --- below this line: no I/O, no async, no clock
pub mod project;
pub mod query;

pub mod catalog;

pub mod policy;

pub mod condition;
pub mod sql;

pub mod error;
pub mod model;
