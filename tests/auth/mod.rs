//! Credentials at the door, and how users come by theirs.

mod factors;
mod mail;
mod mailbox;
mod revocation;
mod sessions;
mod site;
mod tokens;
