//! `basewright check`: reads a project and says everything that is wrong with it, and what may be. Touches no database.
//! `basewright check --schema` prints what an editor checks the files by.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::{Failure, project};
use crate::project::{editor, render};

/// Read a project and report every fault
///
/// Reads the YAML, types every condition and compiles every JSON Schema, as `dev` and `serve` do before they
/// start. Needs no database. Exits with 1 when there is a fault. Warnings are about what is allowed and tells a
/// caller more than the author may think.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright check examples/blog
  basewright check --schema > schema.json    for `# yaml-language-server: $schema=schema.json`")]
pub(super) struct Check {
    /// The project's folder
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Print the JSON Schema of a project's files, by which editors complete and check them, and read no project
    #[arg(long, conflicts_with = "project")]
    schema: bool,
}

/// Loads the project and counts what it holds.
///
/// # Errors
/// Every fault, rendered.
pub(super) fn run(command: Check) -> Result<(), Failure> {
    if command.schema {
        let mut text = serde_json::to_string_pretty(&editor::schema()).map_err(Failure::fault)?;
        text.push('\n');
        // Whoever pipes this into `head` has seen enough.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
        return Ok(());
    }
    let project = project::load(&command.project)?;
    let advice = project.advice(&project.catalog(1).map_err(Failure::fault)?);
    if !advice.is_empty() {
        eprintln!("{}", render(&advice));
    }
    let cases: usize = project.tests.iter().map(|tests| tests.cases.len()).sum();
    let counts = [
        (project.collections.ids().count(), "collection"),
        (project.buckets.len(), "bucket"),
        (project.rules.len(), "rule"),
        (cases, "test case"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, what)| *count > 0 || *what != "bucket")
        .map(|(count, what)| format!("{count} {what}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    println!("no faults: {}", counts.join(", "));
    Ok(())
}
