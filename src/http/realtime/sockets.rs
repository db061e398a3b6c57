//! [`Sockets`]: the sockets of one worker, their channels, and what waits to be written to them.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::rt::net::TcpStream;
use actix_web::rt::spawn;
use actix_web::rt::time::timeout;
use actix_web::web;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::channel::{Behind, Channel, Phase, Rows, Topic};
use super::conversation::Conversation;
use super::socket::{Flushed, Socket, State, Urgency};
use super::telling::tell;
use crate::app::{App, Worker};
use crate::auth::token::Verified;
use crate::catalog::Catalog;
use crate::realtime::feed::Line;
use crate::realtime::hub::{Hub, Origin, Seat, TopicName};
use crate::realtime::limits;
use crate::realtime::line::{ChannelKey, Order};
use crate::realtime::protocol::Version;

/// Bytes that are read at once.
const SCRATCH: usize = 32 << 10;

/// Close codes (RFC 6455, 7.4, and its registry).
pub(super) const GOING_AWAY: u16 = 1001;
pub(super) const RESTART: u16 = 1012;
pub(super) const TRY_LATER: u16 = 1013;

/// What clients are told when the server stops.
pub(super) const FAREWELL: &str = "the server is restarting; connect again";
/// Frames that are put into queues before others have their turn: a few tens of milliseconds.
const TURN: usize = 100_000;

/// The sockets of a worker.
pub(in crate::http) struct Sockets {
    pub(super) app: web::Data<App>,
    pub(super) worker: Rc<Worker>,
    pub(super) hub: Hub,
    pub(super) line: Line,
    /// Its number at the hub.
    number: usize,
    pub(super) started: Instant,
    /// Seconds since it started, at the last look.
    pub(super) clock: Cell<u32>,
    pub(super) table: RefCell<Vec<Rc<Socket>>>,
    pub(super) slots: RefCell<Slots>,
    pub(super) topics: RefCell<HashMap<TopicName, Rc<Topic>>>,
    pub(super) dirty: RefCell<Vec<Rc<Socket>>>,
    /// Frames that were put into queues since all were flushed.
    pub(super) put: Cell<usize>,
    /// Topics that keep a frame of this batch.
    pub(super) kept: RefCell<Vec<Rc<Topic>>>,
    scratch: RefCell<Box<[u8]>>,
    /// Bytes of messages that have not come whole.
    pub(super) incomplete: Cell<usize>,
    /// What channels were judged by.
    pub(super) judged_by: RefCell<Option<Arc<Catalog>>>,
}

/// Channels by their keys.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<(u32, Option<Rc<Channel>>)>,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn get(&self, key: ChannelKey) -> Option<&Rc<Channel>> {
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
            put: Cell::new(0),
            kept: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            incomplete: Cell::new(0),
            judged_by: RefCell::new(None),
        });
        spawn(tell(Rc::clone(&sockets), deliveries, casts));
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
        let came_late = self.app.is_draining();
        {
            let mut table = self.table.borrow_mut();
            socket.place.set(table.len());
            table.push(Rc::clone(&socket));
        }
        Conversation::begin(Rc::clone(self), Rc::clone(&socket), rest);
        if came_late {
            self.close(&socket, RESTART, FAREWELL);
        }
    }

    /// So much is told that it is to be flushed now.
    pub(super) fn is_turn_over(&self) -> bool {
        self.put.get() >= TURN
    }

    // ---- writing ----

    /// Puts a frame into a socket's queue; it leaves with [`Sockets::flush`]. False if there is no room.
    pub(super) fn put(self: &Rc<Self>, socket: &Rc<Socket>, frame: &Bytes, urgency: Urgency) -> bool {
        self.put.set(self.put.get() + 1);
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
    pub(super) fn drained(&self, socket: &Socket) {
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
    pub(super) fn give_up(self: &Rc<Self>, socket: &Rc<Socket>) {
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
            let patience = if code == TRY_LATER { limits::LINGER_SLOW } else { limits::LINGER };
            let _ = timeout(patience, sockets.linger(&socket)).await;
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

    pub(super) fn topic(&self, name: TopicName) -> Rc<Topic> {
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

    pub(super) fn channels_of(&self, of: impl Fn(&Channel) -> bool) -> Vec<Rc<Channel>> {
        let slots = self.slots.borrow();
        slots
            .slots
            .iter()
            .filter_map(|(_, channel)| channel.as_ref())
            .filter(|channel| of(channel))
            .cloned()
            .collect()
    }
}
