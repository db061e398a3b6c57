//! `basewright serve`: production. Changes nothing by itself and refuses what is unsafe.

use clap::Args;

use super::life::{self, Life, Listening};
use super::logging::{Format, Logging};
use super::tables::Manner;
use super::{Failure, Place, Storing};

/// Serve a project in production
///
/// Needs the tables to be as the project wants them and refuses to start on a difference. The database is
/// DATABASE_URL (with BASEWRIGHT_MIGRATE_URL and BASEWRIGHT_REPLICATION_URL for the owner of the tables and the
/// reader of the WAL, which default to it); without it, a private Postgres under the data folder. The keys are
/// those of BASEWRIGHT_KEYS (a file, or JSON) or BASEWRIGHT_SECRET (at least 32 bytes, the same on every node);
/// without them, a file in the data folder.
#[derive(Args)]
#[command(after_help = "Examples:
  DATABASE_URL=postgres://app@db/app BASEWRIGHT_SECRET=\"$(cat secret)\" basewright serve . --port 8000
  basewright serve . --migrate    take every step towards the project that loses no data, then serve")]
pub(super) struct Serve {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    storing: Storing,
    #[command(flatten)]
    listening: Listening,
    #[command(flatten)]
    logging: Logging,
    /// Bring the database up to the project first, by every step that loses nothing
    #[arg(long, env = "BASEWRIGHT_MIGRATE", value_parser = clap::builder::FalseyValueParser::new())]
    migrate: bool,
    /// Let requests run as a superuser of the database
    #[arg(long, env = "BASEWRIGHT_ALLOW_SUPERUSER", value_parser = clap::builder::FalseyValueParser::new())]
    allow_superuser: bool,
}

pub(super) fn run(command: Serve) -> Result<(), Failure> {
    let _log = command.logging.start(Format::Json)?;
    let manner = if command.migrate {
        Manner::Change { accept_loss: Vec::new(), seed_from: None }
    } else {
        Manner::Compare
    };
    life::run(Life {
        place: command.place,
        storing: command.storing,
        listening: command.listening,
        manner,
        allow_superuser: command.allow_superuser,
        follow_changes: false,
    })
}
