//! `/rest/v1`, from outside.

mod answers;
mod embeds;
mod put;
mod writes;
