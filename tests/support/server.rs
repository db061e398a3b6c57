//! The real program on a private port: started, asked, stopped, killed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use basewright::auth::keyfile;
use basewright::auth::keys::Keyring;
use basewright::db::Urls;
use rustix::process::{Pid, Signal, kill_process};

/// Longer than a cold start of everything on a machine that has much else to do.
const START_WITHIN: Duration = Duration::from_secs(90);

/// Says by which library this process encrypts, as the program does for its own: clients cannot be made without.
pub fn encrypt() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// The command line of the program under test, with nothing of this process's settings.
pub fn basewright() -> Command {
    encrypt();
    let mut command = Command::new(env!("CARGO_BIN_EXE_basewright"));
    for (name, _) in std::env::vars() {
        // Which Postgres to test with is the machine's business, not the program's settings.
        let postgres = name == "BASEWRIGHT_POSTGRES_BIN";
        if (name.starts_with("BASEWRIGHT_") && !postgres) || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    // Tests ask more in ten seconds than a stranger may.
    command.env("BASEWRIGHT_ANONYMOUS_LIMIT", "off");
    command.stdin(Stdio::null());
    command
}

/// A folder that goes with its value. Others may pass through: a private Postgres may run as another user.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let path = parent.join(format!("basewright-it-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// With these files.
    pub fn with(files: &[(&str, &str)]) -> Folder {
        let folder = Folder::new();
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A small project: notes that everybody reads and whoever signed in writes.
pub const NOTES: &[(&str, &str)] = &[
    (
        "collections/notes.yaml",
        "collections:\n  notes:\n    fields:\n      title: { type: text, required: true }\n      owner: uuid\n",
    ),
    (
        "policies/notes.yaml",
        "roles:\n  editor: { inherits: [authenticated] }\npolicies:\n  notes:\n    read: [{ role: anon }]\n    create: [{ role: authenticated }]\n    update: [{ role: editor }]\n",
    ),
];

/// A running server. Killed when the value goes.
pub struct Server {
    child: Child,
    pub url: String,
    pub keys: Keyring,
    /// What stands on stdout before `ready`.
    pub banner: Vec<String>,
    log: PathBuf,
    _lines: Receiver<String>,
}

/// How a server is to be started.
pub struct Start<'a> {
    pub command: &'a str,
    pub project: &'a Path,
    pub data: &'a Path,
    /// None is a private Postgres.
    pub database: Option<&'a Urls>,
    pub args: &'a [&'a str],
    pub env: &'a [(&'a str, &'a str)],
}

impl Start<'_> {
    pub fn command(&self) -> Command {
        let mut command = basewright();
        command.arg(self.command).arg(self.project).args(["--port", "0", "--data"]).arg(self.data);
        command.args(self.args).envs(self.env.iter().copied());
        if let Some(urls) = self.database {
            command.env("DATABASE_URL", &urls.runtime);
            command.env("BASEWRIGHT_MIGRATE_URL", &urls.migrate);
            command.env("BASEWRIGHT_REPLICATION_URL", &urls.replication);
        }
        command
    }

    /// Starts it and waits until it says that it is ready.
    pub fn run(&self) -> Server {
        match self.try_run() {
            Ok(server) => server,
            Err(log) => panic!("the server did not become ready:\n{log}"),
        }
    }

    /// Starts it; `Err` holds the log of one that did not become ready.
    pub fn try_run(&self) -> Result<Server, String> {
        let log = self.data.with_extension(format!("{}.log", uuid::Uuid::new_v4()));
        let mut command = self.command();
        command.stdout(Stdio::piped()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let deadline = Instant::now() + START_WITHIN;
        let mut banner = Vec::new();
        let url = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix("ready ") {
                    Some(url) => break url.to_owned(),
                    None => banner.push(line),
                },
                // It ended, or took too long.
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let text = fs::read_to_string(&log).unwrap();
                    let _ = fs::remove_file(&log);
                    return Err(text);
                }
            }
        };
        let given = |name: &str| {
            self.env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let (keys, _) = keyfile::obtain(self.data, given, basewright::app::now()).unwrap();
        Ok(Server { child, url, keys, banner, log, _lines: lines })
    }
}

impl Server {
    /// `dev` on a database of the test cluster.
    pub fn dev(project: &Path, data: &Path, database: &Urls) -> Server {
        Start { command: "dev", project, data, database: Some(database), args: &[], env: &[] }.run()
    }

    /// A path of this server.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `127.0.0.1:port`, for raw sockets.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the server did not end:\n{}", self.log());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// An ordinary stop, waited for.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended(Duration::from_secs(30))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}

/// Waits until `probe` gives something, asking again and again.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
