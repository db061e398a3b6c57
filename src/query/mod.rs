//! The PostgREST dialect: parameters → [`request`] (syntax only) → a plan → SQL.
//!
//! Pure: strings in, statements out. What unmodified clients of that dialect rely on decides every
//! question of syntax.

pub mod body;
pub mod openapi;
pub mod parse;
pub mod plan;
pub mod preferences;
pub mod request;
pub mod typescript;
mod view;
