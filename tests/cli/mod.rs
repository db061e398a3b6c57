//! The command line as scripts use it.

mod commands;
mod following;
mod policy_test;
mod seed;
