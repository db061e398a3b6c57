//! The server, its Postgres and single sessions of it are killed, again and again, while clients write.
//!
//! Every client keeps a ledger: what it sent, and what it was told. No request is sent twice. At the end each
//! acknowledged write must be there once, as it was sent; a request without an answer must have been done as a
//! whole or not at all; and one that was told to try again later must not have been done, unless the answer
//! said that nobody knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use super::{Dice, long, seed};
use crate::support::caller::{Answer, Caller};
use crate::support::server::{Folder, Server, Start, eventually};

const PROJECT: &[(&str, &str)] = &[
    (
        "collections/all.yaml",
        "collections:
  entries:
    fields:
      mark: { type: text, required: true }
      payload: { type: text, required: true }
      slot: { type: relation, to: slots }
  slots:
    fields:
      mark: { type: text, required: true, unique: true }
      payload: { type: text, required: true }
      parent: { type: relation, to: slots, inverse: children }
",
    ),
    (
        "policies/all.yaml",
        "policies:
  entries:
    read: [{ role: authenticated }]
    create: [{ role: authenticated, fields: [mark, payload, slot] }]
    update: [{ role: authenticated, fields: [payload], check: payload != old.payload }]
    delete: [{ role: authenticated }]
  slots:
    read: [{ role: authenticated }]
    # These look at their own collection, so that the write takes several statements.
    create: [{ role: authenticated, fields: [mark, payload], check: parent == null || parent.mark != mark }]
    update: [{ role: authenticated, fields: [payload], check: parent == null || parent.mark != mark }]
",
    ),
];

const CLIENTS: usize = 8;
/// How soon the server answers again after it was started, or after its Postgres died.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// Connections to a database that is there again come back one by one, each within the longest pause between attempts.
const REFUSED_AT_MOST_AFTER: Duration = Duration::from_secs(4);
/// No request hangs.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);

/// What may stand under a mark at the end.
#[derive(Clone, Debug)]
struct Expected {
    /// Any of these; `None` is no record.
    states: Vec<Option<String>>,
    /// Of several records of one request: all or none.
    batch: Option<u64>,
}

/// What an attempt came to.
enum Outcome {
    Done(Answer),
    /// Certainly nothing happened.
    NotDone,
    Unknown,
}

/// What a client waits for before it goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pause {
    None,
    /// The same server is ready again, or gone.
    Ready,
    /// There is another server.
    Restart,
}

/// An incarnation of the server, as its clients see it.
#[derive(Clone)]
struct Incarnation {
    callers: Arc<Vec<Caller>>,
    url: String,
}

struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

/// When a request was refused, and how.
struct Refusal {
    at: Instant,
    status: u16,
}

struct Client {
    number: usize,
    dice: Dice,
    server: watch::Receiver<Incarnation>,
    shared: Arc<Shared>,
    ledger: [BTreeMap<String, Expected>; 2],
    /// Records that are known to be there: id, mark, payload.
    known: Vec<(String, String, String)>,
    slots: Vec<(String, String)>,
    /// The marks of bulk requests.
    bulk: HashSet<String>,
    sent: HashMap<&'static str, [u64; 3]>,
    refusals: Vec<Refusal>,
    slowest: Duration,
    faults: Vec<String>,
}

const ENTRIES: usize = 0;
const SLOTS: usize = 1;

impl Client {
    fn payload(&mut self) -> String {
        let length = self.dice.below(1500) as usize;
        format!("{}:{}", Uuid::new_v4(), "payload ✓ ".repeat(1 + length / 10))
    }

    fn mark(&self) -> String {
        format!("{}-{}", self.number, Uuid::new_v4())
    }

    /// Sends one request, once.
    async fn attempt(
        &mut self,
        kind: &'static str,
        method: Method,
        path: &str,
        prefer: &str,
        body: Option<Value>,
    ) -> Outcome {
        let incarnation = self.server.borrow_and_update().clone();
        let caller = &incarnation.callers[self.number];
        let started = Instant::now();
        let answer = caller.try_send(method, path, &[("prefer", prefer)], body.as_ref()).await;
        self.slowest = self.slowest.max(started.elapsed());
        let (outcome, pause) = self.outcome(kind, answer);
        self.pause(pause, &incarnation).await;
        outcome
    }

    /// What an answer, or none, says about its request, and what to wait for before the next one.
    fn outcome(&mut self, kind: &'static str, answer: Result<Answer, reqwest::Error>) -> (Outcome, Pause) {
        let (outcome, place, pause) = match answer {
            Ok(answer) if (200..300).contains(&answer.status) => {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
                (Outcome::Done(answer), 0, Pause::None)
            }
            Ok(answer) if kind == "bad" && answer.body["code"] == "23503" => {
                (Outcome::NotDone, 2, Pause::None)
            }
            Ok(answer) => {
                let told_to_return = answer.header("retry-after").parse::<u64>().is_ok();
                if !matches!(answer.status, 503 | 504) || !told_to_return {
                    self.faults.push(format!("{kind}: {} {}", answer.status, answer.body));
                }
                self.refusals.push(Refusal { at: Instant::now(), status: answer.status });
                let unknown =
                    answer.body["details"].as_str().is_some_and(|text| text.contains("may or may not"));
                let pause = if self.dice.one_in(2) { Pause::Ready } else { Pause::None };
                if unknown { (Outcome::Unknown, 1, pause) } else { (Outcome::NotDone, 2, pause) }
            }
            Err(error) if error.is_connect() => (Outcome::NotDone, 2, Pause::Restart),
            Err(_) => (Outcome::Unknown, 1, Pause::Restart),
        };
        self.sent.entry(kind).or_default()[place] += 1;
        (outcome, pause)
    }

    async fn pause(&mut self, pause: Pause, incarnation: &Incarnation) {
        match pause {
            Pause::None => {}
            Pause::Ready => {
                let ready = format!("{}/health/ready", incarnation.url);
                eventually("the server is ready or gone", Duration::from_secs(30), || async {
                    match reqwest::get(&ready).await {
                        Ok(answer) => (answer.status() == 200).then_some(()),
                        Err(_) => Some(()),
                    }
                })
                .await;
            }
            // Killed: there will be another.
            Pause::Restart if !self.shared.stop.load(Ordering::Relaxed) => {
                let _ = tokio::time::timeout(Duration::from_secs(60), self.server.changed()).await;
            }
            Pause::Restart => {}
        }
    }

    fn expect(&mut self, table: usize, mark: &str, states: Vec<Option<String>>, batch: Option<u64>) {
        self.ledger[table].insert(mark.to_owned(), Expected { states, batch });
    }

    async fn step(&mut self) {
        match self.dice.below(14) {
            0..3 => self.insert(1).await,
            3 => self.insert(5).await,
            4..6 => self.upsert().await,
            6..=8 => self.patch().await,
            9 => self.delete().await,
            _ => self.burst().await,
        }
    }

    async fn insert(&mut self, count: usize) {
        let records: Vec<(String, String)> = (0..count).map(|_| (self.mark(), self.payload())).collect();
        let mut body: Value =
            records.iter().map(|(mark, payload)| json!({ "mark": mark, "payload": payload })).collect();
        if count == 1 {
            body = body[0].take();
        }
        let (kind, batch) = if count == 1 { ("insert", None) } else { ("bulk", Some(self.dice.next())) };
        let prefer = "return=representation";
        let outcome =
            self.attempt(kind, Method::POST, "entries?select=id,mark,payload", prefer, Some(body)).await;
        let acknowledged = matches!(outcome, Outcome::Done(_));
        for (at, (mark, payload)) in records.into_iter().enumerate() {
            if count > 1 {
                self.bulk.insert(mark.clone());
            }
            let states = match &outcome {
                Outcome::Done(answer) => {
                    let row = &answer.body[at];
                    if row["mark"] != mark.as_str() || row["payload"] != payload.as_str() {
                        self.faults.push(format!("{kind}: answered {row} for {mark}"));
                    }
                    let id = row["id"].as_str().unwrap_or_default().to_owned();
                    self.known.push((id, mark.clone(), payload.clone()));
                    vec![Some(payload)]
                }
                Outcome::NotDone => vec![None],
                Outcome::Unknown => vec![None, Some(payload)],
            };
            self.expect(ENTRIES, &mark, states, batch.filter(|_| !acknowledged));
        }
    }

    /// Single records, all sent at once: the server makes them together. Now and then one among them is bad in a
    /// way that only Postgres sees.
    async fn burst(&mut self) {
        let count = 8 + self.dice.below(16) as usize;
        let bad = if self.dice.one_in(4) { self.dice.below(count as u64) as usize } else { count };
        let records: Vec<(String, String)> = (0..count).map(|_| (self.mark(), self.payload())).collect();
        let incarnation = self.server.borrow_and_update().clone();
        let caller = &incarnation.callers[self.number];
        let started = Instant::now();
        let answers = join_all(records.iter().enumerate().map(|(at, (mark, payload))| {
            let nowhere = (at == bad).then(|| Uuid::new_v4().to_string());
            let body = json!({ "mark": mark, "payload": payload, "slot": nowhere });
            async move {
                caller.try_send(Method::POST, "entries", &[("prefer", "return=minimal")], Some(&body)).await
            }
        }))
        .await;
        self.slowest = self.slowest.max(started.elapsed());
        let mut longest = Pause::None;
        for (at, ((mark, payload), answer)) in records.into_iter().zip(answers).enumerate() {
            let (outcome, pause) = self.outcome(if at == bad { "bad" } else { "burst" }, answer);
            longest = longest.max(pause);
            if at == bad && matches!(outcome, Outcome::Done(_)) {
                self.faults.push(format!("bad: {mark} was made"));
            }
            let states = match outcome {
                Outcome::Done(_) => vec![Some(payload)],
                Outcome::Unknown if at != bad => vec![None, Some(payload)],
                Outcome::Unknown | Outcome::NotDone => vec![None],
            };
            self.expect(ENTRIES, &mark, states, None);
        }
        self.pause(longest, &incarnation).await;
    }

    async fn upsert(&mut self) {
        let again = !self.slots.is_empty() && self.dice.one_in(2);
        let (mark, before) = if again {
            let place = self.dice.below(self.slots.len() as u64) as usize;
            let (mark, payload) = self.slots.swap_remove(place);
            (mark, Some(payload))
        } else {
            (self.mark(), None)
        };
        let payload = self.payload();
        let body = json!({ "mark": mark, "payload": payload });
        let prefer = "resolution=merge-duplicates,return=minimal";
        let states =
            match self.attempt("upsert", Method::POST, "slots?on_conflict=mark", prefer, Some(body)).await {
                Outcome::Done(answer) => {
                    let status = if before.is_some() { 200 } else { 201 };
                    if answer.status != status {
                        self.faults.push(format!("upsert: {} instead of {status}", answer.status));
                    }
                    self.slots.push((mark.clone(), payload.clone()));
                    vec![Some(payload)]
                }
                Outcome::NotDone => vec![before],
                Outcome::Unknown => vec![before, Some(payload)],
            };
        self.expect(SLOTS, &mark, states, None);
    }

    async fn patch(&mut self) {
        let Some((id, mark, before)) = self.take() else { return };
        let payload = self.payload();
        let path = format!("entries?id=eq.{id}&select=payload");
        let body = json!({ "payload": payload });
        let states =
            match self.attempt("patch", Method::PATCH, &path, "return=representation", Some(body)).await {
                Outcome::Done(answer) => {
                    if answer.body[0]["payload"] != payload.as_str() {
                        self.faults.push(format!("patch of {mark}: answered {}", answer.body));
                    }
                    self.known.push((id, mark.clone(), payload.clone()));
                    vec![Some(payload)]
                }
                Outcome::NotDone => vec![Some(before)],
                Outcome::Unknown => vec![Some(before), Some(payload)],
            };
        self.expect(ENTRIES, &mark, states, None);
    }

    async fn delete(&mut self) {
        let Some((id, mark, before)) = self.take() else { return };
        let path = format!("entries?id=eq.{id}&select=mark");
        let states = match self.attempt("delete", Method::DELETE, &path, "return=representation", None).await
        {
            Outcome::Done(answer) => {
                if answer.body[0]["mark"] != mark.as_str() {
                    self.faults.push(format!("delete of {mark}: answered {}", answer.body));
                }
                vec![None]
            }
            Outcome::NotDone => vec![Some(before)],
            Outcome::Unknown => vec![Some(before), None],
        };
        self.expect(ENTRIES, &mark, states, None);
    }

    fn take(&mut self) -> Option<(String, String, String)> {
        if self.known.is_empty() {
            return None;
        }
        let place = self.dice.below(self.known.len() as u64) as usize;
        Some(self.known.swap_remove(place))
    }
}

/// Everything that is stored under a mark.
async fn stored(secret: &Caller, collection: &str) -> HashMap<String, Vec<String>> {
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    let mut after = Uuid::nil().to_string();
    loop {
        let path = format!("{collection}?select=id,mark,payload&order=id&limit=500&id=gt.{after}");
        let page = secret.get(&path).await.is(200);
        let Some(last) = page.as_array().unwrap().last() else { return found };
        after = last["id"].as_str().unwrap().to_owned();
        for row in page.as_array().unwrap() {
            let payload = row["payload"].as_str().unwrap().to_owned();
            found.entry(row["mark"].as_str().unwrap().to_owned()).or_default().push(payload);
        }
    }
}

/// Transactions that made several records, bulk requests not counted: those of one transaction have one time.
async fn made_together(secret: &Caller, bulk: &HashSet<String>) -> usize {
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut after = Uuid::nil().to_string();
    loop {
        let path = format!("entries?select=id,mark,created_at&order=id&limit=1000&id=gt.{after}");
        let page = secret.get(&path).await.is(200);
        let Some(last) = page.as_array().unwrap().last() else { break };
        after = last["id"].as_str().unwrap().to_owned();
        for row in page.as_array().unwrap().iter().filter(|row| !bulk.contains(row["mark"].as_str().unwrap()))
        {
            *times.entry(row["created_at"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    times.values().filter(|count| **count > 1).count()
}

/// Compares a client's ledger with what is stored.
fn differences(ledger: &BTreeMap<String, Expected>, stored: &HashMap<String, Vec<String>>) -> Vec<String> {
    let mut found = Vec::new();
    let mut batches: HashMap<u64, (usize, usize)> = HashMap::new();
    for (mark, expected) in ledger {
        let payloads = stored.get(mark).map(Vec::as_slice).unwrap_or_default();
        let state = match payloads {
            [] => None,
            [payload] => Some(payload.clone()),
            several => {
                found.push(format!("{mark} is there {} times", several.len()));
                continue;
            }
        };
        if !expected.states.contains(&state) {
            let short =
                |state: &Option<String>| state.as_ref().map(|text| text.chars().take(36).collect::<String>());
            let may: Vec<_> = expected.states.iter().map(short).collect();
            found.push(format!("{mark} is {:?}, may be {may:?}", short(&state)));
        }
        if let Some(batch) = expected.batch {
            let (there, all) = batches.entry(batch).or_default();
            *there += usize::from(state.is_some());
            *all += 1;
        }
    }
    found.extend(
        batches
            .values()
            .filter(|(there, all)| there != all && *there != 0)
            .map(|(there, all)| format!("{there} of {all} records of one request")),
    );
    found
}

/// The pid in Postgres' own file.
fn postmaster(data: &Path) -> Option<i32> {
    std::fs::read_to_string(data.join("postgres/postmaster.pid")).ok()?.lines().next()?.trim().parse().ok()
}

/// A process of Postgres that serves one session of the server.
fn session(postmaster: i32, dice: &mut Dice) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children")).ok()?;
    let serves = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains("basewright_runtime"))
    };
    let all: Vec<i32> =
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(serves).collect();
    (!all.is_empty()).then(|| all[dice.below(all.len() as u64) as usize])
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

async fn start(project: PathBuf, data: PathBuf) -> Server {
    let run = move || {
        Start { command: "dev", project: &project, data: &data, database: None, args: &[], env: &[] }.run()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn incarnation(server: &Server) -> Incarnation {
    let callers = (0..CLIENTS).map(|_| Caller::user(server, &[])).collect();
    Incarnation { callers: Arc::new(callers), url: server.url.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_when_the_server_or_its_postgres_is_killed() {
    let (server_kills, postgres_kills, session_kills) = if long() { (20, 5, 5) } else { (2, 1, 1) };
    let seed = seed();
    let mut dice = Dice(seed);
    let folder = Folder::with(PROJECT);
    let data = folder.join("data");
    let mut server = start(folder.0.clone(), data.clone()).await;
    let (tell, watched) = watch::channel(incarnation(&server));
    let shared = Arc::new(Shared { stop: AtomicBool::new(false), acknowledged: AtomicU64::new(0) });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let mut client = Client {
                number,
                dice: Dice(dice.next()),
                server: watched.clone(),
                shared: Arc::clone(&shared),
                ledger: [BTreeMap::new(), BTreeMap::new()],
                known: Vec::new(),
                slots: Vec::new(),
                bulk: HashSet::new(),
                sent: HashMap::new(),
                refusals: Vec::new(),
                slowest: Duration::ZERO,
                faults: Vec::new(),
            };
            tokio::spawn(async move {
                while !client.shared.stop.load(Ordering::Relaxed) {
                    client.step().await;
                }
                client
            })
        })
        .collect();

    let acknowledged = || shared.acknowledged.load(Ordering::Relaxed);
    let more = async |count: u64| {
        let enough = acknowledged() + count;
        eventually("clients write", Duration::from_secs(60), || async {
            (acknowledged() >= enough).then_some(())
        })
        .await;
    };
    // From the kill to the moment when all is well again.
    let mut outages: Vec<(Instant, Instant)> = Vec::new();
    let (mut slowest_server, mut slowest_postgres) = (Duration::ZERO, Duration::ZERO);
    let (mut servers, mut postgreses, mut sessions) = (server_kills, postgres_kills, session_kills);
    while servers + postgreses + sessions > 0 {
        more(100 + dice.below(150)).await;
        let killed = Instant::now();
        let choice = dice.below(servers + postgreses + sessions);
        if choice < servers {
            servers -= 1;
            server.signal(Signal::KILL);
            server.ended(Duration::from_secs(10));
            // Started again by the same command, at once: what the killed one left behind is the new one's business.
            server = start(folder.0.clone(), data.clone()).await;
            slowest_server = slowest_server.max(killed.elapsed());
            tell.send_replace(incarnation(&server));
        } else {
            let main = postmaster(&data).unwrap();
            let whole = choice < servers + postgreses;
            let victim = if whole { main } else { session(main, &mut dice).unwrap() };
            if whole {
                postgreses -= 1;
            } else {
                sessions -= 1;
            }
            kill(victim);
            // The same process of the server must find its way back.
            let (ready, secret) = (server.at("/health/ready"), Caller::secret(&server));
            eventually("the same server is ready again", Duration::from_secs(60), || async {
                let gone = if whole {
                    postmaster(&data).is_some_and(|now| now != victim)
                } else {
                    !Path::new("/proc").join(victim.to_string()).exists()
                };
                if !gone || reqwest::get(&ready).await.ok()?.status() != 200 {
                    return None;
                }
                let probe = json!({ "mark": format!("probe-{}", Uuid::new_v4()), "payload": "x" });
                (secret.post("entries", "", probe).await.status == 201).then_some(())
            })
            .await;
            slowest_postgres = slowest_postgres.max(killed.elapsed());
        }
        let took = killed.elapsed();
        assert!(took < READY_WITHIN, "ready after {took:?}\n{}", server.log());
        outages.push((killed, Instant::now()));
    }
    more(200).await;
    shared.stop.store(true, Ordering::Relaxed);

    let secret = Caller::secret(&server);
    let mut players = Vec::new();
    for client in clients {
        players.push(client.await.unwrap());
    }
    let stored = [stored(&secret, "entries").await, stored(&secret, "slots").await];
    let mut faults: Vec<String> = Vec::new();
    let mut sent: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    let (mut marks, mut refused, mut slowest) = (0, 0, Duration::ZERO);
    let mut bulk = HashSet::new();
    for client in players {
        bulk.extend(client.bulk);
        faults.extend(client.faults);
        for (kind, counts) in client.sent {
            let sum = sent.entry(kind).or_default();
            counts.iter().zip(sum).for_each(|(count, sum)| *sum += count);
        }
        for (ledger, stored) in client.ledger.iter().zip(&stored) {
            marks += ledger.len();
            faults.extend(differences(ledger, stored));
        }
        for refusal in client.refusals {
            refused += 1;
            let during =
                |(from, to): &(Instant, Instant)| (*from..*to + REFUSED_AT_MOST_AFTER).contains(&refusal.at);
            if !outages.iter().any(during) {
                faults.push(format!("{} while all was well", refusal.status));
            }
        }
        slowest = slowest.max(client.slowest);
    }
    let together = made_together(&secret, &bulk).await;
    if together == 0 {
        faults.push("no two records were made together".to_owned());
    }
    if slowest > ANSWERED_WITHIN {
        faults.push(format!("a request took {slowest:?}"));
    }
    for fault in faults.iter().take(20) {
        println!("{fault}");
    }
    // acknowledged/unknown/not done
    let counts = sent
        .iter()
        .map(|(kind, [done, unknown, not])| format!("{kind}={done}/{unknown}/{not}"))
        .collect::<Vec<_>>()
        .join(" ");
    let verdict = if faults.is_empty() { "PASS" } else { "FAIL" };
    println!(
        "{verdict} kills server={server_kills} postgres={postgres_kills} sessions={session_kills} {counts} refused={refused} records={marks} together={together} \
         ready_after_ms={}/{} slowest_ms={} faults={}",
        slowest_server.as_millis(),
        slowest_postgres.as_millis(),
        slowest.as_millis(),
        faults.len()
    );
    assert!(faults.is_empty(), "see above; BASEWRIGHT_SEED={seed}\n{}", server.log());
}

#[test]
fn the_judge_of_the_kills_sees_what_is_lost_half_done_or_done_twice() {
    let expected = |states: &[Option<&str>], batch| Expected {
        states: states.iter().map(|state| state.map(str::to_owned)).collect(),
        batch,
    };
    let stored = |pairs: &[(&str, &[&str])]| -> HashMap<String, Vec<String>> {
        pairs
            .iter()
            .map(|(mark, payloads)| {
                ((*mark).to_owned(), payloads.iter().map(|text| (*text).to_owned()).collect())
            })
            .collect()
    };
    let ledger = |entries: Vec<(&str, Expected)>| -> BTreeMap<String, Expected> {
        entries.into_iter().map(|(mark, expected)| (mark.to_owned(), expected)).collect()
    };
    let acknowledged = ledger(vec![("a", expected(&[Some("1")], None))]);
    assert!(differences(&acknowledged, &stored(&[("a", &["1"])])).is_empty());
    for wrong in [stored(&[]), stored(&[("a", &["2"])]), stored(&[("a", &["1", "1"])])] {
        assert_eq!(differences(&acknowledged, &wrong).len(), 1);
    }
    let deleted = ledger(vec![("a", expected(&[None], None))]);
    assert_eq!(differences(&deleted, &stored(&[("a", &["1"])])).len(), 1);
    let half = |mark| (mark, expected(&[None, Some("1")], Some(7)));
    let bulk = ledger(vec![half("a"), half("b")]);
    assert!(differences(&bulk, &stored(&[("a", &["1"]), ("b", &["1"])])).is_empty());
    assert!(differences(&bulk, &stored(&[])).is_empty());
    assert_eq!(differences(&bulk, &stored(&[("b", &["1"])])).len(), 1);
}
