//! Whether a server is one that we can run on, asked once at the start.

use tokio_postgres::Client;

use super::{DbError, SetupError};

/// The oldest release that is supported, as in `server_version_num`.
const OLDEST: i32 = 150_000;

/// What a server said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `server_version_num`: 150020 is 15.20.
    pub version: i32,
    pub wal_level: String,
    /// The role that the connection is.
    pub role: String,
    pub superuser: bool,
    pub database: String,
}

/// Asks the server behind a connection of the runtime role, and refuses what is unsafe or cannot work,
/// each with the sentence that says what to do. A superuser is let through where the operator says so.
pub async fn check_server(runtime: &Client, allow_superuser: bool) -> Result<Server, SetupError> {
    let row = runtime
        .query_one(
            "select current_setting('server_version_num')::int, current_setting('wal_level'), \
             current_user::text, current_setting('is_superuser') = 'on', current_database()::text",
            &[],
        )
        .await
        .map_err(|e| {
            SetupError::new("the database cannot be asked for its version").source(DbError::from_reading(&e))
        })?;
    let server = Server {
        version: row.get(0),
        wal_level: row.get(1),
        role: row.get(2),
        superuser: row.get(3),
        database: row.get(4),
    };
    judge(&server, allow_superuser)?;
    Ok(server)
}

fn judge(server: &Server, allow_superuser: bool) -> Result<(), SetupError> {
    if server.version < OLDEST {
        return Err(SetupError::new(format!(
            "the database is PostgreSQL {}, and 15 is the oldest that works: upgrade it",
            server.version / 10_000
        )));
    }
    if server.wal_level != "logical" {
        return Err(SetupError::new(format!(
            "the database has wal_level={}, and changes are read from the WAL: \
             `alter system set wal_level = 'logical'`, then restart it",
            server.wal_level
        )));
    }
    if server.superuser && !allow_superuser {
        return Err(SetupError::new(format!(
            "DATABASE_URL connects as `{}`, a superuser, as whom one mistake can cost the whole cluster: \
             create a role for requests (`create role app login`), name the owner in BASEWRIGHT_MIGRATE_URL, \
             or set BASEWRIGHT_ALLOW_SUPERUSER=1",
            server.role
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(version: i32, wal_level: &str, superuser: bool, allow: bool, refused_for: Option<&str>) {
        let server = Server {
            version,
            wal_level: wal_level.into(),
            role: "app".into(),
            superuser,
            database: "app".into(),
        };
        let refused = judge(&server, allow).err().map(|e| e.to_string());
        match refused_for {
            None => assert_eq!(refused, None),
            Some(word) => assert!(refused.as_deref().is_some_and(|e| e.contains(word)), "{refused:?}"),
        }
    }

    #[test]
    fn servers_that_cannot_work_or_are_unsafe_are_refused_with_the_fix() {
        check(150_020, "logical", false, false, None);
        check(180_004, "logical", true, true, None);
        check(140_010, "logical", false, false, Some("upgrade"));
        check(150_020, "replica", false, false, Some("alter system set wal_level"));
        check(150_020, "logical", true, false, Some("BASEWRIGHT_ALLOW_SUPERUSER"));
    }
}
