//! Credentials at the door, and how users come by theirs.

mod audit;
mod factors;
mod foreign;
mod identities;
mod idp;
mod limits;
mod links;
mod oauth;
mod providers;
mod revocation;
mod sessions;
mod signup;
mod site;
mod sweep;
mod tokens;
mod world;
