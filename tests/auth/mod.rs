//! Credentials at the door, and how users come by theirs.

mod admin;
mod factors;
mod identities;
mod idp;
mod oauth;
mod audit;
mod limits;
mod links;
mod mail;
mod mailbox;
mod revocation;
mod sessions;
mod signup;
mod site;
mod sweep;
mod tokens;
mod user;
mod world;
