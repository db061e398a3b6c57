//! [`plan`] and [`apply`]: the two that talk to a database about a difference.

use std::fmt;

use tokio_postgres::{Client, GenericClient};

use super::database::{ConstraintRule, Database, Definition};
use super::mark::{Mark, Note};
use super::plan::{Plan, Refusal, Step};
use super::seed::Seed;
use super::{ddl, diff, introspect};
use crate::model::Name;

/// Names the lock that whoever shapes tables holds. Any number that nothing else uses.
const LOCK: &str = "select pg_advisory_xact_lock(7813214502881205001)";

/// Why tables could not be read or shaped. Nothing is applied then.
#[derive(Debug)]
pub enum Failure {
    /// Postgres cannot be asked.
    Database(tokio_postgres::Error),
    /// The catalogue's answer cannot be read: a defect.
    Catalogue(serde_json::Error),
    /// The plan has refusals.
    Refused(Vec<Refusal>),
    /// A table of the project belongs to a role whose rights the connection lacks.
    Foreign { table: String, owner: String, role: String },
    /// The database or its rows are no longer what the plan was made for.
    Moved,
    /// Postgres refused a step: as a rule, rows that are there do not meet what it asks of them.
    Step { step: String, constraint: Option<String>, message: String, source: tokio_postgres::Error },
    /// The seed's SQL was refused. `place` is its name, with the line where that is known.
    Seed { place: String, message: String, source: Option<tokio_postgres::Error> },
    /// Every step was done and there still is a difference: a defect.
    NotReached(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        Failure::Database(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Database(error) => match error.as_db_error() {
                Some(said) => write!(f, "the database refused: {}", said.message()),
                None => write!(f, "the database cannot be asked: {error}"),
            },
            Failure::Catalogue(error) => write!(f, "the database's catalogue cannot be read: {error}"),
            Failure::Refused(refusals) => {
                f.write_str("the database cannot become what the project wants")?;
                refusals.iter().try_for_each(|refusal| write!(f, "\n  {refusal}"))
            }
            Failure::Foreign { table, owner, role } => write!(
                f,
                "the table {table} is the project's and belongs to the role {owner}, so {role} may neither change it \
                 nor let requests use it: as {owner} or a superuser, alter table {table} owner to \"{role}\""
            ),
            Failure::Moved => {
                f.write_str("the database has changed since the plan was made; make the plan again")
            }
            Failure::Step { step, message, .. } => {
                write!(f, "{step}\n  {message}\n  nothing was applied")
            }
            Failure::Seed { place, message, .. } => {
                write!(f, "{place}: {message}\n  no table was made")
            }
            Failure::NotReached(left) => {
                write!(f, "after every step there still is a difference, so nothing was applied:\n{left}")
            }
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Database(error) | Failure::Step { source: error, .. } => Some(error),
            Failure::Catalogue(error) => Some(error),
            Failure::Seed { source, .. } => {
                source.as_ref().map(|error| error as &(dyn std::error::Error + 'static))
            }
            Failure::Refused(_) | Failure::Foreign { .. } | Failure::Moved | Failure::NotReached(_) => None,
        }
    }
}

/// Compares a database with what a project wants, and counts what the steps would lose.
///
/// # Errors
/// [`Failure::Database`] if Postgres cannot be asked.
pub async fn plan(client: &mut Client, desired: &Database) -> Result<Plan, Failure> {
    let current = introspect(client).await?;
    let mut plan = diff(&current, desired);
    measure(client, &mut plan).await?;
    Ok(plan)
}

/// Counts what only the rows can tell, and turns steps that they do not allow into refusals.
async fn measure(client: &impl GenericClient, plan: &mut Plan) -> Result<(), Failure> {
    for step in &mut plan.steps {
        if let Some(measure) = step.measure_mut() {
            let row = client.query_one(measure.sql().text(), &[]).await?;
            let count: i64 = row.try_get(0)?;
            measure.count = u64::try_from(count).ok();
        }
    }
    plan.refusals.extend(plan.steps.iter().filter_map(Step::refused));
    plan.steps.retain(|step| step.refused().is_none());
    Ok(())
}

/// Does all of a plan, or nothing of it: one transaction, which only one at a time can be in. Compares again
/// before and after, so a database that has moved since the plan was made is left alone. A plan without steps is
/// worth applying too: it takes note of a `renamed_from` that has left the project, so that the same rename can be
/// asked for once more.
///
/// # Errors
/// See [`Failure`]; nothing is applied then.
pub async fn apply(client: &mut Client, plan: &Plan) -> Result<(), Failure> {
    apply_with_seed(client, plan, None).await.map(|_| ())
}

/// [`apply`], and if the database had none of the project's tables, the seed's rows in the same transaction.
/// Returns whether the seed ran.
///
/// # Errors
/// See [`Failure`]; nothing is applied then, unless the seed itself ended the transaction.
pub async fn apply_with_seed(client: &mut Client, plan: &Plan, seed: Option<&Seed>) -> Result<bool, Failure> {
    if !plan.refusals.is_empty() {
        return Err(Failure::Refused(plan.refusals.clone()));
    }
    let transaction = client.transaction().await?;
    // A long transaction of somebody else must not queue everyone behind our DDL for ever; our own may take long.
    transaction.batch_execute("set local lock_timeout to '10s'; set local statement_timeout to 0").await?;
    transaction.batch_execute(introspect::PRINTING).await?;
    transaction.batch_execute(LOCK).await?;

    let (current, _) = introspect::read(&transaction).await?;
    let fresh = again(&transaction, &current, plan, true).await?;
    let doings = |plan: &Plan| -> Vec<(String, bool)> {
        plan.steps.iter().map(|step| (step.sql().text().to_owned(), step.is_destructive())).collect()
    };
    if !fresh.refusals.is_empty() || doings(&fresh) != doings(plan) {
        return Err(Failure::Moved);
    }
    for step in &fresh.steps {
        transaction.batch_execute(step.sql().text()).await.map_err(|error| failed(step, error))?;
    }
    seal(&transaction, &fresh).await?;

    let (reached, _) = introspect::read(&transaction).await?;
    let left = again(&transaction, &reached, plan, false).await?;
    if !left.steps.is_empty() || !left.refusals.is_empty() {
        return Err(Failure::NotReached(left.render()));
    }
    // Where there are tables already, their rows are somebody's.
    let seed = seed.filter(|_| current.tables.is_empty() && !reached.tables.is_empty());
    if let Some(seed) = seed {
        seed.run(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(seed.is_some())
}

/// The plan made again, inside the transaction that applies it.
async fn again(
    client: &impl GenericClient,
    current: &Database,
    plan: &Plan,
    hold: bool,
) -> Result<Plan, Failure> {
    let mut fresh = diff(current, &plan.desired);
    if hold {
        // Rows may not change between being counted and being lost.
        for step in &mut fresh.steps {
            if let Some(measure) = step.measure_mut() {
                client.batch_execute(ddl::lock(&measure.table).text()).await?;
            }
        }
    }
    measure(client, &mut fresh).await?;
    Ok(if plan.withheld.is_empty() { fresh } else { fresh.safe_only() })
}

fn failed(step: &Step, error: tokio_postgres::Error) -> Failure {
    let Some(said) = error.as_db_error() else { return Failure::Database(error) };
    let mut message = said.message().to_owned();
    for more in [said.detail(), said.hint()].into_iter().flatten() {
        message.push_str("; ");
        message.push_str(more);
    }
    Failure::Step {
        step: step.to_string(),
        constraint: said.constraint().map(str::to_owned),
        message,
        source: error,
    }
}

/// Notes on each table what was made and how Postgres prints it.
async fn seal(client: &impl GenericClient, plan: &Plan) -> Result<(), Failure> {
    let (found, postgres) = introspect::read(client).await?;
    let kept = plan.kept();
    for (name, table) in &found.tables {
        let Some(wanted) = plan.desired.tables.get(name) else { continue };
        let is_kept = |part: &Name| kept.contains(&(name, part));
        let mut mark = Mark {
            postgres,
            renamed_from: wanted.renamed_from.as_ref().map(ToString::to_string),
            ..Mark::default()
        };
        for column in &wanted.columns {
            let Some(there) = table.column(&column.name) else { continue };
            if let Some(from) = &column.renamed_from {
                mark.columns.insert(column.name.to_string(), from.to_string());
            }
            if let (Some(written), Some(Definition::Found { printed, .. })) =
                (column.default.as_ref().and_then(Definition::written), &there.default)
                && !is_kept(&column.name)
            {
                mark.defaults.insert(column.name.to_string(), Note::new(written, printed));
            }
        }
        if plan.keeps_search(name) {
            mark.search.clone_from(&table.mark.search);
        } else if let (Some(written), Some(Definition::Found { printed, .. })) =
            (wanted.search.as_ref().and_then(Definition::written), &table.search)
        {
            mark.search = Some(Note::new(written, printed));
        }
        for constraint in &table.constraints {
            let wanted = wanted.constraint(&constraint.name);
            if wanted.is_some() || table.mark.made.contains(constraint.name.as_str()) {
                mark.made.insert(constraint.name.to_string());
            }
            if let Some(ConstraintRule::Check(wanted)) = wanted.map(|wanted| &wanted.rule)
                && let (Some(written), ConstraintRule::Check(Definition::Found { printed, .. })) =
                    (wanted.written(), &constraint.rule)
                && !is_kept(&constraint.name)
            {
                mark.checks.insert(constraint.name.to_string(), Note::new(written, printed));
            }
        }
        for index in &table.indexes {
            let is_wanted = wanted.indexes.iter().any(|one| one.name == index.name);
            if is_wanted || table.mark.made.contains(index.name.as_str()) {
                mark.made.insert(index.name.to_string());
            }
        }
        if mark != table.mark {
            client.batch_execute(ddl::comment(name, &mark.text()).text()).await?;
        }
    }
    Ok(())
}
