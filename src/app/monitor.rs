//! What a running server keeps an eye on: whether Postgres answers, which tokens were revoked, whether the
//! file of keys changed. It has a connection of its own, so that a busy pool is not taken for a dead database.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{App, Readiness, now};
use crate::auth::keyfile;
use crate::auth::keys::Keyring;
use crate::db::{DbError, Pool};
use crate::error::Error;
use crate::sql::Sql;

/// How often it looks, and how long it waits for an answer. Together they bound how late a dead database is
/// noticed (2 s) and how long a revoked key lives on other nodes (1 s).
const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_millis(1_000);

/// What is watched, and for whom.
pub struct Watch {
    app: Arc<App>,
    /// A connection of its own.
    own: Pool,
    /// The file that the keyring came from, if it came from one, as it was then.
    keys: Option<(PathBuf, Stamp)>,
    /// Whether the audit log knows the keys in force.
    noted: bool,
}

impl Watch {
    /// `own` must be shared with nobody. `keys` is the file that the keyring came from.
    pub fn new(app: Arc<App>, own: Pool, keys: Option<PathBuf>) -> Watch {
        let keys = keys.map(|path| {
            let stamp = stamp_of(&path);
            (path, stamp)
        });
        Watch { app, own, keys, noted: false }
    }

    /// Looks at the database once: a server is not ready before it knows what is revoked.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn look(&self) -> Result<(), Error> {
        let mut sql = Sql::new();
        sql.raw("select jti from auth.revoked_keys");
        let rows = self.own.read(&sql).await.map_err(DbError::into_error)?;
        let ids = rows.iter().filter_map(|row| row.text(0));
        self.app.revocations().extend(ids);
        Ok(())
    }

    /// Looks until the server shuts down.
    pub async fn run(mut self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.app.is_draining() {
            ticks.tick().await;
            let readiness = match timeout(PATIENCE, self.look()).await {
                Ok(Ok(())) => Readiness::Ready,
                Ok(Err(error)) => {
                    let source = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
                    tracing::debug!(error = %error, source, "the database did not answer");
                    Readiness::Not("the database cannot be reached")
                }
                Err(_) => Readiness::Not("the database does not answer in time"),
            };
            if self.app.set_readiness(readiness) {
                match readiness {
                    Readiness::Ready => tracing::info!("ready again"),
                    Readiness::Not(reason) => tracing::warn!(reason, "not ready"),
                }
            }
            self.renew_keys();
            if !self.noted && readiness == Readiness::Ready {
                self.noted = self.app.desk().note_keys(&self.app.keys()).await.is_ok();
            }
        }
    }

    /// Takes over a changed file of keys. One that cannot be used changes nothing.
    fn renew_keys(&mut self) {
        let Some((path, stamp)) = &mut self.keys else { return };
        let seen = stamp_of(path);
        if seen == *stamp {
            return;
        }
        *stamp = seen;
        let put = |ring: Keyring| self.app.replace_keys(ring.issuing_as(self.app.keys().issuer()));
        match keyfile::take_over(path, now(), put) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "the keys changed");
                self.noted = false;
            }
            Err(fault) => {
                tracing::error!(fault = %fault, "the keys changed and cannot be used: the old ones stay");
            }
        }
    }
}

/// By what a changed file is known: it is always replaced as a whole.
type Stamp = Option<(SystemTime, u64)>;

fn stamp_of(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino()))
}
