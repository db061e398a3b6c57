//! `/rest/v1`, from outside.

mod alike;
mod answers;
mod bounds;
mod embeds;
mod explain;
mod forms;
mod objects;
mod openapi;
mod put;
mod search;
mod security;
mod together;
mod writes;
