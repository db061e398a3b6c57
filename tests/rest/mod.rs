//! `/rest/v1`, from outside.

mod security;
mod writes;
