//! `basewright check`: reads a project and says everything that is wrong with it. Touches no database.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, project};

/// Read a project and report every fault
///
/// Reads the YAML, types every condition and compiles every JSON Schema, as `dev` and `serve` do before they
/// start. Needs no database. Exits with 1 when there is a fault.
#[derive(Args)]
#[command(after_help = "Example:\n  basewright check examples/blog")]
pub(super) struct Check {
    /// The project's folder
    #[arg(default_value = ".")]
    project: PathBuf,
}

/// Loads the project and counts what it holds.
///
/// # Errors
/// Every fault, rendered.
pub(super) fn run(command: Check) -> Result<(), Failure> {
    let project = project::load(&command.project)?;
    let cases: usize = project.tests.iter().map(|tests| tests.cases.len()).sum();
    let counts = [
        (project.collections.ids().count(), "collection"),
        (project.rules.len(), "rule"),
        (cases, "test case"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    println!("no faults: {}", counts.join(", "));
    Ok(())
}
