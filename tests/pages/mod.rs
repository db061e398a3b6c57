//! Pages of `docs/` that are made from what the program knows of itself.

mod errors;
mod project;
mod sections;
