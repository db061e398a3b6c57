//! The private Postgres: it starts, survives, and dies with its server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use basewright::db::{Embedded, Session, SetupError, Target};
use rustix::process::{Pid, Signal};
use tokio_postgres::Client;

const WITHIN: Duration = Duration::from_secs(60);

fn start(data: &Path) -> Result<Embedded, SetupError> {
    Embedded::start(data, Some(Path::new(env!("CARGO_BIN_EXE_basewright"))))
}

/// A folder of one test, removed with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = crate::support::folder(&format!("embedded-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn connect(url: &str) -> Client {
    Target::parse(url, &Session::default()).unwrap().connect().await.unwrap()
}

fn postmaster(cluster: &Path) -> Pid {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    Pid::from_raw(text.lines().next().unwrap().parse().unwrap()).unwrap()
}

fn kill(pid: Pid, signal: Signal) {
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Alive and not merely waiting to be noticed dead.
fn lives(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cluster_is_made_stopped_and_found_again_with_its_rows() {
    let folder = Folder::new();
    let began = Instant::now();
    let first = start(&folder.0).unwrap();
    eprintln!("cold start: {:?}", began.elapsed());
    let client = connect(&first.urls().migrate).await;
    client
        .batch_execute("create table public.kept (id int); insert into public.kept values (7)")
        .await
        .unwrap();
    for (setting, value) in
        [("wal_level", "logical"), ("listen_addresses", ""), ("fsync", "on"), ("server_encoding", "UTF8")]
    {
        let row = client.query_one("select current_setting($1)", &[&setting]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), value, "{setting}");
    }
    let roles = client
        .query(
            "select rolname::text, rolsuper or rolcreaterole or rolcreatedb or rolbypassrls, rolreplication \
             from pg_roles where rolname like 'basewright%' and rolname <> 'basewright_admin' order by 1",
            &[],
        )
        .await
        .unwrap();
    let roles: Vec<(String, bool, bool)> =
        roles.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(
        roles,
        [
            ("basewright_migrate".to_owned(), false, false),
            ("basewright_replication".to_owned(), false, true),
            ("basewright_runtime".to_owned(), false, false),
        ]
    );
    let cluster = folder.0.join("postgres");
    let at = fs::metadata(&cluster).unwrap();
    assert_ne!(at.uid(), 0, "Postgres does not run as root");
    assert_eq!(at.permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.0.join("run")).unwrap().permissions().mode() & 0o777, 0o700);
    let pid = postmaster(&cluster);
    let began = Instant::now();
    first.stop();
    eprintln!("stop: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(!lives(pid));

    let began = Instant::now();
    let second = start(&folder.0).unwrap();
    eprintln!("warm start: {:?}", began.elapsed());
    let client = connect(&second.urls().migrate).await;
    let row = client.query_one("select id from public.kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
}

#[tokio::test]
async fn a_second_server_on_the_folder_is_refused() {
    let folder = Folder::new();
    let first = start(&folder.0).unwrap();
    let refused = start(&folder.0).unwrap_err().to_string();
    assert!(refused.starts_with("another server is using the data folder"), "{refused}");
    connect(&first.urls().runtime).await.batch_execute("select 1").await.unwrap();
    first.stop();
    start(&folder.0).unwrap();
}

#[tokio::test]
async fn a_killed_postgres_is_started_again_and_no_acknowledged_row_is_lost() {
    let folder = Folder::new();
    let embedded = start(&folder.0).unwrap();
    let url = embedded.urls().migrate;
    let client = connect(&url).await;
    client.batch_execute("create table public.acknowledged (id bigint primary key)").await.unwrap();
    let mut acknowledged: Vec<i64> = Vec::new();
    let mut next = 0_i64;
    let mut client = Some(client);
    for round in 1..=3 {
        let pid = postmaster(&folder.0.join("postgres"));
        let deadline = Instant::now() + WITHIN;
        let mut killed = false;
        let mut since = 0;
        // Until fifty more have been acknowledged by the one that was started again.
        while since < 50 {
            assert!(Instant::now() < deadline, "round {round}: not ready again");
            let Some(connected) = &client else {
                client = Target::parse(&url, &Session::default()).unwrap().connect().await.ok();
                continue;
            };
            next += 1;
            match connected.execute("insert into public.acknowledged values ($1)", &[&next]).await {
                Ok(_) => {
                    acknowledged.push(next);
                    since += usize::from(killed);
                }
                Err(_) => client = None,
            }
            if !killed && acknowledged.len() >= round * 100 {
                kill(pid, Signal::KILL);
                killed = true;
                client = None;
                // What the old one's children still do is over before the new one runs.
                eventually("the killed postmaster lives", || !lives(pid)).await;
            }
        }
        assert_ne!(postmaster(&folder.0.join("postgres")), pid);
    }
    let rows = connect(&url).await.query("select id from public.acknowledged", &[]).await.unwrap();
    let kept: std::collections::HashSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !kept.contains(id)).collect();
    assert!(lost.is_empty(), "lost {lost:?} of {}", acknowledged.len());
}

/// The program that serves a cluster.
pub(super) fn program(cluster: &Path) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", postmaster(cluster).as_raw_pid())).unwrap()
}

/// Postgres on a cluster, without any of our care.
pub(super) async fn run_by_hand(program: &Path, cluster: &Path) -> Child {
    let at = fs::metadata(cluster).unwrap();
    let mut postgres = Command::new(program);
    postgres.arg("-D").arg(cluster).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
    if rustix::process::geteuid().is_root() {
        postgres.uid(at.uid()).gid(at.gid());
    }
    let postgres = postgres.spawn().unwrap();
    eventually("Postgres does not start", || {
        fs::read_to_string(cluster.join("postmaster.pid")).is_ok_and(|text| text.contains("ready"))
    })
    .await;
    postgres
}

/// Not a test of its own: what [`Holder`] runs in another process, to be killed there.
#[tokio::test]
#[ignore = "run by other tests in a process of its own"]
async fn holder_of_a_cluster() {
    let folder = std::env::var("BASEWRIGHT_TEST_HOLD").unwrap();
    let embedded = start(Path::new(&folder)).unwrap();
    println!("\nholding {}", embedded.urls().migrate);
    // Ends with our parent, if that does not kill us first.
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

/// A process that runs a private Postgres, as a server does.
struct Holder {
    child: Child,
    url: String,
}

impl Holder {
    fn start(folder: &Path) -> Holder {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "db::embedded::holder_of_a_cluster", "--ignored", "--nocapture"])
            .env("BASEWRIGHT_TEST_HOLD", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .map(|line| line.unwrap())
            .find_map(|line| line.strip_prefix("holding ").map(str::to_owned))
            .expect("the holder starts");
        Holder { child, url }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_killed_server_takes_its_postgres_along_and_the_next_start_just_works() {
    let folder = Folder::new();
    let cluster = folder.0.join("postgres");
    for round in 0..3_i32 {
        let holder = Holder::start(&folder.0);
        let client = connect(&holder.url).await;
        client
            .batch_execute(&format!(
                "create table if not exists public.kept (id int); insert into public.kept values ({round})"
            ))
            .await
            .unwrap();
        let pid = postmaster(&cluster);
        holder.kill();
        if round == 0 {
            // Once we wait until the death signal has done its work; then we start over it.
            eventually("Postgres outlives its server", || !lives(pid)).await;
        }
    }
    let embedded = start(&folder.0).unwrap();
    let row = connect(&embedded.urls().migrate)
        .await
        .query_one("select count(*) from public.kept", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
}

#[tokio::test]
async fn a_live_orphan_is_stopped_and_its_place_taken() {
    let folder = Folder::new();
    let cluster = folder.0.join("postgres");
    let embedded = start(&folder.0).unwrap();
    let program = program(&cluster);
    embedded.stop();
    // As if a server without death signals had been killed.
    let mut orphan = run_by_hand(&program, &cluster).await;
    let embedded = start(&folder.0).unwrap();
    assert_ne!(postmaster(&cluster).as_raw_pid(), i32::try_from(orphan.id()).unwrap());
    orphan.wait().unwrap();
    connect(&embedded.urls().runtime).await.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_whose_number_a_stranger_has_is_no_obstacle() {
    let folder = Folder::new();
    let cluster = folder.0.join("postgres");
    let embedded = start(&folder.0).unwrap();
    let mut file = fs::read_to_string(cluster.join("postmaster.pid")).unwrap();
    embedded.stop();
    let rest = file.split_off(file.find('\n').unwrap());
    // This process lives, and is no Postgres.
    fs::write(cluster.join("postmaster.pid"), format!("{}{rest}", std::process::id())).unwrap();
    let embedded = start(&folder.0).unwrap();
    connect(&embedded.urls().runtime).await.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn what_a_killed_first_start_left_half_made_is_made_anew() {
    let folder = Folder::new();
    fs::create_dir_all(folder.0.join("postgres.new/base")).unwrap();
    fs::write(folder.0.join("postgres.new/PG_VERSION"), "15\n").unwrap();
    let embedded = start(&folder.0).unwrap();
    connect(&embedded.urls().runtime).await.batch_execute("select 1").await.unwrap();
    assert!(!folder.0.join("postgres.new").exists());
}

#[tokio::test]
async fn a_cluster_of_a_version_that_is_not_here_is_refused_and_left_alone() {
    let folder = Folder::new();
    fs::create_dir_all(folder.0.join("postgres")).unwrap();
    fs::write(folder.0.join("postgres/PG_VERSION"), "12\n").unwrap();
    let refused = start(&folder.0).unwrap_err().to_string();
    assert!(refused.contains("12"), "{refused}");
    assert_eq!(fs::read_to_string(folder.0.join("postgres/PG_VERSION")).unwrap(), "12\n");
}

#[tokio::test]
async fn a_postgres_that_cannot_start_says_why() {
    let folder = Folder::new();
    start(&folder.0).unwrap().stop();
    let conf = folder.0.join("postgres/postgresql.auto.conf");
    fs::write(&conf, "shared_buffers = 'nonsense'\n").unwrap();
    let refused = start(&folder.0).unwrap_err().to_string();
    assert!(refused.contains("postgresql.auto.conf") || refused.contains("shared_buffers"), "{refused}");
    fs::write(&conf, "").unwrap();
    start(&folder.0).unwrap();
}

#[tokio::test]
async fn a_data_folder_with_a_long_or_odd_path_works() {
    let folder = Folder::new();
    let long = folder.0.join("it's a, \"folder\" with ü").join("x".repeat(120));
    let embedded = start(&long).unwrap();
    connect(&embedded.urls().runtime).await.batch_execute("select 1").await.unwrap();
    let sockets = sockets(&embedded);
    assert!(sockets.starts_with("/tmp"), "{}", sockets.display());
    embedded.stop();
    fs::remove_dir_all(sockets).unwrap();
}

fn sockets(embedded: &Embedded) -> PathBuf {
    PathBuf::from(embedded.urls().runtime.rsplit_once("host=").unwrap().1)
}

#[tokio::test]
async fn under_a_private_home_the_data_is_kept_where_postgres_can_reach_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root drops its privileges");
        return;
    }
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
    let data = folder.0.join("data");
    let embedded = start(&data).unwrap();
    let sockets = sockets(&embedded);
    let kept = sockets.parent().unwrap().to_owned();
    assert!(kept.starts_with("/var/lib/basewright"), "{}", kept.display());
    connect(&embedded.urls().migrate).await.batch_execute("create table public.kept ()").await.unwrap();
    embedded.stop();
    // Once it is there it is used, even if the home is opened later: nobody's data seems to vanish.
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    let embedded = start(&data).unwrap();
    connect(&embedded.urls().migrate).await.batch_execute("select * from public.kept").await.unwrap();
    embedded.stop();
    fs::remove_dir_all(kept).unwrap();
}
