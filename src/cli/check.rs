//! `basewright check`: is the project free of faults.

use clap::Args;

use super::{Failure, Place, project};

/// Check a project and name every fault at once
#[derive(Args)]
#[command(after_help = "Examples:\n  basewright check examples/blog")]
pub(super) struct Check {
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(command: Check) -> Result<(), Failure> {
    project::load(&command.place.project)?;
    println!("the project is free of faults");
    Ok(())
}
