//! The prepared statements of one connection: bounded, keyed by shape, each prepared once.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use lru::LruCache;
use postgres_types::{Kind, Type};
use tokio_postgres::{Client, Statement};

use super::DbError;
use crate::sql::{Param, Sql};

/// The protocol counts them with sixteen bits.
const MOST_PARAMS: usize = u16::MAX as usize;

/// A statement that is, or is being, prepared. Requests that ask meanwhile wait for the same preparation;
/// if the one who began it goes away, another one carries it on.
type Preparing = Shared<BoxFuture<'static, Result<Statement, DbError>>>;

struct Entry {
    /// The types of the parameters. One text with other types is another statement: it takes the place.
    oids: Box<[u32]>,
    statement: Preparing,
}

/// The least recently used statement leaves when another one needs its place, and is then closed on the server.
pub(super) struct Statements {
    entries: Mutex<LruCache<Box<str>, Entry>>,
}

impl Statements {
    pub(super) fn new(capacity: NonZeroUsize) -> Statements {
        Statements { entries: Mutex::new(LruCache::new(capacity)) }
    }

    fn entries(&self) -> MutexGuard<'_, LruCache<Box<str>, Entry>> {
        // Nothing in here panics half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The prepared statement for a text, prepared now if it is not yet.
    ///
    /// # Errors
    /// What Postgres says, and that there are more parameters than the protocol counts: the driver would only notice
    /// on the way out, and that looks like a connection that broke.
    pub(super) async fn get(&self, client: &Arc<Client>, sql: &Sql) -> Result<Statement, DbError> {
        if sql.params().len() > MOST_PARAMS {
            return Err(DbError::too_many());
        }
        let preparing = {
            let mut entries = self.entries();
            match entries.get(sql.text()) {
                Some(entry) if same_types(&entry.oids, sql.params()) => match entry.statement.peek() {
                    Some(Ok(statement)) => return Ok(statement.clone()),
                    // A preparation that failed, and nobody has cleared away yet.
                    Some(Err(_)) => prepare(&mut entries, client, sql),
                    None => entry.statement.clone(),
                },
                Some(_) | None => prepare(&mut entries, client, sql),
            }
        };
        let prepared = preparing.await;
        if prepared.is_err() {
            self.forget_failed(sql.text());
        }
        prepared
    }

    /// Forgets a statement that no longer fits the tables.
    pub(super) fn forget(&self, text: &str) {
        self.entries().pop(text);
    }

    fn forget_failed(&self, text: &str) {
        let mut entries = self.entries();
        if entries.peek(text).is_some_and(|entry| matches!(entry.statement.peek(), Some(Err(_)))) {
            entries.pop(text);
        }
    }
}

fn same_types(oids: &[u32], params: &[Param]) -> bool {
    oids.len() == params.len() && oids.iter().zip(params).all(|(oid, param)| *oid == param.oid)
}

fn prepare(entries: &mut LruCache<Box<str>, Entry>, client: &Arc<Client>, sql: &Sql) -> Preparing {
    let types: Vec<Type> = types(sql.params()).collect();
    let oids = types.iter().map(Type::oid).collect();
    let text: Box<str> = sql.text().into();
    let client = Arc::clone(client);
    let query = text.clone();
    let statement =
        async move { client.prepare_typed(&query, &types).await.map_err(|e| DbError::from_reading(&e)) }
            .boxed()
            .shared();
    entries.put(text, Entry { oids, statement: statement.clone() });
    statement
}

/// The declared types of parameters. Of one that the driver does not know only the oid matters: values
/// travel as text.
pub(super) fn types(params: &[Param]) -> impl ExactSizeIterator<Item = Type> {
    params.iter().map(|param| {
        Type::from_oid(param.oid)
            .unwrap_or_else(|| Type::new("unknown".into(), param.oid, Kind::Simple, "pg_catalog".into()))
    })
}
