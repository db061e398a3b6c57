//! A private Postgres, and the server beside it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use basewright::auth::keyfile;
use basewright::auth::keys::Keyring;
use basewright::db::{Embedded, Session, Target, Urls};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::Client;

const PROGRAM: &str = env!("CARGO_BIN_EXE_basewright");
const DATABASE: &str = "measured";

/// The folder of one run, its Postgres and its database. All of it goes with the value.
pub struct Site {
    folder: PathBuf,
    cluster: Option<Embedded>,
    urls: Urls,
    admin_url: String,
}

impl Site {
    /// A site of this project.
    pub async fn new(project: &str) -> Site {
        // In memory where there is some: a commit then costs its processor time and not the disk's.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("basewright-bench-{}", std::process::id()));
        fs::create_dir_all(folder.join("project")).unwrap();
        fs::write(folder.join("project/basewright.yaml"), project).unwrap();
        let cluster = Embedded::start(&folder.join("cluster"), Some(Path::new(PROGRAM))).unwrap();
        let urls = cluster.urls_of(DATABASE);
        let admin_url = cluster.admin_url(DATABASE);
        let postgres = connect(&cluster.admin_url("postgres")).await;
        postgres.batch_execute("alter system set autovacuum = off; ").await.unwrap();
        postgres.batch_execute("select pg_reload_conf()").await.unwrap();
        postgres
            .batch_execute(&format!("create database {DATABASE} owner basewright_migrate"))
            .await
            .unwrap();
        postgres
            .batch_execute(&format!(
                "grant connect on database {DATABASE} to basewright_runtime, basewright_replication"
            ))
            .await
            .unwrap();
        Site { folder, cluster: Some(cluster), urls, admin_url }
    }

    /// A superuser's connection to the measured database.
    pub async fn admin(&self) -> Client {
        connect(&self.admin_url).await
    }

    /// Where Postgres listens, as libpq's programs want it.
    pub fn url(&self) -> &str {
        &self.admin_url
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts the server and waits until it is ready.
    pub fn serve(&self) -> Server {
        let data = self.folder.join("data");
        let mut command = Command::new(PROGRAM);
        command
            .arg("dev")
            .arg(self.folder.join("project"))
            .args(["--port", "0", "--log", "warn", "--data"])
            .arg(&data)
            .env("DATABASE_URL", &self.urls.runtime)
            .env("BASEWRIGHT_MIGRATE_URL", &self.urls.migrate)
            .env("BASEWRIGHT_REPLICATION_URL", &self.urls.replication)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .find_map(|line| line.unwrap().strip_prefix("ready ").map(str::to_owned))
            .expect("the server did not become ready");
        // What else it prints goes nowhere.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let (keys, _) = keyfile::obtain(&data, |_| None, basewright::app::now()).unwrap();
        Server { child, address: url.strip_prefix("http://").unwrap().to_owned(), keys }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.take() {
            cluster.stop();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn connect(url: &str) -> Client {
    Target::parse(url, &Session::migrating()).unwrap().connect().await.unwrap()
}

/// The running server. Stopped when the value goes.
pub struct Server {
    child: Child,
    pub address: String,
    pub keys: Keyring,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Processor time of a process, in microseconds.
pub fn busy(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanoseconds = |path: PathBuf| -> Option<f64> {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    tasks.flatten().filter_map(|task| nanoseconds(task.path())).sum::<f64>() / 1e3
}

/// Resident memory of a process, in KiB.
pub fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
