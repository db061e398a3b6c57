//! The command line as scripts use it.

mod commands;
mod explain;
mod following;
mod objects;
mod policy_test;
mod seed;
mod tail;
mod user;
