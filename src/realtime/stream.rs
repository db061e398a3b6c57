//! The stream itself: one task of one thread that reads the WAL, keeps the replay window, and tells every worker what
//! its channels see, in commit order.
//!
//! It waits for nobody but Postgres and, when one of them is a moment behind, its workers, which never wait for sockets.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::audience::{Audience, Place};
use super::cursor::{Cursor, System};
use super::feed::{Feed, Shared, WorkerId};
use super::line::{Caller, ChannelKey, Delivery, Order, Start};
use super::publication::{Altered, Published};
use super::ring::{Bounds, Ring};
use super::rows::Known;
use super::sets::{FamilyId, Wanted, key_of};
use super::system::SystemChange;
use super::transaction::Transaction;
use super::visibility::{Held, Visibility};
use super::wal::{self, Opened, Wal, WalFault};
use super::watch::{Sighting, Watch};
use crate::catalog::Catalog;
use crate::db::{DbError, Pool, Target};
use crate::error::{Code, Error};
use crate::model::{FieldSet, Record, Value};
use crate::sql::{Sql, array_literal};

/// How often what waits is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often sockets that had no event are told the position.
const POSITIONS: Duration = Duration::from_secs(1);
/// How often the slot is moved up to the window's beginning.
const CONFIRM: Duration = Duration::from_secs(5);
/// How long the slot stays where the window began: after a restart, whoever knows a place from this time goes on there.
const HELD: Duration = Duration::from_secs(60);
/// The pauses between attempts to reach the WAL: the first, and what they grow to.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_AT_MOST: Duration = Duration::from_secs(2);
/// How long a catch-up may wait for a place that the stream has not reached.
const AHEAD: Duration = Duration::from_secs(10);
/// Events of the WAL taken at once.
const AT_ONCE: usize = 64;
/// Orders taken at once: their queries are made together.
const ORDERS: usize = 512;

/// Changes of roles that are remembered, for callers whose roles were asked for before.
const ROLES_REMEMBERED: usize = 4_096;

/// What a stream runs on.
pub struct Config {
    /// Requests' role: memberships and far conditions are asked as it.
    pub runtime: Target,
    /// A role that may replicate.
    pub replication: Target,
    /// This node's name among those of the database.
    pub node: wal::Node,
    /// Told of changes in the server's own tables, before anybody is told of rows.
    pub observer: Box<dyn Fn(SystemChange) + Send>,
}

impl Feed {
    /// Starts the stream, on a thread of its own, until the process ends. It finds its way back from whatever befalls
    /// the connection, the slot or Postgres.
    ///
    /// # Errors
    /// The thread or its connections cannot be made.
    pub fn start(&self, config: Config) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let shared = Arc::clone(self.shared());
        let pool = Pool::open(&config.runtime, 4)?;
        std::thread::Builder::new().name("feed".to_owned()).spawn(move || {
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(Stream::run(shared, config, pool)),
                Err(error) => tracing::error!(%error, "the stream of changes cannot run"),
            }
        })?;
        Ok(())
    }
}

/// A channel that waits for the stream to reach the moment at which it was subscribed.
struct Joining {
    place: Place,
    until: u64,
    start: Start,
    refused: Vec<(usize, Error)>,
}

/// A catch-up that waits for the stream to get somewhere.
struct Waiting {
    place: Place,
    until: u64,
    since: Instant,
    from: Cursor,
    skip: Option<Held>,
}

/// Rows that were read while the stream was on its way to that moment: changes in them already are not followed again.
pub(super) struct Loaded {
    pub(super) snapshot: Visibility,
    until: u64,
}

pub(super) struct Stream {
    shared: Arc<Shared>,
    config: Config,
    pub(super) pool: Pool,
    pub(super) audience: Audience,
    pub(super) ring: Ring,
    pub(super) system: System,
    /// Everything that ended at or before it was told.
    pub(super) position: u64,
    /// Where the server was when the stream was opened: before it is reached, what comes is history.
    head: u64,
    /// Where the server was when it was last looked at.
    inserted: u64,
    /// Not one session yet.
    virgin: bool,
    /// Subscriptions that came before the stream was current.
    parked: Vec<(WorkerId, Order)>,
    joining: Vec<Joining>,
    waiting: Vec<Waiting>,
    /// Channels that come back, and where they were let in: of what happened before to what they see through they were
    /// not told.
    pub(super) returning: HashMap<Place, u64>,
    pub(super) loaded: HashMap<(FamilyId, Known), Loaded>,
    /// Channels that are to be told that what they see through has changed.
    pub(super) access: Vec<Place>,
    workers: Vec<mpsc::Sender<Delivery>>,
    /// Whose roles changed, the last ones last.
    roles_changed: VecDeque<Option<Uuid>>,
    published: Option<Published>,
    pub(super) told_position: (u64, Instant),
    confirmed: (u64, Instant),
    /// Where the window began, for the last minute.
    beginnings: VecDeque<(Instant, u64)>,
    expected_since: Option<Instant>,
}

/// Why a session with the WAL ended.
enum Ended {
    Wal(WalFault),
    /// The server's caches and slots must be looked at from the start.
    Changed(&'static str),
}

impl From<WalFault> for Ended {
    fn from(fault: WalFault) -> Ended {
        Ended::Wal(fault)
    }
}

impl Stream {
    /// A stream that has not begun.
    fn new(shared: Arc<Shared>, config: Config, pool: Pool, catalog: Arc<Catalog>) -> Stream {
        Stream {
            audience: Audience::new(catalog),
            ring: Ring::new(Bounds::default(), 0),
            system: System::default(),
            position: 0,
            head: u64::MAX,
            inserted: u64::MAX,
            virgin: true,
            parked: Vec::new(),
            joining: Vec::new(),
            waiting: Vec::new(),
            returning: HashMap::new(),
            loaded: HashMap::new(),
            access: Vec::new(),
            workers: Vec::new(),
            roles_changed: VecDeque::new(),
            published: None,
            told_position: (0, Instant::now()),
            confirmed: (0, Instant::now()),
            beginnings: VecDeque::new(),
            expected_since: None,
            shared,
            config,
            pool,
        }
    }

    async fn run(shared: Arc<Shared>, config: Config, pool: Pool) {
        let mut catalogs = shared.catalog.subscribe();
        let catalog = match catalogs.wait_for(Option::is_some).await {
            Ok(catalog) => catalog.clone(),
            Err(_) => None,
        };
        let (Some(catalog), Some(mut orders)) = (catalog, shared.ends.lock().orders.take()) else { return };
        catalogs.mark_unchanged();
        let (sightings, mut seen) = mpsc::channel(4);
        let kept = Bounds::default().age;
        let watch =
            Watch::new(pool.clone(), config.replication.clone(), config.node.clone(), kept, sightings);
        let mut stream = Stream::new(shared, config, pool, catalog);
        tokio::task::LocalSet::new()
            .run_until(async {
                let barrier = watch.barrier();
                tokio::task::spawn_local(watch.run());
                let (mut pause, mut told) = (AGAIN, String::new());
                loop {
                    let (replication, node) = (stream.config.replication.clone(), stream.config.node.clone());
                    // A new slot waits for transactions that are under way; whoever leaves meanwhile leaves.
                    let opening = wal::open(&replication, &node);
                    tokio::pin!(opening);
                    let opened = loop {
                        tokio::select! {
                            opened = &mut opening => break opened,
                            Some((worker, order)) = orders.recv() => stream.park(worker, order),
                            Some(_) = seen.recv() => {}
                        }
                    };
                    let ended = match opened {
                        Ok(opened) => {
                            (pause, told) = (AGAIN, String::new());
                            stream.session(opened, &mut orders, &mut catalogs, &mut seen, &barrier).await
                        }
                        Err(fault) => Ended::Wal(fault),
                    };
                    *stream.shared.current.lock() = None;
                    if matches!(ended, Ended::Wal(WalFault::Unreadable)) {
                        // What cannot be read is lost; the next slot begins behind it, and everybody is told.
                        let Config { replication, node, .. } = &stream.config;
                        if let Err(error) = wal::discard(replication, node).await {
                            tracing::debug!(%error, "the slot was not discarded");
                        }
                    }
                    // What goes by itself (the server restarts, the connection is cut) loses nothing.
                    let lasting = !matches!(ended, Ended::Wal(WalFault::Database(_)) | Ended::Changed(_));
                    let reason = match ended {
                        Ended::Wal(fault) => fault.to_string(),
                        Ended::Changed(what) => what.to_owned(),
                    };
                    if reason != told {
                        if lasting {
                            stream.tell_standstill().await;
                        }
                        tracing::warn!(reason, "the stream of changes stands still");
                        told = reason;
                    }
                    let wait = sleep(pause);
                    tokio::pin!(wait);
                    // Whoever leaves meanwhile leaves.
                    loop {
                        tokio::select! {
                            () = &mut wait => break,
                            Some((worker, order)) = orders.recv() => stream.park(worker, order),
                            Some(_) = seen.recv() => {}
                        }
                    }
                    pause = (pause * 2).min(AGAIN_AT_MOST);
                }
            })
            .await;
    }

    async fn session(
        &mut self,
        opened: Opened,
        orders: &mut mpsc::UnboundedReceiver<(WorkerId, Order)>,
        catalogs: &mut tokio::sync::watch::Receiver<Option<Arc<Catalog>>>,
        seen: &mut mpsc::Receiver<Sighting>,
        barrier: &mpsc::Sender<()>,
    ) -> Ended {
        let mut wal = opened.wal;
        let kept = match opened.created {
            // Nobody knows what was before a new slot.
            Some(_) => None,
            None => super::nodes::floor(&self.pool, &self.config.node, opened.system).await.ok().flatten(),
        };
        let floor = kept.map_or(opened.begins, |floor| floor.min(opened.begins));
        self.begin(opened.system, opened.begins, floor, opened.head).await;
        if let Err(error) = self.look_at_publication(opened.head).await {
            tracing::debug!(%error, "the publication cannot be looked at");
            return Ended::Changed("the publication cannot be looked at");
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(ORDERS);
        // Where the server was, and when it was asked: what the stream has not reached yet.
        let mut asked: VecDeque<(Instant, u64)> = VecDeque::new();
        loop {
            tokio::select! {
                event = wal.next() => {
                    let mut next = Some(event);
                    let mut taken = 0;
                    // What is there already is taken at once, but not for ever: others have their turn.
                    while let Some(event) = next {
                        match event {
                            Ok(wal::Event::Transaction(transaction)) => self.transaction(transaction).await,
                            Ok(wal::Event::Position(position)) => self.advance(position).await,
                            Err(fault) => return fault.into(),
                        }
                        taken += 1;
                        next = if taken < AT_ONCE { wal.next().now_or_never() } else { None };
                    }
                },
                _ = orders.recv_many(&mut batch, ORDERS) => {
                    self.orders(std::mem::take(&mut batch)).await;
                    if !self.joining.is_empty() || !self.waiting.is_empty() {
                        self.settle().await;
                        if let Err(fault) = wal.ask().await { return fault.into(); }
                    }
                }
                Ok(()) = catalogs.changed() => {
                    let catalog = catalogs.borrow_and_update().clone();
                    if let Some(catalog) = catalog { self.replace(catalog).await; }
                }
                Some(sighting) = seen.recv() => {
                    asked.push_back((sighting.asked, sighting.flushed));
                    self.ring.set_wal_bound(sighting.wal_bound);
                    self.inserted = sighting.inserted;
                    if let Some(published) = sighting.published {
                        self.altered(published, sighting.inserted).await;
                    }
                    if sighting.flushed > self.position
                        && let Err(fault) = wal.ask().await { return fault.into(); }
                }
                () = self.shared.nudge.notified() => {
                    self.expected_since.get_or_insert_with(Instant::now);
                    if let Err(fault) = wal.ask().await { return fault.into(); }
                }
                _ = ticks.tick() => {
                    if let Err(fault) = self.tick(&mut wal, barrier).await { return fault.into(); }
                }
            }
            if self.shared.position.borrow().is_none_or(|told| told.lsn != self.position) {
                self.announce();
            }
            while let Some((at, _)) = asked.pop_front_if(|(_, flushed)| *flushed <= self.position) {
                *self.shared.current.lock() = Some(at);
            }
        }
    }

    /// A connection to the WAL is there: does it go on where the last one ended?
    async fn begin(&mut self, system: System, begins: u64, floor: u64, head: u64) {
        let before = std::mem::replace(&mut self.system, system);
        let lost = if self.virgin {
            None
        } else if before != system {
            Some("other_database")
        } else if begins > self.position {
            Some("slot_lost")
        } else {
            None
        };
        if self.virgin || lost.is_some() {
            self.ring = Ring::new(Bounds::default(), if lost.is_some() { begins } else { floor });
            self.position = begins;
            self.beginnings.clear();
        }
        self.virgin = false;
        self.head = head;
        self.announce();
        if let Some(reason) = lost {
            tracing::warn!(reason, "changes may have been missed: every subscriber is told to begin anew");
            self.observe(SystemChange::Lost).await;
            self.head = self.head.max(begins);
            let everybody = self.audience.places();
            self.resync(everybody, reason).await;
            self.forget_sets().await;
        }
    }

    /// Says that nothing comes, so that nobody takes it for silence: once it flows again, everybody is told from where.
    async fn tell_standstill(&mut self) {
        let cursor = self.cursor();
        for (worker, channel) in self.audience.places() {
            let error = Error::with(Code::Unavailable, "Changes cannot be read at present");
            let refused = vec![(0, error)];
            self.tell(worker, Delivery::Rejudged { channel, cursor, refused, changed: false }).await;
        }
    }

    fn caught_up(&self) -> bool {
        self.position >= self.head
    }

    fn announce(&self) {
        self.shared.position.send_replace(Some(self.cursor()));
    }

    pub(super) fn cursor(&self) -> Cursor {
        let rules = self.audience.catalog().digest;
        Cursor { system: self.system, lsn: self.position, index: u32::MAX, rules }
    }

    /// The place of a change of a transaction, counted from 1.
    pub(super) fn cursor_at(&self, transaction: &Transaction, index: usize) -> Cursor {
        Cursor { lsn: transaction.lsn, index: index as u32, ..self.cursor() }
    }

    /// The stream has passed a position.
    async fn advance(&mut self, position: u64) {
        if position > self.position {
            self.position = position;
            self.ring.trim(position);
        }
        self.settle().await;
    }

    /// Serves those who waited for where the stream is now.
    async fn settle(&mut self) {
        if !self.caught_up() {
            return;
        }
        if !self.parked.is_empty() {
            let parked = std::mem::take(&mut self.parked);
            Box::pin(self.orders(parked)).await;
        }
        self.join_up_to(self.position).await;
        let position = self.position;
        self.loaded.retain(|_, loaded| loaded.until > position);
        if self.waiting.iter().any(|waiting| waiting.until <= position) {
            let (now, later) =
                std::mem::take(&mut self.waiting).into_iter().partition(|w| w.until <= position);
            self.waiting = later;
            let now: Vec<Waiting> = now;
            for Waiting { place, from, skip, .. } in now {
                self.page(place, from, skip.as_ref()).await;
            }
        }
    }

    /// Lets those in who wait for a place before `position`.
    async fn join_up_to(&mut self, position: u64) {
        if !self.joining.iter().any(|joining| joining.until <= position) {
            return;
        }
        let (now, later) = std::mem::take(&mut self.joining).into_iter().partition(|j| j.until <= position);
        self.joining = later;
        let now: Vec<Joining> = now;
        for Joining { place, start, refused, .. } in now {
            self.audience.activate(place);
            if start == Start::Held {
                self.returning.insert(place, self.position);
            }
            let (worker, channel) = place;
            self.tell(worker, Delivery::Joined { channel, cursor: self.cursor(), refused }).await;
        }
    }

    async fn transaction(&mut self, transaction: Arc<Transaction>) {
        if transaction.lsn <= self.position {
            return;
        }
        // Who joined before it is told of it.
        if self.caught_up() {
            self.join_up_to(transaction.lsn - 1).await;
        }
        self.deliver(&transaction).await;
        self.ring.push(self.position, Arc::clone(&transaction));
        self.advance(transaction.lsn).await;
    }

    /// Tells the node of a change in the server's own tables, before anybody is told of rows.
    pub(super) async fn observe(&mut self, change: SystemChange) {
        let roles = match &change {
            SystemChange::RoleChanged { user, xid } | SystemChange::SessionEnded { user, xid, .. } => {
                Some((Some(*user), Some(*xid)))
            }
            SystemChange::Lost => Some((None, None)),
            SystemChange::KeyRevoked { .. } => None,
        };
        (self.config.observer)(change);
        if let Some((user, xid)) = roles {
            self.roles_changed(user, xid).await;
        }
    }

    // --- orders

    /// Keeps an order for when the stream is current.
    fn park(&mut self, worker: WorkerId, order: Order) {
        if let Order::Unsubscribe { channel } = &order {
            let of = |order: &Order| match order {
                Order::Subscribe { channel, .. }
                | Order::Rejudge { channel, .. }
                | Order::CatchUp { channel, .. }
                | Order::Unsubscribe { channel } => *channel,
            };
            self.parked.retain(|(known, order)| (*known, of(order)) != (worker, *channel));
            self.leave((worker, *channel));
        } else {
            self.parked.push((worker, order));
        }
    }

    fn leave(&mut self, place: Place) {
        self.joining.retain(|joining| joining.place != place);
        self.waiting.retain(|waiting| waiting.place != place);
        self.returning.remove(&place);
        self.audience.unsubscribe(place);
    }

    async fn orders(&mut self, batch: Vec<(WorkerId, Order)>) {
        let mut wanted = Vec::new();
        let mut joining = Vec::new();
        for (worker, order) in batch {
            if !self.caught_up() {
                self.park(worker, order);
                continue;
            }
            match order {
                Order::Subscribe { channel, caller, bindings, start } => {
                    let place = (worker, channel);
                    let outdated = self.is_outdated(&caller);
                    let compiled = self.audience.subscribe(place, caller.principal, bindings);
                    wanted.extend(compiled.wanted);
                    joining.push((place, compiled.refused, start));
                    if outdated {
                        self.suspend(vec![place], None).await;
                    }
                }
                Order::Unsubscribe { channel } => {
                    joining.retain(|(place, _, _)| *place != (worker, channel));
                    self.leave((worker, channel));
                }
                // Somebody has changed his roles again: he is judged once that is known.
                Order::Rejudge { channel, caller } if self.is_outdated(&caller) => {
                    self.suspend(vec![(worker, channel)], None).await;
                }
                Order::Rejudge { channel, caller } => {
                    let judged = self.audience.rejudge((worker, channel), caller.principal);
                    if let Some((compiled, changed)) = judged {
                        self.load(compiled.wanted).await;
                        let (cursor, refused) = (self.cursor(), compiled.refused);
                        self.tell(worker, Delivery::Rejudged { channel, cursor, refused, changed }).await;
                    }
                }
                Order::CatchUp { channel, from, skip, until } => {
                    let place = (worker, channel);
                    let until = until.unwrap_or(0).max(from.lsn);
                    if until > self.position && from.system == self.system {
                        self.expect(until);
                        self.waiting.push(Waiting { place, until, since: Instant::now(), from, skip });
                    } else {
                        self.page(place, from, skip.as_ref()).await;
                    }
                }
            }
        }
        if joining.is_empty() {
            return;
        }
        let loaded = self.load(wanted).await;
        // Who is subscribed now is told of nothing that was acknowledged to anybody before now.
        let now = match loaded {
            Some(until) => Some(until),
            None if joining.iter().any(|(_, _, start)| *start == Start::Live) => self.flushed().await,
            None => None,
        };
        for (place, refused, start) in joining {
            let until = match start {
                Start::Live => now.unwrap_or(self.position),
                Start::Held => loaded.unwrap_or(self.position),
            };
            if until > self.position {
                self.expect(until);
            }
            self.joining.push(Joining { place, until, start, refused });
        }
        self.join_up_to(self.position).await;
    }

    /// The caller's roles have changed since they were asked for.
    fn is_outdated(&self, caller: &Caller) -> bool {
        caller.principal.id.is_some_and(|id| {
            let now = self.shared.roles.load(Ordering::Acquire);
            let missed = now.saturating_sub(caller.known);
            let recent = self.roles_changed.iter().rev();
            // Of what is no longer remembered, it may have been his.
            missed > self.roles_changed.len() as u64
                || recent
                    .take(usize::try_from(missed).unwrap_or(usize::MAX))
                    .any(|user| user.is_none_or(|user| user == id))
        })
    }

    /// A user's roles changed; anybody's may have, without one.
    pub(super) async fn roles_changed(&mut self, user: Option<Uuid>, xid: Option<u32>) {
        self.roles_changed.push_back(user);
        if self.roles_changed.len() > ROLES_REMEMBERED {
            self.roles_changed.pop_front();
        }
        self.shared.roles.fetch_add(1, Ordering::AcqRel);
        let places = self.audience.suspend(user);
        self.suspend(places, xid).await;
    }

    /// Tells channels nothing more until they are judged anew.
    async fn suspend(&mut self, places: Vec<Place>, xid: Option<u32>) {
        let cursor = self.cursor();
        places.iter().for_each(|place| self.audience.suspend_channel(*place));
        for (worker, to) in by_worker(places) {
            self.tell(worker, Delivery::Suspended { to, xid, cursor }).await;
        }
    }

    fn expect(&mut self, lsn: u64) {
        self.shared.expected.fetch_max(lsn, Ordering::Relaxed);
        self.expected_since.get_or_insert_with(Instant::now);
    }

    /// Where the server's WAL is, as far as anybody has been told that it is safe.
    async fn flushed(&self) -> Option<u64> {
        let mut sql = Sql::new();
        sql.raw("select (pg_current_wal_flush_lsn() - '0/0')::bigint");
        let rows = self.pool.read(&sql).await.ok()?;
        u64::try_from(rows.first()?.integer(0)?).ok()
    }

    /// Reads the rows of memberships. Returns the position by which the stream has all that was seen; retries until the
    /// database answers, since nobody can be judged before.
    async fn load(&mut self, wanted: Vec<Wanted>) -> Option<u64> {
        let mut by_family: HashMap<FamilyId, HashSet<Known>> = HashMap::new();
        for Wanted { family, whose } in wanted {
            by_family.entry(family).or_default().insert(whose);
        }
        let mut until = None;
        for (family, whose) in by_family {
            let mut pause = AGAIN;
            loop {
                match self.load_family(family, &whose).await {
                    Ok(position) => {
                        until = until.max(Some(position));
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "memberships cannot be read; trying again");
                        sleep(pause).await;
                        pause = (pause * 2).min(AGAIN_AT_MOST);
                    }
                }
            }
        }
        until
    }

    async fn load_family(&mut self, family: FamilyId, whose: &HashSet<Known>) -> Result<u64, DbError> {
        let catalog = Arc::clone(self.audience.catalog());
        let Some(shape) = self.audience.sets.shape(family).cloned() else { return Ok(self.position) };
        let collection = catalog.collection(shape.collection);
        let mut fields = shape.fields;
        collection.primary_key.iter().for_each(|field| fields.insert(*field));
        let columns: Vec<_> = fields.iter().collect();
        let mut sql = Sql::new();
        let t = sql.fresh();
        sql.raw("select s.snapshot, s.lsn");
        for field in &columns {
            sql.raw(", ").column(t, &collection.field(*field).name);
        }
        // One row at least, so that an empty answer says when it was given.
        sql.raw(" from (select pg_current_snapshot()::text as snapshot, (pg_current_wal_insert_lsn() - '0/0')::bigint as lsn) s left join ");
        let field = collection.field(shape.field);
        let kind = crate::model::Kind::many(field.kind.scalar);
        let texts: Vec<Option<String>> = whose.iter().map(|known| text_of(known, field.kind)).collect();
        let list = array_literal(texts.iter().map(Option::as_deref));
        sql.table(collection).raw(" ").alias(t).raw(" on ").column(t, &field.name).raw(" = any(");
        sql.bind(kind, Some(list)).raw(")");
        let rows = self.pool.read(&sql).await?;
        let first = rows.first().ok_or_else(|| DbError::driver("a query without an answer"))?;
        let read = || Some((Visibility::parse(first.text(0)?)?, u64::try_from(first.integer(1)?).ok()?));
        let (snapshot, until) = read().ok_or_else(|| DbError::driver("a snapshot that cannot be read"))?;
        for row in &rows {
            let raw = |field: crate::model::FieldId| {
                columns.iter().position(|known| *known == field).and_then(|at| row.raw(2 + at))
            };
            // The left side alone: there was no row.
            if collection.primary_key.iter().all(|field| raw(*field).is_none()) {
                continue;
            }
            let value = |at: usize| {
                let id = crate::model::FieldId(at as u16);
                if !shape.fields.contains(id) {
                    return Value::Null;
                }
                let kind = collection.field(id).kind;
                raw(id).and_then(|raw| Value::from_binary(kind, raw).ok()).unwrap_or(Value::Null)
            };
            let record = Record((0..collection.fields.len()).map(value).collect());
            self.audience.sets.load(family, key_of(collection, raw), record);
        }
        for known in whose {
            let loaded = Loaded { snapshot: snapshot.clone(), until };
            self.loaded.insert((family, known.clone()), loaded);
        }
        // A commit may be in the stream before a query sees it: what this one missed is done again.
        let mut missed = Vec::new();
        for transaction in self.ring.since(0).filter(|transaction| !snapshot.sees(transaction.xid)) {
            missed.push(Arc::clone(transaction));
        }
        for transaction in missed {
            self.follow_again(&transaction, family, whose);
        }
        self.expect(until);
        Ok(until)
    }

    // --- changes of what surrounds the stream

    async fn replace(&mut self, catalog: Arc<Catalog>) {
        let (wanted, told) = self.audience.replace(catalog);
        self.load(wanted).await;
        self.announce();
        // Who sees what he saw is to know a place of these rules, too.
        self.told_position.0 = 0;
        let cursor = self.cursor();
        for ((worker, channel), refused) in told {
            self.tell(worker, Delivery::Rejudged { channel, cursor, refused, changed: true }).await;
        }
    }

    /// What is kept of memberships may be wrong: it is read again.
    pub(super) async fn forget_sets(&mut self) {
        self.loaded.clear();
        let wanted = self.audience.sets.clear();
        self.load(wanted).await;
    }

    async fn look_at_publication(&mut self, head: u64) -> Result<(), DbError> {
        let published = Published::read(&self.pool).await?;
        if self.published.is_none() {
            self.published = super::nodes::published(&self.pool, &self.config.node).await?;
        }
        self.altered(published, head).await;
        Ok(())
    }

    /// Compares the publication with what it was: what was not published was not streamed.
    async fn altered(&mut self, published: Published, lsn: u64) {
        let altered = match &self.published {
            Some(before) => published.altered_since(before),
            None => Altered::default(),
        };
        if self.published.as_ref() != Some(&published) {
            if let Err(error) =
                super::nodes::seen(&self.pool, &self.config.node, self.system, &published).await
            {
                tracing::debug!(%error, "the node's state was not kept");
                return;
            }
            self.published = Some(published);
        }
        if altered.is_empty() {
            return;
        }
        tracing::warn!(?altered, "the publication was altered: changes may have been missed");
        self.observe(SystemChange::Lost).await;
        // What is read before it is as good as lost, and so is what comes until it is streamed again.
        let lsn = lsn.max(self.position);
        let mut places = Vec::new();
        let catalog = Arc::clone(self.audience.catalog());
        for (id, collection) in catalog.collections.with_objects() {
            let (schema, name) = (collection.schema.as_str(), collection.name.as_str());
            if altered.touches(schema, name) {
                self.ring.lost(schema, name, lsn);
                places.extend(self.audience.listeners(id));
                places.extend(self.audience.seeing_through(id));
            }
        }
        let sets = catalog.collections.iter().any(|(id, collection)| {
            altered.touches(collection.schema.as_str(), collection.name.as_str())
                && self.audience.sets.follow(id)
        });
        self.resync(places, "publication_altered").await;
        if sets {
            self.forget_sets().await;
        }
    }

    async fn tick(&mut self, wal: &mut Wal, barrier: &mpsc::Sender<()>) -> Result<(), WalFault> {
        let expected = self.shared.expected.load(Ordering::Relaxed);
        if expected > self.position {
            let since = *self.expected_since.get_or_insert_with(Instant::now);
            wal.ask().await?;
            // Nothing writes the WAL out that far: a tiny commit does.
            if since.elapsed() > TICK {
                let _ = barrier.try_send(());
            }
        } else if self.expected_since.take().is_some() {
            self.tell_position().await;
        }
        // The server itself has not got there: it is no place of this WAL.
        let inserted = self.inserted;
        let expired = |waiting: &Waiting| waiting.since.elapsed() > AHEAD && waiting.from.lsn > inserted;
        if self.waiting.iter().any(expired) {
            let (late, rest) = std::mem::take(&mut self.waiting).into_iter().partition(expired);
            self.waiting = rest;
            let late: Vec<Waiting> = late;
            self.resync(late.iter().map(|waiting| waiting.place).collect(), "unknown_cursor").await;
        }
        if !self.parked.is_empty() {
            self.settle().await;
        }
        if self.told_position.1.elapsed() > POSITIONS {
            self.tell_position().await;
        }
        if self.confirmed.1.elapsed() > CONFIRM && self.caught_up() {
            self.ring.trim(self.position);
            self.confirmed.1 = Instant::now();
            self.beginnings.push_back((Instant::now(), self.ring.begins(self.position)));
            let mut begins = None;
            while let Some((_, then)) = self.beginnings.pop_front_if(|(at, _)| at.elapsed() > HELD) {
                begins = Some(then);
            }
            if let Some(begins) = begins.filter(|begins| *begins > self.confirmed.0) {
                // First what the next start is to know: between the two there is no change.
                match super::nodes::keep_floor(&self.pool, &self.config.node, self.ring.floor()).await {
                    Ok(()) => {
                        wal.confirm(begins).await?;
                        self.confirmed.0 = begins;
                    }
                    Err(error) => tracing::debug!(%error, "the window's beginning was not kept"),
                }
            }
        }
        Ok(())
    }

    /// Tells sockets how far the stream is, if it got anywhere since.
    async fn tell_position(&mut self) {
        self.told_position.1 = Instant::now();
        if self.told_position.0 == self.position {
            return;
        }
        self.told_position.0 = self.position;
        self.shared.lag(&self.ring);
        let cursor = self.cursor();
        for worker in 0..self.worker_count() {
            self.tell(worker, Delivery::Position { cursor }).await;
        }
    }

    // --- telling

    fn worker_count(&mut self) -> usize {
        let ends = self.shared.ends.lock();
        if ends.workers.len() > self.workers.len() {
            self.workers = ends.workers.clone();
        }
        self.workers.len()
    }

    pub(super) async fn tell(&mut self, worker: WorkerId, delivery: Delivery) {
        if worker < self.worker_count() {
            // A worker that is gone has no sockets left.
            let _ = self.workers[worker].send(delivery).await;
        }
    }

    pub(super) async fn resync(&mut self, places: Vec<Place>, reason: &'static str) {
        let cursor = self.cursor();
        self.returning.retain(|place, _| !places.contains(place));
        for (worker, to) in by_worker(places) {
            self.tell(worker, Delivery::Resync { to, reason, cursor }).await;
        }
    }

    pub(super) async fn access_changed(&mut self, places: Vec<Place>, cursor: Cursor) {
        for (worker, to) in by_worker(places) {
            self.tell(worker, Delivery::AccessChanged { to, cursor }).await;
        }
    }
}

/// Each worker's channels, once each.
fn by_worker(mut places: Vec<Place>) -> Vec<(WorkerId, Arc<[ChannelKey]>)> {
    places.sort_unstable();
    places.dedup();
    places
        .chunk_by(|one, other| one.0 == other.0)
        .filter_map(|chunk| Some((chunk.first()?.0, chunk.iter().map(|(_, channel)| *channel).collect())))
        .collect()
}

/// A known value as Postgres reads it.
fn text_of(known: &Known, kind: crate::model::Kind) -> Option<String> {
    use crate::model::Scalar;
    let value = match (known, kind.scalar) {
        (Known::Text(text), _) => Value::Text(text.clone()),
        (Known::Boolean(truth), _) => Value::Boolean(*truth),
        (Known::Uuid(id), _) => Value::Uuid(*id),
        (Known::Number(number), Scalar::Timestamp) => Value::Timestamp(*number),
        (Known::Number(number), Scalar::Time) => Value::Time(*number),
        (Known::Number(number), Scalar::Date) => Value::Date(i32::try_from(*number).ok()?),
        (Known::Number(number), _) => Value::Integer(*number),
    };
    value.to_text()
}

/// The fields of a row that a change changed.
pub(super) fn changed_fields(
    mapping: &super::rows::Mapping,
    collection: &crate::model::Collection,
    old: &super::change::Row,
    new: &super::change::Row,
) -> FieldSet {
    collection.field_ids().filter(|field| mapping.raw(old, *field) != mapping.raw(new, *field)).collect()
}

#[cfg(test)]
mod simulation;
