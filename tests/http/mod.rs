//! The server as the network sees it.

mod health;
mod log;
mod shutdown;
