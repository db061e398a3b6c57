//! Credentials: signing keys, API keys and tokens, and who they stand for; and how users come by theirs.
//!
//! `keys` holds what signs, `keyfile` where that is kept, `token` mints and verifies, `cache` spares a worker the second
//! verification, `standing` a node the second question, `resolve` turns credentials into a `Principal`.
//!
//! A user signs in at the `desk`: each subject (`session`, `password`, …) adds its use cases to `desk::Visit`. Nothing
//! here knows HTTP.

pub mod admin;
pub mod audit;
pub mod cache;
pub mod desk;
pub mod email;
pub mod factor;
pub mod fingerprint;
pub mod flow;
pub mod foreign;
pub mod identity;
pub mod invite;
pub mod keyfile;
pub mod keys;
pub mod limit;
pub mod mail;
pub mod mailed;
pub mod noted;
pub mod oauth;
pub mod one_time;
pub mod outbound;
pub mod pass;
pub mod password;
pub mod provider;
pub mod redirect;
pub mod refresh;
pub mod resolve;
pub mod revocation;
pub mod rights;
mod rotation;
pub mod session;
pub mod settings;
mod sign_in;
pub mod sign_up;
pub mod standing;
pub mod sweep;
pub mod token;
pub mod update;
pub mod user;
pub mod verify;
