//! `basewright policy test`: the project's own tests. `policy explain` is a file of its own.

use std::io::Write as _;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::tables::block_on;
use super::{Failure, Place, project};
use crate::app;
use crate::catalog::Catalog;
use crate::db::{self, Embedded, Pool, Session, Target, Urls};
use crate::model::Name;
use crate::project::Project;
use crate::records::trial::{self, Report};
use crate::schema;
use crate::sql::Sql;

/// Try the policies
#[derive(Args)]
pub(super) struct Policy {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Test(Test),
    Explain(super::explain::Explain),
}

/// Judge the cases under `tests:`
///
/// Each case is judged twice: in memory, and by the statements that serve requests, on a scratch database
/// that is made for this and dropped afterwards. A difference between the two fails the case, as does an
/// answer that it does not expect. Exits with 1 when a case fails.
///
/// The scratch database is on the server that DATABASE_URL names (its owner's role, BASEWRIGHT_MIGRATE_URL,
/// must be allowed to create databases), else on a private Postgres under the data folder, which is separate
/// from the one that `dev` uses.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright policy test examples/blog
  basewright policy test examples/blog --memory-only    no database")]
struct Test {
    #[command(flatten)]
    place: Place,
    /// Judge in memory alone: faster, and the statements are not tried
    #[arg(long)]
    memory_only: bool,
}

/// The folder of the private Postgres that scratch databases are made on, under the data folder.
const SCRATCH: &str = "scratch";

pub(super) fn run(command: Policy) -> Result<(), Failure> {
    match command.what {
        What::Test(test) => run_test(&test),
        What::Explain(explain) => super::explain::run(&explain),
    }
}

fn run_test(command: &Test) -> Result<(), Failure> {
    let project = project::load(&command.place.project)?;
    let catalog = project.catalog(1).map_err(Failure::fault)?;
    let cases: usize = project.tests.iter().map(|tests| tests.cases.len()).sum();
    if cases == 0 {
        eprintln!("the project has no test cases: write some under `tests:`");
        return Ok(());
    }
    let reports = if command.memory_only {
        let now = since_2000(app::now());
        project.tests.iter().map(|tests| trial::in_memory(&catalog, tests, now)).collect()
    } else {
        on_a_scratch_database(&command.place, &project, &catalog)?
    };
    show(&reports, cases, command.memory_only)
}

/// Microseconds since 2000, from seconds since 1970.
fn since_2000(now: i64) -> i64 {
    now.saturating_sub(946_684_800).saturating_mul(1_000_000)
}

/// One line a case, and under a failing one why.
fn show(reports: &[Report], cases: usize, memory_only: bool) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut text = String::new();
    for report in reports {
        if let Some(given) = &report.given {
            text += &format!("FAIL  {}: the records given cannot stand in the database\n", report.file);
            text += &format!("      {given}\n");
        }
        for case in &report.cases {
            let word = if case.faults.is_empty() { "ok  " } else { "FAIL" };
            text += &format!("{word}  {}:{}  {}\n", report.file, case.line, case.title);
            for fault in &case.faults {
                text += &format!("      {fault}\n");
            }
        }
    }
    let failed: usize = reports.iter().map(Report::failed).sum();
    let unfit = reports.iter().filter(|report| report.given.is_some()).count();
    let how = if memory_only { "in memory" } else { "in memory and on a database" };
    let cases = format!("{cases} case{}", if cases == 1 { "" } else { "s" });
    if failed == 0 && unfit == 0 {
        text += &format!("{cases} passed, {how}\n");
    }
    // Whoever pipes this into `head` has seen enough.
    let _ = out.write_all(text.as_bytes());
    match (failed, unfit) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::fault("the records given do not fit the tables")),
        _ => Err(Failure::fault(format!("{failed} of {cases} failed, {how}"))),
    }
}

fn on_a_scratch_database(
    place: &Place,
    project: &Project,
    catalog: &Catalog,
) -> Result<Vec<Report>, Failure> {
    if let Some(urls) = Urls::from_env() {
        let owner = Target::parse(&urls.migrate, &Session::migrating()).map_err(Failure::fault)?;
        let runtime = Target::parse(&urls.runtime, &session(project)).map_err(Failure::fault)?;
        return block_on(Scratch { maker: owner.clone(), owner, runtime }.judge(project, catalog));
    }
    let cluster = Embedded::start(&place.data().join(SCRATCH), None).map_err(Failure::fault)?;
    let target = |url: &str, session: &Session| Target::parse(url, session).map_err(Failure::fault);
    let urls = cluster.urls();
    let scratch = Scratch {
        maker: target(&cluster.admin_url("postgres"), &Session::migrating())?,
        owner: target(&urls.migrate, &Session::migrating())?,
        runtime: target(&urls.runtime, &session(project))?,
    };
    let reports = block_on(scratch.judge(project, catalog));
    cluster.stop();
    reports
}

pub(super) fn session(project: &Project) -> Session {
    Session { statement_timeout: Some(project.limits.statement_timeout), ..Session::default() }
}

/// A server on which a database may be made, and the roles on it.
struct Scratch {
    /// May create databases.
    maker: Target,
    owner: Target,
    runtime: Target,
}

impl Scratch {
    /// Makes a database, judges the tests on it, and drops it.
    async fn judge(self, project: &Project, catalog: &Catalog) -> Result<Vec<Report>, Failure> {
        let maker = self.maker.connect().await.map_err(Failure::fault)?;
        let name = Name::joined(&["basewright_policy_test", &Uuid::new_v4().simple().to_string()]);
        let mut create = Sql::ddl();
        create.raw("create database ").name(&name);
        if let Some(role) = self.owner.user().and_then(|role| Name::new(role).ok()) {
            create.raw(" owner ").name(&role);
        }
        maker.batch_execute(create.text()).await.map_err(|error| {
            let said = error.as_db_error().map_or_else(|| error.to_string(), |said| said.message().to_owned());
            Failure::fault(format!(
                "no scratch database could be made: {said}\nlet the role create databases, leave DATABASE_URL \
                 unset for a private Postgres, or judge in memory alone with --memory-only"
            ))
        })?;
        let reports = self.judge_on(name.as_str(), project, catalog).await;
        let mut drop = Sql::ddl();
        drop.raw("drop database if exists ").name(&name).raw(" with (force)");
        let dropped = maker.batch_execute(drop.text()).await;
        let reports = reports?;
        if let Err(error) = dropped {
            return Err(Failure::fault(format!("the scratch database {name} could not be dropped: {error}")));
        }
        Ok(reports)
    }

    async fn judge_on(
        &self,
        name: &str,
        project: &Project,
        catalog: &Catalog,
    ) -> Result<Vec<Report>, Failure> {
        let runtime = self.runtime.on_database(name);
        let server = {
            let client = runtime.connect().await.map_err(Failure::fault)?;
            db::check_server(&client, true).await.map_err(Failure::fault)?
        };
        let mut owner = self.owner.on_database(name).connect().await.map_err(Failure::fault)?;
        db::migrate(&owner, &server.role).await.map_err(Failure::fault)?;
        let desired = schema::desired(&project.collections, &project.checks);
        let plan = schema::plan(&mut owner, &desired).await.map_err(Failure::fault)?;
        schema::apply(&mut owner, &plan).await.map_err(Failure::fault)?;
        let pool = Pool::open(&runtime, 1).map_err(Failure::fault)?;
        let mut reports = Vec::with_capacity(project.tests.len());
        for tests in &project.tests {
            reports.push(trial::in_both(&pool, catalog, tests).await.map_err(Failure::fault)?);
        }
        pool.close();
        Ok(reports)
    }
}
