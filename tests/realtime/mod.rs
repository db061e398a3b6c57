//! Realtime: what stands between the WAL and the sockets, against a real Postgres.

mod access;
mod filters;
mod snapshot;

use std::collections::BTreeMap;

use basewright::catalog::Catalog;
use basewright::db::Pool;
use basewright::project::{Sources, load, render};
use basewright::schema::{apply, desired, plan};

use crate::support::{Database, database};

/// A project with its tables.
struct World {
    database: Database,
    catalog: Catalog,
    pool: Pool,
}

impl World {
    async fn of(yaml: &str) -> World {
        let sources = Sources(BTreeMap::from([("a.yaml".to_owned(), yaml.to_owned())]));
        let project = load(&sources).unwrap_or_else(|faults| panic!("{}", render(&faults)));
        let database = database().await;
        let mut owner = database.connect_owner().await;
        let steps = plan(&mut owner, &desired(&project.collections, &project.checks)).await.unwrap();
        apply(&mut owner, &steps).await.unwrap();
        let pool = Pool::open(&database.target(), 4).unwrap();
        World { catalog: project.catalog(1).unwrap(), database, pool }
    }

    async fn run(&self, sql: &str) {
        self.database.connect_owner().await.batch_execute(sql).await.unwrap();
    }
//! Phoenix channels as a client has them, over real sockets.

mod broadcast;
mod frames;
mod handshake;
mod limits;
mod presence;

use basewright::app::now;
use basewright::auth::token::mint_operator;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::server::{Folder, NOTES, Server};
use crate::support::{Database, database};

/// A server of one test.
pub(super) struct Site {
    pub(super) server: Server,
    _database: Database,
    _folder: Folder,
}

pub(super) async fn site() -> Site {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    Site { server, _database: database, _folder: folder }
}

/// A topic that no other test has.
pub(super) fn topic() -> String {
    format!("realtime:{}", Uuid::new_v4())
}

/// A token of somebody that lives for some seconds.
pub(super) fn token(server: &Server, seconds: i64) -> String {
    let signer = server.keys.active();
    mint_operator(signer, Uuid::new_v4(), "authenticated", &[], now(), now() + seconds).unwrap()
}

/// A channel without presence, whose messages come in an order that tests can count on.
pub(super) fn plain() -> Value {
    json!({ "presence": { "enabled": false } })
}
