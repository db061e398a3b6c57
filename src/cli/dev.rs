//! `basewright dev`: the loop of somebody who writes a project.

use clap::Args;

use super::life::{self, Life, Listening};
use super::logging::{Format, Logging};
use super::tables::Manner;
use super::{Failure, Place, Storing};

/// Serve a project while you write it
///
/// Starts a private Postgres where no DATABASE_URL is set, makes the tables, prints URL and keys, and follows
/// every save: what loses no data is applied at once, what would lose some is refused by name, and a project
/// with a fault leaves the last good one in force.
///
/// A seed.sql at the top of the project fills a new database: it runs once, as the role that owns the tables, in
/// the transaction that makes the first of them. A fault in it is shown with its line and leaves no table behind.
/// Where tables of the project are there already it is not looked at, and `basewright serve` never runs it.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright dev examples/blog
  basewright dev . --port 3000 --data /tmp/data
  basewright dev . --accept-loss posts.rating    drop that column although it holds values")]
pub(super) struct Dev {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    storing: Storing,
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    logging: Logging,
    /// Give up the data of a collection or a field that the project no longer has
    #[arg(long, value_name = "NAME")]
    accept_loss: Vec<String>,
}

pub(super) fn run(command: Dev) -> Result<(), Failure> {
    let _log = command.logging.start(Format::Text)?;
    let seed_from = command.place.project.clone();
    life::run(Life {
        place: command.place,
        storing: command.storing,
        listening: command.listening,
        manner: Manner::Change { accept_loss: command.accept_loss, seed_from: Some(seed_from) },
        // Whoever develops against a database of their own is its superuser more often than not.
        allow_superuser: true,
        follow_changes: true,
    })
}
