//! [`Watch`]: looks at the server beside the stream: how far its WAL is, whether the publication is as it was, and that
//! other nodes see this one live.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::publication::Published;
use super::wal::Node;
use crate::db::{DbError, Pool, Target};
use crate::sql::Sql;

/// How often the position is asked for: what a node remembers is trusted for a second after.
const EVERY: Duration = Duration::from_millis(250);
/// Every so many looks, at the publication, too.
const PUBLICATION: u32 = 4;
/// Every so many looks, this node says that it lives: that is WAL, too.
const ALIVE: u32 = 120;
/// Every so many looks, it looks for nodes that are gone.
const SWEEP: u32 = 240;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was seen.
pub(super) struct Sighting {
    /// When it was asked.
    pub(super) asked: Instant,
    /// Whatever was acknowledged before it was asked ends at or before this.
    pub(super) flushed: u64,
    /// Whatever is visible to anybody ends at or before this.
    pub(super) inserted: u64,
    /// How much WAL the replay window may hold back.
    pub(super) wal_bound: u64,
    pub(super) published: Option<Published>,
}

pub(super) struct Watch {
    pool: Pool,
    replication: Target,
    node: Node,
    /// How long the slot of a node that is gone is kept.
    kept: Duration,
    sightings: mpsc::Sender<Sighting>,
    barriers: (mpsc::Sender<()>, mpsc::Receiver<()>),
}

impl Watch {
    pub(super) fn new(
        pool: Pool,
        replication: Target,
        node: Node,
        kept: Duration,
        sightings: mpsc::Sender<Sighting>,
    ) -> Watch {
        Watch { pool, replication, node, kept, sightings, barriers: mpsc::channel(1) }
    }

    /// Asks for a commit that nobody sees: the WAL up to it is then written out and streamed.
    pub(super) fn barrier(&self) -> mpsc::Sender<()> {
        self.barriers.0.clone()
    }

    pub(super) async fn run(mut self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let look = timeout(PATIENCE, self.look(looks % PUBLICATION == 0)).await;
                    looks += 1;
                    if let Ok(Ok(sighting)) = look
                        && self.sightings.send(sighting).await.is_err()
                    {
                        return;
                    }
                    if looks % ALIVE == 0 {
                        let alive = timeout(PATIENCE, super::nodes::alive(&self.pool, &self.node)).await;
                        if let Ok(Err(error)) = alive {
                            tracing::debug!(%error, "the node's sign of life was not kept");
                        }
                    }
                    if looks % SWEEP == 0 {
                        self.sweep().await;
                    }
                }
                Some(()) = self.barriers.1.recv() => {
                    let mut sql = Sql::new();
                    sql.raw("select pg_logical_emit_message(true, 'basewright', '')");
                    if let Ok(Err(error)) = timeout(PATIENCE, self.pool.query(&sql)).await {
                        tracing::debug!(%error, "the WAL was not written out");
                    }
                }
            }
        }
    }

    /// Slots of nodes that are gone hold back WAL for nobody.
    async fn sweep(&self) {
        let sweep = super::nodes::sweep(&self.pool, &self.replication, &self.node, self.kept);
        if let Ok(Err(error)) = timeout(PATIENCE, sweep).await {
            tracing::debug!(%error, "nodes that are gone were not looked for");
        }
    }

    async fn look(&self, publication: bool) -> Result<Sighting, DbError> {
        let asked = Instant::now();
        let mut sql = Sql::new();
        sql.raw(
            "select (pg_current_wal_flush_lsn() - '0/0')::bigint, (pg_current_wal_insert_lsn() - '0/0')::bigint, \
             (select case when setting::bigint < 0 then null else setting::bigint end from pg_settings where name = 'max_slot_wal_keep_size')",
        );
        let rows = self.pool.read(&sql).await?;
        let number =
            |at: usize| rows.first().and_then(|row| row.integer(at)).and_then(|n| u64::try_from(n).ok());
        // In megabytes. A slot that holds back as much as it may is cut off: well below.
        let wal_bound = number(2).map_or(256 << 20, |megabytes| ((megabytes << 20) / 4).min(256 << 20));
        let published = if publication { Some(Published::read(&self.pool).await?) } else { None };
        Ok(Sighting {
            asked,
            flushed: number(0).unwrap_or(u64::MAX),
            inserted: number(1).unwrap_or(u64::MAX),
            wal_bound,
            published,
        })
    }
}
