//! The command line: one file a command.
//!
//! Exit codes: 0 when it did what was asked, 1 when the project or the request is at fault, 2 when the
//! command line is. What a command produces goes to stdout; what it has to say goes to stderr.

mod check;
mod dev;
mod explain;
mod health;
mod keys;
mod life;
mod logging;
mod policy;
mod project;
mod reload;
mod serve;
mod settings;
mod storage;
mod tables;
mod tail;
mod token;
mod types;
mod user;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::objects::Store;
use crate::objects::blobs::{self, Blobs};
use crate::objects::traffic::Traffic;

/// Turns a folder of YAML into a guarded backend on Postgres.
#[derive(Parser)]
#[command(name = "basewright", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Start here:\n  basewright dev examples/blog\n\nEvery command explains itself: basewright help COMMAND"
)]
struct Command {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Check(check::Check),
    Policy(policy::Policy),
    Types(types::Types),
    Keys(keys::Keys),
    Token(token::Token),
    Tail(tail::Tail),
    User(user::Users),
    Storage(storage::Storage),
    Health(health::Health),
}

/// Where the project and its data are.
#[derive(Args, Clone, Debug)]
struct Place {
    /// The project's folder
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Where keys and the private Postgres are kept [default: PROJECT/.basewright]
    #[arg(long, env = "BASEWRIGHT_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Place {
    /// The data folder.
    fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.project.join(".basewright"))
    }
}

/// Where the content of objects lies.
#[derive(Args, Clone, Debug)]
struct Storing {
    /// Where the content of objects lies: file:///… or s3://BUCKET/… [default: the folder objects beside the keys]
    #[arg(long = "storage", env = "BASEWRIGHT_STORAGE_URL", value_name = "URL")]
    storage: Option<String>,
}

impl Storing {
    /// The store of a server whose data is in this folder. Has to be called where a runtime is.
    ///
    /// # Errors
    /// An address that is none, a folder that cannot be written to.
    fn store(&self, data: &Path) -> Result<Store, Failure> {
        let place = match &self.storage {
            Some(url) => blobs::Place::parse(url, settings::variable).map_err(Failure::fault)?,
            None => blobs::Place::Folder(data.join("objects")),
        };
        let blobs = Blobs::connect(&place).map_err(Failure::fault)?;
        Ok(Store { blobs, traffic: Traffic::default(), place: place.to_string().into() })
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
enum Failure {
    /// The project, its data or the database is at fault; the text is for people, without a line end.
    Fault(String),
    /// The command line is at fault.
    Usage(String),
}

impl Failure {
    fn fault(text: impl std::fmt::Display) -> Failure {
        Failure::Fault(text.to_string())
    }

    fn usage(text: impl std::fmt::Display) -> Failure {
        Failure::Usage(text.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Fault(text) | Failure::Usage(text) => f.write_str(text),
        }
    }
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    if let Some(code) = crate::db::run_if_postgres_child() {
        return code;
    }
    // Two libraries could each bring a TLS provider; whoever installs first decides for all of them.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let outcome = match Command::parse().command {
        What::Dev(command) => dev::run(command),
        What::Serve(command) => serve::run(command),
        What::Check(command) => check::run(command),
        What::Policy(command) => policy::run(command),
        What::Types(command) => types::run(&command),
        What::Keys(command) => keys::run(command),
        What::Token(command) => token::run(command),
        What::Tail(command) => tail::run(&command),
        What::User(command) => user::run(command),
        What::Storage(command) => storage::run(command),
        What::Health(command) => health::run(&command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Fault(text)) => {
            eprintln!("{text}");
            ExitCode::from(1)
        }
        Err(Failure::Usage(text)) => {
            eprintln!("error: {text}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }
}
