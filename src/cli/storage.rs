//! `basewright storage`: rows of objects compared with their content, and what nobody needs cleared away.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::policy::session;
use super::tables::block_on;
use super::token::time;
use super::user::{private, told};
use super::{Failure, Place, Storing, project};
use crate::db::{Pool, Target, Urls};
use crate::objects::stocktaking::{Discrepancy, Stocktaking};
use crate::objects::sweep::Sweeper;

/// Compare objects with their content, and clear away what nobody needs
///
/// Works at the project's database (DATABASE_URL, else the private Postgres of the data folder, beside a running `dev`
/// too) and at the place where content lies. Servers that run may go on.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright storage check my-app
  basewright storage check my-app --deep --json
  basewright storage sweep my-app
  basewright storage sweep my-app --grace 0s        while no server runs")]
pub(super) struct Storage {
    #[command(subcommand)]
    act: Act,
}

/// Where the project and its content are.
#[derive(Args, Clone, Debug)]
struct At {
    /// The project's folder
    project: PathBuf,
    /// Where keys and the private Postgres are kept [default: PROJECT/.basewright]
    #[arg(long, env = "BASEWRIGHT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    storing: Storing,
}

#[derive(Subcommand)]
enum Act {
    /// Tell which objects lack their content, and which content lacks its object
    ///
    /// Each finding is one line; with any, the command ends with 1.
    Check {
        #[command(flatten)]
        at: At,
        /// Read all content, and compare what it is known by
        #[arg(long)]
        deep: bool,
        /// Leave out content without a row that is younger: it may be being stored
        #[arg(long, default_value = "1h", value_parser = time, value_name = "TIME")]
        grace: Duration,
        /// A JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Clear away content that no object has any more
    ///
    /// A running server does this by itself; for content that lost its row before its last week only this does.
    Sweep {
        #[command(flatten)]
        at: At,
        /// Leave content without a row that is younger: it may be being stored
        #[arg(long, default_value = "24h", value_parser = time, value_name = "TIME")]
        grace: Duration,
    },
}

/// Does what is asked.
///
/// # Errors
/// The project is at fault, its database or its store cannot be asked, or something was found.
pub(super) fn run(command: Storage) -> Result<(), Failure> {
    let act = command.act;
    let (Act::Check { at, .. } | Act::Sweep { at, .. }) = &act;
    let at = at.clone();
    let project = project::load(&at.project)?;
    let data = Place { project: at.project, data: at.data }.data();
    let work = |urls: &Urls| {
        block_on(async {
            let store = at.storing.store(&data)?;
            let target = Target::parse(&urls.runtime, &session(&project)).map_err(Failure::fault)?;
            let pool = Pool::open(&target, 1).map_err(Failure::fault)?;
            match act {
                Act::Check { deep, grace, json, .. } => {
                    let stocktaking = Stocktaking { pool: &pool, blobs: &store.blobs, deep, grace };
                    check(&stocktaking, json).await
                }
                Act::Sweep { grace, .. } => {
                    let sweeper = Sweeper { pool: &pool, blobs: &store.blobs };
                    let cleared = sweeper.all(grace).await.map_err(told)?;
                    println!(
                        "cleared away: {} replaced or deleted, {} uploads that ended, {} without a row, {} left under way",
                        cleared.replaced, cleared.uploads, cleared.orphans, cleared.under_way
                    );
                    Ok(())
                }
            }
        })
    };
    match Urls::from_env() {
        Some(urls) => work(&urls),
        None => private(&data, work),
    }
}

async fn check(stocktaking: &Stocktaking<'_>, json: bool) -> Result<(), Failure> {
    let mut found = 0_u64;
    let mut out = std::io::stdout().lock();
    let counted = stocktaking
        .run(|discrepancy| {
            found += 1;
            let line = if json { shape(&discrepancy).to_string() } else { line(&discrepancy) };
            // Whoever reads no further still gets the exit code.
            let _ = writeln!(out, "{line}");
        })
        .await
        .map_err(told)?;
    eprintln!(
        "{} objects with {} bytes; {} contents wait to be cleared away",
        counted.objects, counted.bytes, counted.waiting
    );
    match found {
        0 => Ok(()),
        _ => Err(Failure::fault(format!("{found} not as they should be"))),
    }
}

/// A finding for people.
fn line(discrepancy: &Discrepancy) -> String {
    match discrepancy {
        Discrepancy::Missing { object, version } => {
            format!("missing   {object:?}: nothing lies at {}", version.key())
        }
        Discrepancy::Length { object, version, told, found } => {
            format!("length    {object:?}: {found} bytes lie at {}, not {told}", version.key())
        }
        Discrepancy::Content { object, version } => {
            format!("content   {object:?}: what lies at {} is not what was stored", version.key())
        }
        Discrepancy::Unreadable { object, why, .. } => format!("unread    {object:?}: {why}"),
        Discrepancy::Orphan { version, size } => {
            format!("orphan    {size} bytes at {} without an object", version.key())
        }
    }
}

/// A finding for scripts.
fn shape(discrepancy: &Discrepancy) -> Value {
    match discrepancy {
        Discrepancy::Missing { object, version } => {
            json!({ "what": "missing", "object": object, "key": version.key().as_ref() })
        }
        Discrepancy::Length { object, version, told, found } => {
            json!({ "what": "length", "object": object, "key": version.key().as_ref(), "told": told, "found": found })
        }
        Discrepancy::Content { object, version } => {
            json!({ "what": "content", "object": object, "key": version.key().as_ref() })
        }
        Discrepancy::Unreadable { object, version, why } => {
            json!({ "what": "unreadable", "object": object, "key": version.key().as_ref(), "why": why })
        }
        Discrepancy::Orphan { version, size } => {
            json!({ "what": "orphan", "key": version.key().as_ref(), "size": size })
        }
    }
}
