//! The server is killed in the middle of uploads by every door, again and again.
//!
//! Each client keeps a ledger: what it sent under which key, and what it was told. At the end an acknowledged object must be
//! there byte for byte; one without an answer is there as a whole or not at all; and nothing lies about that nobody has.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use basewright::app::now;
use basewright::auth::token::mint_operator;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use uuid::Uuid;

use super::{Dice, long, seed};
use crate::support::database;
use crate::support::server::{Folder, Server, Start, basewright};

const PROJECT: &[(&str, &str)] = &[(
    "basewright.yaml",
    "
limits: { upload: 64MB }
buckets:
  files:
    policies:
      read: [{ role: authenticated, when: owner == auth.id }]
      create: [{ role: authenticated, check: owner == auth.id }]
      update: [{ role: authenticated, when: owner == auth.id, check: owner == auth.id }]
",
)];

const CLIENTS: usize = 4;
/// Bytes that are sent together: between two of them the server may be killed.
const PIECE: usize = 48 << 10;
/// No answer takes longer, or the server is gone without having been killed.
const WITHIN: Duration = Duration::from_secs(30);

/// A server, as its clients see it.
#[derive(Clone)]
struct Incarnation {
    address: String,
    number: u64,
}

struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    /// Steps until the server is killed, and whom that hits.
    fuse: AtomicI64,
    victim: AtomicI64,
}

impl Shared {
    /// Something was sent or heard. Whoever comes to the end of the fuse kills the server there and then.
    fn step(&self) {
        if self.fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
            let victim = i32::try_from(self.victim.load(Ordering::Relaxed)).unwrap();
            kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).unwrap();
        }
    }
}

/// The ways in which content comes.
#[derive(Clone, Copy, Debug)]
enum Door {
    Create,
    Upsert,
    Signed,
    Pieces,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let named = self.head.lines().filter_map(|line| line.split_once(": "));
        named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

struct Client {
    number: usize,
    dice: Dice,
    server: watch::Receiver<Incarnation>,
    shared: Arc<Shared>,
    credentials: String,
    /// What may be under a key: none of these, where `None` is among them.
    ledger: BTreeMap<String, Vec<Option<Vec<u8>>>>,
    sent: [u64; 4],
    /// Uploads in pieces that were gone on with after a kill.
    resumed: u64,
    unknown: u64,
    faults: Vec<String>,
}

fn content(dice: &mut Dice) -> Vec<u8> {
    let size = match dice.below(10) {
        0 => 0,
        1..=4 => dice.below(5_000),
        5..=8 => 100_000 + dice.below(1_500_000),
        _ => 5_000_000 + dice.below(7_000_000),
    };
    let mut one = Dice(dice.next());
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| one.next().to_le_bytes()).collect();
    bytes.truncate(usize::try_from(size).unwrap());
    bytes
}

impl Client {
    /// Sends one request, once. `None`: there was no answer.
    async fn ask(&mut self, line: &str, headers: &str, body: &[u8]) -> Option<Answer> {
        let address = self.server.borrow().address.clone();
        let asked = tokio::time::timeout(WITHIN, async {
            let mut stream = TcpStream::connect(&address).await.ok()?;
            let head = format!(
                "{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{}{headers}content-length: {}\r\n\r\n",
                self.credentials,
                body.len()
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            self.shared.step();
            for piece in body.chunks(PIECE) {
                stream.write_all(piece).await.ok()?;
                self.shared.step();
            }
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            self.shared.step();
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
            let head = String::from_utf8(answer[..end].to_vec()).ok()?;
            let status = head.split(' ').nth(1)?.parse().ok()?;
            let body = answer.split_off(end + 4);
            let answer = Answer { status, head, body };
            // Cut off in the middle is no answer either.
            let told = answer.header("content-length").and_then(|length| length.parse().ok());
            if told.is_some_and(|length: usize| length != answer.body.len()) { None } else { Some(answer) }
        })
        .await;
        match asked {
            Ok(answer) => answer,
            Err(_) => {
                self.faults.push(format!("{line}: no answer within {WITHIN:?}"));
                None
            }
        }
    }

    /// Waits for the server that comes after the one that was asked. False when the campaign is over.
    async fn next_server(&mut self, asked: u64) -> bool {
        let wait = self.server.wait_for(|server| server.number != asked);
        tokio::select! {
            next = wait => next.is_ok(),
            () = ended(&self.shared) => false,
        }
    }

    async fn upload(&mut self) {
        let door = self.dice.pick(&[Door::Create, Door::Upsert, Door::Signed, Door::Pieces]);
        self.sent[door as usize] += 1;
        let key = match door {
            Door::Upsert => format!("{}/shared-{}", self.number, self.dice.below(2)),
            _ => format!("{}/{door:?}-{}", self.number, Uuid::new_v4()),
        };
        let content = content(&mut self.dice);
        let asked = self.server.borrow().number;
        let before = self.ledger.entry(key.clone()).or_insert_with(|| vec![None]);
        before.push(Some(content.clone()));
        let outcome = match door {
            Door::Create => self.ask(&format!("POST /storage/v1/object/files/{key}"), "", &content).await,
            Door::Upsert => {
                let line = format!("POST /storage/v1/object/files/{key}");
                self.ask(&line, "x-upsert: true\r\n", &content).await
            }
            Door::Signed => self.signed(&key, &content).await,
            Door::Pieces => self.pieces(&key, &content).await,
        };
        match outcome {
            Some(answer) if matches!(answer.status, 200 | 204) => {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                self.ledger.insert(key, vec![Some(content)]);
            }
            Some(answer) => {
                let told = String::from_utf8_lossy(&answer.body).into_owned();
                self.faults.push(format!("{door:?} of {} bytes: {} {told}", content.len(), answer.status));
            }
            None => {
                self.unknown += 1;
                self.next_server(asked).await;
            }
        }
    }

    async fn signed(&mut self, key: &str, content: &[u8]) -> Option<Answer> {
        let asked = self.server.borrow().number;
        let line = format!("POST /storage/v1/object/upload/sign/files/{key}");
        let granted = loop {
            match self.ask(&line, "", b"").await {
                Some(answer) if answer.status == 200 => break answer,
                Some(answer) => return Some(answer),
                // Granting changes nothing that anybody sees: it may be asked for again.
                None if self.next_server(asked).await => {}
                None => return None,
            }
        };
        let granted: Value = serde_json::from_slice(&granted.body).unwrap();
        self.ask(&format!("PUT /storage/v1{}", granted["url"].as_str().unwrap()), "", content).await
    }

    /// In pieces, and after a kill from where it was.
    async fn pieces(&mut self, key: &str, content: &[u8]) -> Option<Answer> {
        let encoded = |text: &str| STANDARD.encode(text);
        let begin = format!(
            "tus-resumable: 1.0.0\r\nupload-length: {}\r\nupload-metadata: bucketName {},objectName {}\r\n",
            content.len(),
            encoded("files"),
            encoded(key)
        );
        let mut asked = self.server.borrow().number;
        let begun = self.ask("POST /storage/v1/upload/resumable", &begin, b"").await?;
        if content.is_empty() || begun.status != 201 {
            return Some(Answer { status: if begun.status == 201 { 204 } else { begun.status }, ..begun });
        }
        let location = begun.header("location").unwrap();
        let path = location[location.find("/storage/v1").unwrap()..].to_owned();
        let mut offset = 0;
        loop {
            let most = 1 + usize::try_from(self.dice.below(700_000)).unwrap();
            let piece = &content[offset..content.len().min(offset + most)];
            let headers = format!(
                "tus-resumable: 1.0.0\r\ncontent-type: application/offset+octet-stream\r\nupload-offset: {offset}\r\n"
            );
            let outcome = self.ask(&format!("PATCH {path}"), &headers, piece).await;
            match outcome {
                Some(answer) if answer.status == 204 => {
                    offset += piece.len();
                    if offset == content.len() {
                        return Some(answer);
                    }
                }
                // The one before may still be at it.
                Some(answer) if answer.status == 423 => {}
                Some(answer) => return Some(answer),
                None => {
                    if !self.next_server(asked).await {
                        return None;
                    }
                    asked = self.server.borrow().number;
                    let found = self.ask(&format!("HEAD {path}"), "tus-resumable: 1.0.0\r\n", b"").await;
                    let Some(found) = found else { continue };
                    self.resumed += 1;
                    if found.status != 200 {
                        self.faults.push(format!("an upload that was begun is gone: {}", found.status));
                        return None;
                    }
                    let there: usize = found.header("upload-offset").unwrap().parse().unwrap();
                    if there < offset {
                        self.faults.push(format!("{offset} bytes were acknowledged, {there} are there"));
                    }
                    offset = there;
                    if offset == content.len() {
                        // Whole: whoever asks finishes it.
                        return Some(Answer { status: 204, ..found });
                    }
                }
            }
        }
    }
}

async fn ended(shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Something lies there that ought not to.
fn left(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_object_is_lost_when_the_server_is_killed() {
    let kills = if long() { 80 } else { 8 };
    let seed = seed();
    let mut dice = Dice(seed);
    let folder = Folder::with(PROJECT);
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    let database = database().await;
    let start = || -> Server {
        let start = Start {
            command: "dev",
            project: &folder.0,
            data: &data,
            database: Some(&database.urls),
            args: &[],
            env: &[],
        };
        tokio::task::block_in_place(|| start.run())
    };
    let mut server = start();
    let incarnation = |server: &Server, number| Incarnation { address: server.address().to_owned(), number };
    let (tell, watched) = watch::channel(incarnation(&server, 0));
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        fuse: AtomicI64::new(i64::MAX),
        victim: AtomicI64::new(0),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (issued, key) = (now(), server.keys.active());
            let token =
                mint_operator(key, Uuid::new_v4(), "authenticated", &[], issued, issued + 7200).unwrap();
            let key = server.keys.publishable();
            let mut client = Client {
                number,
                dice: Dice(dice.next()),
                server: watched.clone(),
                shared: Arc::clone(&shared),
                credentials: format!("apikey: {key}\r\nauthorization: Bearer {token}\r\n"),
                ledger: BTreeMap::new(),
                sent: [0; 4],
                resumed: 0,
                unknown: 0,
                faults: Vec::new(),
            };
            tokio::spawn(async move {
                while !client.shared.stop.load(Ordering::Relaxed) {
                    client.upload().await;
                }
                client
            })
        })
        .collect();
    for kill in 1..=kills {
        shared.victim.store(i64::from(server.pid()), Ordering::Relaxed);
        shared.fuse.store(20 + i64::try_from(dice.below(200)).unwrap(), Ordering::Relaxed);
        tokio::task::block_in_place(|| server.ended(Duration::from_secs(120)));
        server = start();
        tell.send_replace(incarnation(&server, kill));
    }
    shared.stop.store(true, Ordering::Relaxed);
    let mut players = Vec::new();
    for client in clients {
        players.push(client.await.unwrap());
    }
    let (mut faults, mut sent, mut objects) = (Vec::new(), [0; 4], 0);
    let (mut unknown, mut resumed) = (0, 0);
    for mut client in players {
        for (key, states) in std::mem::take(&mut client.ledger) {
            let found = client.ask(&format!("GET /storage/v1/object/files/{key}"), "", b"").await.unwrap();
            let found = match found.status {
                200 => Some(found.body),
                400 => None,
                status => panic!("{key}: {status}"),
            };
            objects += u64::from(found.is_some());
            if !states.contains(&found) {
                let told = found.map(|bytes| bytes.len());
                let may: Vec<_> = states.iter().map(|state| state.as_ref().map(Vec::len)).collect();
                faults.push(format!("{key}: {told:?} bytes, not one of {may:?}"));
            }
        }
        faults.extend(client.faults);
        sent.iter_mut().zip(client.sent).for_each(|(sum, one)| *sum += one);
        unknown += client.unknown;
        resumed += client.resumed;
    }
    let log = server.log();
    assert!(tokio::task::block_in_place(|| server.stop()).success());
    // Uploads that nobody goes on with end in a day; here at once.
    let sql = crate::support::admin().connect(&database.name).await;
    sql.execute("update storage.uploads set expires_at = now() - interval '2 h'", &[]).await.unwrap();
    for words in [&["sweep", "--grace", "0s"][..], &["check", "--deep", "--grace", "0s"]] {
        let mut command = basewright();
        command.arg("storage").args(words).arg("--data").arg(&data).arg(&folder.0);
        let output = command.env("DATABASE_URL", &database.urls.runtime).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        println!("{}", told.trim());
        if !output.status.success() {
            faults.push(told);
        }
    }
    let place = data.join("objects");
    let lying: usize = fs::read_dir(place.join("v")).unwrap().map(|hour| left(&hour.unwrap().path())).sum();
    for (what, count) in [
        ("contents that no object has", lying as i64 - i64::try_from(objects).unwrap()),
        ("pieces", i64::try_from(left(&place.join("u"))).unwrap()),
        ("uploads under way", i64::try_from(left(&place.join("t"))).unwrap()),
    ] {
        if count != 0 {
            faults.push(format!("{count} {what} lie about"));
        }
    }
    for fault in faults.iter().take(20) {
        println!("{fault}");
    }
    let verdict = if faults.is_empty() { "PASS" } else { "FAIL" };
    println!(
        "{verdict} storage kills={kills} create/upsert/signed/pieces={sent:?} acknowledged={} unknown={unknown} resumed={resumed} objects={objects} faults={}",
        shared.acknowledged.load(Ordering::Relaxed),
        faults.len()
    );
    assert!(faults.is_empty(), "see above; BASEWRIGHT_SEED={seed}\n{log}");
}
