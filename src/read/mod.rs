//! Permit and read plan → rows, encoded.

pub mod encode;
