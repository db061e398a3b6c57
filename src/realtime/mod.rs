//! Realtime: the WAL runs towards subscribers, who get every change that they may see, in order, once.
//!
//! `wal` is the transport, `pgoutput` decodes it, `feed` turns it into changes, keeps the replay window and asks
//! `audience` who may see each; `line` is what the feed and the workers' sockets say to each other. What stands
//! on a socket (frames, channels, presence) is the business of the protocol above.

pub mod change;
pub mod cursor;
pub mod feed;
pub mod line;
pub mod nodes;
mod pgoutput;
pub mod publication;
pub mod transaction;
pub mod visibility;
pub mod wal;
