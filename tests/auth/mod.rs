//! Credentials at the door, and how users come by theirs.

mod revocation;
mod factors;
mod sessions;
mod site;
mod tokens;
