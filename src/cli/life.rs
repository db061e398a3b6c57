//! The life of a server: start, serve, drain, stop.
//!
//! It listens before it is ready, so that the process can be asked how it is; a database that is away is
//! waited for, one that is wrong ends the start.

use std::future::poll_fn;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use futures_util::FutureExt as _;
use futures_util::future::{join, maybe_done};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::reload::{self, Follower};
use super::settings::Whereabouts;
use super::tables::{self, Manner, Trouble};
use super::{Failure, Place, Storing, keys, project, settings};
use crate::app::monitor::Watch;
use crate::app::{App, Readiness, Worker};
use crate::auth::keyfile::Origin;
use crate::auth::keys::Keyring;
use crate::auth::password::Hashing;
use crate::auth::settings::Settings;
use crate::auth::sweep::Swept;
use crate::db::{Embedded, Lanes, LanesOptions, Pool, Session, Target, Urls};
use crate::http::cors::Origins;
use crate::http::mailbox;
use crate::http::peer::Proxies;
use crate::http::server::{self, Options, ServerHandle, runtime};
use crate::model::{ANON, Action};
use crate::objects::bucket;
use crate::objects::sweep::{Cleared, Sweeper};
use crate::objects::turn::Turns;
use crate::project::Project;
use crate::realtime::limits;
use crate::realtime::stream;
use crate::realtime::wal::Node;

/// Where the server listens and to whom it answers.
#[derive(Args, Clone, Debug)]
pub(super) struct Listening {
    /// The port; 0 takes a free one
    #[arg(long, env = "BASEWRIGHT_PORT", default_value_t = 8000)]
    port: u16,
    /// The address: 127.0.0.1 is this machine alone, 0.0.0.0 everybody
    #[arg(long, env = "BASEWRIGHT_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    listen: IpAddr,
    /// Pages of which origins may read answers: * or a list between commas
    #[arg(long, env = "BASEWRIGHT_CORS_ORIGINS", default_value = "*", value_parser = Origins::parse, value_name = "ORIGINS")]
    cors_origins: Origins,
    /// Where users find this server, for links in mails and for providers [default: the address it listens at]
    #[arg(long, env = "BASEWRIGHT_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Treat a caller without any key as the role anon instead of refusing it (BASEWRIGHT_KEYLESS=anon)
    #[arg(
        long = "keyless-anon", env = "BASEWRIGHT_KEYLESS", value_enum, value_name = "anon|refuse",
        num_args = 0..=1, require_equals = true, default_value = "refuse", default_missing_value = "anon"
    )]
    keyless: Keyless,
    /// Proxies before this server, which say from where requests come: addresses and networks between commas
    #[arg(long, env = "BASEWRIGHT_TRUSTED_PROXIES", default_value = "", hide_default_value = true, value_parser = Proxies::parse, value_name = "NETWORKS")]
    trusted_proxies: Proxies,
    /// Count requests of nobody in particular as the project says, or leave that to what stands before this server
    #[arg(
        long,
        env = "BASEWRIGHT_ANONYMOUS_LIMIT",
        value_enum,
        default_value = "project",
        value_name = "project|off"
    )]
    anonymous_limit: AnonymousLimit,
    /// This server's name among those that share its database: letters, digits and _
    #[arg(long, env = "BASEWRIGHT_NODE", default_value = "main", value_parser = Node::parse, value_name = "NAME")]
    node: Node,
    /// Threads that serve [default: one a core]
    #[arg(long, env = "BASEWRIGHT_WORKERS", value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    workers: Option<u16>,
}

/// Who comes without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Keyless {
    Refuse,
    Anon,
}

/// Whether the project's limit of anonymous requests for records holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AnonymousLimit {
    Project,
    Off,
}

impl AnonymousLimit {
    /// The settings as they are to be put in force.
    pub(super) fn apply(self, mut settings: Settings) -> Settings {
        if self == AnonymousLimit::Off {
            settings.project.rate_limits.rest_anonymous = None;
        }
        settings
    }
}

/// What a server is started with.
pub(super) struct Life {
    pub(super) place: Place,
    pub(super) storing: Storing,
    pub(super) listening: Listening,
    pub(super) manner: Manner,
    pub(super) allow_superuser: bool,
    /// Whether saves of the project are followed.
    pub(super) follow_changes: bool,
}

/// Connections that all workers share, besides the lanes that each has to itself.
const SHARED: usize = 8;
/// Connections for signing in.
const SIGN_IN: usize = 4;
/// How long letters that wait have to be sent when the server stops.
const LAST_POST: Duration = Duration::from_secs(5);
/// Signals within this time are one order.
const SAME_ORDER: Duration = Duration::from_secs(1);
/// How long to wait before a database that is away is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Runs a server until it is told to stop.
pub(super) fn run(life: Life) -> Result<(), Failure> {
    let seen = project::stamp(&life.place.project).ok();
    let project = project::load(&life.place.project)?;
    let looked_up = settings::look_up(&project, life.follow_changes, settings::variable)?;
    for warning in &looked_up.warnings {
        tracing::warn!("{warning}");
    }
    let found = Found { project, looked_up, seen };
    let (ring, origin) = keys::obtain(&life.place)?;
    let at = SocketAddr::new(life.listening.listen, life.listening.port);
    let listener =
        TcpListener::bind(at).map_err(|error| Failure::fault(format!("cannot listen on {at}: {error}")))?;
    runtime::System::new().block_on(async move {
        let database = Database::begin(life.place.data()).await?;
        let outcome = live(&life, found, ring, &origin, listener, database.urls()).await;
        database.stop().await;
        outcome
    })
}

/// The project as it is when the server starts, and what its variables hold.
struct Found {
    project: Project,
    looked_up: settings::LookedUp,
    /// The folder as it was before it was read.
    seen: Option<project::Stamp>,
}

/// The database of a server: somebody else's, or a private one.
enum Database {
    External(Urls),
    Private(Embedded),
}

impl Database {
    async fn begin(data: PathBuf) -> Result<Database, Failure> {
        if let Some(urls) = Urls::from_env() {
            return Ok(Database::External(urls));
        }
        let started = tokio::task::spawn_blocking(move || Embedded::start(&data, None));
        Ok(Database::Private(started.await.map_err(Failure::fault)?.map_err(Failure::fault)?))
    }

    fn urls(&self) -> Urls {
        match self {
            Database::External(urls) => urls.clone(),
            Database::Private(embedded) => embedded.urls(),
        }
    }

    async fn stop(self) {
        match self {
            Database::External(_) => {}
            Database::Private(embedded) => {
                if tokio::task::spawn_blocking(move || embedded.stop()).await.is_err() {
                    tracing::error!("the private Postgres was not stopped in order");
                }
            }
        }
    }
}

/// Serves with a database that may not be there yet.
async fn live(
    life: &Life,
    found: Found,
    ring: Keyring,
    origin: &Origin,
    listener: TcpListener,
    urls: Urls,
) -> Result<(), Failure> {
    let Found { project, looked_up, seen } = found;
    let mut signals = Signals::new()?;
    let limits = Session { statement_timeout: Some(project.limits.statement_timeout), ..Session::default() };
    let target = Target::parse(&urls.runtime, &limits).map_err(Failure::fault)?;
    let pool = |size| Pool::open(&target, size).map_err(Failure::fault);
    let hashing = Hashing::start(available_parallelism().map_or(1, usize::from)).map_err(Failure::fault)?;
    let app = Arc::new(App::new(
        ring,
        origin.file().map(ToOwned::to_owned),
        pool(SHARED)?,
        pool(SIGN_IN)?,
        hashing,
        life.storing.store(&life.place.data())?,
        Turns::new(Pool::lasting(&target).map_err(Failure::fault)?),
    ));
    let files = server::allow_connections();
    app.hub().allow(files.saturating_sub(limits::RESERVED_FILES).min(limits::SOCKETS));
    let watch = Watch::new(Arc::clone(&app), pool(1)?, origin.file().map(ToOwned::to_owned));
    // Begun before what takes this thread a while: meanwhile Postgres makes the connections.
    let mut preparing = Box::pin(maybe_done(prepare(life, &urls, &project, &watch)));
    let _ = preparing.as_mut().now_or_never();
    let catalog = project.catalog(1).map_err(Failure::fault)?;
    let options = Options {
        origins: life.listening.cors_origins.clone(),
        keyless: life.listening.keyless == Keyless::Anon,
        proxies: life.listening.trusted_proxies.clone(),
        public: project::public(&life.place.project),
        workers: life
            .listening
            .workers
            .map_or_else(|| available_parallelism().map_or(1, usize::from), usize::from),
    };
    if options.keyless && !life.listening.listen.is_loopback() {
        tracing::warn!("callers without any key are anon, and this server listens beyond this machine");
    }
    let worker = {
        let target = target.clone();
        move || Worker::new(Lanes::open(&target, LanesOptions::default()))
    };
    let (server, address) =
        server::serve(listener, Arc::clone(&app), options, worker).map_err(Failure::fault)?;
    let handle = server.handle();
    let mut running = runtime::spawn(server);
    let prepared = tokio::select! {
        () = &mut preparing => preparing
            .as_mut()
            .take_output()
            .unwrap_or_else(|| Err(Failure::fault("the database was prepared for nobody"))),
        () = signals.next() => {
            stop(&app, &handle, &mut signals).await;
            return Ok(());
        }
        ended = &mut running => Err(Failure::fault(format!("the listener ended: {ended:?}"))),
    };
    drop(preparing);
    if let Err(failure) = prepared {
        app.drain();
        handle.stop(false).await;
        return Err(failure);
    }
    project::advise(&project, &catalog);
    let public_url = settings::public_url(life.listening.public_url.as_deref(), address);
    app.replace_keys(Keyring::clone(&app.keys()).issuing_as(&settings::issuer(&public_url)));
    let told = looked_up.warnings.clone();
    let place =
        Whereabouts { public_url: &public_url, serves_pages: project::public(&life.place.project).is_dir() };
    let settings = settings::of(&project, looked_up, place, life.follow_changes);
    app.desk().settle(life.listening.anonymous_limit.apply(settings));
    bucket::declare(app.pool(), &project.buckets).await.map_err(Failure::fault)?;
    app.publish(catalog);
    // Nobody who waits for the server waits for its log.
    let (text, noting) = (project.policy_text(), Arc::clone(&app));
    runtime::spawn(async move { reload::note_policies(&noting, &text).await });
    stream_changes(life, &urls, &target, &app)?;
    app.set_readiness(Readiness::Ready);
    runtime::spawn(watch.run());
    runtime::spawn(sweep(Arc::clone(&app)));
    runtime::spawn(sweep_content(Arc::clone(&app)));
    announce(life, &project, &app, origin, address).map_err(Failure::fault)?;
    if life.follow_changes {
        let follower = Follower {
            app: Arc::clone(&app),
            folder: life.place.project.clone(),
            urls,
            target,
            manner: life.manner.clone(),
            allow_superuser: life.allow_superuser,
            public_url,
            told,
            anonymous_limit: life.listening.anonymous_limit,
        };
        runtime::spawn(follower.follow(seen));
    }
    tokio::select! {
        () = signals.next() => {
            tracing::info!("stopping: requests under way have {} s", server::DRAIN);
            stop(&app, &handle, &mut signals).await;
            let _ = running.await;
            Ok(())
        }
        ended = &mut running => {
            app.drain();
            Err(Failure::fault(format!("the listener ended: {ended:?}")))
        }
    }
}

/// How often what is over is cleared away.
const SWEEP: Duration = Duration::from_secs(60);

/// Clears away what is over until the server shuts down.
async fn sweep(app: Arc<App>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !app.is_draining() {
        ticks.tick().await;
        match app.desk().sweep().await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(swept) => tracing::debug!(?swept, "what was over is cleared away"),
            Err(error) => tracing::warn!(%error, "what is over was not cleared away"),
        }
    }
}

/// How often it is looked for content that no row tells of.
const LOOK: Duration = Duration::from_secs(3_600);

/// Clears away content that no object has until the server shuts down.
async fn sweep_content(app: Arc<App>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut looked, mut seen) = (None::<Instant>, None);
    while !app.is_draining() {
        ticks.tick().await;
        let sweeper = Sweeper { pool: app.pool(), blobs: &app.store().blobs };
        match sweeper.over().await {
            Ok(cleared) if cleared == Cleared::default() => {}
            Ok(cleared) => tracing::debug!(?cleared, "content that nobody has any more is cleared away"),
            Err(error) => tracing::warn!(%error, "content that nobody has any more was not cleared away"),
        }
        if looked.is_none_or(|at| at.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            match sweeper.recent(seen.as_ref()).await {
                Ok((cleared, until)) => {
                    seen = Some(until);
                    if cleared != Cleared::default() {
                        tracing::info!(?cleared, "content without a row is cleared away");
                    }
                }
                Err(error) => tracing::warn!(%error, "content without a row was not looked for"),
            }
        }
    }
}

/// Starts to read changes. It goes on when the WAL cannot be reached, and says so.
fn stream_changes(life: &Life, urls: &Urls, runtime: &Target, app: &Arc<App>) -> Result<(), Failure> {
    let observed = Arc::clone(app);
    app.feed()
        .start(stream::Config {
            runtime: runtime.clone(),
            replication: Target::parse(&urls.replication, &Session::default()).map_err(Failure::fault)?,
            node: life.listening.node.clone(),
            observer: Box::new(move |change| observed.caches().observe(change)),
        })
        .map_err(Failure::fault)
}

/// Makes the database fit, waiting for it as long as it is only away.
async fn prepare(life: &Life, urls: &Urls, project: &Project, watch: &Watch) -> Result<(), Failure> {
    let mut told = String::new();
    loop {
        // Not ready before it is known what is revoked.
        let look = async || watch.look().await.map_err(|error| Trouble::Temporary(error.to_string()));
        let tables = tables::prepare(urls, project, &life.manner, life.allow_superuser);
        let outcome = match life.manner {
            // The table of what is revoked is there already, or the start ends with what is missing.
            Manner::Compare => {
                let (tables, looked) = join(tables, look()).await;
                tables.and(looked)
            }
            Manner::Change { .. } => match tables.await {
                Ok(()) => look().await,
                Err(trouble) => Err(trouble),
            },
        };
        match outcome {
            Ok(()) => return Ok(()),
            Err(Trouble::Lasting(reason)) => return Err(Failure::Fault(reason)),
            Err(Trouble::Temporary(reason)) => {
                if reason != told {
                    tracing::warn!(reason, "waiting for the database");
                    told = reason;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Drains the server. Being told again means now, once the first order cannot have arrived twice: wrappers
/// pass a signal on that the whole process group has had.
async fn stop(app: &App, handle: &ServerHandle, signals: &mut Signals) {
    app.drain();
    // The workers live as long as requests do, and sockets are none.
    app.hub().emptied(limits::FAREWELL).await;
    let first = Instant::now();
    let again = async {
        loop {
            signals.next().await;
            if first.elapsed() > SAME_ORDER {
                return;
            }
        }
    };
    tokio::select! {
        () = async {
            handle.stop(true).await;
            // Nobody writes letters any more.
            app.desk().mailer().close(LAST_POST).await;
        } => {}
        () = again => {
            tracing::warn!("told twice: stopping at once");
            handle.stop(false).await;
            app.desk().mailer().close(Duration::ZERO).await;
        }
    }
}

/// The two signals that ask a server to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).map_err(Failure::fault);
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        poll_fn(|context| {
            let ready =
                self.terminate.poll_recv(context).is_ready() || self.interrupt.poll_recv(context).is_ready();
            if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Tells scripts that the server answers, and people, the first time, how to ask.
fn announce(
    life: &Life,
    project: &Project,
    app: &App,
    origin: &Origin,
    address: SocketAddr,
) -> std::io::Result<()> {
    let (url, ring) = (settings::public_url(None, address), app.keys());
    let keeps_mail = app.desk().settings().is_ok_and(|settings| settings.is_dev && settings.relay.is_none());
    let mut out = std::io::stdout().lock();
    if let Origin::Minted(path) = origin {
        writeln!(out, "url          {url}")?;
        writeln!(out, "publishable  {}", ring.publishable())?;
        writeln!(out, "secret       {}", ring.secret())?;
        writeln!(
            out,
            "             kept in {}; the secret key may do everything, so keep it on servers",
            path.display()
        )?;
        if project::public(&life.place.project).is_dir() {
            writeln!(out, "page         {url}/")?;
        }
        if keeps_mail {
            writeln!(out, "mail         {url}{}", mailbox::PATH)?;
        }
        // It is pasted into shells, which remember: no secret is in it.
        let (question, key) = (first_question(project), ring.publishable());
        writeln!(out, "try          curl '{url}/rest/v1/{question}' -H 'apikey: {key}'")?;
    } else if life.follow_changes {
        tracing::info!("the keys: basewright keys {}", life.place.project.display());
    }
    writeln!(out, "ready {url}")?;
    out.flush()
}

/// What anybody may ask: for records where some are open to all, else what there is for him.
fn first_question(project: &Project) -> String {
    let public = project
        .rules
        .iter()
        .find(|rule| rule.role == ANON && rule.action == Action::Read && rule.bucket.is_none());
    public
        .map_or_else(String::new, |rule| format!("{}?limit=3", project.collections.get(rule.collection).name))
}
