//! Credentials at the door, and how users come by theirs.

mod admin;
mod audit;
mod enumeration;
mod factors;
mod foreign;
mod identities;
mod idp;
mod limits;
mod links;
mod mail;
mod mailbox;
mod oauth;
mod proof;
mod providers;
mod races;
mod revocation;
mod sessions;
mod signup;
pub mod site;
mod slow;
mod sweep;
mod tokens;
mod user;
mod world;
