//! The PostgREST dialect, a sentence a fact, over HTTP against the real server.
//!
//! What the dialect has and this server deliberately has not is a fact too: its sentence says what is answered instead.

mod embeds;
mod errors;
mod filters;
mod media;
mod methods;
mod prefer;
mod queries;
mod select;
mod windows;
mod world;
mod writes;
