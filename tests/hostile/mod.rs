//! Callers who mean no good: whatever they send is answered, in the dialect's words, soon, and is never the server's
//! fault; and what they do to their own connections nobody else notices.
//!
//! `BASEWRIGHT_LONG=1` asks for the long form, `BASEWRIGHT_SEED` repeats a run: each request comes from the seed and
//! its own number alone.

mod framing;
pub mod requests;
mod slow;
mod wire;
pub mod words;
pub mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use basewright::app::now;
use basewright::auth::token::mint_operator;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::campaign::{Dice, long, seed};
use crate::support::caller::Caller;
use crate::support::server::{Folder, Server};
use crate::support::{Database, database};
use requests::{Choices, Maker, Sender};
use wire::{Answer, Connection, Request};

/// No answer takes longer.
const LONGEST: Duration = Duration::from_secs(5);
/// Memory that the server may come to hold over a run.
const MOST_GROWTH: u64 = 150 << 20;
/// Requests between two cleanings of the tables.
const ROUND: u64 = 400;
/// Connections at the same time.
const CONNECTIONS: u64 = 8;
const CANARY: &str = "11111111-1111-4111-8111-111111111111";

/// A server with something in it.
pub struct Stage {
    pub server: Server,
    database: Database,
    _folder: Folder,
}

impl Stage {
    pub async fn open() -> Stage {
        let database = database().await;
        let folder = Folder::with(&[("project/all.yaml", &world::project())]);
        let server = Server::dev(&folder.join("project"), &folder.join("data"), &database.urls);
        let secret = Caller::secret(&server);
        for collection in ["arrays", "scalars", "pairs"] {
            secret.post(collection, "", Value::Array(world::records(collection))).await.is(201);
        }
        secret.post("canaries", "", json!({ "id": CANARY, "song": "la" })).await.is(201);
        Stage { server, database, _folder: folder }
    }

    /// To the server's own database, as the one who owns the tables.
    pub async fn connect(&self) -> Client {
        self.database.connect_owner().await
    }

    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
    }

    /// The record that every caller may read, asked for by nobody in particular.
    pub fn canary(&self) -> Request {
        Request {
            method: "GET".to_owned(),
            target: format!("/rest/v1/canaries?select=song&id=eq.{CANARY}").into_bytes(),
            headers: vec![("apikey".to_owned(), self.server.keys.publishable().as_bytes().to_vec())],
            body: None,
        }
    }

    /// Asks for the canary on a connection.
    pub async fn sings(&self, connection: &mut Connection) -> Result<(), String> {
        let answer = connection.ask(&self.canary()).await?;
        match (answer.status, &answer.body[..]) {
            (200, br#"[{"song":"la"}]"#) if answer.took <= LONGEST => Ok(()),
            (status, body) => {
                Err(format!("the canary: {status} after {:?}: {}", answer.took, body.escape_ascii()))
            }
        }
    }

    /// Nothing that a caller did made the server stumble.
    pub fn assert_calm(&self) {
        let log = self.server.log();
        let stumbled: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).take(5).collect();
        assert!(stumbled.is_empty(), "{stumbled:#?}");
    }
}

/// The tables as they were at first, whatever was done to them.
struct Sweeper {
    owner: Client,
    script: String,
}

impl Sweeper {
    async fn of(stage: &Stage) -> Sweeper {
        let owner = stage.connect().await;
        owner
            .batch_execute(
                "create schema spare;
                 create table spare.arrays as table public.arrays;
                 create table spare.scalars as table public.scalars;
                 create table spare.pairs as table public.pairs",
            )
            .await
            .unwrap();
        let mut script = "begin; truncate public.arrays, public.scalars, public.pairs;".to_owned();
        for table in ["arrays", "scalars", "pairs"] {
            // Without what Postgres makes of the others by itself.
            let sql = "select string_agg(quote_ident(column_name), ', ') from information_schema.columns \
                 where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER'";
            let columns: String = owner.query_one(sql, &[&table]).await.unwrap().get(0);
            script += &format!("insert into public.{table} ({columns}) select {columns} from spare.{table};");
        }
        Sweeper { owner, script: script + "commit" }
    }

    async fn sweep(&self) {
        self.owner.batch_execute(&self.script).await.unwrap();
    }
}

/// Who asks.
struct Asker {
    name: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    sender: Sender,
}

fn askers(server: &Server) -> Vec<Asker> {
    let (key, secret) = (server.keys.publishable(), server.keys.secret());
    let issued = now();
    let token = |roles: &[&str]| {
        let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        mint_operator(
            server.keys.active(),
            Uuid::from_u128(7),
            "authenticated",
            &roles,
            issued,
            issued + 7200,
        )
        .unwrap()
    };
    let asker = |name, list: &[(&str, &str)], careful| Asker {
        name,
        headers: list.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        sender: Sender { careful },
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let (member, editor) = (bearer(&token(&[])), bearer(&token(&["editor"])));
    vec![
        asker("anonymous", &[("apikey", key)], false),
        asker("anonymous", &[("apikey", key), ("authorization", &bearer(key))], false),
        asker("member", &[("apikey", key), ("authorization", &member)], false),
        asker("member", &[("apikey", key), ("authorization", &member)], false),
        asker("editor", &[("apikey", key), ("authorization", &editor)], true),
        asker("editor", &[("apikey", key), ("authorization", &editor)], true),
        asker("secret", &[("apikey", secret)], true),
        asker("secret", &[("apikey", secret), ("authorization", &bearer(secret))], true),
        asker("secret", &[("apikey", secret)], true),
        asker("member", &[("apikey", key), ("authorization", &member)], false),
    ]
}

/// Credentials that are none.
fn forged(dice: &mut Dice, key: &str) -> Vec<(String, Vec<u8>)> {
    let header = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let cut = &key[..key.len() - dice.below(40) as usize];
    let values: &[&[u8]] = &[
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic YTpi",
        b"Bearer a.b.c",
        b"Bearer ..",
        b"Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.",
        b"Bearer eyJhbGciOiJIUzI1NiJ9.bnVsbA.AAAA",
        b"Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6Ii4uLy4uIn0.e30.AAAA",
        b"bearer \xff\xfe",
    ];
    match dice.below(5) {
        0 => vec![],
        1 => vec![header("apikey", cut.as_bytes())],
        2 => vec![header("apikey", key.as_bytes()), header("apikey", key.as_bytes())],
        3 => vec![
            header("apikey", key.as_bytes()),
            header("authorization", format!("Bearer {cut}").as_bytes()),
        ],
        _ => vec![header("apikey", key.as_bytes()), header("authorization", dice.pick(values))],
    }
}

/// Why an answer is not one that a caller should get.
fn fault(request: &Request, answer: &Answer) -> Option<String> {
    if answer.status >= 500 {
        return Some("the server says that it is at fault".to_owned());
    }
    if answer.took > LONGEST {
        return Some(format!("the answer took {:?}", answer.took));
    }
    let Some(id) = answer.header("x-request-id") else {
        // The parser under the server refuses in its own way what is no request at all.
        let head = request.bytes().len() - request.body.as_ref().map_or(0, Vec::len);
        let refused = head > 128 << 10
            || request.target.len() >= 1 << 16
            || request.target.starts_with(b"*")
            || request.headers.len() > 90;
        return (!refused || !matches!(answer.status, 400 | 413 | 431))
            .then(|| "the answer has no request id".to_owned());
    };
    if request.method == "HEAD" || matches!(answer.status, 204 | 304) {
        return None;
    }
    // What stands behind the type are its parameters, in which an explanation names another one.
    let essence = answer.header("content-type").and_then(|kind| kind.split(';').next());
    let json = essence.is_some_and(|kind| kind.contains("json"));
    let text = essence == Some("application/vnd.pgrst.plan+text");
    if answer.status < 300 {
        let empty = answer.body.is_empty() && matches!(answer.status, 200 | 201);
        let table = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/csv"));
        let whole = (json && serde_json::from_slice::<IgnoredAny>(&answer.body).is_ok())
            || ((table || text) && str::from_utf8(&answer.body).is_ok());
        return (!empty && !whole).then(|| "the body is not what its type says".to_owned());
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
    let complete = ["code", "message", "details", "hint"].iter().all(|name| body.get(name).is_some());
    let good = json && complete && text("code") && text("message") && body["request_id"] == id;
    (!good).then(|| "the error is not in the dialect's shape".to_owned())
}

/// What came of all the requests.
#[derive(Default)]
struct Tally {
    statuses: BTreeMap<u16, u64>,
    codes: BTreeMap<String, u64>,
    slowest: Duration,
    faults: Vec<String>,
}

impl Tally {
    fn add(mut self, other: Tally) -> Tally {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
        self.faults.extend(other.faults);
        self
    }
}

/// One connection's share of a round.
async fn ask(
    stage: &Stage,
    maker: &Maker,
    askers: &[Asker],
    seed: u64,
    numbers: impl Iterator<Item = u64>,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection = Connection::to(stage.server.address());
    for number in numbers {
        let mut dice = Dice(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let asker = &askers[dice.below(askers.len() as u64) as usize];
        let wicked = dice.one_in(20);
        let mut request = maker.request(&mut Choices::new(dice.clone()), asker.sender);
        let key = stage.server.keys.publishable();
        let credentials = if wicked { forged(&mut dice, key) } else { asker.headers.clone() };
        request.headers.extend(credentials);
        let outcome = connection.ask(&request).await;
        let fault = match &outcome {
            Ok(answer) => {
                *tally.statuses.entry(answer.status).or_default() += 1;
                tally.slowest = tally.slowest.max(answer.took);
                if let Some(code) = answer.header("proxy-status").and_then(|text| text.rsplit('=').next()) {
                    *tally.codes.entry(code.to_owned()).or_default() += 1;
                }
                fault(&request, answer).map(|why| {
                    let body = &answer.body[..answer.body.len().min(700)];
                    format!("{why}: {} {}", answer.status, body.escape_ascii())
                })
            }
            Err(why) => Some(why.clone()),
        };
        if let Some(why) = fault {
            tally.faults.push(format!("request {number} by {}: {why}\n  {}", asker.name, request.told()));
        }
        if number.is_multiple_of(10) {
            // On the same connection, which must not have got out of step, and on a new one.
            for connection in [&mut connection, &mut Connection::to(stage.server.address())] {
                if let Err(why) = stage.sings(connection).await {
                    tally.faults.push(format!("after request {number}: {why}\n  {}", request.told()));
                }
            }
        }
    }
    tally
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_is_answered_and_never_the_servers_fault() {
    let stage = Stage::open().await;
    let sweeper = Sweeper::of(&stage).await;
    let (maker, askers, seed) = (Maker::new(), askers(&stage.server), seed());
    let count = if long() { 12_000 } else { 2_000 };
    let (before, started) = (stage.memory(), Instant::now());
    let mut tally = Tally::default();
    for round in (0..count).step_by(ROUND as usize) {
        let shares = (0..CONNECTIONS).map(|share| {
            let numbers = (round..round + ROUND).filter(move |number| number % CONNECTIONS == share);
            ask(&stage, &maker, &askers, seed, numbers)
        });
        tally = futures_util::future::join_all(shares).await.into_iter().fold(tally, Tally::add);
        sweeper.sweep().await;
    }
    let growth = stage.memory().saturating_sub(before);
    for fault in tally.faults.iter().take(30) {
        println!("{fault}");
    }
    println!(
        "slowest={:?} growth={} MiB statuses={:?} codes={:?}",
        tally.slowest,
        growth >> 20,
        tally.statuses,
        tally.codes
    );
    stage.assert_calm();
    assert!(
        tally.faults.is_empty(),
        "{} of {count} requests were not answered as they should be",
        tally.faults.len()
    );
    assert!(growth <= MOST_GROWTH, "the server holds {} MiB more than at first", growth >> 20);
    let done: u64 = tally.statuses.values().sum();
    assert_eq!(done, count);
    // Not everything may be refused at the door: the requests are to reach Postgres, and to come back.
    let good: u64 = tally.statuses.range(200..300).map(|(_, count)| count).sum();
    assert!(good * 10 >= count, "only {good} of {count} requests meant anything");
    println!(
        "PASS hostile_requests seed={seed} requests={count} good={good} slowest_ms={} growth_mib={} seconds={:.1}",
        tally.slowest.as_millis(),
        growth >> 20,
        started.elapsed().as_secs_f32()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_search_configuration_goes_by_its_name() {
    let stage = Stage::open().await;
    let secret = Caller::secret(&stage.server);
    for number in ["0", "12345", "4294967295", "99999999999999", " 1 "] {
        for operator in ["fts", "plfts", "phfts", "wfts"] {
            assert_eq!(
                secret.get(&format!("pairs?note={operator}({number}).a")).await.refused(400),
                "42704",
                "{number}"
            );
        }
    }
    assert_eq!(
        secret.get("pairs?note=wfts(simple).note&select=note&limit=1").await.is(200),
        json!([{ "note": "note" }])
    );
}
