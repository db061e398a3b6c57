//! The server as the network sees it.

mod editor;
mod health;
mod log;
mod reasons;
mod shutdown;
