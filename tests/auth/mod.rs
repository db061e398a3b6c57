//! Credentials at the door, and how users come by theirs.

mod admin;
mod factors;
mod links;
mod revocation;
mod sessions;
mod signup;
mod site;
mod tokens;
mod user;
