//! Credentials at the door, and how users come by theirs.

mod audit;
mod factors;
mod limits;
mod revocation;
mod sessions;
mod site;
mod sweep;
mod tokens;
