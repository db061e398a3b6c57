//! Clearing away what time has ended: nobody asks for it any more, and the tables do not grow without it.

use serde::Serialize;

use super::desk::Desk;
use super::settings::seconds;
use crate::db::DbError;
use crate::error::Error;
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// Rows that one transaction clears away at most, and such transactions of one kind in a sweep.
const BATCH: i64 = 1_000;
const BATCHES: usize = 100;

/// How many rows were cleared away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    pub one_time_tokens: usize,
    pub flows: usize,
    pub challenges: usize,
    pub factors: usize,
    pub sessions: usize,
}

impl Desk {
    /// Clears away once what is over. Where another server is at it already, it leaves that to it.
    ///
    /// # Errors
    /// 503 where the database cannot be reached; what was cleared away until then is.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let sessions = self.settings()?.project.sessions.clone();
        // What expired stays for an hour, so that whoever comes late is told that he is late.
        let one_time_tokens = expired(
            "delete from auth.one_time_tokens where id in (select id from auth.one_time_tokens \
             where expires_at < now() - interval '1 h' limit ",
        );
        let flows = expired(
            "delete from auth.flows where id in (select id from auth.flows \
             where expires_at < now() - interval '1 h' limit ",
        );
        let challenges = expired(
            "delete from auth.challenges where id in (select id from auth.challenges \
             where expires_at < now() - interval '1 h' limit ",
        );
        let factors = expired(
            "delete from auth.factors where status = 'unverified' and id in (select id from auth.factors \
             where status = 'unverified' and created_at < now() - interval '1 d' limit ",
        );
        Ok(Swept {
            one_time_tokens: self.clear(&one_time_tokens).await?,
            flows: self.clear(&flows).await?,
            challenges: self.clear(&challenges).await?,
            factors: self.clear(&factors).await?,
            sessions: self.clear(&ended(seconds(sessions.time_box), seconds(sessions.inactivity))).await?,
        })
    }

    /// Runs a statement until it finds nothing more, in transactions that are short.
    async fn clear(&self, statement: &Sql) -> Result<usize, Error> {
        let mut cleared = 0;
        for _ in 0..BATCHES {
            let tx = self.pool().begin().await.map_err(DbError::into_error)?;
            let mut sql = Sql::new();
            sql.raw("select pg_try_advisory_xact_lock(hashtextextended('basewright.sweep', 0))");
            let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
            if rows.first().and_then(|row| row.boolean(0)) != Some(true) {
                tx.rollback().await.map_err(DbError::into_error)?;
                break;
            }
            let found = tx.query(statement).await.map_err(DbError::into_error)?.len();
            tx.commit().await.map_err(DbError::into_error)?;
            cleared += found;
            if i64::try_from(found).unwrap_or(i64::MAX) < BATCH {
                break;
            }
        }
        Ok(cleared)
    }
}

/// A statement of the form `delete … (select … limit`, completed.
fn expired(beginning: &'static str) -> Sql {
    let mut sql = Sql::new();
    sql.raw(beginning).number(BATCH).raw(" for update skip locked) returning 1");
    sql
}

/// Ends sessions that are older than their time, or were not used for too long. A session is no younger than its last
/// use, so that the index on its age finds both.
fn ended(time_box: i64, inactivity: i64) -> Sql {
    let span = |seconds: i64| Some(format!("{seconds} s"));
    let interval = Kind::one(Scalar::Interval);
    let mut sql = Sql::new();
    sql.raw(
        "with over as (select s.id from auth.sessions s left join auth.refresh_tokens t on t.session_id = s.id \
         where s.created_at < now() - least(",
    )
    .bind(interval, span(time_box))
    .raw(", ")
    .bind(interval, span(inactivity))
    .raw(") and (s.created_at < now() - ")
    .bind(interval, span(time_box))
    .raw(" or coalesce(t.refreshed_at, s.created_at) < now() - ")
    .bind(interval, span(inactivity))
    .raw(") limit ")
    .number(BATCH)
    .raw(
        " for update of s skip locked), ended as (delete from auth.sessions s using over o where s.id = o.id \
         returning s.id, s.user_id) insert into auth.audit_log (event, actor_role, subject, session_id, details) \
         select 'signed_out', 'server', e.user_id, e.id, '{\"reason\": \"expired\"}' from ended e returning 1",
    );
    sql
}
