//! Realtime: the WAL runs towards subscribers, who get every change that they may see, in order, once.
//!
//! `wal` is the transport, `pgoutput` decodes it, `feed` turns it into changes, keeps the replay window and asks
//! `audience` who may see each; `line` is what the feed and the workers' sockets say to each other. `protocol` is how
//! messages stand on a socket, `hub` what channels say to each other and who is on them (`presence`), `limits` what a
//! socket may take. The sockets themselves are `http`'s.

pub mod access;
mod audience;
pub mod change;
pub mod cursor;
mod deliver;
mod event;
pub mod feed;
pub mod filter;
pub mod hub;
mod like;
pub mod limits;
pub mod line;
pub mod nodes;
mod pgoutput;
pub mod presence;
pub mod protocol;
pub mod publication;
mod related;
mod ring;
mod rows;
mod sets;
mod slab;
pub mod snapshot;
pub mod stream;
pub mod system;
pub mod transaction;
pub mod visibility;
pub mod wal;
mod watch;
