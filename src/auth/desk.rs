//! [`Desk`]: what signing in needs of a server; [`Visit`]: one request at it. Use cases are methods of a visit, each in
//! the file of its subject.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::Value;
use uuid::Uuid;

use super::audit::{Actor, Entry, Event};
use super::foreign::Foreigners;
use super::keys::Keyring;
use super::limit::{Counted, Limits};
use super::mail::{Letter, Mailer};
use super::outbound::Outbound;
use super::password::Hashing;
use super::provider::remote::Remotes;
use super::settings::Settings;
use super::token::Verified;
use crate::db::{DbError, Pool, Row, Tx};
use crate::error::{Code, Error};
use crate::realtime::feed::Feed;
use crate::sql::Sql;

/// How long an answer waits for this node to hear of what it has done.
const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// What signing in needs of a server. Built once.
pub struct Desk {
    /// Connections that nobody else uses: who wants to sign in does not wait for somebody's slow query.
    pool: Pool,
    feed: Feed,
    keys: Arc<ArcSwap<Keyring>>,
    /// Where the keys are kept, unless in the environment.
    key_file: Option<PathBuf>,
    /// None before a project is in force.
    settings: ArcSwapOption<Settings>,
    limits: ArcSwapOption<Limits>,
    mailer: Mailer,
    hashing: Hashing,
    /// Made when somebody is first asked.
    outbound: OnceLock<Outbound>,
    remotes: Remotes,
    foreigners: Foreigners,
}

impl Desk {
    pub fn new(
        pool: Pool,
        feed: Feed,
        keys: Arc<ArcSwap<Keyring>>,
        key_file: Option<PathBuf>,
        hashing: Hashing,
    ) -> Desk {
        Desk {
            pool,
            feed,
            keys,
            key_file,
            settings: ArcSwapOption::empty(),
            limits: ArcSwapOption::empty(),
            mailer: Mailer::default(),
            hashing,
            outbound: OnceLock::new(),
            remotes: Remotes::default(),
            foreigners: Foreigners::default(),
        }
    }

    /// Puts settings in force. What was counted is kept unless the limits differ.
    pub fn settle(&self, settings: Settings) {
        let before = self.settings.load_full();
        if before.is_none_or(|before| before.project.rate_limits != settings.project.rate_limits) {
            self.limits.store(Some(Arc::new(Limits::new(&settings.project.rate_limits))));
        }
        self.mailer.settle(&settings);
        self.settings.store(Some(Arc::new(settings)));
    }

    /// The settings in force.
    ///
    /// # Errors
    /// 503 while the server is starting.
    pub fn settings(&self) -> Result<Arc<Settings>, Error> {
        self.settings.load_full().ok_or_else(|| Error::new(Code::Unavailable).retry_after(1))
    }

    /// Counts a request for records by nobody in particular.
    ///
    /// # Errors
    /// 429.
    pub fn admit(&self, address: IpAddr) -> Result<(), Error> {
        match &*self.limits.load() {
            Some(limits) => limits.from(Counted::RestAnonymous, address),
            // Nothing is in force yet, and nothing answers.
            None => Ok(()),
        }
    }

    /// Where the keys are kept, unless in the environment.
    pub fn key_file(&self) -> Option<&Path> {
        self.key_file.as_deref()
    }

    /// Where the keys in force are.
    pub(super) fn keys(&self) -> Arc<ArcSwap<Keyring>> {
        Arc::clone(&self.keys)
    }

    /// By what others are asked over the network.
    ///
    /// # Errors
    /// 503 while the server is starting; a TLS that cannot be set up.
    pub(super) fn outbound(&self) -> Result<&Outbound, Error> {
        if let Some(outbound) = self.outbound.get() {
            return Ok(outbound);
        }
        let settings = self.settings()?;
        let made = Outbound::new(settings.is_dev, &settings.private_hosts).map_err(Error::internal)?;
        Ok(self.outbound.get_or_init(|| made))
    }

    /// The issuers that the project names.
    pub(super) fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    pub(super) fn foreigners(&self) -> &Foreigners {
        &self.foreigners
    }

    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Somebody comes. `now` is seconds since the epoch.
    ///
    /// # Errors
    /// 503 while the server is starting.
    pub fn visit(&self, visitor: Visitor, now: i64) -> Result<Visit<'_>, Error> {
        let settings = self.settings()?;
        let limits = self.limits.load_full().ok_or_else(|| Error::new(Code::Unavailable).retry_after(1))?;
        Ok(Visit { desk: self, settings, limits, keys: self.keys.load_full(), visitor, now })
    }
}

/// Where somebody comes from, by what the server itself can tell.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub address: IpAddr,
    pub user_agent: Option<String>,
    /// The verified token that he showed, if he showed one of a session.
    pub token: Option<Arc<Verified>>,
    /// Whether he holds the secret key.
    pub is_admin: bool,
    /// Whether he is the operator at the command line, who comes from no address.
    pub at_console: bool,
}

impl Visitor {
    /// The operator at the command line.
    pub fn operator() -> Visitor {
        Visitor {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: None,
            token: None,
            is_admin: true,
            at_console: true,
        }
    }
}

/// One request: who comes, and what is in force meanwhile.
pub struct Visit<'a> {
    pub(super) desk: &'a Desk,
    pub(super) settings: Arc<Settings>,
    pub(super) limits: Arc<Limits>,
    pub(super) keys: Arc<Keyring>,
    pub(super) visitor: Visitor,
    /// Seconds since the epoch.
    pub(super) now: i64,
}

impl Visit<'_> {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the operator comes: whoever holds the secret key.
    pub fn is_admin(&self) -> bool {
        self.visitor.is_admin
    }

    pub(super) fn hashing(&self) -> &Hashing {
        &self.desk.hashing
    }

    /// Sends a letter in the background.
    ///
    /// # Errors
    /// 503 where none can be sent. A use case whose answer must not tell whether there is somebody asks
    /// [`Visit::can_mail`] first, in any case.
    pub(super) fn send(&self, letter: Letter) -> Result<(), Error> {
        self.desk.mailer.send(&self.settings, letter)
    }

    /// Whether a letter would be taken now.
    ///
    /// # Errors
    /// 503 where none can be sent.
    pub(super) fn can_mail(&self) -> Result<(), Error> {
        self.desk.mailer.ready(&self.settings)
    }

    /// Runs a statement that changes nothing.
    pub(super) async fn read(&self, sql: &Sql) -> Result<Vec<Row>, Error> {
        self.desk.pool.read(sql).await.map_err(DbError::into_error)
    }

    /// Runs a statement as a transaction of its own.
    pub(super) async fn run(&self, sql: &Sql) -> Result<Vec<Row>, Error> {
        self.desk.pool.query(sql).await.map_err(DbError::into_error)
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self) -> Result<Tx, Error> {
        self.desk.pool.begin().await.map_err(DbError::into_error)
    }

    /// Makes a transaction lasting that took somebody's right away, and waits until this node knows: after the answer,
    /// nothing here is allowed any more that the transaction forbids. Where the stream does not flow, nothing that is
    /// remembered is trusted anyway.
    pub(super) async fn commit_known(&self, tx: Tx) -> Result<(), Error> {
        tx.commit().await.map_err(DbError::into_error)?;
        self.known().await
    }

    /// Makes a transaction lasting that opened a session. Where a user has only one, it ended the others.
    pub(super) async fn commit_opened(&self, tx: Tx) -> Result<(), Error> {
        if self.settings.project.sessions.single {
            return self.commit_known(tx).await;
        }
        tx.commit().await.map_err(DbError::into_error)
    }

    /// Waits until this node knows what was committed so far.
    pub(super) async fn known(&self) -> Result<(), Error> {
        let Some(position) = self.desk.pool.position().await.map_err(DbError::into_error)? else {
            return Ok(());
        };
        if self.desk.feed.is_current() {
            // It may stop flowing meanwhile; what is remembered is then not trusted after a second.
            let _ = tokio::time::timeout(HEARD_WITHIN, self.desk.feed.passed(position)).await;
        }
        Ok(())
    }

    /// Who acts, for the audit log.
    pub(super) fn actor(&self, user: Option<Uuid>) -> Actor {
        let role = match (self.visitor.is_admin, user) {
            (true, _) if self.visitor.at_console => "operator",
            (true, _) => "service_role",
            (false, Some(_)) => "authenticated",
            (false, None) => "anon",
        };
        Actor { role, user }
    }

    /// A line of the audit log about a user, who acts himself unless it is the operator.
    pub(super) fn entry(&self, event: Event, subject: Option<Uuid>, details: Value) -> Entry {
        Entry {
            event,
            actor: self.actor(subject.filter(|_| !self.visitor.is_admin)),
            subject,
            session: None,
            address: Some(self.visitor.address).filter(|_| !self.visitor.at_console),
            user_agent: self.visitor.user_agent.clone(),
            details,
        }
    }

    /// Adds a line in a transaction.
    pub(super) async fn note(&self, tx: &Tx, entry: Entry) -> Result<(), Error> {
        tx.query(&entry.insert()).await.map_err(DbError::into_error)?;
        Ok(())
    }
}
