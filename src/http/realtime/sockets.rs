//! [`Sockets`]: the sockets of one worker, and what is told to them.
//!
//! One task takes what the stream of changes and the hub have to say, as much as is there at once, puts it into the
//! queues of the sockets concerned and then flushes each of those once.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::rt::spawn;
use actix_web::rt::time::timeout;
use actix_web::web;
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::channel::{Behind, Channel, Phase, Rows, Topic};
use super::conversation::Conversation;
use super::socket::{Flushed, Socket, State, Urgency};
use crate::app::{App, Worker, now};
use crate::auth::token::Verified;
use crate::realtime::cursor::Cursor;
use crate::realtime::feed::Line;
use crate::realtime::hub::{Cast, Hub, Origin, Seat, TopicName, What};
use crate::realtime::limits;
use crate::realtime::line::{ChannelKey, Delivery, Event, Order};
use crate::realtime::protocol::Version;

/// Deliveries that are told together.
const BATCH: usize = 256;
/// Sockets that are flushed before others have their turn.
const TURN: usize = 512;
/// Bytes that are read at once.
const SCRATCH: usize = 32 << 10;
/// How often time is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Close codes (RFC 6455, 7.4, and its registry).
pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const RESTART: u16 = 1012;
pub(super) const TRY_LATER: u16 = 1013;

/// The sockets of a worker.
pub(in crate::http) struct Sockets {
    pub(super) app: web::Data<App>,
    pub(super) worker: Rc<Worker>,
    pub(super) hub: Hub,
    pub(super) line: Line,
    /// Its number at the hub.
    number: usize,
    started: Instant,
    /// Seconds since it started, at the last look.
    clock: Cell<u32>,
    table: RefCell<Vec<Rc<Socket>>>,
    slots: RefCell<Slots>,
    topics: RefCell<HashMap<TopicName, Rc<Topic>>>,
    dirty: RefCell<Vec<Rc<Socket>>>,
    /// Topics that keep a frame of this batch.
    kept: RefCell<Vec<Rc<Topic>>>,
    scratch: RefCell<Box<[u8]>>,
}

/// Channels by their keys.
#[derive(Default)]
struct Slots {
    slots: Vec<(u32, Option<Rc<Channel>>)>,
    free: Vec<u32>,
}

impl Slots {
    fn get(&self, key: ChannelKey) -> Option<&Rc<Channel>> {
        let (generation, channel) = self.slots.get(key.slot as usize)?;
        channel.as_ref().filter(|_| *generation == key.generation)
    }
}

impl Sockets {
    /// Begins to tell the sockets of this thread, of which there are none yet.
    pub(in crate::http) fn new(app: web::Data<App>, worker: Rc<Worker>) -> Rc<Sockets> {
        let (line, deliveries) = app.feed().attach();
        let hub = app.hub().clone();
        let (number, casts) = hub.attach();
        let sockets = Rc::new(Sockets {
            app,
            worker,
            hub,
            line,
            number,
            started: Instant::now(),
            clock: Cell::new(0),
            table: RefCell::default(),
            slots: RefCell::default(),
            topics: RefCell::default(),
            dirty: RefCell::default(),
            kept: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
        });
        spawn(run(Rc::clone(&sockets), deliveries, casts));
        sockets
    }

    /// Seconds since the worker started, to the second.
    pub(super) fn now(&self) -> u32 {
        self.clock.get()
    }

    pub(super) fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.scratch.borrow_mut()
    }

    pub(super) fn origin(&self, channel: &Channel) -> Origin {
        Origin { worker: self.number, channel: channel.key }
    }

    /// Takes a connection over. `rest` came behind its handshake.
    pub(super) fn admit(
        self: &Rc<Self>,
        stream: TcpStream,
        rest: BytesMut,
        version: Version,
        key: Option<Arc<Verified>>,
        seat: Seat,
    ) {
        let socket = Rc::new(Socket::new(stream, version, key, seat, self.now()));
        {
            let mut table = self.table.borrow_mut();
            socket.place.set(table.len());
            table.push(Rc::clone(&socket));
        }
        Conversation::begin(Rc::clone(self), socket, rest);
    }

    // ---- writing ----

    /// Puts a frame into a socket's queue; it leaves with [`Sockets::flush`]. False if there is no room.
    fn put(self: &Rc<Self>, socket: &Rc<Socket>, frame: &Bytes, urgency: Urgency) -> bool {
        let mut fits = socket.queue(frame.clone(), urgency);
        if !fits && !socket.blocked.get() {
            // What waits is only of this batch.
            self.flush(socket);
            fits = socket.queue(frame.clone(), urgency);
        }
        if fits && !socket.dirty.replace(true) {
            self.dirty.borrow_mut().push(Rc::clone(socket));
        }
        fits
    }

    /// Sends what cannot be caught up. A socket that has no room for it is closed.
    pub(super) fn send(self: &Rc<Self>, socket: &Rc<Socket>, frame: &Bytes) {
        if !self.put(socket, frame, Urgency::Once) {
            self.give_up(socket);
        }
    }

    /// Writes what waits for a socket, as far as it takes it.
    pub(super) fn flush(self: &Rc<Self>, socket: &Rc<Socket>) {
        socket.dirty.set(false);
        if socket.blocked.get() {
            return;
        }
        match socket.flush(self.now()) {
            Flushed::Empty => self.drained(socket),
            Flushed::Dead => {}
            Flushed::Blocked => {
                socket.blocked.set(true);
                // It may have had nothing to take for long.
                socket.took.set(self.now());
                let (sockets, socket) = (Rc::clone(self), Rc::clone(socket));
                spawn(async move { sockets.keep_flushing(&socket).await });
            }
        }
    }

    /// Writes whenever the socket takes more, until nothing waits.
    async fn keep_flushing(self: &Rc<Self>, socket: &Rc<Socket>) {
        loop {
            let writable = socket.stream.writable().await;
            if writable.is_err() || !socket.is_open() {
                break;
            }
            match socket.flush(self.now()) {
                Flushed::Blocked => {}
                Flushed::Dead => break,
                Flushed::Empty => {
                    socket.blocked.set(false);
                    self.drained(socket);
                    return;
                }
            }
        }
        socket.blocked.set(false);
    }

    /// Asks for what the socket's channels have not had: it takes it now.
    fn drained(&self, socket: &Socket) {
        if !socket.behind.get() || !socket.is_open() {
            return;
        }
        for channel in socket.channels.borrow().iter() {
            if let Rows::Behind(behind) = &mut *channel.rows.borrow_mut()
                && !behind.asked
            {
                behind.asked = true;
                self.line.send(Order::CatchUp {
                    channel: channel.key,
                    from: behind.from,
                    skip: behind.skip.clone(),
                    until: behind.until,
                });
            }
        }
    }

    /// Makes a channel ask for what comes after a place once its socket takes it.
    pub(super) fn fall_behind(self: &Rc<Self>, channel: &Rc<Channel>, behind: Behind) {
        *channel.rows.borrow_mut() = Rows::Behind(behind);
        channel.socket.behind.set(true);
        if channel.socket.is_drained() {
            self.drained(&channel.socket);
        }
    }

    // ---- closing ----

    /// Closes a socket that does not take what it must have.
    fn give_up(self: &Rc<Self>, socket: &Rc<Socket>) {
        // Where a channel is behind, it has less than what was written last.
        let behind = socket
            .channels
            .borrow()
            .iter()
            .filter_map(|channel| match &*channel.rows.borrow() {
                Rows::Behind(behind) => Some(behind.from),
                Rows::None | Rows::Asked | Rows::Live => None,
            })
            .min();
        let cursor = match (socket.written(), behind) {
            (Some(written), Some(behind)) => Some(written.min(behind)),
            (written, behind) => written.or(behind),
        };
        let cursor = cursor.map(|cursor| cursor.to_string()).unwrap_or_default();
        self.close(socket, TRY_LATER, &format!("slow reader; cursor={cursor}"));
    }

    /// Says farewell and forgets a socket at once; its last frame has a moment to be taken.
    pub(super) fn close(self: &Rc<Self>, socket: &Rc<Socket>, code: u16, reason: &str) {
        if !socket.close(code, reason) {
            return;
        }
        self.forget(socket);
        let (sockets, socket) = (Rc::clone(self), Rc::clone(socket));
        spawn(async move {
            let _ = timeout(limits::LINGER, sockets.linger(&socket)).await;
            socket.kill();
        });
    }

    /// Until the last frame is taken and the other side is closed.
    async fn linger(&self, socket: &Socket) {
        while socket.flush(self.now()) == Flushed::Blocked {
            if socket.stream.writable().await.is_err() {
                return;
            }
        }
        while socket.state() == State::Closing && socket.stream.readable().await.is_ok() {
            let mut scratch = self.scratch();
            match socket.stream.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// The connection is over, by whomever.
    pub(super) fn part(self: &Rc<Self>, socket: &Rc<Socket>) {
        if socket.is_open() {
            socket.kill();
        }
        self.forget(socket);
    }

    fn forget(&self, socket: &Socket) {
        let place = socket.place.replace(usize::MAX);
        if place != usize::MAX {
            let mut table = self.table.borrow_mut();
            table.swap_remove(place);
            if let Some(moved) = table.get(place) {
                moved.place.set(place);
            }
        }
        let channels = socket.channels.take();
        for channel in &channels {
            self.drop_channel(channel);
        }
    }

    // ---- channels ----

    /// Makes a key for a channel and the channel with it, and gives it to its socket.
    pub(super) fn open_channel(
        &self,
        socket: &Socket,
        name: TopicName,
        make: impl FnOnce(ChannelKey, Rc<Topic>) -> Channel,
    ) -> Rc<Channel> {
        let topic = self.topic(name);
        topic.users.set(topic.users.get() + 1);
        let mut slots = self.slots.borrow_mut();
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.slots.push((0, None));
            u32::try_from(slots.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let place = &mut slots.slots[slot as usize];
        place.0 = place.0.wrapping_add(1);
        let channel = Rc::new(make(ChannelKey { slot, generation: place.0 }, topic));
        place.1 = Some(Rc::clone(&channel));
        socket.channels.borrow_mut().push(Rc::clone(&channel));
        channel
    }

    fn topic(&self, name: TopicName) -> Rc<Topic> {
        let mut topics = self.topics.borrow_mut();
        Rc::clone(topics.entry(name).or_insert_with_key(|name| Rc::new(Topic::new(name.clone()))))
    }

    /// What is said on the topic is for the channel from now on.
    pub(super) fn listen(&self, channel: &Rc<Channel>) {
        let mut channels = channel.topic.channels.borrow_mut();
        channel.place.set(channels.len());
        channels.push(Rc::clone(channel));
    }

    /// Takes a channel from its socket, without a word.
    pub(super) fn close_channel(&self, channel: &Rc<Channel>) {
        channel.socket.channels.borrow_mut().retain(|other| !Rc::ptr_eq(other, channel));
        self.drop_channel(channel);
    }

    fn drop_channel(&self, channel: &Channel) {
        if channel.phase.replace(Phase::Closed) == Phase::Closed {
            return;
        }
        let topic = &channel.topic;
        {
            let mut channels = topic.channels.borrow_mut();
            let place = channel.place.replace(usize::MAX);
            if place != usize::MAX {
                channels.swap_remove(place);
                if let Some(moved) = channels.get(place) {
                    moved.place.set(place);
                }
            }
        }
        {
            let mut slots = self.slots.borrow_mut();
            if let Some(place) = slots.slots.get_mut(channel.key.slot as usize) {
                place.1 = None;
                slots.free.push(channel.key.slot);
            }
        }
        topic.users.set(topic.users.get() - 1);
        if topic.users.get() == 0 {
            self.topics.borrow_mut().remove(&topic.name);
        }
        if channel.tracked.replace(false) {
            self.hub.untrack(&topic.name, self.origin(channel));
        }
        if !matches!(channel.rows.replace(Rows::None), Rows::None) {
            self.line.send(Order::Unsubscribe { channel: channel.key });
        }
    }

    pub(super) fn channel(&self, key: ChannelKey) -> Option<Rc<Channel>> {
        self.slots.borrow().get(key).cloned()
    }

    fn channels(&self, of: impl Fn(&Channel) -> bool) -> Vec<Rc<Channel>> {
        let slots = self.slots.borrow();
        slots
            .slots
            .iter()
            .filter_map(|(_, channel)| channel.as_ref())
            .filter(|channel| of(channel))
            .cloned()
            .collect()
    }

    // ---- being told ----

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
                let aware =
                    self.channels(|channel| channel.config.aware && channel.is_joined() && channel.is_live());
                for channel in aware {
                    if channel.quiet.replace(true) {
                        self.announce(&channel, "position", None, cursor);
                    }
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

    // ---- time ----

    fn tick(self: &Rc<Self>) {
        self.clock.set(u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX));
        let (seconds, now) = (self.now(), now());
        let seconds_of = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
        let (stall, idle, join) =
            (seconds_of(limits::STALL), seconds_of(limits::IDLE), seconds_of(limits::JOIN));
        let ring = self.app.keys();
        let is_revoked = |verified: &Verified| {
            verified
                .jti
                .as_ref()
                .is_some_and(|jti| self.app.revocations().contains(jti) || ring.revoked().contains(jti))
        };
        let is_over = |verified: &Verified| !verified.is_alive(now) || is_revoked(verified);
        let table = self.table.borrow().clone();
        for socket in &table {
            if !socket.is_drained() && seconds.saturating_sub(socket.took.get()) > stall {
                self.give_up(socket);
            } else if seconds.saturating_sub(socket.heard.get()) > idle {
                self.close(socket, GOING_AWAY, "no heartbeat");
            } else if socket.key.as_deref().is_some_and(is_over) {
                self.close(socket, super::POLICY, "the API key does not hold any more");
            }
            let over: Vec<Rc<Channel>> = socket
                .channels
                .borrow()
                .iter()
                .filter(|channel| channel.verified.borrow().as_deref().is_some_and(is_over))
                .cloned()
                .collect();
            for channel in over {
                self.expel(&channel, "the token has expired or was revoked");
            }
            let late: Vec<Rc<Channel>> = socket
                .channels
                .borrow()
                .iter()
                .filter(|channel| {
                    channel.phase.get() == Phase::Subscribed
                        && seconds.saturating_sub(channel.since.get()) >= join
                })
                .cloned()
                .collect();
            for channel in late {
                self.refuse_join(
                    &channel,
                    "UnableToSubscribeToPostgres: the stream of changes does not answer",
                );
            }
        }
    }

    /// Closes all sockets: the server stops.
    fn drain(self: &Rc<Self>) {
        let table = self.table.borrow().clone();
        for socket in &table {
            self.close(socket, RESTART, "the server is restarting; connect again");
        }
    }
}

async fn run(
    sockets: Rc<Sockets>,
    mut deliveries: mpsc::Receiver<Delivery>,
    mut casts: mpsc::UnboundedReceiver<Arc<Cast>>,
) {
    let mut draining = sockets.hub.draining();
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
                }
            }
            count = casts.recv_many(&mut heard, BATCH) => {
                if count == 0 {
                    return;
                }
                for cast in heard.drain(..) {
                    sockets.heard(&cast);
                    sockets.hub.told(&cast);
                }
            }
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
