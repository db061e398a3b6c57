//! One private cluster for the whole test process, and databases cloned from a template in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{LazyLock, Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use basewright::db::{Embedded, Session, Target, Urls, migrate};
use tokio_postgres::Client;

const TEMPLATE: &str = "template_basewright";
const PREFIX: &str = "basewright-test-";

/// The cluster of this test process. It is started at the first call, and ends with the process.
pub fn cluster() -> &'static Embedded {
    static CLUSTER: OnceLock<Embedded> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        super::server::encrypt();
        let data = folder("cluster");
        remove_after_us(&data);
        let started = Embedded::start(&data, Some(Path::new(env!("CARGO_BIN_EXE_basewright")))).unwrap();
        blocking(async {
            make_template(&started).await;
        });
        started
    })
}

/// Memory if there is some: the tests are about our code, not about the disk.
fn parent_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { PathBuf::from(env!("CARGO_TARGET_TMPDIR")) }
}

/// A folder of this test process's own; others' folders are told by the process id in the name.
pub fn folder(name: &str) -> PathBuf {
    static CLEANED: Once = Once::new();
    let parent = parent_folder();
    CLEANED.call_once(|| remove_leftovers(&parent));
    parent.join(format!("{PREFIX}{}-{name}", std::process::id()))
}

/// Folders of test processes that were killed.
fn remove_leftovers(parent: &Path) {
    for entry in fs::read_dir(parent).unwrap().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Leaves a shell behind that removes the folder once this process is gone and its Postgres has stopped:
/// its standard input ends when we do, however we do.
fn remove_after_us(data: &Path) {
    let script = "cat >/dev/null; n=0; \
                  while [ -e \"$1/postgres/postmaster.pid\" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done; \
                  rm -rf -- \"$1\"";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script, "sh"])
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    if let Ok(child) = shell.spawn() {
        // Its end of the pipe must stay open, and nobody waits for it.
        std::mem::forget(child);
    }
}

async fn make_template(cluster: &Embedded) {
    let admin = admin().await_on(cluster, "postgres").await;
    admin.batch_execute(&format!("create database {TEMPLATE} owner basewright_migrate")).await.unwrap();
    admin
        .batch_execute(&format!(
            "revoke all on database {TEMPLATE} from public; \
             grant connect on database {TEMPLATE} to basewright_runtime, basewright_replication"
        ))
        .await
        .unwrap();
    let urls = cluster.urls_of(TEMPLATE);
    let owner = connect(&urls.migrate, &Session::migrating()).await;
    let runtime = Target::parse(&urls.runtime, &Session::default()).unwrap();
    migrate(&owner, runtime.user().unwrap()).await.unwrap();
    drop(owner);
    // A template must have no sessions, and one that was just closed may take a moment.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let row = admin
            .query_one("select count(*) from pg_stat_activity where datname = $1", &[&TEMPLATE])
            .await
            .unwrap();
        if row.get::<_, i64>(0) == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "the template is still in use");
        tokio::task::yield_now().await;
    }
}

/// A superuser of the cluster, for what only one can do (terminating sessions, looking at slots).
pub fn admin() -> Admin {
    Admin
}

pub struct Admin;

impl Admin {
    /// Connected to one database of the cluster.
    pub async fn connect(&self, database: &str) -> Client {
        self.await_on(cluster(), database).await
    }

    async fn await_on(&self, cluster: &Embedded, database: &str) -> Client {
        connect(&cluster.admin_url(database), &Session::migrating()).await
    }
}

async fn connect(url: &str, session: &Session) -> Client {
    Target::parse(url, session).unwrap().connect().await.unwrap()
}

/// A database of one test, with the system migrations applied. Dropped, with force, when the value is.
pub struct Database {
    pub name: String,
    pub urls: Urls,
}

/// A fresh database.
pub async fn database() -> Database {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let cluster = cluster();
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let admin = admin().connect("postgres").await;
    admin
        .batch_execute(&format!("create database {name} template {TEMPLATE} owner basewright_migrate"))
        .await
        .unwrap();
    admin
        .batch_execute(&format!(
            "revoke all on database {name} from public; \
             grant connect on database {name} to basewright_runtime, basewright_replication"
        ))
        .await
        .unwrap();
    Database { urls: cluster.urls_of(&name), name }
}

impl Database {
    /// Connected as the runtime role: what requests are.
    pub async fn connect(&self) -> Client {
        connect(&self.urls.runtime, &Session::default()).await
    }

    /// Connected as the owner of the tables.
    pub async fn connect_owner(&self) -> Client {
        connect(&self.urls.migrate, &Session::migrating()).await
    }

    /// Connected as a superuser.
    pub async fn connect_admin(&self) -> Client {
        admin().connect(&self.name).await
    }

    /// The database as the role that reads the WAL.
    pub fn replication(&self) -> Target {
        Target::parse(&self.urls.replication, &Session::default()).unwrap()
    }

    /// The database as the runtime role.
    pub fn target(&self) -> Target {
        Target::parse(&self.urls.runtime, &Session::default()).unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        static JANITOR: LazyLock<Sender<String>> = LazyLock::new(janitor);
        let _ = JANITOR.send(std::mem::take(&mut self.name));
    }
}

/// Drops databases in the background: a test need not wait for its own.
fn janitor() -> Sender<String> {
    let (sender, names) = channel::<String>();
    thread::spawn(move || {
        blocking(async {
            let admin = admin().connect("postgres").await;
            for name in names {
                remove(&admin, &name).await;
            }
        });
    });
    sender
}

/// Drops a database. Its last sessions may be on their way out; what stays goes with the cluster.
async fn remove(admin: &Client, name: &str) {
    // `with (force)` ends ordinary sessions, and is refused while a walsender streams from one of its slots.
    let streams = format!(
        "select pg_terminate_backend(active_pid, 1000) from pg_replication_slots \
         where database = '{name}' and active"
    );
    let close = format!("alter database {name} allow_connections false");
    let _ = admin.batch_execute(&close).await;
    for _attempt in 0..5 {
        let _ = admin.batch_execute(&streams).await;
        if admin.batch_execute(&format!("drop database if exists {name} with (force)")).await.is_ok() {
            return;
        }
    }
}

/// Runs a future on a thread and a runtime of its own: the caller may be inside a runtime already.
fn blocking(work: impl Future<Output = ()> + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
        });
        thread.join().unwrap();
    });
}
