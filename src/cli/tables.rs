//! Bringing a database and a project together: is the server fit, has it our own tables, are the project's
//! tables as the project wants them.

use std::path::PathBuf;

use crate::db::{self, DbError, SYSTEM_MIGRATIONS, Session, SetupError, Target, Urls};
use crate::project::Project;
use crate::schema::{self, Plan};

use super::Failure;

/// What may be changed in the database.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// Nothing: a difference is refused.
    Compare,
    /// Our own migrations, and every step towards the project that loses nothing.
    Change {
        /// What may be lost all the same: `posts` or `posts.rating`.
        accept_loss: Vec<String>,
        /// The folder whose `seed.sql` fills tables when the first of them are made.
        seed_from: Option<PathBuf>,
    },
}

/// Why a database and a project do not come together.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database cannot be reached; it may come back by itself.
    Temporary(String),
    /// Somebody has to do something.
    Lasting(String),
}

impl From<SetupError> for Trouble {
    fn from(error: SetupError) -> Trouble {
        if error.is_temporary() {
            Trouble::Temporary(error.to_string())
        } else {
            Trouble::Lasting(error.to_string())
        }
    }
}

impl From<DbError> for Trouble {
    fn from(error: DbError) -> Trouble {
        if error.is_unavailable() {
            Trouble::Temporary(error.to_string())
        } else {
            Trouble::Lasting(error.to_string())
        }
    }
}

impl From<schema::Failure> for Trouble {
    fn from(failure: schema::Failure) -> Trouble {
        match &failure {
            // What Postgres did not say came from the connection.
            schema::Failure::Database(error) if error.as_db_error().is_none() => {
                Trouble::Temporary(failure.to_string())
            }
            // Two servers prepared at once and the other was first: to compare again is right.
            schema::Failure::Moved => Trouble::Temporary(failure.to_string()),
            schema::Failure::Database(_)
            | schema::Failure::Catalogue(_)
            | schema::Failure::Refused(_)
            | schema::Failure::Foreign { .. }
            | schema::Failure::Step { .. }
            | schema::Failure::Seed { .. }
            | schema::Failure::NotReached(_) => Trouble::Lasting(failure.to_string()),
        }
    }
}

/// Makes sure that the database fits the project, and changes it as far as that is allowed.
pub(super) async fn prepare(
    urls: &Urls,
    project: &Project,
    manner: &Manner,
    allow_superuser: bool,
) -> Result<(), Trouble> {
    let runtime = Target::parse(&urls.runtime, &Session::default())?;
    let owner = Target::parse(&urls.migrate, &Session::migrating())?;
    // Both at once: to make a process for a connection is much of what a start takes.
    let (runtime, owner) = futures_util::future::join(runtime.connect(), owner.connect()).await;
    let server = db::check_server(&runtime?, allow_superuser).await?;
    if server.superuser {
        tracing::warn!(role = server.role, "requests run as a superuser of the database");
    }
    let mut owner = owner?;
    match manner {
        Manner::Change { .. } => {
            let done = db::migrate(&owner, &server.role).await?;
            if !done.applied.is_empty() {
                tracing::info!(migrations = ?done.applied, "the database got its system tables");
            }
        }
        Manner::Compare => {
            let asked = async {
                let there =
                    owner.query_one("select to_regclass('basewright.migrations') is not null", &[]).await?;
                if !there.try_get::<_, bool>(0)? {
                    return Ok(None);
                }
                owner.query_one("select max(number) from basewright.migrations", &[]).await?.try_get(0)
            };
            require_system_tables(asked.await.map_err(schema::Failure::from)?)?;
        }
    }
    let desired = schema::desired(&project.collections, &project.checks);
    if let Manner::Change { .. } = manner {
        schema::require_ownership(&owner).await?;
    }
    let plan = schema::plan(&mut owner, &desired).await?;
    match manner {
        Manner::Compare if plan.is_empty() => Ok(()),
        // A rename that the project has forgotten is to be forgotten by the tables too.
        Manner::Change { .. } if plan.is_empty() && !plan.notes_differ() => Ok(()),
        Manner::Compare => Err(Trouble::Lasting(format!(
            "the database is not as the project wants it:\n{}a production server changes no tables by itself: start \
             it once with --migrate, which takes every step that loses nothing",
            plan.render()
        ))),
        Manner::Change { accept_loss, seed_from } => {
            refuse_losses(&plan, accept_loss)?;
            let seed = match seed_from {
                Some(folder) => {
                    super::project::seed(folder).map_err(|failure| Trouble::Lasting(failure.to_string()))?
                }
                None => None,
            };
            let seeded = schema::apply_with_seed(&mut owner, &plan, seed.as_ref()).await?;
            for line in plan.render().lines() {
                tracing::info!("{line}");
            }
            if seeded {
                tracing::info!("the new tables got the rows of {}", super::project::SEED);
            }
            Ok(())
        }
    }
}

/// Refuses a plan that loses what nobody gave up by name.
fn refuse_losses(plan: &Plan, accepted: &[String]) -> Result<(), Trouble> {
    let losses: Vec<String> = plan
        .destructive()
        .map(ToString::to_string)
        .filter(|step| {
            let subject = step.split_once(':').map_or(step.as_str(), |(subject, _)| subject);
            !accepted.iter().any(|name| name == subject)
        })
        .collect();
    let Some(first) = losses.first() else { return Ok(()) };
    let subject = first.split_once(':').map_or(first.as_str(), |(subject, _)| subject);
    Err(Trouble::Lasting(format!(
        "these steps would lose data, so nothing was changed:\n  {}\nput back what is missing, name its former name with \
         `renamed_from`, or give the data up with --accept-loss {subject}",
        losses.join("\n  ")
    )))
}

/// Refuses a database that has not had this program's system migrations, or has had a later program's.
fn require_system_tables(had: Option<i32>) -> Result<(), Trouble> {
    let wanted = SYSTEM_MIGRATIONS.iter().map(|migration| migration.number).max().unwrap_or_default();
    match had {
        Some(had) if had == wanted => Ok(()),
        Some(had) if had > wanted => Err(Trouble::Lasting(format!(
            "a later version of this program has changed the database (migration {had}, this program knows {wanted}): \
             run that version"
        ))),
        Some(_) | None => Err(Trouble::Lasting(
            "the database has not had this version's system migrations: start the server once with --migrate"
                .to_owned(),
        )),
    }
}

/// Refuses an API key or token from now on, on every node of the database.
pub(super) async fn revoke(urls: &Urls, jti: &str) -> Result<(), Failure> {
    let runtime = Target::parse(&urls.runtime, &Session::default())
        .map_err(Failure::fault)?
        .connect()
        .await
        .map_err(Failure::fault)?;
    runtime
        .execute(
            "with revoked as (insert into auth.revoked_keys (jti) values ($1) on conflict do nothing returning jti) \
             insert into auth.audit_log (event, actor_role, details) \
             select 'key_revoked', 'operator', jsonb_build_object('jti', jti) from revoked",
            &[&jti],
        )
        .await
        .map_err(|error| Failure::fault(format!("the database refused the revocation: {error}")))?;
    Ok(())
}

/// Runs a short task of a command that is no server.
pub(super) fn block_on<T>(task: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::fault)?.block_on(task)
}
