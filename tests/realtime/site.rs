//! A server for tests of its sockets, and what their clients need.

use basewright::app::now;
use basewright::auth::token::mint_operator;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::server::{Folder, NOTES, Server};
use crate::support::{Database, database};

/// A server of one test.
pub(super) struct Site {
    pub(super) server: Server,
    database: Database,
    _folder: Folder,
}

impl Site {
    /// Does something to its database.
    pub(super) async fn run(&self, sql: &str) {
        self.database.connect_owner().await.batch_execute(sql).await.unwrap();
    }
}

pub(super) async fn site() -> Site {
    let database = database().await;
    let folder = Folder::with(NOTES);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    Site { server, database, _folder: folder }
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
