//! Realtime: what stands between the WAL and the sockets, against a real Postgres, and Phoenix channels as a client
//! has them.

mod access;
mod broadcast;
mod filters;
mod frames;
mod handshake;
mod limits;
mod presence;
mod site;
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
}
