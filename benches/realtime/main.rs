//! What realtime costs, beside what the same machine does without it. See `benches/README.md`.
//!
//! `cargo bench --bench realtime` measures everything; names after `--` choose: delay fan filters idle slow capture.
//! Everything runs in this program, but for the server, Postgres and the bare broadcast.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod bare;
mod capture;
mod crowd;
#[path = "../site.rs"]
mod site;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_postgres::Client;

use bare::Bare;
use crowd::{Crowd, Frames, subscribed};
use site::{Site, busy, resident};

/// Every change of the collection.
const ALL: &str = r#"{"event":"*","schema":"public","table":"ticks"}"#;

/// About what a chat message or an order's line has.
const BODY: usize = 160;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if arguments.iter().any(|word| word == bare::ARGUMENT) {
        return bare::serve();
    }
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|word| word == name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let site = Site::new(include_str!("basewright.yaml")).await;
        // It makes the tables.
        drop(site.serve());
        let writer = site.admin().await;
        println!("{:<44} {:>10} {:>10} {:>8}", "what", "measured", "beside", "goal");
        if chosen("delay") {
            delay(&site, &writer).await;
        }
        if chosen("fan") {
            fan(&site, &writer).await;
        }
        if chosen("filters") {
            filters(&site, &writer).await;
        }
        if chosen("idle") {
            idle(&site).await;
        }
        if chosen("slow") {
            slow(&site, &writer).await;
        }
        if chosen("capture") {
            capture::measure(&site).await;
        }
    });
}

/// One line of the table.
fn line(what: &str, measured: String, beside: String, goal: &str) {
    println!("{what:<44} {measured:>10} {beside:>10} {goal:>8}");
}

fn percentile(sorted: &[Duration], of_hundred: usize) -> f64 {
    sorted[(sorted.len() - 1) * of_hundred / 100].as_secs_f64() * 1e3
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A number from the environment.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Writes records in one transaction.
async fn write(client: &Client, owner: i32, count: usize) {
    static NEXT: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
    let count = i64::try_from(count).unwrap();
    let first = NEXT.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
    let body = "x".repeat(BODY);
    client
        .execute(
            "insert into ticks (id, owner, body) select n, $3, $4 from generate_series($1::bigint, $2::bigint) n",
            &[&first, &(first + count - 1), &owner, &body],
        )
        .await
        .unwrap();
}

/// From commit to receipt, one socket, 500 changes a second.
async fn delay(site: &Site, writer: &Client) {
    const CHANGES: usize = 5_000;
    let server = site.serve();
    let crowd = Crowd::joined(&server.address, server.keys.publishable(), 1, |_| vec![ALL.to_owned()]).await;
    let mut ticks = interval(Duration::from_millis(2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut acknowledged) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for n in 0..CHANGES + 200 {
        ticks.tick().await;
        writer.batch_execute("begin").await.unwrap();
        write(writer, 1, 1).await;
        let told = crowd.expect(1);
        let start = Instant::now();
        writer.batch_execute("commit").await.unwrap();
        let committed = Instant::now();
        told.await;
        let received = Instant::now();
        // What the first ones pay for is not the way from commit to receipt.
        if n >= 200 {
            sent.push(received - start);
            acknowledged.push(received - committed);
        }
    }
    let rate = (CHANGES + 200) as f64 / began.elapsed().as_secs_f64();
    sent.sort();
    acknowledged.sort();
    let half = percentile(&acknowledged, 50);
    let most = percentile(&acknowledged, 99);
    line("commit acknowledged to receipt, p50 ms", format!("{half:.2}"), format!("{rate:.0}/s"), "<= 1");
    line("commit acknowledged to receipt, p99 ms", format!("{most:.2}"), String::new(), "<= 5");
    line("commit sent to receipt, p50 ms", format!("{:.2}", percentile(&sent, 50)), String::new(), "");
    line("commit sent to receipt, p99 ms", format!("{:.2}", percentile(&sent, 99)), String::new(), "");
}

/// One change to many sockets, and ten at once, beside a bare broadcast of the same bytes.
async fn fan(site: &Site, writer: &Client) {
    let sockets = setting("SOCKETS", 5_000);
    let rounds = setting("ROUNDS", 30);
    let server = site.serve();
    let mut bare = Bare::start();
    let mut theirs = Crowd::bare(&bare.address, sockets).await;
    let mut ours =
        Crowd::joined(&server.address, server.keys.publishable(), sockets, |_| vec![ALL.to_owned()]).await;
    for _ in 0..3 {
        let told = ours.expect(sockets as u64);
        write(writer, 1, 1).await;
        told.await;
    }
    let frame = ours.sample();
    assert!(frame.len() > BODY, "no change was seen: {frame:?}");
    for burst in [1, 10] {
        let frames: Vec<Bytes> = vec![frame.clone(); burst];
        let (mut took, mut spent) = ([Vec::new(), Vec::new()], [0.0, 0.0]);
        let each = (sockets * burst) as u64;
        for _ in 0..rounds {
            ours.beat();
            theirs.beat();
            let before = busy(bare.pid());
            let told = theirs.expect(each);
            bare.cast(&frames);
            took[0].push(told.await.as_secs_f64());
            spent[0] += busy(bare.pid()) - before;
            let before = busy(server.pid());
            let told = ours.expect(each);
            write(writer, 1, burst).await;
            took[1].push(told.await.as_secs_f64());
            spent[1] += busy(server.pid()) - before;
        }
        let [theirs, ours] = took.each_mut().map(|times| each as f64 / median(times));
        let [bare_spent, our_spent] = spent.map(|spent| spent / (each as usize * rounds) as f64);
        let goal = if burst == 1 { ">= 0.8" } else { ">= 0.5" };
        let what = format!("{sockets} sockets, {burst} at once");
        line(&format!("{what}: deliveries/s"), format!("{ours:.0}"), format!("{theirs:.0}"), "");
        line(&format!("{what}: ratio of these"), format!("{:.2}", ours / theirs), String::new(), goal);
        line(&format!("{what}: server us each"), format!("{our_spent:.2}"), format!("{bare_spent:.2}"), "");
    }
}

/// What a change costs where few and where many wait for other ones.
async fn filters(site: &Site, writer: &Client) {
    const SOCKETS: usize = 100;
    const CHANGES: usize = 2_000;
    let mut costs = Vec::new();
    for each in [1, 100] {
        let server = site.serve();
        let crowd = Crowd::joined(&server.address, server.keys.publishable(), SOCKETS, |n| {
            let filter = |m| {
                let owner = n * each + m;
                format!(r#"{{"event":"*","schema":"public","table":"ticks","filter":"owner=eq.{owner}"}}"#)
            };
            (0..each).map(filter).collect()
        })
        .await;
        let mut rounds = Vec::new();
        for round in 0..4 {
            let before = busy(server.pid());
            let told = crowd.expect(CHANGES as u64);
            for n in 0..CHANGES {
                let owner = (n * 7919) % (SOCKETS * each);
                write(writer, i32::try_from(owner).unwrap(), 1).await;
            }
            told.await;
            // The first round pays for what is kept afterwards.
            if round > 0 {
                rounds.push((busy(server.pid()) - before) / CHANGES as f64);
            }
        }
        costs.push(median(&mut rounds));
    }
    let (few, many) = (costs[0], costs[1]);
    line("us a change, 10,000 filters beside 100", format!("{many:.1}"), format!("{few:.1}"), "");
    line("us a change: ratio of these", format!("{:.2}", many / few), String::new(), "<= 1.5");
}

/// Memory of sockets that joined and of which nothing is heard.
async fn idle(site: &Site) {
    let sockets = setting("SOCKETS", 5_000);
    let server = site.serve();
    // Each thread of the server has had a socket before it is counted.
    let warm = Crowd::joined(&server.address, server.keys.publishable(), 64, |_| vec![ALL.to_owned()]).await;
    let before = resident(server.pid());
    let crowd =
        Crowd::joined(&server.address, server.keys.publishable(), sockets, |_| vec![ALL.to_owned()]).await;
    let after = resident(server.pid());
    let each = (after - before) / sockets as f64;
    assert_eq!(crowd.tally.ended.get() + warm.tally.ended.get(), 0);
    line("KiB an idle socket with its subscription", format!("{each:.1}"), String::new(), "<= 12");
}

/// Sockets that never read, while much is published and others lose nothing.
async fn slow(site: &Site, writer: &Client) {
    const ASLEEP: usize = 300;
    const READERS: usize = 5;
    const ROWS: usize = 20_000;
    const BYTES: usize = 10_000;
    let server = site.serve();
    let key = server.keys.publishable();
    let readers = Crowd::joined(&server.address, key, READERS, |_| vec![ALL.to_owned()]).await;
    let mut asleep = Vec::new();
    for _ in 0..ASLEEP {
        asleep.push(subscribed(&server.address, key, Some(4096), &[ALL.to_owned()]).await);
    }
    let before = resident(server.pid());
    let mut most = before;
    let told = readers.expect((READERS * ROWS) as u64);
    let body = "y".repeat(BYTES);
    let publish = async {
        for n in 0..ROWS / 100 {
            let first = i64::try_from(n * 100).unwrap() + (1 << 40);
            writer
                .execute(
                    "insert into ticks (id, owner, body) select n, 1, $3 \
                     from generate_series($1::bigint, $2::bigint) n",
                    &[&first, &(first + 99), &body],
                )
                .await
                .unwrap();
        }
    };
    let watch = async {
        loop {
            most = f64::max(most, resident(server.pid()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let began = Instant::now();
    tokio::select! {
        _ = async { tokio::join!(publish, told) } => {}
        () = watch => {}
    }
    let took = began.elapsed().as_secs_f64();
    let exact = readers.changes() == (READERS * ROWS) as u64 && readers.tally.ended.get() == 0;
    assert!(exact, "readers had {} changes", readers.changes());
    let growth = (most - before) / 1024.0;
    line("MB grown by 300 that never read", format!("{growth:.1}"), format!("{took:.1} s"), "<= 64");
    let mut told_to_go = 0;
    for stream in asleep {
        told_to_go += usize::from(was_closed(stream).await);
    }
    line("of these told to resume or resume later", told_to_go.to_string(), ASLEEP.to_string(), "");
}

/// Whether a socket that did not read finds a close frame or the connection's end behind what waited for it.
async fn was_closed(mut stream: tokio::net::TcpStream) -> bool {
    let (mut buffer, mut frames) = (BytesMut::with_capacity(64 * 1024), Frames::default());
    loop {
        match timeout(Duration::from_secs(2), stream.read_buf(&mut buffer)).await {
            Ok(Ok(1..)) => {
                frames.take(&buffer);
                buffer.clear();
            }
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

/// Waits until nothing of the database waits to be streamed.
async fn drained(admin: &Client, within: Duration) -> Duration {
    let began = Instant::now();
    let at: String = admin.query_one("select pg_current_wal_flush_lsn()::text", &[]).await.unwrap().get(0);
    loop {
        let row = admin
            .query_one(
                "select coalesce(min(sent_lsn) >= $1::text::pg_lsn, false) from pg_stat_replication",
                &[&at],
            )
            .await
            .unwrap();
        if row.get(0) {
            return began.elapsed();
        }
        assert!(began.elapsed() < within, "the stream does not catch up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the server streams.
async fn streaming(admin: &Client) {
    let began = Instant::now();
    loop {
        let row = admin
            .query_one("select count(*) from pg_stat_replication where state = 'streaming'", &[])
            .await
            .unwrap();
        if row.get::<_, i64>(0) > 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "the server does not stream");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
