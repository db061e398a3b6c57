//! [`Channel`]: a topic as one socket has joined it; [`Topic`]: those of a worker that have joined the same.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::join::Config;
use super::socket::Socket;
use crate::auth::token::Verified;
use crate::realtime::cursor::Cursor;
use crate::realtime::hub::TopicName;
use crate::realtime::line::{ChannelKey, Event};
use crate::realtime::protocol::{self, Version, quoted};
use crate::realtime::visibility::Held;

/// A topic that channels of this worker have joined.
pub(super) struct Topic {
    pub(super) name: TopicName,
    /// The name as JSON.
    pub(super) json: Box<str>,
    /// Those that are told what is said.
    pub(super) channels: RefCell<Vec<Rc<Channel>>>,
    /// All that have it, also those that are not joined yet.
    pub(super) users: Cell<u32>,
    /// The last row change as frames: the same for all its channels.
    last: RefCell<Option<Last>>,
}

struct Last {
    id: u32,
    /// Held, so that its address is that of no other.
    data: Bytes,
    frames: [Option<Bytes>; 2],
}

impl Topic {
    pub(super) fn new(name: TopicName) -> Topic {
        let json = quoted(&name.name).into_boxed_str();
        Topic { name, json, channels: RefCell::default(), users: Cell::new(0), last: RefCell::default() }
    }

    /// The topic as applications name it.
    pub(super) fn short(&self) -> &str {
        self.name.name.strip_prefix(super::PREFIX).unwrap_or(&self.name.name)
    }

    /// The frame of a row change. It stays until [`Topic::forget`].
    pub(super) fn row(&self, version: Version, event: &Event) -> Bytes {
        let mut last = self.last.borrow_mut();
        let same = last
            .as_ref()
            .is_some_and(|last| last.id == event.id && last.data.as_ptr() == event.data.as_ptr());
        if !same {
            *last = Some(Last { id: event.id, data: event.data.clone(), frames: [None, None] });
        }
        let build = || {
            let head = format!(r#"{{"ids":[{}],"data":"#, event.id);
            let payload: [&[u8]; 3] = [head.as_bytes(), &event.data, b"}"];
            protocol::text(version, None, None, &self.json, "postgres_changes", &payload)
        };
        let Some(last) = last.as_mut() else { return build() };
        let place = match version {
            Version::One => &mut last.frames[0],
            Version::Two => &mut last.frames[1],
        };
        place.get_or_insert_with(build).clone()
    }

    /// Whether a frame is kept that nobody else will need.
    pub(super) fn keeps(&self) -> bool {
        self.last.borrow().is_some()
    }

    pub(super) fn forget(&self) {
        *self.last.borrow_mut() = None;
    }
}

/// A message that came before its channel was joined.
pub(super) enum Waiting {
    Text(String),
    Binary(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is being found out who asks and what he may do.
    Judged,
    /// The stream of changes is to accept it.
    Subscribed,
    Joined,
    Closed,
}

/// How a channel stands to the stream of changes.
pub(super) enum Rows {
    /// It wants none.
    None,
    /// It is to be accepted.
    Asked,
    Live,
    Behind(Behind),
}

/// What a channel has not had.
pub(super) struct Behind {
    pub(super) from: Cursor,
    /// A page is on its way.
    pub(super) asked: bool,
    /// Its socket was too slow, not the channel new.
    pub(super) slow: bool,
    pub(super) skip: Option<Held>,
    pub(super) until: Option<u64>,
}

pub(super) struct Channel {
    pub(super) key: ChannelKey,
    pub(super) socket: Rc<Socket>,
    pub(super) topic: Rc<Topic>,
    /// JSON.
    pub(super) join_ref: Box<str>,
    pub(super) config: Config,
    pub(super) phase: Cell<Phase>,
    /// When the phase began, in seconds of the worker's clock.
    pub(super) since: Cell<u32>,
    /// It may hear broadcasts, and who is there.
    pub(super) read: Cell<bool>,
    /// It may broadcast, and be there.
    pub(super) write: Cell<bool>,
    /// Whose token it is, where it has one of its own.
    pub(super) verified: RefCell<Option<Arc<Verified>>>,
    /// Up to which change of presence it knows; `None` if it wants none.
    pub(super) presence: Cell<Option<u64>>,
    pub(super) tracked: Cell<bool>,
    pub(super) rows: RefCell<Rows>,
    /// The stream tells it nothing until it is judged anew.
    pub(super) suspended: Cell<bool>,
    /// No row change since the last position.
    pub(super) quiet: Cell<bool>,
    /// What came before it was joined.
    pub(super) backlog: RefCell<Vec<Waiting>>,
    /// The place among the topic's channels.
    pub(super) place: Cell<usize>,
}

impl Channel {
    pub(super) fn is_joined(&self) -> bool {
        self.phase.get() == Phase::Joined
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(*self.rows.borrow(), Rows::Live)
    }

    /// The place to name to whoever is told of something that happened at this one: who is behind has not had what
    /// came before it, and would pass that over if he resumed from there.
    pub(super) fn place_at(&self, cursor: Cursor) -> Cursor {
        match &*self.rows.borrow() {
            Rows::Behind(behind) => behind.from.min(cursor),
            Rows::None | Rows::Asked | Rows::Live => cursor,
        }
    }

    /// A message for this channel alone.
    pub(super) fn message(&self, reference: Option<&str>, event: &str, payload: &str) -> Bytes {
        let payload = [payload.as_bytes()];
        protocol::text(
            self.socket.version,
            Some(&self.join_ref),
            reference,
            &self.topic.json,
            event,
            &payload,
        )
    }
}
