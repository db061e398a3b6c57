//! What the workers' sockets and the feed say to each other.
//!
//! A channel that wants row changes is subscribed with an [`Order`] and is told in [`Delivery`]s, in the order in
//! which they happened. It is either *live* (each [`Delivery::Event`] is for it) or *behind*: after a subscription that
//! is held or resumed, or once its socket's queue was full, its worker passes over events and asks for what it has not
//! had with [`Order::CatchUp`], a page at a time, as fast as the socket takes them. The page that says `live` is
//! followed by events without a gap. So what waits for a slow reader is in the feed's replay window, once for everybody.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::Cursor;
use super::visibility::Held;
use crate::error::{Code, Error};
use crate::model::{CollectionId, Collections, Principal, Schema};
use crate::query::plan::unknown;

/// A channel of one worker. The worker chooses both numbers; a slot is used again under another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelKey {
    pub slot: u32,
    pub generation: u32,
}

/// What happened to a row, as a subscriber sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Insert,
    Update,
    Delete,
}

impl Operation {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Insert => "INSERT",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }
}

/// One interest in row changes, as a client words it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// `None` is `*`.
    pub operation: Option<Operation>,
    pub schema: String,
    /// `None`, like `*`: every collection that the caller may read.
    pub table: Option<String>,
    /// `field=op.value`, several between commas: all must hold.
    pub filter: Option<String>,
    /// The fields that records of events have; key fields are always among them.
    pub select: Option<Vec<String>>,
}

impl Binding {
    /// The collection that it names; `None` for whatever its schema has.
    ///
    /// # Errors
    /// There is none of this name, or no such schema.
    pub(super) fn collection(&self, collections: &Collections) -> Result<Option<CollectionId>, Error> {
        let schemas: Vec<&str> = [Schema::Public, Schema::Storage]
            .into_iter()
            .filter(|schema| self.has(*schema))
            .map(Schema::as_str)
            .collect();
        let Some(first) = schemas.first() else {
            return Err(Error::with(Code::Schema, "Only the schemas public and storage have changes"));
        };
        let Some(table) = self.table.as_deref().filter(|table| *table != "*") else { return Ok(None) };
        let found = schemas.iter().find_map(|schema| collections.of_table(schema, table));
        found.map(Some).ok_or_else(|| unknown(first, table))
    }

    /// It is about collections of this schema.
    pub(super) fn has(&self, schema: Schema) -> bool {
        self.schema == "*" || self.schema == schema.as_str()
    }
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the next change.
    Live,
    /// Behind, at the place that [`Delivery::Joined`] names: nothing comes until [`Order::CatchUp`].
    Held,
}

/// Who listens, as was known at a moment.
#[derive(Clone, Debug)]
pub struct Caller {
    pub principal: Arc<Principal>,
    /// [`Feed::roles_known`](super::feed::Feed::roles_known) from before his roles were asked for.
    pub known: u64,
}

/// What a worker asks of the feed.
#[derive(Debug)]
pub enum Order {
    /// Answered by [`Delivery::Joined`] once the feed is current. Binding `n` (from 0) has id `n + 1` in events.
    Subscribe { channel: ChannelKey, caller: Caller, bindings: Vec<Binding>, start: Start },
    /// The caller is somebody else now, or has other roles. Answered by [`Delivery::Rejudged`].
    Rejudge { channel: ChannelKey, caller: Caller },
    /// Asks for a page of what came after `from`, leaving out the transactions that `skip` has; answered by
    /// [`Delivery::Page`], or by [`Delivery::Resync`] where that is not known any more. If `until` is given, no page says
    /// `live` before the feed has passed it.
    CatchUp { channel: ChannelKey, from: Cursor, skip: Option<Held>, until: Option<u64> },
    /// Nothing more is for this channel.
    Unsubscribe { channel: ChannelKey },
}

/// An event for one binding of one channel.
#[derive(Clone, Debug)]
pub struct Event {
    /// The binding's id.
    pub id: u32,
    pub cursor: Cursor,
    /// The JSON of `data`, with the cursor in it.
    pub data: Bytes,
}

/// What the feed tells a worker.
#[derive(Debug)]
pub enum Delivery {
    /// The subscription stands: every commit after `cursor` will be told. Bindings that cannot be served are refused.
    Joined { channel: ChannelKey, cursor: Cursor, refused: Vec<(usize, Error)> },
    /// Bindings that the new rights do not serve are refused; if what the others see may differ, `changed`.
    Rejudged { channel: ChannelKey, cursor: Cursor, refused: Vec<(usize, Error)>, changed: bool },
    /// The roles of these channels' caller are others as of transaction `xid` (anybody's may be, without one): the
    /// channels are told nothing from `cursor` on until [`Order::Rejudge`], and are behind from there.
    Suspended { to: Arc<[ChannelKey]>, xid: Option<u32>, cursor: Cursor },
    /// An event for all of these channels that are live.
    Event { to: Arc<[ChannelKey]>, event: Event },
    /// What a channel that is behind asked for. `next` is where it is now; if `live`, it has all, and events follow.
    Page { channel: ChannelKey, events: Vec<Event>, next: Cursor, live: bool },
    /// Something that these channels see through may have changed: a membership, a related row, a policy.
    AccessChanged { to: Arc<[ChannelKey]>, cursor: Cursor },
    /// These channels may have missed something and are live from `cursor` on.
    Resync { to: Arc<[ChannelKey]>, reason: &'static str, cursor: Cursor },
    /// Everything up to here has been told to whoever is live.
    Position { cursor: Cursor },
}
