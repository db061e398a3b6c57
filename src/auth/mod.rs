//! Credentials: signing keys, API keys and tokens, and who they stand for.
//!
//! `keys` holds what signs, `keyfile` where that is kept, `token` mints and verifies, `cache` spares a
//! worker the second verification, `resolve` turns credentials into a `Principal`. Nothing here knows HTTP.

pub mod cache;
pub mod keyfile;
pub mod keys;
pub mod resolve;
pub mod revocation;
pub mod roles;
pub mod token;
