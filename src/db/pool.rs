//! [`Pool`]: connections that one request has to itself: transactions, statements of unknown cost, admin.
//!
//! Most statements here are not kept prepared: text, values and execution travel in one message, the planner sees
//! the values (which matters most for just these statements), and nothing can go stale or pile up. Those whose
//! plan does not hang on their values are: of a read with several embeds, planning is half of the work.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Object, PoolError, RecyclingMethod, Runtime,
    TimeoutType,
};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use postgres_types::Type;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::lanes::{Purpose, collect};
use super::row::Text;
use super::statements::{countable, types};
use super::{DbError, Row, SetupError, Target, position};
use crate::sql::Sql;

/// How long a request waits for a connection to become free.
const WAIT_AT_MOST: Duration = Duration::from_secs(5);

/// Prepared statements that a connection keeps; with one more, it begins anew.
const PREPARED: usize = 128;

/// A bounded number of connections, made when needed and shared by all threads.
#[derive(Clone, Debug)]
pub struct Pool {
    connections: deadpool_postgres::Pool,
}

impl Pool {
    /// Connects to nothing yet.
    pub fn open(target: &Target, size: usize) -> Result<Pool, SetupError> {
        Pool::with_wait(target, size, WAIT_AT_MOST)
    }

    /// [`Pool::open`] with another limit to the wait for a free connection.
    pub fn with_wait(target: &Target, size: usize, wait: Duration) -> Result<Pool, SetupError> {
        Pool::build(target, size, wait, true)
    }

    /// One connection that stays for as long as it works, for what is kept in its session: another limit of statements
    /// does not replace it.
    pub fn lasting(target: &Target) -> Result<Pool, SetupError> {
        Pool::build(target, 1, WAIT_AT_MOST, false)
    }

    fn build(target: &Target, size: usize, wait: Duration, renews: bool) -> Result<Pool, SetupError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(target.config().clone(), Opening(target.clone()), recycling);
        let limit = target.limit();
        // A connection that began under another limit of statements leaves: a new one takes its place.
        let current = Hook::sync_fn(move |_, metrics| {
            let outdated = renews && metrics.created <= limit.borrow().since;
            if outdated { Err(HookError::message("its limit of statements changed")) } else { Ok(()) }
        });
        let connections = deadpool_postgres::Pool::builder(manager)
            .pre_recycle(current)
            .max_size(size)
            .wait_timeout(Some(wait))
            .create_timeout(Some(WAIT_AT_MOST))
            .recycle_timeout(Some(WAIT_AT_MOST))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| SetupError::new("the pool of database connections cannot be made").source(e))?;
        Ok(Pool { connections })
    }

    /// Closes the pool: idle connections now, those in use when they come back. Later requests fail.
    pub fn close(&self) {
        self.connections.close();
    }

    /// Runs a statement that changes nothing.
    pub async fn read(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        run(&*self.get().await?, sql, Purpose::Reading).await
    }

    /// As [`Pool::read`], and keeps the statement prepared for the next time.
    pub async fn read_again(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        let connection = self.get().await?;
        match run_prepared(&connection, sql).await {
            // The tables changed under it. A second refusal is not about the preparation.
            Err(e) if e.statement_is_stale() => {
                connection.statement_cache.clear();
                run_prepared(&connection, sql).await
            }
            outcome => outcome,
        }
    }

    /// Runs a statement that may change something, as a transaction of its own.
    pub async fn query(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        run(&*self.get().await?, sql, Purpose::Writing).await
    }

    /// As [`Pool::query`], and says where the WAL is once it is committed. `None` if that could not be had, of a
    /// statement that has run all the same.
    pub async fn query_positioned(&self, sql: &Sql) -> Result<(Vec<Row>, Option<u64>), DbError> {
        let connection = self.get().await?;
        let position = position::ask();
        // Sent one right after the other.
        let (outcome, after) = futures_util::future::join(
            run(&connection, sql, Purpose::Writing),
            run(&connection, &position, Purpose::Reading),
        )
        .await;
        outcome.map(|rows| (rows, after.ok().as_deref().and_then(position::read)))
    }

    /// Where the WAL is: whatever is committed when this is asked ends at or before it.
    pub async fn position(&self) -> Result<Option<u64>, DbError> {
        Ok(position::read(&self.read(&position::ask()).await?))
    }

    /// Runs statements as one transaction in one round trip: all are done, or the first error and none.
    /// None can depend in its text on the answer of an earlier one; that takes [`Pool::begin`].
    pub async fn transact(&self, statements: &[Sql]) -> Result<Vec<Vec<Row>>, DbError> {
        let connection = self.get().await?;
        let client: &Client = &connection;
        let mut steps: Vec<BoxFuture<'_, Result<Vec<Row>, DbError>>> =
            Vec::with_capacity(statements.len() + 2);
        steps.push(order(client, "begin").boxed());
        steps.extend(statements.iter().map(|sql| run(client, sql, Purpose::Writing).boxed()));
        // After an error this rolls back: the server knows no other end of a failed transaction.
        steps.push(order(client, "commit").boxed());
        let answers: Vec<Vec<Row>> = sent_in_order(steps).await.into_iter().collect::<Result<_, _>>()?;
        Ok(answers.into_iter().skip(1).take(statements.len()).collect())
    }

    /// Begins a transaction on a connection that it has to itself until it ends.
    pub async fn begin(&self) -> Result<Tx, DbError> {
        let connection = self.get().await?;
        // Made before the order is sent: from then on the connection goes back only at the transaction's end.
        let tx = Tx { connection: Some(connection), failed: AtomicBool::new(false) };
        order(tx.client()?, "begin").await?;
        Ok(tx)
    }

    async fn get(&self) -> Result<Object, DbError> {
        self.connections.get().await.map_err(|e| match e {
            PoolError::Timeout(TimeoutType::Wait) => DbError::busy(),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
                DbError::unreachable("no connection came about in time")
            }
            PoolError::Backend(e) => DbError::from_connecting(&e),
            PoolError::Closed => DbError::unreachable("the server is stopping"),
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => DbError::driver(e.to_string()),
        })
    }
}

/// A transaction. Dropped without [`Tx::commit`], it takes its connection with it, which undoes it.
#[derive(Debug)]
pub struct Tx {
    connection: Option<Object>,
    failed: AtomicBool,
}

impl Tx {
    fn client(&self) -> Result<&Client, DbError> {
        match &self.connection {
            Some(connection) => Ok(connection),
            None => Err(DbError::driver("the transaction has ended")),
        }
    }

    /// Runs a statement. Statements polled together are pipelined, in the order of their first poll.
    pub async fn query(&self, sql: &Sql) -> Result<Vec<Row>, DbError> {
        self.note(run(self.client()?, sql, Purpose::Reading).await)
    }

    /// Runs a script of ours that takes no values.
    pub async fn batch(&self, script: &'static str) -> Result<(), DbError> {
        let done = self.client()?.batch_execute(script).await;
        self.note(done.map_err(|e| DbError::from_reading(&e)))
    }

    fn note<T>(&self, outcome: Result<T, DbError>) -> Result<T, DbError> {
        if outcome.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Makes everything lasting. Refused after a failed statement: the server would roll back and say nothing.
    pub async fn commit(mut self) -> Result<(), DbError> {
        if self.failed.load(Ordering::Relaxed) {
            self.end("rollback").await?;
            return Err(DbError::driver("commit of a transaction in which a statement failed"));
        }
        self.end("commit").await
    }

    /// Undoes everything, and gives the connection back.
    pub async fn rollback(mut self) -> Result<(), DbError> {
        self.end("rollback").await
    }

    async fn end(&mut self, word: &'static str) -> Result<(), DbError> {
        order(self.client()?, word).await?;
        drop(self.connection.take());
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Out of the pool, and closed: the server rolls back.
            drop(Object::take(connection));
        }
    }
}

async fn order(client: &Client, word: &'static str) -> Result<Vec<Row>, DbError> {
    client.batch_execute(word).await.map_err(|e| DbError::from_writing(&e)).map(|()| Vec::new())
}

async fn run(client: &Client, sql: &Sql, purpose: Purpose) -> Result<Vec<Row>, DbError> {
    countable(sql)?;
    let params = Text::all(sql.params()).zip(types(sql.params()));
    let stream = client.query_typed_raw(sql.text(), params).await.map_err(|e| purpose.fault(&e))?;
    collect(stream, purpose).await
}

async fn run_prepared(connection: &Object, sql: &Sql) -> Result<Vec<Row>, DbError> {
    countable(sql)?;
    let cache = &connection.statement_cache;
    let types: Vec<Type> = types(sql.params()).collect();
    if cache.size() > PREPARED {
        cache.clear();
    }
    let prepared = connection.prepare_typed_cached(sql.text(), &types).await;
    let statement = prepared.map_err(|e| DbError::from_reading(&e))?;
    let stream = connection.query_raw(&statement, Text::all(sql.params())).await;
    collect(stream.map_err(|e| Purpose::Reading.fault(&e))?, Purpose::Reading).await
}

/// Runs futures at once, each polled for the first time in the order given: that is when they send.
async fn sent_in_order<T>(steps: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut steps: Vec<MaybeDone<BoxFuture<'_, T>>> = steps.into_iter().map(maybe_done).collect();
    poll_fn(|context| {
        let mut done = true;
        for step in &mut steps {
            done &= Pin::new(step).poll_unpin(context).is_ready();
        }
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    steps.iter_mut().filter_map(|step| Pin::new(step).take_output()).collect()
}

/// Connections by way of [`Target`], TLS and all.
struct Opening(Target);

impl Connect for Opening {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + '_>>
    {
        Box::pin(async {
            let mut limit = self.0.limit();
            let (client, carrier) = self.0.open_plainly().await?;
            let carrying = tokio::spawn(async move {
                if let Err(e) = carrier.await {
                    tracing::debug!(error = %e, "a pooled connection ended");
                }
            });
            if limit.has_changed().unwrap_or(false) {
                let limit = *limit.borrow_and_update();
                limit.tell(&client).await?;
            }
            Ok((client, carrying))
        })
    }
}
