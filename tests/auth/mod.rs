//! Credentials at the door, and how users come by theirs.

mod factors;
mod identities;
mod idp;
mod oauth;
mod revocation;
mod sessions;
mod site;
mod tokens;
mod world;
