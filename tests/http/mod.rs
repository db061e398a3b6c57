//! The server as the network sees it.

mod caches;
mod editor;
mod health;
mod log;
mod pages;
mod reasons;
mod shutdown;
