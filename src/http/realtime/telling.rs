//! What the stream of changes and the hub have to say, told to a worker's sockets.
//!
//! One task takes as much as is there at once, puts it into the queues of the sockets concerned and then flushes each of
//! those once, so that what comes together leaves together.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::channel::{Behind, Channel, Rows};
use super::socket::Urgency;
use super::sockets::Sockets;
use crate::realtime::cursor::Cursor;
use crate::realtime::hub::{Cast, What};
use crate::realtime::line::{Delivery, Event};
use crate::realtime::system::SystemChange;

/// Deliveries that are told together.
const BATCH: usize = 256;
/// Sockets that are flushed before others have their turn.
const TURN: usize = 512;
/// How often time is looked at.
const TICK: Duration = Duration::from_secs(1);

impl Sockets {
    fn told(self: &Rc<Self>, delivery: Delivery) {
        match delivery {
            Delivery::Event { to, event } => {
                for key in to.iter() {
                    let channel = self.slots.borrow().get(*key).cloned();
                    if let Some(channel) = channel.filter(|channel| channel.is_live()) {
                        self.row(&channel, &event);
                    }
                }
            }
            Delivery::Joined { channel, cursor, refused } => {
                if let Some(channel) = self.channel(channel) {
                    self.accepted(&channel, cursor, &refused);
                }
            }
            Delivery::Rejudged { channel, cursor, refused, changed } => {
                if let Some(channel) = self.channel(channel) {
                    self.refuse(&channel, &refused);
                    if changed {
                        self.announce(&channel, "access_changed", None, channel.place_at(cursor));
                    }
                }
            }
            Delivery::Suspended { to, xid, cursor } => self.suspend(&to, xid, cursor),
            Delivery::Page { channel, events, next, live } => {
                if let Some(channel) = self.channel(channel) {
                    self.page(&channel, &events, next, live);
                }
            }
            Delivery::AccessChanged { to, cursor } => {
                for channel in to.iter().filter_map(|key| self.channel(*key)) {
                    self.announce(&channel, "access_changed", None, channel.place_at(cursor));
                }
            }
            Delivery::Resync { to, reason, cursor } => {
                for channel in to.iter().filter_map(|key| self.channel(*key)) {
                    self.resync(&channel, reason, cursor);
                }
            }
            Delivery::Position { cursor } => {
                let aware = self
                    .channels_of(|channel| channel.config.aware && channel.is_joined() && channel.is_live());
                for channel in aware {
                    channel.quiet.set(true);
                    self.announce(&channel, "position", None, cursor);
                }
            }
        }
    }

    /// A change for a channel that has had all before it. False if there was no room: then it is behind.
    fn row(self: &Rc<Self>, channel: &Rc<Channel>, event: &Event) -> bool {
        let topic = &channel.topic;
        if !topic.keeps() {
            self.kept.borrow_mut().push(Rc::clone(topic));
        }
        let frame = topic.row(channel.socket.version, event);
        if self.put(&channel.socket, &frame, Urgency::Row(event.cursor)) {
            channel.quiet.set(false);
            return true;
        }
        let from = event.cursor.before();
        self.fall_behind(channel, Behind { from, asked: false, slow: true, skip: None, until: None });
        false
    }

    fn page(self: &Rc<Self>, channel: &Rc<Channel>, events: &[Event], next: Cursor, live: bool) {
        let Rows::Behind(Behind { slow, skip, until, .. }) = channel.rows.replace(Rows::Live) else { return };
        for event in events {
            if !self.row(channel, event) {
                // What remains of the page is asked for again, as it was asked for.
                if let Rows::Behind(behind) = &mut *channel.rows.borrow_mut() {
                    (behind.skip, behind.until) = (skip, until);
                }
                return;
            }
        }
        if live {
            if channel.config.aware {
                // That it has caught up, also where it had missed nothing.
                self.announce(channel, "position", None, next);
            }
            let behind = channel
                .socket
                .channels
                .borrow()
                .iter()
                .any(|other| matches!(*other.rows.borrow(), Rows::Behind(_)));
            channel.socket.behind.set(behind);
        } else {
            // Asked for once this page is taken.
            self.fall_behind(channel, Behind { from: next, asked: false, slow, skip, until });
        }
    }

    fn resync(self: &Rc<Self>, channel: &Rc<Channel>, reason: &str, cursor: Cursor) {
        match channel.rows.replace(Rows::Live) {
            Rows::None => *channel.rows.borrow_mut() = Rows::None,
            Rows::Asked => *channel.rows.borrow_mut() = Rows::Asked,
            Rows::Behind(Behind { slow: true, from, .. }) => {
                *channel.rows.borrow_mut() =
                    Rows::Behind(Behind { from, asked: true, slow: true, skip: None, until: None });
                self.give_up(&channel.socket);
            }
            Rows::Live | Rows::Behind(_) => self.announce(channel, "resync_required", Some(reason), cursor),
        }
    }

    fn heard(self: &Rc<Self>, cast: &Cast) {
        let topic = self.topics.borrow().get(&cast.topic).cloned();
        let Some(topic) = topic else { return };
        let version = match cast.what {
            What::Presence { version, .. } => Some(version),
            What::Text(_) | What::Binary { .. } => None,
        };
        let mut full = Vec::new();
        for channel in topic.channels.borrow().iter().filter(|channel| channel.read.get()) {
            if let Some(version) = version {
                match channel.presence.get() {
                    Some(seen) if seen < version => channel.presence.set(Some(version)),
                    Some(_) | None => continue,
                }
            }
            if cast.except.is_some() && cast.except == Some(self.origin(channel)) {
                continue;
            }
            let Some(frame) = cast.frame(channel.socket.version) else { continue };
            if !self.put(&channel.socket, frame, Urgency::Once) {
                full.push(Rc::clone(&channel.socket));
            }
        }
        for socket in full {
            self.give_up(&socket);
        }
    }

    /// Flushes whatever was told something.
    async fn settle(self: &Rc<Self>) {
        for topic in self.kept.take() {
            topic.forget();
        }
        self.put.set(0);
        let dirty = self.dirty.take();
        for (at, socket) in dirty.iter().enumerate() {
            if socket.dirty.get() {
                self.flush(socket);
            }
            if at % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        // Its room is used again.
        let mut place = self.dirty.borrow_mut();
        if place.is_empty() && place.capacity() == 0 {
            let mut dirty = dirty;
            dirty.clear();
            *place = dirty;
        }
    }
}

/// Tells the sockets until the process ends, whatever befalls one of them.
pub(super) async fn tell(
    sockets: Rc<Sockets>,
    mut deliveries: mpsc::Receiver<Delivery>,
    mut casts: mpsc::UnboundedReceiver<Arc<Cast>>,
) {
    while AssertUnwindSafe(run(&sockets, &mut deliveries, &mut casts)).catch_unwind().await.is_err() {
        let panics = sockets.app.count_panic();
        tracing::error!(panics, "telling sockets panicked; the server goes on");
    }
}

async fn run(
    sockets: &Rc<Sockets>,
    deliveries: &mut mpsc::Receiver<Delivery>,
    casts: &mut mpsc::UnboundedReceiver<Arc<Cast>>,
) {
    let mut draining = sockets.hub.draining();
    let mut changes = sockets.app.caches().subscribe();
    let mut drained = false;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut heard) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
    loop {
        tokio::select! {
            count = deliveries.recv_many(&mut told, BATCH) => {
                if count == 0 {
                    return;
                }
                for delivery in told.drain(..) {
                    sockets.told(delivery);
                    if sockets.is_turn_over() {
                        sockets.settle().await;
                    }
                }
            }
            count = casts.recv_many(&mut heard, BATCH) => {
                if count == 0 {
                    return;
                }
                for cast in heard.drain(..) {
                    sockets.heard(&cast);
                    sockets.hub.told(&cast);
                    if sockets.is_turn_over() {
                        sockets.settle().await;
                    }
                }
            }
            change = changes.recv() => match change {
                Ok(SystemChange::SessionEnded { session, .. }) => sockets.end_session(session),
                Ok(SystemChange::RoleChanged { user, xid }) => sockets.follow_roles(Some(user), Some(xid)),
                Ok(SystemChange::Lost) | Err(RecvError::Lagged(_)) => sockets.follow_roles(None, None),
                // Looked at with the time.
                Ok(SystemChange::KeyRevoked { .. }) => {}
                Err(RecvError::Closed) => return,
            },
            _ = ticks.tick() => sockets.tick(),
            _ = draining.wait_for(|draining| *draining), if !drained => {
                drained = true;
                sockets.drain();
            }
        }
        sockets.settle().await;
        // Those who read have their turn.
        tokio::task::yield_now().await;
    }
}
