//! What the private cluster is told: its settings, who may connect, and the roles and database in it.

use tokio_postgres::{Client, NoTls};

use super::account::Account;
use crate::db::{SetupError, Urls};

/// The bootstrap superuser. Only set-up connects as it.
pub(super) const ADMIN: &str = "basewright_admin";
/// Owns the database and everything in it; system migrations and schema changes run as it.
const MIGRATE: &str = "basewright_migrate";
/// What requests run as: rows, and nothing else.
const RUNTIME: &str = "basewright_runtime";
/// Reads the WAL.
const REPLICATION: &str = "basewright_replication";
const DATABASE: &str = "basewright";

/// Our settings, included at the end of `postgresql.conf`: `sockets` holds no character that needs quoting.
///
/// `fsync` and its kin are not mentioned: they stay on.
pub(super) fn conf(sockets: &str) -> String {
    format!(
        "# Written by basewright at every start.\n\
         listen_addresses = ''\n\
         unix_socket_directories = '{sockets}'\n\
         unix_socket_permissions = 0700\n\
         port = 5432\n\
         max_connections = 200\n\
         shared_buffers = '128MB'\n\
         jit = off\n\
         wal_level = logical\n\
         max_wal_senders = 32\n\
         max_replication_slots = 32\n\
         # A slot that nobody reads must not fill the disk.\n\
         max_slot_wal_keep_size = '1GB'\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n\
         lc_messages = 'C'\n\
         logging_collector = off\n\
         log_destination = 'stderr'\n\
         log_min_messages = 'warning'\n\
         # Neither rows (in details) nor statements belong in a log.\n\
         log_error_verbosity = 'terse'\n\
         log_min_error_statement = 'panic'\n\
         log_statement = 'none'\n"
    )
}

/// Who may connect: by socket only, and by the kernel's word for who that is. No secret to keep or to leak;
/// the socket's folder is closed to everybody else besides.
pub(super) const HBA: &str = "# Written by basewright at every start.\nlocal all all peer map=basewright\n";

/// Our own account and that of Postgres may connect as each of the cluster's roles.
pub(super) fn ident(accounts: &[&Account]) -> String {
    let mut text = "# Written by basewright at every start.\n".to_owned();
    for account in accounts {
        for role in [ADMIN, MIGRATE, RUNTIME, REPLICATION] {
            text += &format!("basewright \"{}\" {role}\n", account.name.replace('"', ""));
        }
    }
    text
}

pub(super) fn url(sockets: &str, role: &str, database: &str) -> String {
    format!("postgresql:///{database}?user={role}&host={sockets}")
}

pub(super) fn urls(sockets: &str, database: &str) -> Urls {
    Urls {
        runtime: url(sockets, RUNTIME, database),
        migrate: url(sockets, MIGRATE, database),
        replication: url(sockets, REPLICATION, database),
    }
}

/// The database that a server uses.
pub(super) fn own_urls(sockets: &str) -> Urls {
    urls(sockets, DATABASE)
}

/// Makes the roles and the database, or puts them right. Running it again changes nothing.
pub(super) async fn bootstrap(sockets: &str) -> Result<(), SetupError> {
    let failed = |e: tokio_postgres::Error| {
        SetupError::new("the private PostgreSQL could not be set up").source(e).temporary()
    };
    let admin = connect(sockets, "postgres").await?;
    for (role, rights) in [
        (MIGRATE, "login nosuperuser nocreatedb nocreaterole noreplication nobypassrls"),
        (RUNTIME, "login nosuperuser nocreatedb nocreaterole noreplication nobypassrls"),
        (REPLICATION, "login nosuperuser nocreatedb nocreaterole replication nobypassrls"),
    ] {
        let known = admin.query_opt("select 1 from pg_roles where rolname = $1", &[&role]).await;
        let verb = if known.map_err(failed)?.is_some() { "alter" } else { "create" };
        admin.batch_execute(&format!("{verb} role {role} {rights}")).await.map_err(failed)?;
    }
    let known = admin.query_opt("select 1 from pg_database where datname = $1", &[&DATABASE]).await;
    if known.map_err(failed)?.is_none() {
        let create = format!("create database {DATABASE} owner {MIGRATE}");
        admin.batch_execute(&create).await.map_err(failed)?;
    }
    admin.batch_execute(&close(DATABASE)).await.map_err(failed)
}

/// Only the cluster's own roles may connect to a database.
fn close(database: &str) -> String {
    format!(
        "revoke all on database {database} from public; \
         grant connect on database {database} to {RUNTIME}, {REPLICATION}"
    )
}

async fn connect(sockets: &str, database: &str) -> Result<Client, SetupError> {
    let failed = |e: tokio_postgres::Error| {
        SetupError::new("the private PostgreSQL does not take connections").source(e).temporary()
    };
    let (client, connection) =
        tokio_postgres::connect(&url(sockets, ADMIN, database), NoTls).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(e) = connection.await {
            tracing::debug!(error = %e, "the set-up connection ended");
        }
    });
    Ok(client)
}
