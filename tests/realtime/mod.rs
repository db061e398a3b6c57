//! Realtime against a real Postgres: what stands between the WAL and the sockets, and Phoenix channels as a client has
//! them, over real sockets.

mod access;
mod broadcast;
mod cursor;
mod filters;
mod frames;
mod handshake;
mod limits;
mod objects;
mod presence;
mod rows;
mod site;
mod snapshot;
mod stream;
mod wal;
mod world;
