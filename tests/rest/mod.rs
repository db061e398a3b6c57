//! `/rest/v1`, from outside.

mod embeds;
mod security;
mod writes;
