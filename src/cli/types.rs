//! `basewright types`: the project as TypeScript. Reads the files alone.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use super::{Failure, project};
use crate::model::{ANON, Principal, SERVICE_ROLE};
use crate::policy::Role;
use crate::query::plan::Context;
use crate::query::typescript;

/// Print the project as TypeScript types
///
/// For each collection: `Row`, a record as it is read; `New`, what creating one takes; `Patch`, what changing one
/// takes; its key and its relations. Besides, a type for each enum, the buckets, the channels, and every code that
/// an error can have. `createClient<Schema>` of `@basewright/client` takes them from there.
///
/// Reads the YAML alone: no server, no database. Without --role it is what the secret key may do, and so the whole
/// project; with it, what callers of this role see and may write: what they do not know of is not in it.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright types examples/blog > src/schema.ts
  basewright types examples/blog --output src/schema.ts     writes only what differs
  basewright types examples/blog --role authenticated --output src/schema.ts")]
pub(super) struct Types {
    /// The project's folder
    #[arg(default_value = ".")]
    project: PathBuf,
    /// What callers of this role see and may write; whoever has a role besides anon is signed in
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Where to write it, if it differs from what is there [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(command: &Types) -> Result<(), Failure> {
    let project = project::load(&command.project)?;
    let catalog = project.catalog(1).map_err(Failure::fault)?;
    let principal = principal(command.role.as_deref(), &project.roles)?;
    let context = Context { catalog: &catalog, principal: &principal };
    let text = typescript::schema(context, &said(command));
    let Some(path) = &command.output else {
        // Whoever pipes this into `head` has seen enough.
        let _ = io::stdout().lock().write_all(text.as_bytes());
        return Ok(());
    };
    let fault = |error: io::Error| Failure::fault(format!("{}: {error}", path.display()));
    match fs::read(path) {
        // Untouched, so that what watches the file stays calm.
        Ok(there) if there == text.as_bytes() => Ok(()),
        Ok(_) => fs::write(path, text).map_err(fault),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(path, text).map_err(fault),
        Err(error) => Err(fault(error)),
    }
}

/// A caller of a role; without one, the secret key.
fn principal(role: Option<&str>, roles: &[Role]) -> Result<Principal, Failure> {
    let Some(role) = role else { return Ok(Principal::service()) };
    if !roles.iter().any(|known| known.name == *role) {
        let nearest = roles
            .iter()
            .map(|known| (strsim::jaro_winkler(known.name.as_str(), role), known))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(similarity, _)| *similarity > 0.8);
        let hint = nearest.map(|(_, known)| format!("; did you mean `{}`?", known.name)).unwrap_or_default();
        return Err(Failure::fault(format!("the project has no role `{role}`{hint}")));
    }
    Ok(match role {
        ANON => Principal::anonymous(),
        SERVICE_ROLE => Principal::service(),
        role => Principal::user(Uuid::nil(), &[role]),
    })
}

/// The command as it was given, so that whoever reads the file can give it again.
fn said(command: &Types) -> String {
    let mut words = vec!["basewright types".to_owned(), command.project.display().to_string()];
    if let Some(role) = &command.role {
        words.push(format!("--role {role}"));
    }
    if let Some(path) = &command.output {
        words.push(format!("--output {}", path.display()));
    }
    words.join(" ")
}
