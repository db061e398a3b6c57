//! [`Wal`]: the committed transactions of one database, in commit order, from a slot that remembers how far it was read.
//!
//! **Positions.** Statuses say what was received, and no flush: a server that is told to stop waits until its
//! walsenders' readers have flushed all that was sent, or, where they speak of no flush, have received it. Only the one
//! message that moves the slot says a flush, and an ordinary one follows it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf as _, Bytes};
use tokio::time::{Instant, timeout_at};

use super::change::Relation;
use super::cursor::System;
use super::pgoutput::{Malformed, Message, TRUNCATED};
use super::transaction::{Collector, Room, Transaction};
use crate::db::{DbError, Replication, Target, TextRow};

/// How often the server hears from us at least; by its own setting it gives up after a minute.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// A server that is asked at every status and says nothing for so long is gone. One that is busy with a large
/// transaction answers within half of its own time-out.
const SILENT_AT_MOST: Duration = Duration::from_secs(90);

/// A slot can be made only once the transactions of its first moment are over.
const CREATE_WITHIN: Duration = Duration::from_secs(300);

/// Microseconds from 1970 to 2000: Postgres counts from there.
const EPOCH: u64 = 946_684_800_000_000;

/// The longest name of a node.
const NAME: usize = 32;

/// The name of one of the servers that share a database: 1 to 32 letters, digits and underscores. Each has a slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node(String);

/// The text is no name of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a node is 1 to 32 of the characters a-z, 0-9 and _")]
pub struct NoNode;

impl Node {
    pub fn parse(text: &str) -> Result<Node, NoNode> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=NAME).contains(&text.len()) && text.bytes().all(known);
        if fits { Ok(Node(text.to_owned())) } else { Err(NoNode) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the names of all slots of a database begin with.
pub(super) fn slot_prefix(database: u32) -> String {
    format!("basewright_{database}_")
}

/// The name of a node's slot. Slots are the whole cluster's: the database's oid tells those of one from another.
pub fn slot_name(database: u32, node: &Node) -> String {
    slot_prefix(database) + node.as_str()
}

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalFault {
    /// Another process streams from the slot.
    #[error(
        "another server reads the changes as node `{node}`: {holder}; give this one another name in BASEWRIGHT_NODE"
    )]
    Held { node: String, holder: Box<Holder> },
    #[error(
        "the role `{role}` may not read the WAL ({why}): allow it with `alter role {role} replication`, or name a role \
         that may in BASEWRIGHT_REPLICATION_URL"
    )]
    NotAllowed { role: String, why: String },
    #[error("the database has no publication `basewright`: it is made when the project is applied")]
    NoPublication,
    /// The WAL from where the slot stands on cannot be read, now or later: [`discard`] the slot.
    #[error(
        "the publication `basewright` was not there when some of the changes were made: they cannot be read"
    )]
    Unreadable,
    #[error(
        "the replication slot `{slot}` is not of this server's making: drop it, or choose another BASEWRIGHT_NODE"
    )]
    NotOurs { slot: String },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Who streams from a slot, as far as this role may know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    pub pid: Option<String>,
    pub application_name: Option<String>,
    /// `None` for one of the server's own machine.
    pub client_addr: Option<String>,
    pub since: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>, other: &str| text.clone().unwrap_or_else(|| other.to_owned());
        write!(f, "`{}`", or(&self.application_name, "unknown"))?;
        write!(f, " from {}", or(&self.client_addr, "a local socket"))?;
        write!(f, ", process {}", or(&self.pid, "unknown"))?;
        match &self.since {
            Some(since) => write!(f, ", since {since}"),
            None => Ok(()),
        }
    }
}

/// Why a slot is a new one: what was committed before it was made is not streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There was none.
    Missing,
    /// It held back more WAL than the server keeps, and was cut off.
    Invalidated,
}

/// A stream that begins.
#[derive(Debug)]
pub struct Opened {
    pub wal: Wal,
    pub system: System,
    /// Every commit that ends after it is streamed.
    pub begins: u64,
    /// How far the server's WAL was written when we connected.
    pub head: u64,
    pub slot: String,
    pub created: Option<Why>,
}

/// What the stream brings.
#[derive(Clone, Debug)]
pub enum Event {
    Transaction(Arc<Transaction>),
    /// Everything whose commit ends up to here has been streamed.
    Position(u64),
}

/// A stream of committed transactions. While nobody asks for the [next](Wal::next) event, the server is not answered
/// either.
#[derive(Debug)]
pub struct Wal {
    link: Replication,
    /// By oid, as they are now.
    relations: HashMap<u32, Arc<Relation>>,
    open: Option<Open>,
    room: Room,
    /// The furthest place that the server has spoken of.
    received: u64,
    confirmed: u64,
    heard: Instant,
    /// When the next status is due.
    due: Instant,
}

/// The transaction that is coming.
#[derive(Debug)]
struct Open {
    xid: u32,
    changes: Collector,
}

/// Connects, finds or makes the node's slot, and begins to stream from where it stands.
pub async fn open(target: &Target, node: &Node) -> Result<Opened, WalFault> {
    let (mut link, system, head) = identify(target).await?;
    let slot = slot_name(database(&mut link).await?, node);
    let (begins, created) = match find(&mut link, node, &slot).await? {
        Found::Usable { confirmed } => (confirmed, None),
        Found::Missing => (create(&mut link, target, &lasting(&slot)).await?, Some(Why::Missing)),
        Found::Invalidated => {
            link.query(&format!("DROP_REPLICATION_SLOT {slot}")).await?;
            (create(&mut link, target, &lasting(&slot)).await?, Some(Why::Invalidated))
        }
    };
    match link.start(&start(&slot)).await {
        Ok(()) => {}
        // Somebody was faster.
        Err(e) if e.sqlstate() == Some("55006") => return Err(held(&mut link, node, &slot).await?),
        Err(e) => return Err(e.into()),
    }
    let wal = Wal::new(link, Room::default(), begins);
    Ok(Opened { wal, system, begins, head, slot, created })
}

/// Begins to stream from now on through a slot that goes with the connection: for somebody who looks on.
pub async fn look_on(target: &Target) -> Result<Opened, WalFault> {
    let (mut link, system, head) = identify(target).await?;
    // Slots are the whole cluster's, and a process may look on more than once.
    let slot = format!("basewright_tail_{}", uuid::Uuid::new_v4().simple());
    let command = format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    let begins = create(&mut link, target, &command).await?;
    link.start(&start(&slot)).await?;
    let wal = Wal::new(link, Room::default(), begins);
    Ok(Opened { wal, system, begins, head, slot, created: Some(Why::Missing) })
}

/// A connection, whose WAL it reads, and how far that is written.
async fn identify(target: &Target) -> Result<(Replication, System, u64), WalFault> {
    let mut link = connect(target).await?;
    // A walsender knows the words of its own language in capitals only.
    let rows = link.query("IDENTIFY_SYSTEM").await?;
    let found = rows.first().and_then(|row| {
        let system = System { id: number(row, 0)?, timeline: number(row, 1)? };
        Some((system, lsn(text(row, 2)?)?))
    });
    let (system, head) = found.ok_or_else(misunderstood)?;
    if link.query("select 1 from pg_publication where pubname = 'basewright'").await?.is_empty() {
        return Err(WalFault::NoPublication);
    }
    Ok((link, system, head))
}

/// The command that begins to stream from a slot.
fn start(slot: &str) -> String {
    format!(
        "START_REPLICATION SLOT {slot} LOGICAL 0/0 \
         (proto_version '1', publication_names 'basewright', binary 'true', messages 'true')"
    )
}

/// The command that makes a node's slot.
fn lasting(slot: &str) -> String {
    format!("CREATE_REPLICATION_SLOT {slot} LOGICAL pgoutput NOEXPORT_SNAPSHOT")
}

/// Drops a node's slot: the next [`open`] makes a new one.
pub async fn discard(target: &Target, node: &Node) -> Result<(), WalFault> {
    let mut link = connect(target).await?;
    let slot = slot_name(database(&mut link).await?, node);
    let drop = format!(
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}'"
    );
    link.query(&drop).await?;
    Ok(())
}

/// A connection that may read the WAL.
pub(super) async fn connect(target: &Target) -> Result<Replication, WalFault> {
    Replication::connect(target).await.map_err(|e| refused(target, e))
}

/// What a role that may not replicate is told.
fn refused(target: &Target, e: DbError) -> WalFault {
    // A missing right, and no entry in pg_hba.conf.
    match e.report() {
        Some(report) if matches!(report.sqlstate.as_str(), "42501" | "28000") => WalFault::NotAllowed {
            role: target.user().unwrap_or("of the operating system").to_owned(),
            why: report.message.clone(),
        },
        _ => WalFault::Database(e),
    }
}

/// The oid of the database that we are in.
pub(super) async fn database(link: &mut Replication) -> Result<u32, DbError> {
    let rows = link.query("select oid from pg_database where datname = current_database()").await?;
    rows.first().and_then(|row| number(row, 0)).ok_or_else(misunderstood)
}

enum Found {
    Missing,
    Invalidated,
    Usable { confirmed: u64 },
}

async fn find(link: &mut Replication, node: &Node, slot: &str) -> Result<Found, WalFault> {
    let ask = format!(
        "select plugin = 'pgoutput' and database = current_database() and not temporary, active, \
         wal_status = 'lost', confirmed_flush_lsn from pg_replication_slots where slot_name = '{slot}'"
    );
    let rows = link.query(&ask).await?;
    let Some(row) = rows.first() else { return Ok(Found::Missing) };
    if text(row, 0) != Some("t") {
        return Err(WalFault::NotOurs { slot: slot.to_owned() });
    }
    if text(row, 1) == Some("t") {
        return Err(held(link, node, slot).await?);
    }
    match text(row, 3).and_then(lsn) {
        Some(confirmed) if text(row, 2) != Some("t") => Ok(Found::Usable { confirmed }),
        _ => Ok(Found::Invalidated),
    }
}

async fn held(link: &mut Replication, node: &Node, slot: &str) -> Result<WalFault, DbError> {
    let ask = format!(
        "select s.active_pid, a.application_name, a.client_addr, date_trunc('second', a.backend_start) \
         from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid \
         where s.slot_name = '{slot}'"
    );
    let rows = link.query(&ask).await?;
    let part = |at: usize| rows.first().and_then(|row| text(row, at)).map(str::to_owned);
    let holder = Holder { pid: part(0), application_name: part(1), client_addr: part(2), since: part(3) };
    Ok(WalFault::Held { node: node.to_string(), holder: Box::new(holder) })
}

/// Makes a slot by this command. Returns the place from which it streams.
async fn create(link: &mut Replication, target: &Target, command: &str) -> Result<u64, WalFault> {
    let rows = link.query_within(command, CREATE_WITHIN).await.map_err(|e| refused(target, e))?;
    let begins = rows.first().and_then(|row| lsn(text(row, 1)?));
    Ok(begins.ok_or_else(misunderstood)?)
}

impl Wal {
    fn new(link: Replication, room: Room, begins: u64) -> Wal {
        let now = Instant::now();
        Wal {
            link,
            relations: HashMap::new(),
            open: None,
            room,
            received: begins,
            confirmed: begins,
            heard: now,
            due: now + STATUS_EVERY,
        }
    }

    /// Waits for what the stream brings next, and answers the server meanwhile. Nothing is lost if the future is
    /// dropped.
    pub async fn next(&mut self) -> Result<Event, WalFault> {
        loop {
            let now = Instant::now();
            if now >= self.due {
                if now.duration_since(self.heard) > SILENT_AT_MOST {
                    return Err(DbError::lost("the server has been silent for too long").into());
                }
                self.status(0, true).await?;
            }
            let Ok(received) = timeout_at(self.due, self.link.receive()).await else { continue };
            let Some(data) = received.map_err(ended)? else {
                return Err(DbError::lost("the server ended the stream of changes").into());
            };
            self.heard = Instant::now();
            if let Some(event) = self.take(data).await? {
                return Ok(event);
            }
        }
    }

    /// Moves the slot: what was committed up to there need not be streamed again. Never beyond what was received, and
    /// never back.
    pub async fn confirm(&mut self, lsn: u64) -> Result<(), WalFault> {
        let lsn = lsn.min(self.received);
        if lsn > self.confirmed {
            self.confirmed = lsn;
            self.status(lsn, false).await?;
            self.status(0, false).await?;
        }
        Ok(())
    }

    /// Asks how far the server is: a [position](Event::Position) follows.
    pub async fn ask(&mut self) -> Result<(), WalFault> {
        self.status(0, true).await
    }

    async fn status(&mut self, flushed: u64, reply: bool) -> Result<(), WalFault> {
        self.due = Instant::now() + STATUS_EVERY;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX).saturating_sub(EPOCH);
        let mut message = [0; 34];
        message[0] = b'r';
        for (field, value) in message[1..33].chunks_exact_mut(8).zip([self.received, flushed, flushed, now]) {
            field.copy_from_slice(&value.to_be_bytes());
        }
        message[33] = reply.into();
        Ok(self.link.send(&message).await?)
    }

    /// One message of the stream.
    async fn take(&mut self, mut data: Bytes) -> Result<Option<Event>, WalFault> {
        let kind = data.try_get_u8().unwrap_or_default();
        match kind {
            b'w' if data.len() >= 24 => {
                let begins = data.get_u64();
                data.advance(16);
                // A row of a transaction may stand before what was received already.
                self.received = self.received.max(begins);
                self.message(data)
            }
            b'k' if data.len() == 17 => {
                let position = data.get_u64();
                data.advance(8);
                self.received = self.received.max(position);
                if data.get_u8() == 1 {
                    self.status(0, false).await?;
                }
                // While a transaction is coming, what is behind it is not told.
                Ok(self.open.is_none().then_some(Event::Position(position)))
            }
            _ => Err(Malformed { message: kind, why: "it belongs to no stream" }.into()),
        }
    }

    fn message(&mut self, data: Bytes) -> Result<Option<Event>, WalFault> {
        let tag = data.first().copied().unwrap_or_default();
        let out_of_turn = Malformed { message: tag, why: "it does not belong here" };
        match Message::parse(&data)? {
            Message::Begin { xid, .. } => {
                let changes = Collector::new(self.room.clone());
                if self.open.replace(Open { xid, changes }).is_some() {
                    return Err(out_of_turn.into());
                }
            }
            Message::Commit { end, committed } => {
                let Open { xid, changes } = self.open.take().ok_or(out_of_turn)?;
                self.received = self.received.max(end);
                let changes = changes.finish();
                if changes.is_empty() {
                    return Ok(Some(Event::Position(end)));
                }
                let transaction = Transaction { xid, lsn: end, committed, changes };
                return Ok(Some(Event::Transaction(Arc::new(transaction))));
            }
            Message::Relation(relation) => {
                self.relations.insert(relation.oid, Arc::new(relation));
            }
            Message::Row { relation } => {
                let relation = self.relations.get(&relation).ok_or(out_of_turn)?;
                self.open.as_mut().ok_or(out_of_turn)?.changes.push(relation, &data);
            }
            Message::Truncate { relations } => {
                let open = self.open.as_mut().ok_or(out_of_turn)?;
                for relation in relations {
                    open.changes.push(self.relations.get(&relation).ok_or(out_of_turn)?, TRUNCATED);
                }
            }
            // Those of a transaction come with it.
            Message::Emitted { transactional: false, lsn, .. } if self.open.is_none() => {
                return Ok(Some(Event::Position(lsn)));
            }
            Message::Emitted { .. } | Message::Other => {}
        }
        Ok(None)
    }
}

/// Up to 17, Postgres ends the stream where there was no publication at the time; later ones skip what was written then.
fn ended(e: DbError) -> WalFault {
    if e.sqlstate() == Some("42704") { WalFault::Unreadable } else { WalFault::Database(e) }
}

fn text(row: &TextRow, at: usize) -> Option<&str> {
    row.get(at)?.as_deref()
}

fn number<N: std::str::FromStr>(row: &TextRow, at: usize) -> Option<N> {
    text(row, at)?.parse().ok()
}

/// Reads `16/B374D848`.
fn lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let half = |text| u32::from_str_radix(text, 16).ok().map(u64::from);
    Some(half(high)? << 32 | half(low)?)
}

fn misunderstood() -> DbError {
    DbError::driver("the walsender's answer cannot be understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_node_is_checked_and_its_slot_names_the_database() {
        let node = Node::parse("eu_1").unwrap();
        assert_eq!(slot_name(16384, &node), "basewright_16384_eu_1");
        // Postgres takes 63 characters.
        let longest = Node::parse(&"n".repeat(NAME)).unwrap();
        assert!(slot_name(u32::MAX, &longest).len() <= 63);
        for text in ["", "Main", "a-b", "a b", "a'b", "ä", &"n".repeat(NAME + 1)] {
            assert_eq!(Node::parse(text), Err(NoNode), "{text}");
        }
    }

    #[test]
    fn positions_are_read_as_postgres_writes_them() {
        assert_eq!(lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(lsn("0/0"), Some(0));
        for text in ["", "1", "1/", "/1", "1/2/3", "x/1", "100000000/1"] {
            assert_eq!(lsn(text), None, "{text}");
        }
    }
}
