//! The command line as scripts use it.

mod commands;
mod following;
mod seed;
mod policy_test;
