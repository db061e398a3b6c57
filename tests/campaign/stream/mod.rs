//! Five writers, twenty listeners, and everything between them killed, cut and restarted.
//!
//! A ledger in the database keeps every committed version of every row. At the end each listener, who resumed from
//! his last cursor whenever his socket ended and dropped what he had had, must have been told exactly what the ledger
//! says that he could see, in the order of the commits. And the list of rows that he kept, doing what he was told and
//! reading it again only where he was told that his access had changed, must be what a read answers.

mod judge;
mod world;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Dice, long, seed};
use crate::support::caller::Caller;
use crate::support::server::{Server, Start, eventually};
use crate::support::socket::{Connect, End, RowEvent, Seen, Socket, Version};
use judge::{Ledger, Told, judge};
use world::{Listener, Who, World, connect, listeners};
use writers::{Shared, rest, sql};

/// Whoever is not told anything for so long at the end was forgotten.
const SILENCE: Duration = Duration::from_secs(60);

/// A server that runs, as a listener sees it.
#[derive(Clone)]
struct Incarnation {
    address: String,
    key: String,
    /// In the order of the listeners.
    callers: Arc<Vec<Caller>>,
}

/// What the listeners are told by the campaign.
#[derive(Clone)]
struct Signals {
    incarnation: watch::Receiver<Incarnation>,
    /// Counts the times that everybody's connection was cut.
    cuts: watch::Receiver<u64>,
    /// Whoever has got here has everything.
    end: watch::Receiver<Option<String>>,
}

/// What a listener brings home.
#[derive(Default)]
struct Heard {
    told: Vec<Told>,
    /// His list, by id.
    rows: BTreeMap<String, Value>,
    /// How often he read it again.
    reads: usize,
    again: usize,
    joins: usize,
    refused: usize,
    faults: Vec<String>,
}

struct Ear {
    number: usize,
    binding: Value,
    /// What his list is a read of.
    path: String,
    /// His list is to be read again.
    stale: bool,
    signals: Signals,
    dice: Dice,
    /// Where he is.
    cursor: String,
    seen: Seen,
    heard: Heard,
}

impl Ear {
    fn done(&self) -> bool {
        self.signals.end.borrow().as_ref().is_some_and(|end| self.cursor >= *end)
    }

    async fn listen(mut self, joined: Arc<AtomicU64>) -> Heard {
        let mut since = Instant::now();
        while !self.done() {
            let before = self.cursor.clone();
            if let Some(socket) = self.join().await {
                if self.heard.joins == 1 {
                    joined.fetch_add(1, Ordering::Relaxed);
                }
                self.attend(socket).await;
            }
            self.read().await;
            if self.cursor != before || self.signals.end.borrow().is_none() {
                since = Instant::now();
            } else if since.elapsed() > SILENCE {
                self.heard.faults.push(format!("left in silence at {}", self.cursor));
                break;
            }
        }
        self.heard
    }

    /// Reads the list again where it was told to be. Where nobody answers, later.
    async fn read(&mut self) {
        let at = self.signals.incarnation.borrow().clone();
        if self.stale
            && let Some(rows) = rows(&at.callers[self.number], &self.path).await
        {
            (self.stale, self.heard.rows) = (false, rows);
            self.heard.reads += 1;
        }
    }

    /// Does to the list what was told.
    fn apply(&mut self, event: &RowEvent) {
        if let Some(id) = event.old_record["id"].as_str() {
            self.heard.rows.remove(id);
        }
        if let Some(id) = event.record["id"].as_str() {
            self.heard.rows.insert(id.to_owned(), event.record.clone());
        }
    }

    async fn join(&mut self) -> Option<Socket> {
        let at = self.signals.incarnation.borrow_and_update().clone();
        let connect = Connect {
            address: &at.address,
            target: format!("/realtime/v1/websocket?apikey={}&vsn=2.0.0", at.key),
            headers: Vec::new(),
            receive_buffer: None,
            version: if self.number.is_multiple_of(2) { Version::V2 } else { Version::V1 },
        };
        let connect = Connect {
            target: match connect.version {
                Version::V1 => connect.target.replace("vsn=2", "vsn=1"),
                Version::V2 => connect.target,
            },
            ..connect
        };
        let token = at.callers[self.number].token();
        let config = json!({ "postgres_changes": [self.binding], "resume": self.cursor });
        let joined = match connect.open().await {
            Ok(mut socket) => {
                let joined = socket.try_join("realtime:items", config, token).await;
                joined.map(|channel| (socket, channel)).map_err(|reason| reason.to_string())
            }
            Err(refused) => Err(format!("{} {}", refused.status, refused.body)),
        };
        match joined {
            Ok((socket, channel)) => {
                self.heard.joins += 1;
                if self.cursor.is_empty() {
                    self.cursor = channel.cursor();
                    assert!(!self.cursor.is_empty(), "joined nowhere: {}", channel.response);
                }
                Some(socket)
            }
            Err(_) => {
                self.heard.refused += 1;
                let _ = tokio::time::timeout(Duration::from_millis(100), self.signals.incarnation.changed())
                    .await;
                None
            }
        }
    }

    /// Takes what comes until the socket ends, is cut, or everything was told.
    async fn attend(&mut self, mut socket: Socket) {
        let cuts = *self.signals.cuts.borrow_and_update();
        let mut beaten = Instant::now();
        while !self.done() {
            if *self.signals.cuts.borrow() != cuts || self.dice.one_in(400) {
                return;
            }
            if beaten.elapsed() > Duration::from_secs(20) {
                beaten = Instant::now();
                socket.push(None, "phoenix", "heartbeat", json!({})).await;
            }
            let message = match socket.next(Duration::from_millis(200)).await {
                Ok(message) => message,
                Err(End::Deadline) => continue,
                Err(End::Closed { .. } | End::Lost(_)) => return,
            };
            if let Some(event) = message.row() {
                if self.seen.first(&event) {
                    self.apply(&event);
                    let present = |value: Value| (!value.is_null()).then_some(value);
                    self.cursor = self.cursor.clone().max(event.cursor.clone());
                    self.heard.told.push(Told {
                        kind: event.kind,
                        record: present(event.record),
                        old_record: present(event.old_record),
                        cursor: event.cursor,
                    });
                } else {
                    self.heard.again += 1;
                }
            } else if message.is_system("resync_required") {
                self.heard.faults.push(format!("told to start anew: {}", message.payload));
                self.cursor = message.payload["cursor"].as_str().unwrap().to_owned();
            } else if message.is_system("position") || message.is_system("access_changed") {
                let cursor = message.payload["cursor"].as_str().unwrap();
                self.cursor = self.cursor.clone().max(cursor.to_owned());
                if message.is_system("access_changed") {
                    self.stale = true;
                    self.read().await;
                }
            } else if message.event == "phx_close" || message.event == "phx_error" {
                return;
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// kill -9 of the server.
    Server,
    /// kill -9 of Postgres.
    Postgres,
    /// The server is stopped as it is for an update.
    Planned,
    /// Its stream is terminated by Postgres.
    Walsender,
    /// Every connection is cut.
    Cut,
}

fn schedule(dice: &mut Dice) -> Vec<Fault> {
    let counts = if long() { [20, 5, 5, 10, 10] } else { [2, 1, 1, 2, 2] };
    let kinds = [Fault::Server, Fault::Postgres, Fault::Planned, Fault::Walsender, Fault::Cut];
    let mut faults: Vec<Fault> =
        kinds.into_iter().zip(counts).flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect();
    for at in (1..faults.len()).rev() {
        faults.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
    }
    faults
}

async fn start(world: &World) -> Server {
    let (project, urls) = (world.folder.0.clone(), world.urls.clone());
    let data = world.folder.join("data");
    let run = move || {
        Start { command: "dev", project: &project, data: &data, database: Some(&urls), args: &[], env: &[] }
            .run()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn incarnation(server: &Server, all: &[Listener]) -> Incarnation {
    let caller = |listener: &Listener| match listener.who {
        Who::Anonymous => Caller::anonymous(server),
        Who::User(user) => Caller::user_with_id(server, &user.to_string(), &[]),
        Who::Editor => Caller::user(server, &["editor"]),
    };
    Incarnation {
        address: server.address().to_owned(),
        key: server.keys.publishable().to_owned(),
        callers: Arc::new(all.iter().map(caller).collect()),
    }
}

/// What somebody reads now, by id.
async fn rows(caller: &Caller, path: &str) -> Option<BTreeMap<String, Value>> {
    let answer =
        caller.try_send(Method::GET, path, &[], None).await.ok().filter(|answer| answer.status == 200)?;
    let rows = answer.body.as_array()?.iter();
    rows.map(|row| Some((row["id"].as_str()?.to_owned(), row.clone()))).collect()
}

fn users(server: &Server, world: &World) -> Vec<Caller> {
    world.users.iter().map(|user| Caller::user_with_id(server, &user.to_string(), &[])).collect()
}

/// The pid in Postgres' own file.
fn postmaster(world: &World) -> Option<i32> {
    let file = world.folder.join("cluster/postgres/postmaster.pid");
    std::fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()
}

async fn kill_postgres(world: &World) {
    let pid = postmaster(world).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    eventually("Postgres is back", Duration::from_secs(60), || async {
        let back = postmaster(world).is_some_and(|now| now != pid);
        (back && connect(&world.admin_url()).await.is_ok()).then_some(())
    })
    .await;
}

async fn terminate_walsenders(world: &World) -> i64 {
    let admin = connect(&world.admin_url()).await.unwrap();
    let row = admin
        .query_one("select count(pg_terminate_backend(pid)) from pg_stat_replication", &[])
        .await
        .unwrap();
    row.get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_is_told_what_he_may_see_once_and_in_order_whatever_is_killed() {
    let seed = seed();
    let mut dice = Dice(seed);
    let world = World::new().await;
    let mut server = start(&world).await;
    world.furnish().await;
    let all = listeners(&world);
    let (tell_incarnation, told_incarnation) = watch::channel(incarnation(&server, &all));
    let (tell_cut, told_cut) = watch::channel(0);
    let (tell_end, told_end) = watch::channel(None);
    let (tell_callers, callers) = watch::channel(users(&server, &world));
    let signals = Signals { incarnation: told_incarnation, cuts: told_cut, end: told_end };
    let joined = Arc::new(AtomicU64::new(0));
    let ears: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(number, listener)| {
            let ear = Ear {
                number,
                binding: listener.binding(),
                path: listener.path(),
                stale: false,
                signals: signals.clone(),
                dice: Dice(dice.next()),
                cursor: String::new(),
                seen: Seen::default(),
                heard: Heard::default(),
            };
            tokio::spawn(ear.listen(Arc::clone(&joined)))
        })
        .collect();
    let count = all.len() as u64;
    eventually("everybody listens", Duration::from_secs(30), || async {
        (joined.load(Ordering::Relaxed) == count).then_some(())
    })
    .await;

    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        done: AtomicU64::new(0),
        amounts: AtomicI32::new(1_000_000_000),
        admin_url: world.admin_url(),
        users: world.users.clone(),
        rooms: world.rooms.clone(),
        callers,
    });
    let mut players: Vec<_> =
        (0..4).map(|number| tokio::spawn(sql(number, Dice(dice.next()), Arc::clone(&shared)))).collect();
    players.push(tokio::spawn(rest(Dice(dice.next()), Arc::clone(&shared))));
    let more = async |count: u64| {
        let enough = shared.done.load(Ordering::Relaxed) + count;
        eventually("writers write", Duration::from_secs(90), || async {
            (shared.done.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    };
    let faults = schedule(&mut dice);
    let (mut cuts, mut walsenders) = (0, 0);
    for fault in &faults {
        more(30 + dice.below(80)).await;
        match fault {
            Fault::Server | Fault::Planned => {
                let kill = matches!(fault, Fault::Server);
                server.signal(if kill { Signal::KILL } else { Signal::TERM });
                tokio::task::block_in_place(|| server.ended(Duration::from_secs(30)));
                server = start(&world).await;
                tell_incarnation.send_replace(incarnation(&server, &all));
                tell_callers.send_replace(users(&server, &world));
            }
            Fault::Postgres => kill_postgres(&world).await,
            Fault::Walsender => walsenders += terminate_walsenders(&world).await,
            Fault::Cut => {
                cuts += 1;
                tell_cut.send_replace(cuts);
            }
        }
    }
    more(100).await;
    shared.stop.store(true, Ordering::Relaxed);
    for player in players {
        player.await.unwrap();
    }
    // Whoever joins now joins after all that was committed.
    let end = eventually("the end of the stream", SILENCE, || async {
        let mut socket = Connect::new(&server, server.keys.publishable(), Version::V2).open().await.ok()?;
        let bindings = json!([{ "event": "*", "schema": "public", "table": "items" }]);
        let config = json!({ "postgres_changes": bindings, "resume": "" });
        Some(socket.try_join("realtime:end", config, None).await.ok()?.cursor())
    })
    .await;
    tell_end.send_replace(Some(end));

    let mut heard = Vec::new();
    for ear in ears {
        heard.push(ear.await.unwrap());
    }
    let ledger = world.ledger().await;
    let mut faults_found = 0;
    let mut reads = 0;
    let at = incarnation(&server, &all);
    let (mut exact, mut either, mut again, mut joins, mut refused) = (0, 0, 0, 0, 0);
    let mut sums = [0; 4];
    for ((listener, heard), caller) in all.iter().zip(&heard).zip(at.callers.iter()) {
        let user = match listener.who {
            Who::User(user) => user.to_string(),
            Who::Anonymous | Who::Editor => String::new(),
        };
        let verdict = judge(listener, &ledger, &user, &heard.told);
        exact += verdict.exact;
        either += verdict.either;
        again += heard.again;
        joins += heard.joins;
        refused += heard.refused;
        faults_found += verdict.faults() + heard.faults.len();
        reads += heard.reads;
        if listener.operation.is_none() {
            let there = rows(caller, &listener.path()).await.unwrap();
            let wrong: Vec<_> = there
                .keys()
                .chain(heard.rows.keys())
                .filter(|id| there.get(*id) != heard.rows.get(*id))
                .collect();
            if !wrong.is_empty() {
                faults_found += 1;
                println!("{}: {} of his list are not what a read answers", listener.name, wrong.len());
                for id in wrong.iter().take(2) {
                    println!("  {:?}\n  instead of {:?}", heard.rows.get(*id), there.get(*id));
                }
            }
        }
        let counts = [verdict.missed, verdict.duplicated, verdict.disordered, verdict.wrong];
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        if verdict.faults() + heard.faults.len() > 0 {
            let [missed, duplicated, disordered, wrong] = counts;
            println!(
                "{}: missed={missed} duplicated={duplicated} disordered={disordered} wrong={wrong}",
                listener.name
            );
            heard.faults.iter().chain(&verdict.samples).take(4).for_each(|text| {
                println!("  {}", text.chars().take(900).collect::<String>());
            });
        }
    }
    let quiet = exact < ledger.changes();
    let verdict = if faults_found == 0 && !quiet { "PASS" } else { "FAIL" };
    let [missed, duplicated, disordered, unauthorised] = sums;
    println!(
        "{verdict} stream faults={} walsenders={walsenders} transactions={} changes={} listeners={count} exact={exact} \
         either={either} again={again} joins={joins} refused={refused} reads={reads} missed={missed} duplicated={duplicated} \
         disordered={disordered} unauthorised={unauthorised}",
        faults.len(),
        ledger.transactions(),
        ledger.changes(),
    );
    assert!(faults_found == 0, "see above; BASEWRIGHT_SEED={seed}\n{}", server.log());
    assert!(!quiet, "hardly anything was told");
}

#[test]
fn the_judge_of_the_stream_sees_what_is_missed_told_twice_late_or_to_the_wrong_one() {
    let listener = world::everybody();
    let row = |amount: i64, state: &str| json!({ "id": "i", "owner": "o", "room": null, "state": state, "rank": 1, "amount": amount, "note": "n", "secret": "s" });
    let entry = |xid, old: Option<Value>, new: Option<Value>| judge::Entry {
        xid,
        table: "items".to_owned(),
        old,
        new,
    };
    let seen = |amount: i64| {
        let mut record = row(amount, "open");
        let fields = record.as_object_mut().unwrap();
        fields.remove("note");
        fields.remove("secret");
        Some(record)
    };
    // Made in the dark, opened, changed, and taken away by the transaction that committed first.
    let entries = vec![
        entry(7, None, Some(row(1, "draft"))),
        entry(9, Some(row(1, "draft")), Some(row(2, "open"))),
        entry(9, Some(row(2, "open")), Some(row(3, "open"))),
        entry(8, Some(row(3, "open")), None),
    ];
    let ledger = Ledger::new([7, 9, 8].into_iter(), entries.into_iter());
    let told = |kind: &str, record, old_record, cursor: &str| Told {
        kind: kind.to_owned(),
        record,
        old_record,
        cursor: cursor.to_owned(),
    };
    let right = vec![
        told("INSERT", seen(2), None, "b"),
        told("UPDATE", seen(3), seen(2), "c"),
        told("DELETE", None, seen(3), "d"),
    ];
    let judged = |told: &[Told]| judge(&listener, &ledger, "", told);
    let verdict = judged(&right);
    assert_eq!((verdict.exact, verdict.faults()), (3, 0), "{verdict:?}");
    assert_eq!(judged(&right[..2]).missed, 1);
    assert_eq!(judged(&[&right[..], &right[2..]].concat()).duplicated, 1);
    let mut late = right.clone();
    late.swap(0, 1);
    assert!(judged(&late).disordered > 0);
    let mut leaky = right.clone();
    leaky[0].record = Some(row(2, "open"));
    assert_eq!(judged(&leaky).wrong, 1, "fields that are hidden");
    let mut early = right;
    early.insert(0, told("INSERT", Some(row(1, "draft")), None, "a"));
    assert_eq!(judged(&early).wrong, 1, "a row that is not open");
}
