//! The system migrations: our own tables and functions, brought to this program's version.
//!
//! Forward only. Each file runs once, in a transaction of its own, and is remembered with its checksum:
//! a file that changed after it was applied, or a database that a newer program has changed, is refused.

use std::collections::HashMap;

use aws_lc_rs::digest;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use tokio_postgres::Client;

use super::{DbError, SetupError};

/// One file of `migrations/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The number that the file's name begins with; applied in this order.
    pub number: i32,
    /// The rest of the file's name.
    pub name: &'static str,
    pub sql: &'static str,
}

/// What brings an empty database to this version.
pub const SYSTEM_MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "foundations", sql: include_str!("../../migrations/0001_foundations.sql") },
    Migration { number: 2, name: "users", sql: include_str!("../../migrations/0002_users.sql") },
    Migration { number: 3, name: "faster_uuid", sql: include_str!("../../migrations/0003_faster_uuid.sql") },
    Migration { number: 4, name: "nodes", sql: include_str!("../../migrations/0004_nodes.sql") },
    Migration { number: 5, name: "sign_in", sql: include_str!("../../migrations/0005_sign_in.sql") },
    Migration { number: 6, name: "storage", sql: include_str!("../../migrations/0006_storage.sql") },
];

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The numbers that were applied now.
    pub applied: Vec<i32>,
}

/// The key of the advisory lock that serialises runs on one database: "basewrig" as a number.
const LOCK: i64 = i64::from_be_bytes(*b"basewrig");

/// What must be there before the first file can be remembered.
const FOUNDATION: &str = "
create schema if not exists basewright;
revoke all on schema basewright from public;
create table if not exists basewright.migrations (
    number integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
);
comment on table basewright.migrations is 'The system migrations that this database has had.';
comment on column basewright.migrations.number is 'The order in which they are applied.';
comment on column basewright.migrations.name is 'The file''s name after its number.';
comment on column basewright.migrations.checksum is 'SHA-256 of the file, in hexadecimal: an applied file never changes.';
comment on column basewright.migrations.applied_at is 'When it was applied.';
";

/// Brings the database up to date, and gives the runtime role its rights. `client` is connected as the role
/// that owns everything. Several servers may do this at once: one works, the others wait and find it done.
pub async fn migrate(client: &Client, runtime_role: &str) -> Result<Applied, SetupError> {
    migrate_with(client, runtime_role, SYSTEM_MIGRATIONS).await
}

/// [`migrate`] with other files.
pub async fn migrate_with(
    client: &Client,
    runtime_role: &str,
    migrations: &[Migration],
) -> Result<Applied, SetupError> {
    // Waiting here is waiting for another server's migrations: as long as they take, not `lock_timeout`.
    run(client, "set lock_timeout = 0").await?;
    run(client, &format!("select pg_advisory_lock({LOCK})")).await?;
    let done = async {
        run(client, "reset lock_timeout").await?;
        apply(client, runtime_role, migrations).await
    }
    .await;
    // A lost connection has let go of the lock already.
    let freed = run(client, &format!("select pg_advisory_unlock({LOCK})")).await;
    let applied = done?;
    freed?;
    Ok(applied)
}

async fn apply(client: &Client, runtime_role: &str, migrations: &[Migration]) -> Result<Applied, SetupError> {
    // Looked for first: a role that may not create schemas can still find everything in place.
    let known = client.query_one("select to_regclass('basewright.migrations') is not null", &[]).await;
    if !known.map_err(|e| failed("the system migrations cannot be read", &e))?.get::<_, bool>(0) {
        transaction(client, FOUNDATION).await?;
    }
    let rows = client.query("select number, name, checksum from basewright.migrations", &[]).await;
    let mut had: HashMap<i32, (String, String)> = rows
        .map_err(|e| failed("the system migrations cannot be read", &e))?
        .into_iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect();
    let mut todo = Vec::new();
    for migration in migrations {
        let checksum = checksum(migration.sql);
        match had.remove(&migration.number) {
            None => todo.push((migration, checksum)),
            Some((_, known)) if known == checksum => {}
            Some(_) => {
                return Err(SetupError::new(format!(
                    "migration {:04}_{} is not the one that this database has had: run the version of the \
                     server that applied it, or restore the file",
                    migration.number, migration.name
                )));
            }
        }
    }
    if let Some((number, (name, _))) = had.into_iter().max() {
        return Err(SetupError::new(format!(
            "this database has had migration {number:04}_{name}, which this version of the server does not \
             know: run a newer version"
        )));
    }
    let mut applied = Vec::new();
    for (migration, checksum) in todo {
        // All three parts of the record are ours: digits, a file's name, hexadecimal digits.
        let remember = format!(
            "insert into basewright.migrations (number, name, checksum) values ({}, '{}', '{checksum}')",
            migration.number, migration.name
        );
        transaction(client, &format!("{}\n;{remember}", migration.sql)).await.map_err(|e| {
            SetupError::new(format!("migration {:04}_{} failed", migration.number, migration.name)).source(e)
        })?;
        tracing::info!(number = migration.number, name = migration.name, "system migration applied");
        applied.push(migration.number);
    }
    grant(client, runtime_role).await?;
    Ok(Applied { applied })
}

/// `grant … on all … in schema` fails at the first one that belongs to another role.
const GRANT_OWN: &str = "
declare
    statement text;
begin
    for statement in
        select format('grant select, insert, update, delete on %I.%I to %I', n.nspname, c.relname, RUNTIME)
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        where (n.nspname in ('public', 'auth', 'storage') or (n.nspname, c.relname) = ('basewright', 'nodes'))
            and c.relkind in ('r', 'p', 'v', 'm', 'f')
            and pg_has_role(c.relowner, 'usage')
        union all
        select format('grant execute on function %s to %I', p.oid::regprocedure, RUNTIME)
        from pg_proc p
        join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ('public', 'auth', 'storage', 'basewright') and p.prokind <> 'p'
            and pg_has_role(p.proowner, 'usage')
    loop
        execute statement;
    end loop;
end
";

/// What the runtime role may do: rows of the project's and our tables, our functions, and nothing else. What other
/// roles have in these schemas is theirs to give.
async fn grant(client: &Client, runtime_role: &str) -> Result<(), SetupError> {
    let asked = client.query_one("select current_user::text", &[]).await;
    let owner: String = asked.map_err(|e| failed("the owner's role cannot be read", &e))?.get(0);
    // Functions that the owner makes later are not everybody's either.
    let mut sql = "alter default privileges revoke execute on functions from public;\n".to_owned();
    if owner != runtime_role {
        let role = escape_identifier(runtime_role);
        for schema in ["public", "auth", "storage", "basewright"] {
            sql += &format!(
                "grant usage on schema {schema} to {role};\n\
                 alter default privileges in schema {schema} grant execute on functions to {role};\n"
            );
        }
        for schema in ["public", "auth", "storage"] {
            sql += &format!(
                "alter default privileges in schema {schema} \
                 grant select, insert, update, delete on tables to {role};\n"
            );
        }
        sql += &format!(
            "do {};\n",
            escape_literal(&GRANT_OWN.replace("RUNTIME", &escape_literal(runtime_role)))
        );
        sql += &format!("grant select on basewright.migrations to {role};\n");
    }
    transaction(client, &sql).await
}

async fn transaction(client: &Client, sql: &str) -> Result<(), SetupError> {
    // One message, so that a lost connection leaves no transaction open and an error undoes it all.
    let done = run(client, &format!("begin;\n{sql}\n;commit")).await;
    if done.is_err() {
        // The message was abandoned at the error, with the transaction still open.
        let _ = client.batch_execute("rollback").await;
    }
    done
}

async fn run(client: &Client, sql: &str) -> Result<(), SetupError> {
    client.batch_execute(sql).await.map_err(|e| failed("the database refused a system migration", &e))
}

fn failed(what: &str, e: &tokio_postgres::Error) -> SetupError {
    let cause = DbError::from_reading(e);
    let lost = cause.is_unavailable();
    let error = SetupError::new(what).source(cause);
    if lost { error.temporary() } else { error }
}

fn checksum(sql: &str) -> String {
    let digest = digest::digest(&digest::SHA256, sql.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_in_the_table_under_its_number_and_name() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let table: Vec<String> = SYSTEM_MIGRATIONS
            .iter()
            .map(|migration| format!("{:04}_{}.sql", migration.number, migration.name))
            .collect();
        assert_eq!(table, files);
        for (at, migration) in SYSTEM_MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number, i32::try_from(at).unwrap() + 1, "numbers have no gaps");
        }
    }
}
