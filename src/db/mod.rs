//! Postgres: a worker's pipelined lanes, the shared pool, the statement cache, the embedded server,
//! system migrations, SQLSTATE → Error.
//!
//! What it must not know: collections, policies, HTTP. It runs [`Sql`](crate::sql::Sql) and says what came of it.

mod check;
mod embedded;
mod fault;
mod lanes;
mod migrate;
mod pool;
mod position;
mod replication;
mod row;
mod setup;
mod sharing;
mod statements;
mod target;
mod tls;

pub use check::{Server, check_server};
pub use embedded::{DataLock, Embedded, run_if_postgres_child};
pub use fault::{DbError, Report};
pub use lanes::{Lanes, LanesOptions};
pub use migrate::{Applied, Migration, SYSTEM_MIGRATIONS, migrate, migrate_with};
pub use pool::{Pool, Tx};
pub use replication::{Replication, TextRow};
pub use row::Row;
pub use setup::SetupError;
pub use sharing::{Lead, Turn};
pub use target::{Session, Target, Urls};
