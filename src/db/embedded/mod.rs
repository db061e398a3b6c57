//! [`Embedded`]: a private Postgres, started with the server and stopped with it.
//!
//! It lives under the server's data folder: `lock` (held while a server runs), `postgres` (the cluster),
//! `run` (its socket), `postgres.log`. One thread owns the child, so that the child's death signal, which
//! follows the thread, follows the server; that thread also starts Postgres again when it dies.

mod account;
mod binaries;
mod child;
mod settings;

use std::fs;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;

use self::account::Account;
use self::binaries::Binaries;
pub use self::child::run_if_postgres_child;
use super::{SetupError, Urls};

/// How long a start may take. Recovery after a crash takes seconds, several times that on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How often the supervisor looks whether Postgres lives.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest wait between two attempts to start a Postgres that died.
const RESTART_EVERY_AT_MOST: Duration = Duration::from_secs(10);
/// A log larger than this is started anew.
const LOG_BYTES: u64 = 10 * 1024 * 1024;
/// The longest path that a socket's address holds.
const SOCKET_PATH_BYTES: usize = 107;

/// What the operating system calls the account that this process runs as.
pub(super) fn own_name() -> String {
    account::own().name
}

/// The data folder, held by this server alone until this value is dropped or the process dies.
#[derive(Debug)]
pub struct DataLock {
    file: fs::File,
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // Said, not left to the closing of the file: a process that another thread is just starting has a
        // copy of every open file until it becomes its program, and would hold the lock so long.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

impl DataLock {
    /// Makes the folder if need be, and takes it. Refused while another server holds it.
    pub fn acquire(folder: &Path) -> Result<DataLock, SetupError> {
        let cannot = |e: std::io::Error| {
            SetupError::new(format!("the data folder {} cannot be used", folder.display())).source(e)
        };
        // Others may pass through (Postgres runs as another user when we are root), not look around.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).map_err(cannot)?;
        let mut options = fs::OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(folder.join("lock")).map_err(cannot)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(DataLock { file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(SetupError::new(format!(
                "another server is using the data folder {}: stop it, or give this one a folder of its own with --data",
                folder.display()
            ))),
            Err(e) => Err(cannot(e.into())),
        }
    }
}

/// A private Postgres that runs as long as this value lives.
#[derive(Debug)]
pub struct Embedded {
    sockets: String,
    stop: Option<Sender<()>>,
    supervisor: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Starts the Postgres of a data folder, making it first if there is none. Blocks until it takes
    /// connections; must not be called on a thread that others wait for.
    ///
    /// `ourselves` is the program that is run in between to tie Postgres to this process: it must call
    /// [`run_if_postgres_child`] first. `None` is the running program.
    pub fn start(data: &Path, ourselves: Option<&Path>) -> Result<Embedded, SetupError> {
        let lock = DataLock::acquire(data)?;
        let data = fs::canonicalize(data)
            .map_err(|e| SetupError::new(format!("the data folder {} is gone", data.display())).source(e))?;
        let home = Home::choose(&data)?;
        let ourselves = match ourselves {
            Some(path) => path.to_owned(),
            None => own_program()?,
        };
        let sockets = home.sockets.clone();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = mpsc::channel();
        let supervisor = thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || {
                // Held by the one who owns the child, and let go only after the child has ended.
                let _lock = lock;
                Supervisor { home, ourselves, stopped }.run(&tell);
            })
            .map_err(|e| SetupError::new("no thread for the private PostgreSQL").source(e))?;
        let mut embedded = Embedded { sockets, stop: Some(stop), supervisor: Some(supervisor) };
        match told.recv() {
            Ok(Ok(())) => Ok(embedded),
            Ok(Err(e)) => {
                embedded.end();
                Err(e)
            }
            Err(_) => Err(SetupError::new("the thread of the private PostgreSQL ended unexpectedly")),
        }
    }

    /// How to connect to the server's own database.
    pub fn urls(&self) -> Urls {
        settings::own_urls(&self.sockets)
    }

    /// How to connect to the Postgres of a data folder that another process of ours runs.
    pub fn urls_beside(data: &Path) -> Result<Urls, SetupError> {
        let data = fs::canonicalize(data)
            .map_err(|e| SetupError::new(format!("there is no data folder {}", data.display())).source(e))?;
        Ok(settings::own_urls(&Home::choose(&data)?.sockets))
    }

    /// How to connect to another database of the cluster. `database` needs no quoting in a URL.
    pub fn urls_of(&self, database: &str) -> Urls {
        settings::urls(&self.sockets, database)
    }

    /// How to connect as the cluster's superuser: for tests and repairs, never for requests.
    pub fn admin_url(&self, database: &str) -> String {
        settings::url(&self.sockets, settings::ADMIN, database)
    }

    /// Stops Postgres and returns when it has ended. Clients should have been disconnected before.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(supervisor) = self.supervisor.take()
            && supervisor.join().is_err()
        {
            tracing::error!("the thread of the private PostgreSQL panicked");
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.end();
    }
}

/// The running program, found again even if its file was replaced since.
fn own_program() -> Result<PathBuf, SetupError> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe().map_err(|e| SetupError::new("this program's own file cannot be found").source(e))
}

/// Where a cluster lives and who runs it.
#[derive(Debug)]
struct Home {
    account: Account,
    cluster: PathBuf,
    /// The socket's folder: only characters that need no quoting in settings and URLs.
    sockets: String,
    log: PathBuf,
}

impl Home {
    /// The data folder itself; or, if Postgres' account cannot reach it, a folder of the machine's state.
    fn choose(data: &Path) -> Result<Home, SetupError> {
        let mark = mark_of(data);
        let beside = Path::new("/var/lib/basewright").join(&mark);
        let inside = data.join("postgres");
        let there = |cluster: &Path| binaries::cluster_major(cluster).is_some();
        let account = account::for_postgres(&inside)?;
        // A cluster that exists is never left behind for an empty one.
        let use_beside =
            !there(&inside) && (there(&beside.join("postgres")) || !account::can_reach(&account, &inside));
        if !use_beside && !account::can_reach(&account, &inside) {
            return Err(SetupError::new(format!(
                "the user `{}`, as whom PostgreSQL runs, cannot reach {}: open the folders above it \
                 (chmod o+x), move it, or give --data another folder",
                account.name,
                inside.display()
            )));
        }
        let folder = if use_beside { beside } else { data.to_owned() };
        if use_beside {
            tracing::warn!(
                folder = %folder.display(),
                "the user `{}`, as whom PostgreSQL runs, cannot reach {}: its data is kept elsewhere",
                account.name, data.display()
            );
            fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder).map_err(|e| {
                SetupError::new(format!("the folder {} cannot be made", folder.display())).source(e)
            })?;
        }
        let sockets = socket_folder(&folder, &mark, &account)?;
        Ok(Home { cluster: folder.join("postgres"), log: folder.join("postgres.log"), sockets, account })
    }
}

/// A short name for a data folder that no other folder of this machine has.
fn mark_of(data: &Path) -> String {
    let digest = digest::digest(&digest::SHA256, data.as_os_str().as_encoded_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A folder for the socket that only Postgres' account (and root) can enter: inside the home if its path is
/// short and plain, else under /tmp.
fn socket_folder(home: &Path, mark: &str, account: &Account) -> Result<String, SetupError> {
    let plain = |path: &PathBuf| {
        let text = path.to_str()?;
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        (plain && text.len() + "/.s.PGSQL.5432".len() <= SOCKET_PATH_BYTES).then(|| text.to_owned())
    };
    let short = || format!("/tmp/basewright-{}-{mark}", account.uid);
    let sockets = plain(&home.join("run")).unwrap_or_else(short);
    private_folder(Path::new(&sockets), account)?;
    Ok(sockets)
}

/// Makes a folder that is the account's alone, or makes sure that the one that is there is: under /tmp
/// somebody else may have made it first.
fn private_folder(path: &Path, account: &Account) -> Result<(), SetupError> {
    let cannot =
        |e: std::io::Error| SetupError::new(format!("{} cannot be made private", path.display())).source(e);
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(cannot(e)),
    }
    let at = fs::symlink_metadata(path).map_err(cannot)?;
    let own = rustix::process::geteuid().as_raw();
    if !at.is_dir() || (at.uid() != account.uid && at.uid() != own) {
        return Err(SetupError::new(format!(
            "{} is not a folder of the user `{}`: remove it",
            path.display(),
            account.name
        )));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(cannot)?;
    if own == 0 { account::give(account, path).map_err(cannot) } else { Ok(()) }
}

/// What a look at the child, or an order, brought.
enum Seen {
    Stop,
    Died,
}

/// Owns the child: starts it, starts it again when it dies, stops it.
struct Supervisor {
    home: Home,
    ourselves: PathBuf,
    stopped: Receiver<()>,
}

impl Supervisor {
    fn run(self, tell: &Sender<Result<(), SetupError>>) {
        let mut child = match self.first_start() {
            Ok(child) => child,
            Err(e) => {
                let _ = tell.send(Err(e));
                return;
            }
        };
        let _ = tell.send(Ok(()));
        loop {
            match self.watch(&mut child) {
                Seen::Stop => {
                    child::stop(&mut child);
                    return;
                }
                Seen::Died => match self.restart() {
                    Some(started) => child = started,
                    None => return,
                },
            }
        }
    }

    /// Everything that only a server's start does, and the first start of Postgres.
    fn first_start(&self) -> Result<Child, SetupError> {
        child::end_orphans(&self.home.cluster);
        let binaries = binaries::find(binaries::cluster_major(&self.home.cluster))?;
        if binaries::cluster_major(&self.home.cluster).is_none() {
            self.make_cluster(&binaries)?;
        }
        self.configure()?;
        let mut child = self.start(&binaries)?;
        let made = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| SetupError::new("no runtime to set up the private PostgreSQL").source(e))
            .and_then(|runtime| runtime.block_on(settings::bootstrap(&self.home.sockets)));
        if let Err(e) = made {
            child::stop(&mut child);
            return Err(e);
        }
        Ok(child)
    }

    /// Waits until Postgres dies or is to be stopped.
    fn watch(&self, child: &mut Child) -> Seen {
        loop {
            match self.stopped.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Seen::Stop,
                Err(RecvTimeoutError::Timeout) => {}
            }
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    tracing::error!(%status, "PostgreSQL died: starting it again");
                    return Seen::Died;
                }
                Err(e) => {
                    tracing::error!(error = %e, "PostgreSQL cannot be watched: starting it again");
                    child::stop(child);
                    return Seen::Died;
                }
            }
        }
    }

    /// Starts Postgres again, for as long as it takes. `None` if it is to be stopped meanwhile.
    fn restart(&self) -> Option<Child> {
        let mut pause = LOOK_EVERY;
        loop {
            child::end_orphans(&self.home.cluster);
            let started = binaries::find(binaries::cluster_major(&self.home.cluster))
                .and_then(|found| self.start(&found));
            match started {
                Ok(child) => {
                    tracing::info!("PostgreSQL runs again");
                    return Some(child);
                }
                Err(e) => tracing::error!(error = %e, "PostgreSQL does not start again"),
            }
            match self.stopped.recv_timeout(pause) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(RESTART_EVERY_AT_MOST),
            }
        }
    }

    /// Makes the cluster in a folder beside its own and moves it there when it is whole, so that a start
    /// that was killed half-way leaves nothing that looks like a cluster.
    fn make_cluster(&self, binaries: &Binaries) -> Result<(), SetupError> {
        let cluster = &self.home.cluster;
        let account = &self.home.account;
        let unfinished = cluster.with_extension("new");
        let cannot = |e: std::io::Error| {
            SetupError::new(format!("the folder {} cannot be made", cluster.display())).source(e)
        };
        tracing::info!(folder = %cluster.display(), version = binaries.major, user = account.name, "making a private PostgreSQL");
        let mut said = String::new();
        // C.UTF-8 compares by code point and knows what a letter is; where it is missing C does the former.
        for locale in ["C.UTF-8", "C"] {
            remove_if_there(&unfinished).map_err(cannot)?;
            fs::DirBuilder::new().mode(0o700).create(&unfinished).map_err(cannot)?;
            if rustix::process::geteuid().is_root() {
                account::give(account, &unfinished).map_err(cannot)?;
            }
            let made = child::command(&binaries.initdb(), account)
                .arg("-D")
                .arg(&unfinished)
                .args(["--username", settings::ADMIN, "--encoding", "UTF8", "--locale", locale])
                .args(["--auth-local", "peer", "--auth-host", "reject", "--no-instructions"])
                .output()
                .map_err(|e| SetupError::new("initdb does not run").source(e))?;
            if made.status.success() {
                // Includes are read after what stands before them, so ours is the last word.
                let conf = unfinished.join("postgresql.conf");
                let text = fs::read_to_string(&conf).map_err(cannot)?;
                fs::write(&conf, text + "\ninclude_if_exists = 'basewright.conf'\n").map_err(cannot)?;
                remove_if_there(cluster).map_err(cannot)?;
                return fs::rename(&unfinished, cluster).map_err(cannot);
            }
            said = String::from_utf8_lossy(&made.stderr).into_owned();
        }
        let _ = fs::remove_dir_all(&unfinished);
        let last = said.lines().rev().find(|line| line.contains("error:")).unwrap_or(&said).to_owned();
        Err(SetupError::new(format!("initdb could not make {}", cluster.display())).source(last))
    }

    /// Writes our settings, and sees to it that everything is the account's.
    fn configure(&self) -> Result<(), SetupError> {
        let Home { account, cluster, sockets, .. } = &self.home;
        let cannot = |e: std::io::Error| {
            SetupError::new(format!("the private PostgreSQL in {} cannot be configured", cluster.display()))
                .source(e)
        };
        let ident = settings::ident(&[&account::own(), account]);
        for (name, text) in [
            ("basewright.conf", settings::conf(sockets)),
            ("pg_hba.conf", settings::HBA.to_owned()),
            ("pg_ident.conf", ident),
        ] {
            fs::write(cluster.join(name), text).map_err(cannot)?;
        }
        if rustix::process::geteuid().is_root() {
            account::give(account, cluster).map_err(cannot)?;
        }
        Ok(())
    }

    /// Starts Postgres and waits until it takes connections.
    ///
    /// A start may fail because processes or shared memory of a killed one are just about to go, so it is
    /// tried again until the time is up; a start that fails for the same other reason twice is given up.
    fn start(&self, binaries: &Binaries) -> Result<Child, SetupError> {
        let started = Instant::now();
        let deadline = started + START_WITHIN;
        let mut report = started + Duration::from_secs(5);
        let mut failures = 0;
        loop {
            let (log, from) = self.open_log()?;
            let Home { account, cluster, .. } = &self.home;
            let mut child = child::spawn(&self.ourselves, account, &binaries.postgres(), cluster, log)
                .map_err(|e| SetupError::new("PostgreSQL cannot be started").source(e))?;
            let ended = loop {
                match child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => break status.to_string(),
                    Err(e) => break e.to_string(),
                }
                if child::says_ready(cluster, child.id()) {
                    return Ok(child);
                }
                let stop = !matches!(self.stopped.try_recv(), Err(mpsc::TryRecvError::Empty));
                if stop || Instant::now() > deadline {
                    child::stop(&mut child);
                    let seconds = started.elapsed().as_secs();
                    let sentence =
                        format!("PostgreSQL was not ready after {seconds} s: {}", self.last_words(from));
                    return Err(SetupError::new(sentence).temporary());
                }
                if Instant::now() > report {
                    report += Duration::from_secs(5);
                    tracing::info!(seconds = started.elapsed().as_secs(), "waiting for PostgreSQL to start");
                }
                thread::sleep(Duration::from_millis(10));
            };
            let words = self.last_words(from);
            let passing = ["shared memory block", "lock file", "is another postmaster"];
            if !passing.iter().any(|phrase| words.contains(phrase)) {
                failures += 1;
            }
            if failures >= 2 || Instant::now() > deadline {
                return Err(SetupError::new(format!(
                    "PostgreSQL does not start ({ended}): {words} (its log is {})",
                    self.home.log.display()
                )));
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// The log, to append to, and where the new part begins. Nobody but us reads or writes it.
    fn open_log(&self) -> Result<(fs::File, u64), SetupError> {
        let path = &self.home.log;
        let large = fs::metadata(path).is_ok_and(|at| at.len() > LOG_BYTES);
        let opened = || {
            if large {
                fs::remove_file(path)?;
            }
            let file = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
            let from = file.metadata()?.len();
            Ok((file, from))
        };
        opened().map_err(|e: std::io::Error| {
            SetupError::new(format!("the log {} cannot be written", path.display())).source(e)
        })
    }

    /// What Postgres wrote into its log last, for the error sentence.
    fn last_words(&self, from: u64) -> String {
        let read = || {
            let mut file = fs::File::open(&self.home.log)?;
            file.seek(std::io::SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(64 * 1024).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let telling = lines.iter().rev().find(|line| line.contains("FATAL") || line.contains("PANIC"));
        telling.or(lines.last()).map_or_else(|| "it said nothing".to_owned(), |line| (*line).to_owned())
    }
}

fn remove_if_there(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}
