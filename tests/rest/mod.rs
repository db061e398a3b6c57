//! `/rest/v1`, from outside.

mod openapi;
mod security;
mod writes;
