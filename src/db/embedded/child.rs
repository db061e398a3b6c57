//! Starting Postgres so that it dies with us, and ending one that did not.
//!
//! The death signal that Linux sends when a parent dies must be asked for by the child itself, after its
//! change of user (which forgets it) and before it becomes Postgres. Code between `fork` and `exec` cannot
//! be written without `unsafe`, so our own program is started in between: `basewright __postgres …` drops
//! root, asks for the signal, and then replaces itself with Postgres. The process id stays the same.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::account::Account;

/// The hidden subcommand.
const SUBCOMMAND: &str = "__postgres";

/// How long a Postgres that was told to stop may take before it is told less politely.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the running program can be executed again even if it was replaced or lies under a private folder.
#[cfg(target_os = "linux")]
const OURSELVES: &str = "/proc/self/exe";

/// Becomes Postgres if the command line is the one that `spawn` writes; returns only if it is not, or
/// with the exit code of a failure. To be called before anything else in `main`.
pub fn run_if_postgres_child() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next().as_deref() != Some(OsStr::new(SUBCOMMAND)) {
        return None;
    }
    let mut number = || args.next()?.to_str()?.parse::<u32>().ok();
    let (Some(parent), Some(uid), Some(gid)) = (number(), number(), number()) else {
        eprintln!("{SUBCOMMAND} is for the server's own use");
        return Some(ExitCode::from(2));
    };
    let program: Vec<OsString> = args.collect();
    let failure = become_postgres(parent, uid, gid, &program);
    eprintln!("PostgreSQL could not be started: {failure}");
    Some(ExitCode::FAILURE)
}

#[cfg(target_os = "linux")]
fn become_postgres(parent: u32, uid: u32, gid: u32, program: &[OsString]) -> std::io::Error {
    let root = rustix::process::geteuid().is_root() && uid != 0;
    if root {
        let mut again = Command::new(OURSELVES);
        again.arg(SUBCOMMAND).args([parent, uid, gid].map(|number| number.to_string())).args(program);
        let refused = again.uid(uid).gid(gid).exec();
        // A program file that others may not execute: go on without the death signal. A server that finds
        // the Postgres of a killed one stops it.
        eprintln!(
            "PostgreSQL will outlive a killed server: this program cannot be run as uid {uid}: {refused}"
        );
    } else {
        if let Err(e) = rustix::process::set_parent_process_death_signal(Some(Signal::INT)) {
            return e.into();
        }
        // The parent may have died before the signal was asked for.
        if rustix::process::getppid().map(Pid::as_raw_pid) != i32::try_from(parent).ok() {
            return std::io::Error::other("the server that started it is gone");
        }
    }
    exec(uid, gid, root, program)
}

#[cfg(not(target_os = "linux"))]
fn become_postgres(_parent: u32, uid: u32, gid: u32, program: &[OsString]) -> std::io::Error {
    exec(uid, gid, rustix::process::geteuid().is_root() && uid != 0, program)
}

fn exec(uid: u32, gid: u32, root: bool, program: &[OsString]) -> std::io::Error {
    let Some((postgres, args)) = program.split_first() else {
        return std::io::Error::other("no program given");
    };
    let mut command = Command::new(postgres);
    command.args(args);
    if root {
        command.uid(uid).gid(gid);
    }
    command.exec()
}

/// A command that runs as the account, with nothing of our environment and outside our terminal's signals.
pub(super) fn command(program: &Path, account: &Account) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    if rustix::process::geteuid().is_root() {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn clean(command: &mut Command) {
    // Our environment may hold secrets, and PG* variables that mean something to Postgres.
    command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    // Ctrl-C in a terminal reaches the whole group: Postgres must outlive our draining.
    command.current_dir("/").stdin(Stdio::null()).process_group(0);
}

/// Starts Postgres as a child of this thread: when the thread ends, however it ends, Postgres stops.
/// `ourselves` is a program that calls [`run_if_postgres_child`] first.
pub(super) fn spawn(
    ourselves: &Path,
    account: &Account,
    postgres: &Path,
    cluster: &Path,
    log: fs::File,
) -> std::io::Result<Child> {
    let mut command = Command::new(ourselves);
    clean(&mut command);
    command
        .arg(SUBCOMMAND)
        .args([std::process::id(), account.uid, account.gid].map(|number| number.to_string()))
        .arg(postgres)
        .arg("-D")
        .arg(cluster)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// Sends a signal to a child that has not been waited for, so that its id is surely still its own.
pub(super) fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Stops a child: politely (running statements end, clients are told), then at once, then by force.
pub(super) fn stop(child: &mut Child) {
    for (word, within) in [(Signal::INT, PATIENCE), (Signal::QUIT, PATIENCE / 2)] {
        signal(child, word);
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        tracing::warn!(?word, "PostgreSQL does not stop");
    }
    signal(child, Signal::KILL);
    let _ = child.wait();
}

/// Ends whatever an earlier server left running on this cluster, and removes a pid file whose number has
/// been taken by a stranger. The caller holds the lock of the data folder, so nobody else owns them.
pub(super) fn end_orphans(cluster: &Path) {
    let Ok(cluster) = fs::canonicalize(cluster) else {
        return;
    };
    let deadline = Instant::now() + PATIENCE;
    let mut told: Option<Signal> = None;
    loop {
        let running = running_on(&cluster);
        if running.is_empty() {
            break;
        }
        let now = Instant::now();
        let word = if now < deadline { Signal::INT } else { Signal::QUIT };
        let word = if now < deadline + PATIENCE / 2 { word } else { Signal::KILL };
        if told != Some(word) {
            told = Some(word);
            tracing::info!(
                processes = running.len(),
                ?word,
                "stopping a PostgreSQL that an earlier server left behind"
            );
            let postmaster = postmaster_pid(&cluster);
            // Only the postmaster is told to stop in order: it knows how to end the others. Without one
            // the others end by themselves, and at the latest when told to quit.
            let polite = word == Signal::INT;
            for pid in running.into_iter().filter(|pid| !polite || Some(pid.as_raw_pid()) == postmaster) {
                let _ = rustix::process::kill_process(pid, word);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    // Nobody runs here. Postgres itself tells a stale pid file from a live one only by the number, which
    // may belong to any process by now (in a container it usually does).
    #[cfg(target_os = "linux")]
    if postmaster_pid(&cluster).is_some() {
        let _ = fs::remove_file(cluster.join("postmaster.pid"));
    }
}

/// The processes of a cluster: Postgres works in its data folder.
#[cfg(target_os = "linux")]
fn running_on(cluster: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = fs::read_link(entry.path().join("cwd")).ok()?;
            // A zombie has no folder, and a shell that merely stands in the folder is no Postgres.
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            (folder == cluster && name.starts_with("postgres")).then_some(pid)
        })
        .filter_map(Pid::from_raw)
        .collect()
}

/// Without /proc the pid file is all there is to go by.
#[cfg(not(target_os = "linux"))]
fn running_on(cluster: &Path) -> Vec<Pid> {
    postmaster_pid(cluster)
        .and_then(Pid::from_raw)
        .filter(|pid| rustix::process::test_kill_process(*pid).is_ok())
        .into_iter()
        .collect()
}

/// The first line of `postmaster.pid`.
pub(super) fn postmaster_pid(cluster: &Path) -> Option<i32> {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}

/// Whether the postmaster with this id says in its pid file that it takes connections.
pub(super) fn says_ready(cluster: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(cluster.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
        && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}
