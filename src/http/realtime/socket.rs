//! [`Socket`]: a connection that has left HTTP, and what waits to be written to it.
//!
//! Frames are shared bytes. They are written at once where the kernel takes them, many in one call where several wait;
//! what it does not take waits in a bounded queue, which a task of its own then empties.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use actix_web::rt::net::TcpStream;
use bytes::Bytes;
use rustix::net::Shutdown;
use tokio::sync::Semaphore;

use super::channel::Channel;
use crate::auth::token::Verified;
use crate::realtime::cursor::Cursor;
use crate::realtime::hub::Seat;
use crate::realtime::limits;
use crate::realtime::protocol::{self, Version};

/// Frames that leave in one call at most.
const JOINED: usize = 64;
/// A queue that has grown further gives its memory back when it is empty.
const KEPT: usize = 4;

/// What a frame is to its socket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Urgency {
    /// A row change, which can be caught up later; its place in the stream.
    Row(Cursor),
    /// Anything else: lost if there is no room.
    Once,
}

/// Where a socket's life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// Its last frame is on its way; nothing more is taken from it or for it.
    Closing,
    /// The connection is gone.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    Empty,
    Blocked,
    Dead,
}

struct Entry {
    frame: Bytes,
    cursor: Option<Cursor>,
}

#[derive(Default)]
struct Out {
    queue: VecDeque<Entry>,
    /// Of all frames in the queue.
    bytes: usize,
    /// How much of the first frame is written.
    begun: usize,
}

/// Counts what happens in a span of time.
#[derive(Clone, Copy, Default)]
pub(super) struct Rate {
    since: u32,
    count: u32,
}

impl Rate {
    /// Counts once more at `now`. False if that is more than `most` within `span` seconds.
    pub(super) fn take(place: &Cell<Rate>, now: u32, span: u32, most: u32) -> bool {
        let mut rate = place.get();
        if now.saturating_sub(rate.since) >= span {
            rate = Rate { since: now, count: 0 };
        }
        rate.count += 1;
        place.set(rate);
        rate.count <= most
    }
}

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) version: Version,
    /// The API key it came with; none only where callers without one are allowed.
    pub(super) key: Option<Arc<Verified>>,
    pub(super) channels: RefCell<Vec<Rc<Channel>>>,
    pub(super) joins: Cell<Rate>,
    pub(super) presence_calls: Cell<Rate>,
    /// When the last frame came, in seconds of the worker's clock.
    pub(super) heard: Cell<u32>,
    /// When it last took something, or had nothing to take.
    pub(super) took: Cell<u32>,
    /// Stands in the list of sockets that are to be flushed.
    pub(super) dirty: Cell<bool>,
    /// A task waits for it to take more.
    pub(super) blocked: Cell<bool>,
    /// A channel of it is behind.
    pub(super) behind: Cell<bool>,
    /// Its place in the worker's table.
    pub(super) place: Cell<usize>,
    /// Whoever reads.
    pub(super) reader: RefCell<Option<Waker>>,
    state: Cell<State>,
    out: RefCell<Out>,
    /// The last row change that it has taken whole.
    written: Cell<Option<Cursor>>,
    pub(super) seat: Seat,
    /// For one snapshot at a time.
    pub(super) snapshots: Semaphore,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        version: Version,
        key: Option<Arc<Verified>>,
        seat: Seat,
        now: u32,
    ) -> Socket {
        Socket {
            stream,
            version,
            key,
            channels: RefCell::default(),
            joins: Cell::default(),
            presence_calls: Cell::default(),
            heard: Cell::new(now),
            took: Cell::new(now),
            dirty: Cell::new(false),
            blocked: Cell::new(false),
            behind: Cell::new(false),
            place: Cell::new(usize::MAX),
            reader: RefCell::default(),
            state: Cell::new(State::Open),
            out: RefCell::default(),
            written: Cell::new(None),
            seat,
            snapshots: Semaphore::new(1),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// Nothing waits to be written.
    pub(super) fn is_drained(&self) -> bool {
        self.out.borrow().queue.is_empty()
    }

    /// The last row change that was written whole.
    pub(super) fn written(&self) -> Option<Cursor> {
        self.written.get()
    }

    /// Puts a frame behind those that wait. False if there is no room for it.
    pub(super) fn queue(&self, frame: Bytes, urgency: Urgency) -> bool {
        if !self.is_open() {
            return true;
        }
        let mut out = self.out.borrow_mut();
        let (frames, bytes, cursor) = match urgency {
            Urgency::Row(cursor) => (limits::ROW_FRAMES, limits::ROW_BYTES, Some(cursor)),
            Urgency::Once => (limits::QUEUE_FRAMES, limits::QUEUE_BYTES, None),
        };
        // A frame of any length is taken where nothing waits: no other limit of ours is to depend on this one.
        if !out.queue.is_empty() && (out.queue.len() >= frames || out.bytes + frame.len() > bytes) {
            return false;
        }
        out.bytes += frame.len();
        out.queue.push_back(Entry { frame, cursor });
        true
    }

    /// Writes what the kernel takes of what waits.
    pub(super) fn flush(&self, now: u32) -> Flushed {
        if self.state() == State::Dead {
            return Flushed::Dead;
        }
        let mut out = self.out.borrow_mut();
        while !out.queue.is_empty() {
            let written = if out.queue.len() == 1 {
                let begun = out.begun;
                self.stream.try_write(&out.queue[0].frame[begun..])
            } else {
                let mut slices = [IoSlice::new(&[]); JOINED];
                let mut begun = out.begun;
                let count = out.queue.len().min(JOINED);
                for (slice, entry) in slices.iter_mut().zip(&out.queue) {
                    *slice = IoSlice::new(&entry.frame[begun..]);
                    begun = 0;
                }
                self.stream.try_write_vectored(&slices[..count])
            };
            match written {
                Ok(0) => return self.die(),
                Ok(count) => {
                    self.took.set(now);
                    self.advance(&mut out, count);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    drop(out);
                    return self.die();
                }
            }
        }
        self.took.set(now);
        if out.queue.capacity() > KEPT {
            out.queue = VecDeque::new();
        }
        drop(out);
        if self.state() == State::Closing {
            // What it still sends is read and forgotten until it closes its side too.
            let _ = rustix::net::shutdown(&self.stream, Shutdown::Write);
        }
        Flushed::Empty
    }

    fn advance(&self, out: &mut Out, mut count: usize) {
        while let Some(first) = out.queue.front() {
            let rest = first.frame.len() - out.begun;
            if count < rest {
                out.begun += count;
                return;
            }
            count -= rest;
            out.begun = 0;
            out.bytes -= first.frame.len();
            if let Some(cursor) = first.cursor {
                self.written.set(Some(cursor));
            }
            out.queue.pop_front();
        }
    }

    fn die(&self) -> Flushed {
        self.state.set(State::Dead);
        self.wake_reader();
        Flushed::Dead
    }

    fn wake_reader(&self) {
        if let Some(waker) = self.reader.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Says farewell: what waits is dropped, but for a frame that is begun. False if it was closed before.
    pub(super) fn close(&self, code: u16, reason: &str) -> bool {
        if !self.is_open() {
            return false;
        }
        self.state.set(State::Closing);
        {
            let mut out = self.out.borrow_mut();
            let keep = usize::from(out.begun > 0);
            out.queue.truncate(keep);
            out.queue.shrink_to_fit();
            let frame = protocol::close(code, reason);
            out.bytes = out.queue.iter().map(|entry| entry.frame.len()).sum::<usize>() + frame.len();
            out.queue.push_back(Entry { frame, cursor: None });
        }
        self.wake_reader();
        true
    }

    /// The connection is given up.
    pub(super) fn kill(&self) {
        self.die();
        *self.out.borrow_mut() = Out::default();
    }
}
