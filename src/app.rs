//! [`App`]: everything that a running server shares; [`Worker`]: what each of its threads owns.
//!
//! Built once, shut down once. Use cases take the parts that they need; only handlers see the whole.

pub mod caches;
pub mod monitor;

use std::cell::{RefCell, RefMut};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};

use self::caches::Caches;
use crate::auth::cache::TokenCache;
use crate::auth::desk::Desk;
use crate::auth::keys::Keyring;
use crate::auth::password::Hashing;
use crate::auth::revocation::Revocations;
use crate::catalog::Catalog;
use crate::db::{Lanes, Pool};
use crate::error::{Code, Error};
use crate::objects::Store;
use crate::objects::turn::Turns;
use crate::realtime::feed::Feed;
use crate::realtime::hub::Hub;

/// Verified tokens that each worker remembers.
const TOKENS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Seconds since the epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Whether the server can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Why not, for people.
    Not(&'static str),
}

/// What a running server shares between its threads.
pub struct App {
    /// The project in force; none before the database has its tables.
    catalog: ArcSwapOption<Catalog>,
    keys: Arc<ArcSwap<Keyring>>,
    caches: Caches,
    desk: Desk,
    pool: Pool,
    store: Store,
    turns: Turns,
    feed: Feed,
    hub: Hub,
    readiness: ArcSwap<Readiness>,
    draining: AtomicBool,
    panics: AtomicU64,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

impl App {
    /// A server that has no project yet. `own` are connections for signing in alone, `key_file` is where the keys are kept.
    pub fn new(
        keys: Keyring,
        key_file: Option<PathBuf>,
        pool: Pool,
        own: Pool,
        hashing: Hashing,
        store: Store,
        turns: Turns,
    ) -> App {
        let feed = Feed::new();
        let keys = Arc::new(ArcSwap::from_pointee(keys));
        App {
            catalog: ArcSwapOption::empty(),
            desk: Desk::new(own, feed.clone(), Arc::clone(&keys), key_file, hashing),
            keys,
            caches: Caches::new(feed.clone()),
            pool,
            store,
            turns,
            feed,
            hub: Hub::default(),
            readiness: ArcSwap::from_pointee(Readiness::Not("the server is starting")),
            draining: AtomicBool::new(false),
            panics: AtomicU64::new(0),
        }
    }

    /// The project in force. A request asks once and keeps the answer: everything that it does is judged
    /// by one version.
    ///
    /// # Errors
    /// 503 while the server is starting.
    pub fn catalog(&self) -> Result<Arc<Catalog>, Error> {
        self.catalog.load_full().ok_or_else(|| {
            Error::with(Code::Unavailable, "The server is starting: the database is not ready yet")
                .retry_after(1)
        })
    }

    /// Puts a project in force for all requests that begin from now on.
    pub fn publish(&self, catalog: Catalog) {
        let catalog = Arc::new(catalog);
        self.catalog.store(Some(Arc::clone(&catalog)));
        self.feed.judge_by(catalog);
    }

    pub fn keys(&self) -> Arc<Keyring> {
        self.keys.load_full()
    }

    /// Puts another keyring in force; what the old one vouched for is verified anew.
    pub fn replace_keys(&self, keys: Keyring) {
        self.keys.store(Arc::new(keys));
    }

    pub fn revocations(&self) -> &Revocations {
        self.caches.revocations()
    }

    /// What this node remembers of the database.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// Where users sign in.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// The shared connections: transactions of several steps, statements of unknown cost.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Where the content of objects lies.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who goes on with an upload that comes in pieces.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// The stream of changes.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// What channels say to each other, and how many sockets there are.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    pub fn readiness(&self) -> Readiness {
        if self.is_draining() {
            Readiness::Not("the server is shutting down")
        } else {
            **self.readiness.load()
        }
    }

    /// Sets the readiness. True if it changed.
    pub fn set_readiness(&self, readiness: Readiness) -> bool {
        **self.readiness.load() != readiness && {
            self.readiness.store(Arc::new(readiness));
            true
        }
    }

    /// Begins to shut down: balancers are told to go elsewhere, connections are closed after their answer,
    /// sockets at once.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.hub.drain();
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Counts a handler that panicked, and returns how many have since the start.
    pub fn count_panic(&self) -> u64 {
        self.panics.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What one thread of the server owns.
pub struct Worker {
    lanes: Lanes,
    tokens: RefCell<TokenCache>,
}

impl Worker {
    pub fn new(lanes: Lanes) -> Worker {
        Worker { lanes, tokens: RefCell::new(TokenCache::new(TOKENS)) }
    }

    /// This thread's pipelined connections.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// This thread's verified tokens. Not to be held across an await.
    pub fn tokens(&self) -> RefMut<'_, TokenCache> {
        self.tokens.borrow_mut()
    }
}
