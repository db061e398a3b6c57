//! A project with its tables, for what needs no server.

use std::collections::BTreeMap;

use basewright::catalog::Catalog;
use basewright::db::Pool;
use basewright::project::{Sources, load, render};
use basewright::schema::{apply, desired, plan};

use crate::support::{Database, database};

/// A project with its tables.
pub(super) struct World {
    pub(super) database: Database,
    pub(super) catalog: Catalog,
    pub(super) pool: Pool,
}

impl World {
    pub(super) async fn of(yaml: &str) -> World {
        let sources = Sources(BTreeMap::from([("a.yaml".to_owned(), yaml.to_owned())]));
        let project = load(&sources).unwrap_or_else(|faults| panic!("{}", render(&faults)));
        let database = database().await;
        let mut owner = database.connect_owner().await;
        let steps = plan(&mut owner, &desired(&project.collections, &project.checks)).await.unwrap();
        apply(&mut owner, &steps).await.unwrap();
        let pool = Pool::open(&database.target(), 4).unwrap();
        World { catalog: project.catalog(1).unwrap(), database, pool }
    }

    pub(super) async fn run(&self, sql: &str) {
        self.database.connect_owner().await.batch_execute(sql).await.unwrap();
    }
}
