//! The way of a change from its commit to whoever may see it: nothing missed, nothing twice, nothing in silence.

mod changes;
mod nodes;
mod resume;
mod returning;
mod snapshots;
mod trouble;
mod visibility;

use std::path::Path;
use std::time::Duration;

use basewright::db::{Embedded, Session, Target, Urls};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::caller::Caller;
use crate::support::server::{Folder, Server, Start};
use crate::support::socket::{ANSWERED_WITHIN, Channel, RowEvent, Socket};
use crate::support::{Database, database};

/// Whom a database belongs to.
enum Home {
    Shared(Database),
    /// A Postgres of its own: it is stopped, or its settings are bent.
    Own {
        url: String,
        _cluster: Embedded,
    },
}

/// A project on a database, and the server that comes and goes.
pub(super) struct Place {
    // The server ends before its database does.
    pub(super) server: Option<Server>,
    home: Home,
    pub(super) folder: Folder,
    urls: Urls,
}

impl Place {
    pub(super) async fn new(project: &[(&str, &str)]) -> Place {
        Place::new_with(project, &[]).await
    }

    pub(super) async fn new_with(
        project: &[(&str, &str)],
        env: &'static [(&'static str, &'static str)],
    ) -> Place {
        let database = database().await;
        let urls = database.urls.clone();
        let mut place =
            Place { server: None, home: Home::Shared(database), folder: Folder::with(project), urls };
        place.start_with(env).await;
        place
    }

    /// With a Postgres of its own.
    pub(super) async fn apart(project: &[(&str, &str)]) -> Place {
        let folder = Folder::with(project);
        let data = folder.join("cluster");
        let cluster = tokio::task::spawn_blocking(move || {
            Embedded::start(&data, Some(Path::new(env!("CARGO_BIN_EXE_basewright")))).unwrap()
        })
        .await
        .unwrap();
        let postgres = connect(&cluster.admin_url("postgres")).await;
        postgres.batch_execute("create database apart owner basewright_migrate").await.unwrap();
        postgres
            .batch_execute("grant connect on database apart to basewright_runtime, basewright_replication")
            .await
            .unwrap();
        let (urls, admin) = (cluster.urls_of("apart"), cluster.admin_url("apart"));
        let mut place =
            Place { server: None, home: Home::Own { url: admin, _cluster: cluster }, folder, urls };
        place.start().await;
        place
    }

    pub(super) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Another server on the same database, of this name among the nodes.
    pub(super) async fn node(&self, name: &str) -> Result<Server, String> {
        let (project, urls, name) = (self.folder.0.clone(), self.urls.clone(), name.to_owned());
        let data = self.folder.join(&format!("data-{name}"));
        tokio::task::spawn_blocking(move || {
            let env = [("BASEWRIGHT_NODE", name.as_str())];
            Start {
                command: "dev",
                project: &project,
                data: &data,
                database: Some(&urls),
                args: &[],
                env: &env,
            }
            .try_run()
        })
        .await
        .unwrap()
    }

    pub(super) async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    async fn start_with(&mut self, env: &'static [(&'static str, &'static str)]) {
        let (project, urls) = (self.folder.0.clone(), self.urls.clone());
        let data = self.folder.join("data");
        let run = move || {
            let (project, data, database) = (&project, &data, Some(&urls));
            Start { command: "dev", project, data, database, args: &[], env }.run()
        };
        self.server = Some(tokio::task::spawn_blocking(run).await.unwrap());
    }

    /// Ends the server, and waits until it is gone.
    pub(super) fn end(&mut self, signal: Signal) {
        let mut server = self.server.take().unwrap();
        server.signal(signal);
        tokio::task::block_in_place(|| server.ended(Duration::from_secs(30)));
    }

    /// A superuser's connection.
    pub(super) async fn admin(&self) -> Client {
        match &self.home {
            Home::Shared(database) => database.connect_admin().await,
            Home::Own { url, .. } => connect(url).await,
        }
    }

    /// A v2 socket of a key that may do nothing in particular.
    pub(super) async fn socket(&self) -> Socket {
        Socket::open(self.server()).await
    }

    /// A socket that joined a channel for all changes of a collection, as a caller, knowing of cursors.
    pub(super) async fn listen(&self, collection: &str, caller: &Caller) -> (Socket, Channel) {
        self.listen_from(collection, caller, "").await
    }

    /// The same, from a cursor on.
    pub(super) async fn listen_from(
        &self,
        collection: &str,
        caller: &Caller,
        cursor: &str,
    ) -> (Socket, Channel) {
        let mut socket = self.socket().await;
        let channel =
            socket.join("realtime:changes", aware(&[all(collection)], cursor), caller.token()).await;
        (socket, channel)
    }
}

async fn connect(url: &str) -> Client {
    Target::parse(url, &Session::migrating()).unwrap().connect().await.unwrap()
}

/// A binding for every change of a collection.
pub(super) fn all(collection: &str) -> Value {
    json!({ "event": "*", "schema": "public", "table": collection })
}

/// The config of a channel that knows of cursors; no cursor starts now.
pub(super) fn aware(bindings: &[Value], cursor: &str) -> Value {
    json!({ "postgres_changes": bindings, "resume": cursor, "presence": { "enabled": false } })
}

/// A project of one open collection: an integer, and a text that may be long.
pub(super) const PLAIN: &[(&str, &str)] = &[(
    "basewright.yaml",
    "collections:
  notes:
    fields:
      id: bigint
      n: { type: integer, required: true }
      body: text
  others:
    fields:
      id: bigint
      n: integer
policies:
  notes: { read: [{ role: anon }], create: [{ role: anon }] }
  others: { read: [{ role: anon }] }
",
)];

/// Writes one row for each number.
pub(super) async fn write(client: &Client, numbers: std::ops::Range<i64>) {
    for n in numbers {
        client.batch_execute(&format!("insert into notes (id, n) values ({n}, {n})")).await.unwrap();
    }
}

/// The numbers of the next inserted rows.
pub(super) async fn numbers(socket: &mut Socket, count: usize) -> Vec<i64> {
    let mut found = Vec::new();
    while found.len() < count {
        let event = next(socket).await;
        assert_eq!(event.kind, "INSERT");
        found.push(event.record["n"].as_i64().unwrap());
    }
    found
}

/// The next change, which must come, and before any word that something may have been missed.
pub(super) async fn next(socket: &mut Socket) -> RowEvent {
    loop {
        let message =
            socket.next(ANSWERED_WITHIN).await.unwrap_or_else(|end| panic!("no change came: {end:?}"));
        assert!(!message.is_system("resync_required"), "{}", message.payload);
        if let Some(event) = message.row() {
            return event;
        }
    }
}
