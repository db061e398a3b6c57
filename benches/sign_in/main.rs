//! What it costs to sign in and to stay signed in. See `benches/README.md`.
//!
//! `cargo bench --bench sign_in` measures everything; names after `--` choose: login refresh user storm.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, dead_code)]

#[path = "../site.rs"]
mod site;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use basewright::auth::password::Hashing;
use serde_json::{Value, json};

use site::{Server, Site, resident};

const PASSWORD: &str = "correct horse battery";
/// Requests under way at once.
const AT_ONCE: usize = 32;
/// How long each thing is measured.
const SPAN: Duration = Duration::from_secs(5);
const STORM: usize = 500;

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|word| word == name);
    let site = Site::new(include_str!("basewright.yaml")).await;
    let server = Arc::new(site.serve());
    let hash = Hashing::start(1).unwrap().hash(PASSWORD).await.unwrap();
    site.admin()
        .await
        .batch_execute(&format!(
            "with u as (insert into auth.users (email, email_confirmed_at) \
             select format('u%s@example.test', n), now() from generate_series(1, {STORM}) n returning id) \
             insert into auth.passwords (user_id, hash) select id, '{hash}' from u; \
             insert into notes (title) select 'note ' || n from generate_series(1, 100) n"
        ))
        .await
        .unwrap();
    let asker = Asker::new(&server);
    println!("{:<44} {:>10} {:>10} {:>8}", "what", "measured", "beside", "goal");
    if chosen("login") {
        login(&asker).await;
    }
    if chosen("refresh") {
        refresh(&asker).await;
    }
    if chosen("user") {
        user(&asker).await;
    }
    if chosen("storm") {
        storm(&asker, &server).await;
    }
}

fn line(what: &str, measured: String, beside: String, goal: &str) {
    println!("{what:<44} {measured:>10} {beside:>10} {goal:>8}");
}

/// The p99 in milliseconds.
fn p99(times: &mut [Duration]) -> f64 {
    times.sort();
    times[(times.len() - 1) * 99 / 100].as_secs_f64() * 1e3
}

/// Somebody who asks the server.
#[derive(Clone)]
struct Asker {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Asker {
    fn new(server: &Server) -> Asker {
        let client = reqwest::Client::builder().pool_max_idle_per_host(STORM).build().unwrap();
        Asker { client, url: format!("http://{}", server.address), key: server.keys.publishable().to_owned() }
    }

    async fn token(&self, grant: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}/auth/v1/token?grant_type={grant}", self.url));
        let answer = request.header("apikey", &self.key).json(&body).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn sign_in(&self, number: usize) -> Value {
        let email = format!("u{}@example.test", number % STORM + 1);
        self.token("password", json!({ "email": email, "password": PASSWORD })).await
    }

    async fn get(&self, path: &str, token: &str) {
        let request = self.client.get(format!("{}{path}", self.url)).header("apikey", &self.key);
        let answer = request.bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
    }
}

/// Runs something many times at once, and says how many in a second, and how long each took.
async fn rate<F: Future<Output = ()> + Send>(
    at_once: usize,
    what: impl Fn(usize) -> F + Clone + Send + 'static,
) -> (f64, Vec<Duration>) {
    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut runners = Vec::new();
    for _ in 0..at_once {
        let (what, next) = (what.clone(), Arc::clone(&next));
        runners.push(async move {
            let mut times = Vec::new();
            while began.elapsed() < SPAN {
                let one = Instant::now();
                what(next.fetch_add(1, Ordering::Relaxed)).await;
                times.push(one.elapsed());
            }
            times
        });
    }
    let times: Vec<Duration> = futures_util::future::join_all(runners).await.concat();
    (times.len() as f64 / began.elapsed().as_secs_f64(), times)
}

/// Hashes in a second on as many threads as there are cores.
fn bare() -> f64 {
    let threads = std::thread::available_parallelism().unwrap().get();
    let began = Instant::now();
    let counts: usize = std::thread::scope(|scope| {
        let work = || {
            let params = Params::new(19_456, 2, 1, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let mut count = 0;
            while began.elapsed() < SPAN {
                argon2.hash_password_into(PASSWORD.as_bytes(), &[7; 16], &mut [0; 32]).unwrap();
                count += 1;
            }
            count
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    counts as f64 / began.elapsed().as_secs_f64()
}

async fn login(asker: &Asker) {
    // In turn, so that a noisy moment meets both.
    let (mut bares, mut rates, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        bares.push(tokio::task::spawn_blocking(bare).await.unwrap());
        let own = asker.clone();
        let (rate, times) = rate(AT_ONCE, move |number| {
            let asker = own.clone();
            async move {
                asker.sign_in(number).await;
            }
        })
        .await;
        rates.push(rate);
        all.extend(times);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (ours, bare) = (median(&mut rates), median(&mut bares));
    line("sign-ins with a password /s", format!("{ours:.1}"), format!("{bare:.1}"), "");
    line("ratio of these", format!("{:.2}", ours / bare), String::new(), ">= 0.9");
}

async fn refresh(asker: &Asker) {
    let mut sessions = Vec::new();
    for number in 0..AT_ONCE {
        sessions.push(asker.sign_in(number).await["refresh_token"].as_str().unwrap().to_owned());
    }
    let began = Instant::now();
    let runners = sessions.into_iter().map(|mut token| {
        let asker = asker.clone();
        async move {
            let mut times = Vec::new();
            while began.elapsed() < SPAN {
                let one = Instant::now();
                let body = asker.token("refresh_token", json!({ "refresh_token": token })).await;
                times.push(one.elapsed());
                token = body["refresh_token"].as_str().unwrap().to_owned();
            }
            times
        }
    });
    let mut times: Vec<Duration> = futures_util::future::join_all(runners).await.concat();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    line("refreshes /s", format!("{rate:.0}"), String::new(), "");
    line("refresh, p99 ms", format!("{:.1}", p99(&mut times)), String::new(), "");
}

async fn user(asker: &Asker) {
    let token = asker.sign_in(0).await["access_token"].as_str().unwrap().to_owned();
    let asker = asker.clone();
    let (rate, mut times) = rate(AT_ONCE, move |_| {
        let (asker, token) = (asker.clone(), token.clone());
        async move { asker.get("/auth/v1/user", &token).await }
    })
    .await;
    line("GET /user /s", format!("{rate:.0}"), String::new(), "");
    line("GET /user, p99 ms", format!("{:.1}", p99(&mut times)), String::new(), "");
}

/// Reads records one after the other until told to stop.
fn reader(asker: &Asker, token: &str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<Duration>> {
    let (asker, token, stop) = (asker.clone(), token.to_owned(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let one = Instant::now();
            asker.get("/rest/v1/notes?limit=20", &token).await;
            times.push(one.elapsed());
        }
        times
    })
}

async fn storm(asker: &Asker, server: &Server) {
    let token = asker.sign_in(0).await["access_token"].as_str().unwrap().to_owned();
    // What each thread keeps once it has hashed is there already.
    futures_util::future::join_all((0..8).map(|number| asker.sign_in(number))).await;
    let stop = Arc::new(AtomicBool::new(false));
    let alone = reader(asker, &token, &stop);
    tokio::time::sleep(SPAN).await;
    stop.store(true, Ordering::Relaxed);
    let mut alone = alone.await.unwrap();
    let pid = server.pid();
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    let before = resident(pid);
    let stop = Arc::new(AtomicBool::new(false));
    let meanwhile = reader(asker, &token, &stop);
    let began = Instant::now();
    futures_util::future::join_all((0..STORM).map(|number| asker.sign_in(number))).await;
    let took = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut meanwhile = meanwhile.await.unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: f64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    let threads = std::thread::available_parallelism().unwrap().get();
    line(
        &format!("{STORM} sign-ins at once: MiB beyond before"),
        format!("{:.1}", (peak - before) / 1024.0),
        format!("{took:.1} s"),
        &format!("<= {}", threads * 19 + 64),
    );
    let (alone, meanwhile) = (p99(&mut alone), p99(&mut meanwhile));
    line("p99 of a reader meanwhile, ms", format!("{meanwhile:.2}"), format!("{alone:.2}"), "");
    line("ratio of these", format!("{:.2}", meanwhile / alone), String::new(), "<= 3");
}
