//! What a socket may take: each number bounds somebody's memory or time, and stands here once.

use std::time::Duration;

/// Channels of one socket: each is memory here and an entry of the audience.
pub const CHANNELS: usize = 100;
/// Joins of one socket in a second: each may ask the database for a principal's roles.
pub const JOINS: u32 = 100;
/// Bindings of one channel: every change is matched against each.
pub const BINDINGS: usize = 100;
/// Longest message from a client, its fragments together.
pub const MESSAGE: usize = 1 << 20;
/// Bytes of messages that have not come whole yet, of all sockets of a worker together.
pub const INCOMPLETE: usize = 64 << 20;
/// What a socket may hold of them in any case.
pub const INCOMPLETE_EACH: usize = 64 << 10;
/// Longest broadcast: it is sent to everybody on the topic.
pub const BROADCAST: usize = 256 << 10;
/// Longest topic, in bytes: binary messages count it in one byte.
pub const TOPIC: usize = 255;
/// Longest reference that a client gives a message, as JSON: it is echoed and kept.
pub const REFERENCE: usize = 64;
/// Frames that may wait for a socket to take them, and their bytes together.
pub const QUEUE_FRAMES: usize = 256;
pub const QUEUE_BYTES: usize = 1 << 20;
/// What row changes may take of a queue. They can be caught up later; replies, broadcasts and presence cannot, and
/// find room in the rest.
pub const ROW_FRAMES: usize = QUEUE_FRAMES * 3 / 4;
pub const ROW_BYTES: usize = QUEUE_BYTES * 3 / 4;
/// How long a socket may take nothing of what waits for it.
pub const STALL: Duration = Duration::from_secs(10);
/// How long a socket may send no whole frame. Clients send a heartbeat every 25 s, and may lose one.
pub const IDLE: Duration = Duration::from_secs(60);
/// How long a closed socket has to take its last frame and to close its side.
pub const LINGER: Duration = Duration::from_secs(5);
/// The same for one that was too slow: what is begun must be taken before the reason can be read.
pub const LINGER_SLOW: Duration = Duration::from_secs(30);
/// How long the stream of changes may take to accept a subscription. Clients give up after as long.
pub const JOIN: Duration = Duration::from_secs(10);
/// Snapshots of this process that are read at once, each with a connection of those that requests share; of one socket,
/// one at a time.
pub const SNAPSHOTS: usize = 3;
/// How long one may take, with all its bindings.
pub const SNAPSHOT: Duration = Duration::from_secs(10);
/// Messages that wait for the channel they are for to be joined.
pub const BACKLOG: usize = 32;
/// Longest presence payload: everybody on the topic keeps it.
pub const PRESENCE: usize = 8 << 10;
/// Presence messages of one socket in [`PRESENCE_WINDOW`]: each is told to everybody on the topic.
pub const PRESENCE_CALLS: u32 = 100;
pub const PRESENCE_WINDOW: Duration = Duration::from_secs(10);
/// Bytes of broadcasts that may wait for the workers of this process before those who send are made to wait.
pub const HUB_BYTES: usize = 32 << 20;
/// Sockets of this process, where the limit of open files allows as many.
pub const SOCKETS: u64 = 20_000;
/// Files that are not for sockets: requests, connections to Postgres, the log.
pub const RESERVED_FILES: u64 = 1_024;
/// Sockets of one address; an address of this machine is a proxy's or a test's, and may have all.
pub const SOCKETS_OF_ADDRESS: u32 = 1_000;
/// How long sockets have to take their farewell when the server stops.
pub const FAREWELL: Duration = Duration::from_secs(2);
