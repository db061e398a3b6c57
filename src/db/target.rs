//! [`Target`]: one database as one role: where it is, how to speak to it, and how sessions begin.

use std::fmt::{self, Write as _};
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, NoTls};

use super::tls::{Tls, Trust};
use super::{DbError, SetupError};

/// How long a connection may take to come about.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Where the database is, as each of the three roles that the server plays.
#[derive(Clone, PartialEq, Eq)]
pub struct Urls {
    /// What requests run as: no superuser, owns nothing.
    pub runtime: String,
    /// Owns the tables: system migrations and schema changes.
    pub migrate: String,
    /// Reads the WAL.
    pub replication: String,
}

impl Urls {
    /// The database that the environment names: `DATABASE_URL`, and for the other two roles
    /// `BASEWRIGHT_MIGRATE_URL` and `BASEWRIGHT_REPLICATION_URL`, which default to it. `None` without the first.
    pub fn from_env() -> Option<Urls> {
        Urls::from_vars(|name| std::env::var(name).ok())
    }

    fn from_vars(var: impl Fn(&str) -> Option<String>) -> Option<Urls> {
        let set = |name| var(name).map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
        let runtime = set("DATABASE_URL")?;
        Some(Urls {
            migrate: set("BASEWRIGHT_MIGRATE_URL").unwrap_or_else(|| runtime.clone()),
            replication: set("BASEWRIGHT_REPLICATION_URL").unwrap_or_else(|| runtime.clone()),
            runtime,
        })
    }
}

/// URLs hold passwords.
impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Urls { .. }")
    }
}

/// How a session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The longest that one statement may run; `None` is without end (migrations).
    pub statement_timeout: Option<Duration>,
    /// The longest wait for a lock.
    pub lock_timeout: Duration,
    /// How long a transaction may stand still before the server ends it.
    pub idle_in_transaction_timeout: Duration,
    /// What the connection is called in `pg_stat_activity`.
    pub application_name: &'static str,
}

impl Default for Session {
    fn default() -> Session {
        Session {
            statement_timeout: Some(Duration::from_secs(8)),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(10),
            application_name: "basewright",
        }
    }
}

impl Session {
    /// For migrations and schema changes: statements may take as long as they need, but waiting for a lock
    /// makes everybody behind them wait too, so that stays short.
    pub fn migrating() -> Session {
        Session {
            statement_timeout: None,
            idle_in_transaction_timeout: Duration::from_secs(60),
            application_name: "basewright-migrate",
            ..Session::default()
        }
    }

    /// Settings in the form of the start-up packet's `options`: they cost no round trip, and `reset all` and
    /// `discard all` return to them.
    fn options(&self) -> String {
        let millis = |time: Duration| time.as_millis();
        let mut options = String::from(
            // How values look as text must not depend on the server's or the role's own settings.
            "-c timezone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 \
             -c bytea_output=hex -c standard_conforming_strings=on -c client_encoding=UTF8 \
             -c search_path=public -c jit=off",
        );
        // Writing to a String cannot fail.
        let _ = write!(
            options,
            " -c lock_timeout={} -c idle_in_transaction_session_timeout={}",
            millis(self.lock_timeout),
            millis(self.idle_in_transaction_timeout),
        );
        options
    }
}

/// The longest that one statement may run, for the sessions of a target: it is the one setting that changes while
/// they live.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    time: Option<Duration>,
    /// Sessions that began earlier began with another one.
    pub(super) since: Instant,
}

impl Limit {
    fn millis(self) -> u128 {
        self.time.map_or(0, |time| time.as_millis())
    }

    /// Tells a session that began under another limit.
    pub(super) async fn tell(self, client: &Client) -> Result<(), tokio_postgres::Error> {
        client.batch_execute(&format!("set statement_timeout to {}", self.millis())).await
    }
}

/// One database as one role, checked and ready to be connected to. Its clones share the limit of statements.
#[derive(Clone)]
pub struct Target {
    config: tokio_postgres::Config,
    tls: Option<Tls>,
    limit: Arc<watch::Sender<Limit>>,
}

/// What carries a client's messages; it must be polled for anything to happen, and ends with the connection.
pub(super) type Carrier = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

impl Target {
    /// The same, with another longest wait for a lock.
    pub(super) fn waiting_for_locks(mut self, at_most: Duration) -> Target {
        // What stands last counts.
        let options = self.config.get_options().unwrap_or_default().to_owned();
        self.config.options(format!("{options} -c lock_timeout={}", at_most.as_millis()));
        self
    }

    /// Reads a `postgresql://` URL or a `key=value` string, with libpq's meaning, except for TLS:
    /// `sslmode=prefer` (the default) encrypts where the server offers it, `require` and `verify-full` also
    /// check the certificate against the machine's trust store or `sslrootcert`, `no-verify` encrypts and
    /// trusts anybody. Sockets of this machine never use TLS.
    pub fn parse(url: &str, session: &Session) -> Result<Target, SetupError> {
        let (url, trust) = Trust::take_from(url)?;
        let mut config = tokio_postgres::Config::from_str(&url)
            .map_err(|e| SetupError::new("the database URL cannot be read").source(e))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(SetupError::new("the database URL names no host"));
        }
        let given = config.get_options().map(|options| format!("{options} ")).unwrap_or_default();
        // Ours stand last and win: encoders rely on them.
        config.options(format!("{given}{}", session.options()));
        if config.get_application_name().is_none() {
            config.application_name(session.application_name);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WITHIN);
        }
        let remote = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
        let tls = if remote { Tls::new(&trust)? } else { None };
        config.ssl_mode(match (&tls, &trust) {
            (None, _) => SslMode::Disable,
            (Some(_), Trust::Prefer) => SslMode::Prefer,
            (Some(_), _) => SslMode::Require,
        });
        let limit = Limit { time: session.statement_timeout, since: Instant::now() };
        Ok(Target { config, tls, limit: Arc::new(watch::Sender::new(limit)) })
    }

    /// Changes the longest that one statement may run, for new sessions and for those that lanes and pools have
    /// open: a lane's at once, a pool's when it is next taken.
    pub fn limit_statements(&self, time: Duration) {
        self.limit.send_if_modified(|limit| {
            let other = limit.time != Some(time);
            if other {
                *limit = Limit { time: Some(time), since: Instant::now() };
            }
            other
        });
    }

    /// What the longest run of a statement is, and that it changed.
    pub(super) fn limit(&self) -> watch::Receiver<Limit> {
        self.limit.subscribe()
    }

    /// The role that is connected as; `None` if the URL leaves it to the operating system's name.
    pub fn user(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// Another database of the same server, as the same role.
    pub fn on_database(&self, name: &str) -> Target {
        let mut other = self.clone();
        other.config.dbname(name);
        other
    }

    /// Connects. Nothing moves until the carrier is polled.
    pub(super) async fn open(&self) -> Result<(Client, Carrier), DbError> {
        // The driver's own time-out ends with the socket; a server that accepts and says nothing has this one.
        match tokio::time::timeout(CONNECT_WITHIN * 2, self.open_plainly()).await {
            Ok(opened) => opened.map_err(|e| DbError::from_connecting(&e)),
            Err(_) => Err(DbError::unreachable("the server accepted the connection and did not answer")),
        }
    }

    /// [`Target::open`] without a limit of its own, and with the driver's error.
    pub(super) async fn open_plainly(&self) -> Result<(Client, Carrier), tokio_postgres::Error> {
        let mut config = self.config.clone();
        let options = config.get_options().unwrap_or_default();
        let limit = self.limit.borrow().millis();
        config.options(format!("{options} -c statement_timeout={limit}"));
        match &self.tls {
            None => {
                let (client, carrier) = config.connect(NoTls).await?;
                Ok((client, Box::pin(carrier) as Carrier))
            }
            Some(tls) => {
                let (client, carrier) = config.connect(tls.connector()).await?;
                Ok((client, Box::pin(carrier) as Carrier))
            }
        }
    }

    /// `None` where the URL asks for no TLS, or there is none to a socket.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// Connects, with the carrier running by itself on the current runtime.
    pub async fn connect(&self) -> Result<Client, DbError> {
        let (client, carrier) = self.open().await?;
        tokio::spawn(async move {
            if let Err(e) = carrier.await {
                tracing::debug!(error = %e, "a database connection ended");
            }
        });
        Ok(client)
    }
}

/// A target holds a password.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("user", &self.user()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_roles_default_to_the_runtime_url() {
        let vars = |name: &str| match name {
            "DATABASE_URL" => Some("postgresql://a@h/d".to_owned()),
            "BASEWRIGHT_REPLICATION_URL" => Some("postgresql://r@h/d".to_owned()),
            _ => None,
        };
        let urls = Urls::from_vars(vars).unwrap();
        assert_eq!(urls.migrate, "postgresql://a@h/d");
        assert_eq!(urls.replication, "postgresql://r@h/d");
        assert_eq!(Urls::from_vars(|_| Some(" ".to_owned())), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        let url = "postgresql://a:hush@localhost/d?sslmode=disable";
        let target = Target::parse(url, &Session::default()).unwrap();
        let urls = Urls { runtime: url.into(), migrate: url.into(), replication: url.into() };
        assert!(!format!("{target:?}{urls:?}").contains("hush"));
    }

    #[test]
    fn our_session_settings_stand_after_those_of_the_url() {
        let url = "postgresql://a@localhost/d?sslmode=disable&options=-c%20timezone%3DAsia/Tokyo";
        let target = Target::parse(url, &Session::default()).unwrap();
        let options = target.config.get_options().unwrap();
        assert!(options.find("Asia/Tokyo").unwrap() < options.find("timezone=UTC").unwrap(), "{options}");
        assert!(options.contains("lock_timeout=5000"), "{options}");
    }

    #[test]
    fn urls_that_cannot_be_used_are_refused_with_a_sentence() {
        for url in ["", "postgresql:///d", "mysql://x", "postgresql://a@h/d?sslmode=sometimes"] {
            assert!(Target::parse(url, &Session::default()).is_err(), "{url}");
        }
    }
}
