//! Clearing away content that no object has: what was replaced or deleted, what was granted and never finished, and what a
//! killed server left behind.
//!
//! Content goes before the row that tells of it: whatever ends halfway is done again by the next sweep. Servers that
//! share a database take turns a batch.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::blobs::{BlobFault, Blobs, Progress};
use super::version::{Hour, Version};
use crate::db::{DbError, Pool, Row, Tx};
use crate::error::Error;
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// Contents that one transaction clears away at most, and such transactions of one kind in a sweep.
const BATCH: i64 = 200;
const BATCHES: usize = 50;
/// Uploads in one transaction: a store is asked several times for each, and Postgres does not wait for long.
const UPLOADS: i64 = 24;
/// Contents that are looked up together.
const NAMES: usize = 500;
/// Contents that are removed at the same time: a store answers each after a while.
const AT_ONCE: usize = 8;
/// How old something has to be that has no row before it counts as left behind: no upload lasts longer.
pub const GRACE: Duration = Duration::from_secs(24 * 3_600);
/// How far before that a server looks which was just started.
const LOOK_BACK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How much was cleared away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cleared {
    /// What objects had before.
    pub replaced: usize,
    /// Uploads whose time was over.
    pub uploads: usize,
    /// Content that no row tells of.
    pub orphans: usize,
    /// Uploads that were under way in a server that is no more.
    pub under_way: usize,
}

/// Clears away for one server, or for a command.
pub struct Sweeper<'a> {
    pub pool: &'a Pool,
    pub blobs: &'a Blobs,
}

/// What became of a batch.
enum Batch {
    /// So many were cleared away, and there may be more.
    Some(usize),
    /// So many, and that was all.
    Last(usize),
}

impl Sweeper<'_> {
    /// Clears away what is over: what objects had until a minute ago, and uploads that ended an hour ago.
    ///
    /// # Errors
    /// 503 where the database or the store cannot be reached; what was cleared away until then is.
    pub async fn over(&self) -> Result<Cleared, Error> {
        let uploads = self.repeat(async || self.uploads().await).await;
        let replaced = self.repeat(async || self.trash("1 min").await).await;
        Ok(Cleared { uploads: uploads?, replaced: replaced?, ..Cleared::default() })
    }

    /// Clears away all that is over, be it ever so young, and all that no row tells of and that is older than `grace`.
    /// What is being stored at this moment has no row yet: it has to be younger than that.
    ///
    /// # Errors
    /// As [`Sweeper::over`].
    pub async fn all(&self, grace: Duration) -> Result<Cleared, Error> {
        let uploads = self.repeat(async || self.uploads().await).await;
        let replaced = self.repeat(async || self.trash("0 s").await).await;
        let cleared = self.left_behind(grace, None).await?.0;
        Ok(Cleared { uploads: uploads?, replaced: replaced?, ..cleared })
    }

    /// Clears away what no row tells of in the hours that were not looked at yet: those after `seen`, or the week before
    /// `grace`. Answers up to where it has looked.
    ///
    /// # Errors
    /// As [`Sweeper::over`].
    pub async fn recent(&self, seen: Option<&Hour>) -> Result<(Cleared, Hour), Error> {
        let begin = Version::before(GRACE + LOOK_BACK).hour();
        self.left_behind(GRACE, Some(seen.unwrap_or(&begin))).await
    }

    async fn left_behind(&self, grace: Duration, after: Option<&Hour>) -> Result<(Cleared, Hour), Error> {
        let youngest = Version::before(grace);
        let last = youngest.hour();
        let mut orphans = self.pieces(grace).await?;
        for hour in self.blobs.hours().await? {
            // An hour is looked at again until it is past as a whole.
            if hour > last || after.is_some_and(|after| hour < *after) {
                continue;
            }
            let mut found = 0;
            let mut batches = self.blobs.list(&hour).try_ready_chunks(NAMES);
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(|error| error.1)?;
                found += batch.len();
                let old = batch.iter().map(|one| one.version).filter(|version| version.is_older(youngest));
                orphans += self.remove_orphans(old.collect()).await?;
            }
            if found == 0 {
                self.blobs.tidy(&hour).await?;
            }
        }
        let under_way = self.blobs.sweep_under_way(grace).await?;
        Ok((Cleared { orphans, under_way, ..Cleared::default() }, last))
    }

    /// Pieces of uploads that are no more.
    async fn pieces(&self, grace: Duration) -> Result<usize, Error> {
        let mut cleared = 0;
        let mut batches = self.blobs.unfinished().try_ready_chunks(NAMES);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| error.1)?;
            let is_old = |at: std::time::SystemTime| at.elapsed().unwrap_or_default() >= grace;
            let old: Vec<Version> =
                batch.iter().filter(|one| is_old(one.at)).map(|one| one.version).collect();
            let orphans = self.without_row(old).await?;
            for version in &orphans {
                self.blobs.discard(*version, &Progress::default()).await?;
            }
            cleared += orphans.len();
        }
        Ok(cleared)
    }

    async fn remove_orphans(&self, versions: Vec<Version>) -> Result<usize, Error> {
        let orphans = self.without_row(versions).await?;
        let remove = async |version: &Version| self.blobs.remove(*version).await;
        Ok(each(&orphans, remove).await?.0.len())
    }

    /// Those of which no row tells.
    async fn without_row(&self, versions: Vec<Version>) -> Result<Vec<Version>, Error> {
        if versions.is_empty() {
            return Ok(versions);
        }
        let mut sql = Sql::new();
        sql.raw("select v.version::text from unnest(").bind(UUIDS, Some(array(&versions)));
        sql.raw(
            ") as v (version) where not exists (select 1 from storage.objects o where o.version = v.version) \
             and not exists (select 1 from storage.uploads u where u.version = v.version)",
        );
        let rows = self.pool.read(&sql).await.map_err(DbError::into_error)?;
        Ok(rows.iter().filter_map(|row| version(row, 0)).collect())
    }

    async fn repeat(&self, batch: impl AsyncFn() -> Result<Batch, Error>) -> Result<usize, Error> {
        let mut cleared = 0;
        for _ in 0..BATCHES {
            match batch().await? {
                Batch::Some(some) => cleared += some,
                Batch::Last(some) => return Ok(cleared + some),
            }
        }
        Ok(cleared)
    }

    /// A transaction in which no other server clears away. `None` if one is at it already.
    async fn turn(&self) -> Result<Option<Tx>, Error> {
        let tx = self.pool.begin().await.map_err(DbError::into_error)?;
        let mut sql = Sql::new();
        sql.raw("select pg_try_advisory_xact_lock(hashtextextended('basewright.storage.sweep', 0))");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        if rows.first().and_then(|row| row.boolean(0)) == Some(true) {
            return Ok(Some(tx));
        }
        tx.rollback().await.map_err(DbError::into_error)?;
        Ok(None)
    }

    /// What objects had before.
    async fn trash(&self, age: &str) -> Result<Batch, Error> {
        let Some(tx) = self.turn().await? else { return Ok(Batch::Last(0)) };
        let mut sql = Sql::new();
        // Readers that have just been told of a version find it for a while.
        sql.raw("select t.version::text from storage.trash t where t.at <= now() - ");
        sql.bind(Kind::one(Scalar::Interval), Some(age.to_owned()));
        sql.raw(" and not exists (select 1 from storage.objects o where o.version = t.version) order by t.at limit ");
        sql.number(BATCH).raw(" for update of t skip locked");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let found: Vec<Version> = rows.iter().filter_map(|row| version(row, 0)).collect();
        let (removed, failed) = each(&found, async |version| self.blobs.remove(*version).await).await?;
        let mut sql = Sql::new();
        sql.raw("delete from storage.trash where version = any(");
        sql.bind(UUIDS, Some(array(&removed))).raw(") returning 1");
        tx.query(&sql).await.map_err(DbError::into_error)?;
        if !failed.is_empty() {
            // They wait behind all others.
            let mut sql = Sql::new();
            sql.raw("update storage.trash set at = now() where version = any(");
            sql.bind(UUIDS, Some(array(&failed))).raw(")");
            tx.query(&sql).await.map_err(DbError::into_error)?;
        }
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(counted(removed.len(), rows.len(), BATCH))
    }

    /// Uploads that ended without an object, an hour ago: whoever is still at one gets to know that first.
    async fn uploads(&self) -> Result<Batch, Error> {
        let Some(tx) = self.turn().await? else { return Ok(Batch::Last(0)) };
        let mut sql = Sql::new();
        // Those that go on with a signed one go before it: with its row theirs would go, and what they have sent stay.
        sql.raw(
            "select u.id::text, u.kind = 'resumable' and not exists (select 1 from storage.objects o where o.version = u.version), \
             u.version::text, coalesce(u.progress, '{\"offset\": 0}')::text from storage.uploads u left join storage.uploads g on g.id = u.granted_by \
             where least(u.expires_at, g.expires_at) < now() - interval '1 h' \
             and not exists (select 1 from storage.uploads c where c.granted_by = u.id) order by u.expires_at limit ",
        );
        sql.number(UPLOADS).raw(" for update of u skip locked");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let found: Vec<Over> = rows.iter().filter_map(Over::of).collect();
        let discard = async |over: &Over| match &over.content {
            None => Ok(()),
            Some((version, progress)) => {
                self.blobs.discard(*version, progress).await?;
                // All of it may have been there when the server died that had it.
                self.blobs.remove(*version).await
            }
        };
        let (done, failed) = each(&found, discard).await?;
        let ids = |some: &[Over]| {
            let ids: Vec<&str> = some.iter().map(|over| over.id.as_str()).collect();
            Some(format!("{{{}}}", ids.join(",")))
        };
        let mut sql = Sql::new();
        sql.raw("delete from storage.uploads where id = any(").bind(UUIDS, ids(&done)).raw(") returning 1");
        let deleted = tx.query(&sql).await.map_err(DbError::into_error)?.len();
        if !failed.is_empty() {
            // They are tried again in an hour, behind all others.
            let mut sql = Sql::new();
            sql.raw("update storage.uploads set expires_at = now() where id = any(")
                .bind(UUIDS, ids(&failed))
                .raw(")");
            tx.query(&sql).await.map_err(DbError::into_error)?;
        }
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(counted(deleted, rows.len(), UPLOADS))
    }
}

/// An upload that is over.
#[derive(Clone)]
struct Over {
    id: String,
    /// Of one that came in pieces and is no object's.
    content: Option<(Version, Progress)>,
}

impl Over {
    fn of(row: &Row) -> Option<Over> {
        let progress = || row.text(3).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let content = match row.boolean(1) {
            Some(true) => Some((version(row, 2)?, progress())),
            Some(false) | None => None,
        };
        Some(Over { id: row.text(0)?.to_owned(), content })
    }
}

/// Does something to each, several at a time, and says for which it worked and for which not: one that the store keeps
/// refusing must not hold up the others.
///
/// # Errors
/// Where it worked for none.
async fn each<T: Clone>(
    all: &[T],
    work: impl AsyncFn(&T) -> Result<(), BlobFault>,
) -> Result<(Vec<T>, Vec<T>), BlobFault> {
    let outcomes: Vec<(usize, Result<(), BlobFault>)> = stream::iter(0..all.len())
        .map(|at| {
            let work = work(&all[at]);
            async move { (at, work.await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (mut done, mut failed, mut last) = (Vec::new(), Vec::new(), None);
    for (at, outcome) in outcomes {
        match outcome {
            Ok(()) => done.push(all[at].clone()),
            Err(fault) => {
                tracing::debug!(%fault, "content is cleared away another time");
                failed.push(all[at].clone());
                last = Some(fault);
            }
        }
    }
    match last {
        Some(fault) if done.is_empty() => Err(fault),
        Some(_) | None => Ok((done, failed)),
    }
}

const UUIDS: Kind = Kind::many(Scalar::Uuid);
/// A batch that was full may not have been the last one, unless nothing came of it.
fn counted(done: usize, found: usize, batch: i64) -> Batch {
    let is_full = i64::try_from(found).is_ok_and(|found| found >= batch);
    if !is_full || done == 0 { Batch::Last(done) } else { Batch::Some(done) }
}

pub(super) fn version(row: &Row, column: usize) -> Option<Version> {
    row.text(column).and_then(Version::parse)
}

/// Versions as Postgres reads an array.
pub(super) fn array(versions: &[Version]) -> String {
    let versions: Vec<String> = versions.iter().map(Version::to_string).collect();
    format!("{{{}}}", versions.join(","))
}
