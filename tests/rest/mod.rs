//! `/rest/v1`, from outside.

mod embeds;
mod openapi;
mod security;
mod writes;
