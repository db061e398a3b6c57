//! Credentials at the door, and how users come by theirs.

mod links;
mod factors;
mod revocation;
mod sessions;
mod signup;
mod site;
mod tokens;
