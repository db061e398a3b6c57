//! `basewright tail`: the changes of a collection as they happen, and what somebody is told of each.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::explain::{Claims, caller};
use super::policy::session;
use super::tables::block_on;
use super::{Failure, Place, project};
use crate::catalog::Catalog;
use crate::db::{DataLock, Embedded, Pool, Session, Target, Urls};
use crate::model::text::time::{self, Style};
use crate::model::{Collection, CollectionId, Record};
use crate::project::Project;
use crate::project::tests::{Caller, Told};
use crate::realtime::change::{Change, What};
use crate::realtime::transaction::Transaction;
use crate::realtime::wal::{self, Event};
use crate::records::trial::{self, Verdict, Witnessed};

/// Watch a collection's changes, and what somebody is told of each
///
/// Reads the changes of the project's database (DATABASE_URL and BASEWRIGHT_REPLICATION_URL, else the private Postgres
/// of a running `dev`) through a slot of its own, which goes when the command ends. Nothing that happened before is
/// shown. Each change is one line: when, what was done to which record, what the caller is told, and why: the rule that
/// shows the record to him, or the terms that failed. Conditions about other records are judged by what these are now.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright tail examples/blog posts --as anon
  basewright tail examples/blog posts --as user:ada@example.test+editor
  basewright tail my-app posts --as user:UUID --json | jq .sees")]
pub(super) struct Tail {
    /// The project's folder
    project: PathBuf,
    /// The collection
    collection: String,
    /// Where keys and the private Postgres are kept [default: PROJECT/.basewright]
    #[arg(long, env = "BASEWRIGHT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Who listens: `anon`, `service`, `user:WHO` or `user:WHO+ROLE`
    #[arg(long = "as", value_name = "CALLER")]
    caller: String,
    /// A JSON object a line
    #[arg(long)]
    json: bool,
    /// End after so many changes
    #[arg(long, short = 'n', value_name = "N")]
    number: Option<u64>,
}

/// Watches until it is told to end.
///
/// # Errors
/// The command line is at fault, the project is, or the changes cannot be read.
pub(super) fn run(command: &Tail) -> Result<(), Failure> {
    let project = project::load(&command.project)?;
    let catalog = project.catalog(1).map_err(Failure::fault)?;
    let Some(collection) = catalog.collections.titled(&command.collection) else {
        return Err(Failure::fault(format!("the project has no collection `{}`", command.collection)));
    };
    let urls = match Urls::from_env() {
        Some(urls) => urls,
        None => {
            let place = Place { project: command.project.clone(), data: command.data.clone() };
            beside(&place.data())?
        }
    };
    block_on(watch(command, &project, &catalog, collection, &urls))
}

/// The private Postgres of a server that runs.
fn beside(data: &Path) -> Result<Urls, Failure> {
    let none =
        || Failure::fault(format!("no server runs on {}: `basewright dev` starts one", data.display()));
    if !data.join("lock").is_file() {
        return Err(none());
    }
    match DataLock::acquire(data) {
        Ok(_) => Err(none()),
        Err(_) => Embedded::urls_beside(data).map_err(Failure::fault),
    }
}

async fn watch(
    command: &Tail,
    project: &Project,
    catalog: &Catalog,
    collection: CollectionId,
    urls: &Urls,
) -> Result<(), Failure> {
    let target = Target::parse(&urls.runtime, &session(project)).map_err(Failure::fault)?;
    let replication = Target::parse(&urls.replication, &Session::default()).map_err(Failure::fault)?;
    let pool = Pool::open(&target, 1).map_err(Failure::fault)?;
    let caller = caller(&command.caller, Claims::new(), project, &pool).await?;
    let names = match &caller {
        Caller::User { name, id, .. } => HashMap::from([(*id, name.clone())]),
        Caller::Anonymous | Caller::Service => HashMap::new(),
    };
    let mut wal = wal::look_on(&replication).await.map_err(Failure::fault)?.wal;
    eprintln!("watching {} as {}", command.collection, command.caller);
    let declared = catalog.collection(collection);
    let mut left = command.number.unwrap_or(u64::MAX);
    while left > 0 {
        let transaction = match wal.next().await.map_err(Failure::fault)? {
            Event::Transaction(transaction) => transaction,
            Event::Position(lsn) => {
                // Nothing is read twice: the server need not keep it for us.
                wal.confirm(lsn).await.map_err(Failure::fault)?;
                continue;
            }
        };
        if transaction.changes.is_lost() {
            eprintln!("a transaction of {} changes is too large to be shown", transaction.changes.len());
        }
        for change in &transaction.changes {
            let Ok(change) = change else { break };
            let Some((old, new)) = change.records(declared) else { continue };
            let truncated = matches!(change.what, What::Truncate);
            if change.is_torn() || truncated {
                let what = if truncated { "TRUNCATE" } else { "a change without the old record" };
                eprintln!("{what}: every listener is told to begin anew");
                continue;
            }
            let seen = Witnessed { collection, old, new, at: transaction.committed };
            let verdict =
                trial::witness(&pool, catalog, &caller, &seen, &names).await.map_err(Failure::fault)?;
            let line = Line { transaction: &transaction, change: &change, declared, seen: &seen };
            let text = if command.json { line.json(&verdict).to_string() } else { line.text(&verdict) };
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
                // Whoever pipes this into `head` has seen enough.
                return Ok(());
            }
            left -= 1;
            if left == 0 {
                break;
            }
        }
        wal.confirm(transaction.lsn).await.map_err(Failure::fault)?;
    }
    pool.close();
    Ok(())
}

/// A change and the transaction that it is part of.
struct Line<'a> {
    transaction: &'a Transaction,
    change: &'a Change,
    declared: &'a Collection,
    seen: &'a Witnessed,
}

impl Line<'_> {
    fn at(&self) -> String {
        let mut text = Vec::new();
        time::write_timestamp(&mut text, self.transaction.committed, Style::Json);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn operation(&self) -> &'static str {
        match self.change.what {
            What::Insert { .. } => "INSERT",
            What::Update { .. } => "UPDATE",
            What::Delete { .. } => "DELETE",
            What::Truncate => "TRUNCATE",
        }
    }

    /// The record's key, as it is after the change if it is there.
    fn key(&self) -> Vec<(&str, String)> {
        let Some(record) = self.seen.new.as_ref().or(self.seen.old.as_ref()) else { return Vec::new() };
        let part = |record: &Record, field| record.get(field).to_text().unwrap_or_default();
        let key = self.declared.primary_key.iter();
        key.map(|field| (self.declared.field(*field).name.as_str(), part(record, *field))).collect()
    }

    fn text(&self, verdict: &Verdict) -> String {
        let key: Vec<String> = self.key().into_iter().map(|(_, part)| part).collect();
        let (name, key) = (self.declared.title(), key.join(","));
        let why =
            if verdict.lines.is_empty() { String::new() } else { format!("  {}", verdict.lines.join("; ")) };
        let (at, operation) = (self.at(), self.operation());
        format!("{at}  {operation} {name}/{key}  -> {:<7}{why}", sees(verdict.told))
    }

    fn json(&self, verdict: &Verdict) -> Json {
        let key: serde_json::Map<String, Json> =
            self.key().into_iter().map(|(name, part)| (name.to_owned(), part.into())).collect();
        json!({
            "time": self.at(),
            "transaction": self.transaction.xid,
            "operation": self.operation(),
            "collection": self.declared.title(),
            "key": key,
            "sees": sees(verdict.told),
            "why": verdict.lines,
        })
    }
}

/// The word on the wire.
fn sees(told: Told) -> &'static str {
    match told {
        Told::Insert => "INSERT",
        Told::Update => "UPDATE",
        Told::Delete => "DELETE",
        Told::Nothing => "nothing",
    }
}
