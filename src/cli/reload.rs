//! Following the saves of a project: what is good is put in force as a whole, what is not leaves the last
//! good version where it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Failure;
use super::life::AnonymousLimit;
use super::project::{self, Stamp};
use super::settings::{self, Whereabouts};
use super::tables::{self, Manner, Trouble};
use crate::app::App;
use crate::db::{Target, Urls};
use crate::objects::bucket;

/// How often the folder is looked at. A save is taken once two looks agree, so that half of one is not.
const EVERY: Duration = Duration::from_millis(300);

/// What a reload needs.
pub(super) struct Follower {
    pub(super) app: Arc<App>,
    pub(super) folder: PathBuf,
    pub(super) urls: Urls,
    /// Where the server's own sessions are.
    pub(super) target: Target,
    pub(super) manner: Manner,
    pub(super) allow_superuser: bool,
    pub(super) public_url: String,
    /// What was said already of variables that are missing.
    pub(super) told: Vec<String>,
    pub(super) anonymous_limit: AnonymousLimit,
}

/// Notes in the audit log which policies are in force.
pub(super) async fn note_policies(app: &App, text: &str) {
    if let Err(error) = app.desk().note_policies(text).await {
        tracing::error!(%error, "a change of the policies could not be noted");
    }
}

impl Follower {
    /// Follows the folder until the server shuts down. `seen` is the folder as it was when the version in
    /// force was read.
    pub(super) async fn follow(mut self, mut seen: Option<Stamp>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut settling, mut version) = (None, 1);
        while !self.app.is_draining() {
            ticks.tick().await;
            let folder = self.folder.clone();
            let now = tokio::task::spawn_blocking(move || project::stamp(&folder).ok()).await.ok().flatten();
            if now == seen {
                settling = None;
                continue;
            }
            if settling.as_ref() != Some(&now) {
                settling = Some(now);
                continue;
            }
            match self.reload(version + 1).await {
                Ok(()) => {
                    version += 1;
                    tracing::info!(version, "the project changed");
                }
                Err(Trouble::Temporary(reason)) => {
                    tracing::warn!(
                        reason,
                        "the project changed, but the database cannot be reached; trying again"
                    );
                    continue;
                }
                Err(Trouble::Lasting(reason)) => {
                    eprintln!("{reason}\n");
                    tracing::warn!("the project has faults: the last good version stays in force");
                }
            }
            seen = settling.take().flatten();
        }
    }

    async fn reload(&mut self, version: u64) -> Result<(), Trouble> {
        let folder = self.folder.clone();
        let loaded = tokio::task::spawn_blocking(move || project::load(&folder))
            .await
            .map_err(|error| Trouble::Lasting(error.to_string()))?;
        let project = loaded.map_err(|failure| match failure {
            Failure::Fault(text) | Failure::Usage(text) => Trouble::Lasting(text),
        })?;
        let looked_up = settings::look_up(&project, true, settings::variable)
            .map_err(|failure| Trouble::Lasting(failure.to_string()))?;
        let catalog = project.catalog(version).map_err(|fault| Trouble::Lasting(fault.to_string()))?;
        tables::prepare(&self.urls, &project, &self.manner, self.allow_superuser).await?;
        project::advise(&project, &catalog);
        self.target.limit_statements(project.limits.statement_timeout);
        for warning in looked_up.warnings.iter().filter(|warning| !self.told.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.told.clone_from(&looked_up.warnings);
        let serves_pages = project::public(&self.folder).is_dir();
        let place = Whereabouts { public_url: &self.public_url, serves_pages };
        let settings = settings::of(&project, looked_up, place, true);
        self.app.desk().settle(self.anonymous_limit.apply(settings));
        bucket::declare(self.app.pool(), &project.buckets)
            .await
            .map_err(|error| Trouble::Temporary(error.to_string()))?;
        self.app.publish(catalog);
        note_policies(&self.app, &project.policy_text()).await;
        Ok(())
    }
}
