//! Clients that take their time: hundreds of them hold nobody else up, and none of them is waited for.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wire::Connection;
use super::{LONGEST, MOST_GROWTH, Stage};
use crate::campaign::long;
use crate::support::database;
use crate::support::server::{Folder, NOTES, Start};

/// What is slow about a client.
#[derive(Clone, Copy, Debug)]
enum Slow {
    /// The head of its request never ends.
    Head,
    /// Its body never ends.
    Body,
    /// It asks again and again and reads no answer.
    Reader,
}

/// The server's own time-outs for a head and for a body, with room for a busy machine.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(25);

async fn client(stage: &Stage, slow: Slow, mut done: watch::Receiver<bool>) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{slow:?}: {error}");
    let socket = TcpSocket::new_v4().map_err(told)?;
    if matches!(slow, Slow::Reader) {
        // So that the server has an unread answer soon, and not first megabytes of them under way.
        socket.set_recv_buffer_size(4096).map_err(told)?;
    }
    let mut stream = socket.connect(stage.server.address().parse().unwrap()).await.map_err(told)?;
    let key = stage.server.keys.secret();
    match slow {
        Slow::Head => {
            stream.write_all(b"GET /rest/v1/canaries HTTP/1.1\r\nhost: x\r\nx-slow: ").await.map_err(told)?;
        }
        Slow::Body => {
            let head = format!(
                "POST /rest/v1/scalars HTTP/1.1\r\nhost: x\r\napikey: {key}\r\ncontent-length: 100000\r\n\r\n{{"
            );
            stream.write_all(head.as_bytes()).await.map_err(told)?;
        }
        Slow::Reader => {
            let request = format!(
                "GET /rest/v1/scalars?select=*,list(*),children(*) HTTP/1.1\r\nhost: x\r\napikey: {key}\r\n\r\n"
            );
            let asks = request.repeat(100);
            // The server stops listening to who does not listen: most of this is never sent.
            let sending = async { while stream.write_all(asks.as_bytes()).await.is_ok() {} };
            tokio::select! {
                () = sending => {}
                _ = done.wait_for(|done| *done) => {}
            }
            return Ok(());
        }
    }
    // Given up by the server: with an answer that says so, and the end of the connection.
    let mut answer = Vec::new();
    let read = timeout(GIVEN_UP_WITHIN, stream.read_to_end(&mut answer)).await;
    read.map_err(|_| format!("{slow:?}: still waited for"))?.map_err(told)?;
    let refused = answer.starts_with(b"HTTP/1.1 408") || answer.starts_with(b"HTTP/1.1 400");
    if refused { Ok(()) } else { Err(format!("{slow:?}: {}", answer.escape_ascii())) }
}

/// A shell's usual allowance of open files is fewer than the slow clients that the server must bear.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_as_many_open_files_as_it_is_granted() {
    let (database, folder) = (database().await, Folder::with(NOTES));
    let start = Start {
        command: "dev",
        project: &folder.0,
        data: &folder.join("data"),
        database: Some(&database.urls),
        args: &[],
        env: &[],
    };
    let usual = start.command();
    let mut narrow = Command::new("sh");
    narrow
        .args(["-c", "ulimit -Sn 128 && exec \"$0\" \"$@\""])
        .arg(usual.get_program())
        .args(usual.get_args());
    for (name, value) in usual.get_envs() {
        match value {
            Some(value) => narrow.env(name, value),
            None => narrow.env_remove(name),
        };
    }
    let mut child = narrow.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).any(|line| line.starts_with("ready "));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready);
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let values: Vec<&str> = files.split_whitespace().collect();
    assert!(values[0] == values[1] && values[0] != "128", "{files}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_hold_nobody_else_up() {
    let stage = Stage::open().await;
    let count = if long() { 1_000 } else { 300 };
    let (before, started) = (stage.memory(), Instant::now());
    let (tell, done) = watch::channel(false);
    let of = |slow: Slow, count: usize| {
        let (stage, done) = (&stage, done.clone());
        (0..count).map(move |_| client(stage, slow, done.clone()))
    };
    let readers = join_all(of(Slow::Reader, count / 20));
    let waiting = join_all(of(Slow::Head, count / 2).chain(of(Slow::Body, count * 9 / 20)));
    let canary = async {
        // Until the last of the others is given up; on new connections, and on one that stays.
        let mut kept = Connection::to(stage.server.address());
        let (mut songs, mut slowest, mut faults) = (0_u32, Duration::ZERO, Vec::new());
        while !*done.borrow() {
            for connection in [&mut kept, &mut Connection::to(stage.server.address())] {
                let asked = Instant::now();
                faults.extend(stage.sings(connection).await.err());
                slowest = slowest.max(asked.elapsed());
                songs += 1;
            }
            // Often enough to notice, seldom enough to leave the machine to the others.
            let _ = timeout(Duration::from_millis(20), done.clone().wait_for(|done| *done)).await;
        }
        (songs, slowest, faults)
    };
    let waited = async {
        let outcomes = waiting.await;
        let held = stage.memory();
        tell.send(true).unwrap();
        (outcomes, held)
    };
    let ((outcomes, held), (songs, slowest, faults), _) = tokio::join!(waited, canary, readers);
    let unwell: Vec<String> = outcomes.into_iter().filter_map(Result::err).chain(faults).take(10).collect();
    stage.assert_calm();
    assert!(unwell.is_empty(), "{unwell:#?}");
    assert!(songs > 20 && slowest <= LONGEST, "{songs} songs, the slowest after {slowest:?}");
    let growth = held.saturating_sub(before);
    // What each may hold is bounded: buffers, half a request, an answer that is not read.
    assert!(
        growth <= MOST_GROWTH.max(count as u64 * (256 << 10)),
        "the server holds {} MiB more than at first",
        growth >> 20
    );
    println!(
        "PASS hostile_slow clients={count} songs={songs} slowest_ms={} growth_mib={} seconds={:.1}",
        slowest.as_millis(),
        growth >> 20,
        started.elapsed().as_secs_f32()
    );
}
