//! [`Turns`]: one writer at a time for an upload that comes in pieces, on whichever server.
//!
//! A writer may take minutes, and must not keep a connection for as long. So all turns of a server are advisory locks of one
//! session: it ends with the process, however that dies, and Postgres gives its locks back. A session takes the same lock
//! twice, which is why a server also knows its own turns.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::db::{DbError, Pool, Row};
use crate::error::{Error, StorageCode};
use crate::model::Kind;
use crate::sql::Sql;

/// The turns of this server.
#[derive(Clone, Debug)]
pub struct Turns {
    /// One connection.
    session: Pool,
    taken: Arc<Mutex<HashSet<Uuid>>>,
}

/// A turn. Dropped, it is given back a moment later.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    upload: Uuid,
    is_held: bool,
}

impl Turns {
    /// `session` is a pool of one connection that nobody else uses.
    pub fn new(session: Pool) -> Turns {
        Turns { session, taken: Arc::default() }
    }

    /// Takes the turn of an upload.
    ///
    /// # Errors
    /// `ResourceLocked` where somebody else has it; 503 where the database cannot say.
    pub async fn take(&self, upload: Uuid) -> Result<Turn, Error> {
        if !self.taken.lock().insert(upload) {
            return Err(StorageCode::ResourceLocked.into());
        }
        // From here on it is given back, whether or not the lock was had: to give back what one has not does nothing.
        let turn = Turn { turns: self.clone(), upload, is_held: true };
        let rows = self.lock("select pg_try_advisory_lock(", upload).await.map_err(DbError::into_error)?;
        match rows.first().and_then(|row| row.boolean(0)) {
            Some(true) => Ok(turn),
            Some(false) | None => Err(StorageCode::ResourceLocked.into()),
        }
    }

    async fn lock(&self, beginning: &'static str, upload: Uuid) -> Result<Vec<Row>, DbError> {
        let mut sql = Sql::new();
        sql.raw(beginning).raw("hashtextextended('basewright.upload.' || ");
        sql.bind(Kind::UUID, Some(upload.to_string())).raw(", 0))");
        self.session.read(&sql).await
    }
}

impl Turns {
    async fn give_back(self, upload: Uuid) {
        if let Err(error) = self.lock("select pg_advisory_unlock(", upload).await {
            tracing::debug!(%error, "the session of turns is gone, and its turns with it");
        }
        self.taken.lock().remove(&upload);
    }
}

impl Turn {
    /// Gives the turn back. When this returns, the next one can have it.
    pub async fn give_back(mut self) {
        // Whoever waits no longer for this leaves it to `drop`.
        self.turns.clone().give_back(self.upload).await;
        self.is_held = false;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and its session with it.
        if self.is_held
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(self.turns.clone().give_back(self.upload));
        }
    }
}
