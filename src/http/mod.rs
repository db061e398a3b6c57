//! The HTTP server: one list of routes, one frame around every request, one extractor for credentials,
//! one place where an error becomes a response, and one folder a public dialect.
//!
//! This floor translates between the wire and the use cases and does nothing else.

pub mod auth;
pub mod body;
mod conditional;
pub mod cors;
mod editor;
mod frame;
mod health;
pub mod mailbox;
mod metrics;
pub mod pages;
pub mod peer;
pub mod principal;
mod realtime;
pub mod reply;
pub mod request_id;
pub mod rest;
mod routes;
mod sdk;
pub mod server;
pub mod storage;
