//! Credentials at the door.

mod tokens;
