//! [`Lanes`]: a worker's own connections, shared by all its requests at once.
//!
//! A lane is one connection whose requests are pipelined: each is sent at once, behind the others, and the
//! answers come in order. That costs one system call for many requests where a pool pays two and a wake-up
//! each; but a slow statement holds up those behind it, so only statements known to be cheap belong here,
//! and writes, which may wait for a row's lock, have lanes of their own. Whatever waits longer than a moment for a lock
//! is refused here ([`DbError::waits_for_a_lock`]), undone, and belongs to the pool.
//!
//! There are no transactions here: each statement is one. Those that need more take the pool.

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use tokio::sync::watch;
use tokio_postgres::{Client, Statement};

use super::row::Text;
use super::sharing::{Sharing, Turn};
use super::statements::Statements;
use super::target::{Carrier, Limit};
use super::{DbError, Row, Target, position};
use crate::sql::{Param, Shared, Sql};

/// The pauses between attempts to connect: the first, and what they grow to.
const RECONNECT_AFTER: Duration = Duration::from_millis(50);
const RECONNECT_AFTER_AT_MOST: Duration = Duration::from_secs(2);

/// The longest that a statement may hold up those behind it by waiting for a lock.
const LOCK_WITHIN: Duration = Duration::from_millis(250);

/// How many connections, and how much each remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanesOptions {
    /// Connections for reads.
    pub reads: NonZeroUsize,
    /// Connections for writes.
    pub writes: NonZeroUsize,
    /// Prepared statements that each connection keeps.
    pub statements: NonZeroUsize,
    /// How long a request waits for the very first connection to come about.
    pub first_connection_within: Duration,
}

impl Default for LanesOptions {
    fn default() -> LanesOptions {
        const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);
        const STATEMENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
        LanesOptions {
            reads: TWO,
            writes: TWO,
            statements: STATEMENTS,
            first_connection_within: Duration::from_secs(5),
        }
    }
}

/// The connections of one worker. Dropping it closes them once their requests are answered.
#[derive(Debug)]
pub struct Lanes {
    reads: Arc<Group>,
    writes: Arc<Group>,
}

impl Lanes {
    /// Opens the lanes on the current runtime, whose thread then does their work. Returns at once: they
    /// connect in the background, and again whenever a connection is lost.
    pub fn open(target: &Target, options: LanesOptions) -> Lanes {
        let target = target.clone().waiting_for_locks(LOCK_WITHIN);
        let group = |count: NonZeroUsize, purpose| {
            let lane = |_| Lane::open(target.clone(), options.statements);
            Arc::new(Group {
                lanes: (0..count.get()).map(lane).collect(),
                purpose,
                sharing: Sharing::new(),
                first_connection_within: options.first_connection_within,
            })
        };
        Lanes {
            reads: group(options.reads, Purpose::Reading),
            writes: group(options.writes, Purpose::Writing),
        }
    }

    /// Runs a statement that changes nothing.
    ///
    /// Fails at once, with [`DbError::is_unavailable`], while there is no connection.
    pub async fn read(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        self.reads.run(sql).await
    }

    /// Offers a read to be answered together with others of the same shape. `shared` is the statement for many of
    /// them: it has this one's values in the same order, and a row of it begins with the request's number.
    pub async fn read_together(&self, sql: &Arc<Sql>, shared: impl FnOnce() -> Sql) -> Turn {
        // An operand that is no value of its kind is refused by Postgres, and with it whatever came along.
        if !sql.params().iter().all(Param::is_sound) {
            return Turn::Alone(None);
        }
        self.reads.turn(sql, || Shared::of(&shared())).await
    }

    /// Runs a statement that may change something, as a transaction of its own. Never sent twice: if the
    /// connection is lost under way, [`DbError::outcome_unknown`] says so.
    pub async fn write(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        self.writes.run(sql).await
    }

    /// As [`Lanes::write`], and says where the WAL is once it is committed: asked right behind it, so that no way to the
    /// database is paid for it. `None` if that could not be had, of a write that is done all the same.
    pub async fn write_positioned(&self, sql: &Sql) -> Result<(Vec<Row>, Option<u64>), DbError> {
        let position = position::ask();
        let (rows, after) = self.writes.run_before(sql, Some(&position)).await?;
        Ok((rows, after.as_deref().and_then(position::read)))
    }

    /// Offers a write to be made together with others of the same shape. `shared` is the statement for many of
    /// them, with this one's values; a row of it begins with the request's number. [`Turn::Alone`] was not written.
    pub async fn write_together(&self, shared: Sql) -> Turn {
        let shared = Arc::new(shared);
        self.writes.turn(&shared, || Shared::of(&shared)).await
    }
}

/// Connections for one purpose.
#[derive(Debug)]
pub(super) struct Group {
    lanes: Vec<Lane>,
    pub(super) purpose: Purpose,
    pub(super) sharing: Sharing,
    first_connection_within: Duration,
}

impl Group {
    pub(super) async fn run(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        self.run_before(sql, None).await.map(|(rows, _)| rows)
    }

    /// Runs a statement and, right behind it on the same connection, another one, whose failure is none of the first's.
    async fn run_before(
        &self,
        sql: &Sql,
        behind: Option<&Sql>,
    ) -> Result<(Vec<Row>, Option<Vec<Row>>), DbError> {
        let (lane, link) = self.pick().await?;
        let _under_way = lane.count();
        let outcome = match behind {
            None => link.run(sql, self.purpose).await.map(|rows| (rows, None)),
            Some(behind) => link.run_before(sql, behind, self.purpose).await,
        };
        if outcome.as_ref().is_err_and(DbError::connection_is_gone) {
            // Known here before the connection's own end is noticed: nobody else should try it.
            link.gone.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// The connected lane with the fewest requests under way.
    async fn pick(&self) -> Result<(&Lane, Arc<Link>), DbError> {
        if let Some(picked) = least_busy(&self.lanes) {
            return Ok(picked);
        }
        // Only a lane that never was connected is waited for: after a loss requests fail fast.
        for lane in &self.lanes {
            let mut state = lane.state.clone();
            let settled = state.wait_for(|state| !matches!(state, State::Connecting));
            // Either outcome, and a time-out, is read off the lanes below.
            let _ = tokio::time::timeout(self.first_connection_within, settled).await;
            if let Some(picked) = least_busy(&self.lanes) {
                return Ok(picked);
            }
        }
        let why = self.lanes.iter().find_map(|lane| match &*lane.state.borrow() {
            State::Down(why) => Some(why.to_string()),
            State::Connecting | State::Up(_) => None,
        });
        Err(DbError::unreachable(why.unwrap_or_else(|| "not connected yet".to_owned())))
    }
}

fn least_busy(lanes: &[Lane]) -> Option<(&Lane, Arc<Link>)> {
    lanes
        .iter()
        .filter_map(|lane| lane.link().map(|link| (lane, link)))
        .min_by_key(|(lane, _)| lane.under_way.load(Ordering::Relaxed))
}

#[derive(Clone, Debug)]
enum State {
    /// No attempt has ended yet.
    Connecting,
    Up(Arc<Link>),
    /// With the reason.
    Down(Arc<str>),
}

#[derive(Debug)]
struct Lane {
    state: watch::Receiver<State>,
    under_way: AtomicUsize,
}

impl Lane {
    fn open(target: Target, statements: NonZeroUsize) -> Lane {
        let (sender, state) = watch::channel(State::Connecting);
        tokio::spawn(drive(target, statements, sender));
        Lane { state, under_way: AtomicUsize::new(0) }
    }

    fn link(&self) -> Option<Arc<Link>> {
        match &*self.state.borrow() {
            State::Up(link) if !link.gone.load(Ordering::Relaxed) && !link.client.is_closed() => {
                Some(Arc::clone(link))
            }
            State::Up(_) | State::Connecting | State::Down(_) => None,
        }
    }

    /// Counts a request as under way until the guard is dropped, also if the request is abandoned.
    fn count(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps one lane connected until nobody holds its other end.
async fn drive(target: Target, statements: NonZeroUsize, state: watch::Sender<State>) {
    let mut pause = RECONNECT_AFTER;
    let mut known_down = false;
    let mut limit = target.limit();
    loop {
        limit.mark_unchanged();
        let opened = tokio::select! {
            () = state.closed() => return,
            opened = target.open() => opened,
        };
        let why = match opened {
            Ok((client, carrier)) => {
                if known_down {
                    tracing::info!("the database is there again");
                }
                (pause, known_down) = (RECONNECT_AFTER, false);
                match carry(client, carrier, statements, &state, &mut limit).await {
                    Some(why) => why,
                    None => return,
                }
            }
            Err(e) => e.to_string(),
        };
        if !known_down {
            tracing::warn!(%why, "no connection to the database: trying again");
            known_down = true;
        }
        state.send_replace(State::Down(why.into()));
        tokio::select! {
            () = state.closed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(RECONNECT_AFTER_AT_MOST);
    }
}

/// Serves requests over one connection until it ends, and says why; `None` if the lane was closed.
async fn carry(
    client: Client,
    mut carrier: Carrier,
    statements: NonZeroUsize,
    state: &watch::Sender<State>,
    limit: &mut watch::Receiver<Limit>,
) -> Option<String> {
    let client = Arc::new(client);
    let link = Link {
        client: Arc::clone(&client),
        statements: Statements::new(statements),
        gone: AtomicBool::new(false),
    };
    state.send_replace(State::Up(Arc::new(link)));
    loop {
        tokio::select! {
            ended = &mut carrier => return Some(match ended {
                Ok(()) => "the connection was closed".to_owned(),
                Err(e) => DbError::from_reading(&e).to_string(),
            }),
            Ok(()) = limit.changed() => {
                let (limit, client) = (*limit.borrow_and_update(), Arc::clone(&client));
                tokio::spawn(async move { limit.tell(&client).await });
            }
            () = state.closed() => {
                // Requests that are under way hold the client themselves; the carrier ends with the last of them.
                drop(client);
                state.send_replace(State::Down("closed".into()));
                if let Err(e) = carrier.await {
                    tracing::debug!(error = %e, "a lane's connection ended");
                }
                return None;
            }
        }
    }
}

/// What a statement is for. It decides how an error of the driver is to be understood, and whether an answer
/// may be cut short: what was written is written, so its answer is taken whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Reading,
    Writing,
}

impl Purpose {
    pub(super) fn fault(self, e: &tokio_postgres::Error) -> DbError {
        match self {
            Purpose::Reading => DbError::from_reading(e),
            Purpose::Writing => DbError::from_writing(e),
        }
    }
}

/// One live connection and what is prepared on it.
struct Link {
    client: Arc<Client>,
    statements: Statements,
    /// A request has met its end.
    gone: AtomicBool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    async fn run(&self, sql: &Sql, purpose: Purpose) -> Result<Vec<Row>, DbError> {
        let statement = self.statements.get(&self.client, sql).await?;
        match rows(&self.client, &statement, sql, purpose).await {
            // The tables changed under a prepared statement. It was refused before it did anything, so it
            // may be sent again; a second refusal is not about the preparation.
            Err(e) if e.statement_is_stale() => {
                self.statements.forget(sql.text());
                drop(statement);
                let statement = self.statements.get(&self.client, sql).await?;
                rows(&self.client, &statement, sql, purpose).await
            }
            outcome => outcome,
        }
    }

    async fn run_before(
        &self,
        sql: &Sql,
        behind: &Sql,
        purpose: Purpose,
    ) -> Result<(Vec<Row>, Option<Vec<Row>>), DbError> {
        // Both are prepared first: what is sent then is one statement right after the other.
        let first = self.statements.get(&self.client, sql).await?;
        let second = self.statements.get(&self.client, behind).await?;
        let (outcome, after) = futures_util::future::join(
            rows(&self.client, &first, sql, purpose),
            rows(&self.client, &second, behind, Purpose::Reading),
        )
        .await;
        match outcome {
            Err(e) if e.statement_is_stale() => {
                drop(first);
                // Run once more, which prepares it anew; what was asked behind it came too early.
                let rows = self.run(sql, purpose).await?;
                Ok((rows, self.run(behind, Purpose::Reading).await.ok()))
            }
            outcome => outcome.map(|rows| (rows, after.ok())),
        }
    }
}

async fn rows(
    client: &Client,
    statement: &Statement,
    sql: &Sql,
    purpose: Purpose,
) -> Result<Vec<Row>, DbError> {
    let stream = client.query_raw(statement, Text::all(sql.params())).await.map_err(|e| purpose.fault(&e))?;
    collect(stream, purpose).await
}

/// The most bytes of rows that one answer may have.
const MOST_BYTES: usize = 64 << 20;

/// All rows of an answer.
pub(super) async fn collect(
    stream: tokio_postgres::RowStream,
    purpose: Purpose,
) -> Result<Vec<Row>, DbError> {
    let mut stream = pin!(stream);
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(row) = stream.try_next().await.map_err(|e| purpose.fault(&e))? {
        bytes += row.raw_size_bytes();
        if purpose == Purpose::Reading && bytes > MOST_BYTES {
            return Err(DbError::too_large());
        }
        rows.push(Row::new(row));
    }
    Ok(rows)
}
