//! `/rest/v1`, from outside.

mod embeds;
mod forms;
mod openapi;
mod security;
mod writes;
