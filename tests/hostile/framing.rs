//! Requests whose end can be read in two ways, or that are none: each is refused, and what hides behind it is never
//! taken for a request of its own.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::wire::Connection;
use super::{LONGEST, Stage};
use crate::campaign::{Dice, long, seed};

/// What comes of a trick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A refusal, and the end of the connection.
    Refused,
    /// An answer, and the connection goes on with the next request or ends.
    Answered,
}

/// What would be answered with 404 if it were taken for a request.
const HIDDEN: &str = "GET /rest/v1/hidden HTTP/1.1\r\nhost: x\r\n\r\n";

/// A POST with these header lines and this behind them.
fn post(key: &str, lines: &str, rest: &str) -> Vec<u8> {
    format!("POST /rest/v1/scalars HTTP/1.1\r\nhost: x\r\napikey: {key}\r\n{lines}\r\n{rest}").into_bytes()
}

fn tricks(key: &str) -> Vec<(&'static str, Vec<u8>, Outcome)> {
    use Outcome::{Answered, Refused};
    let get =
        |lines: &str| format!("GET /rest/v1/canaries HTTP/1.1\r\napikey: {key}\r\n{lines}\r\n").into_bytes();
    let hidden = format!("{}\r\n{HIDDEN}", "0\r\n");
    let sized = |size: &str| post(key, &format!("content-length: {size}\r\n"), HIDDEN);
    let chunked = |body: &str| post(key, "transfer-encoding: chunked\r\n", body);
    vec![
        (
            "two lengths",
            post(key, "content-length: 2\r\ncontent-length: 44\r\n", &format!("{{}}{HIDDEN}")),
            Refused,
        ),
        ("one length twice", post(key, "content-length: 2\r\ncontent-length: 2\r\n", "{}"), Refused),
        ("a list of lengths", sized("2, 2"), Refused),
        (
            "a length and chunks",
            post(key, "content-length: 5\r\ntransfer-encoding: chunked\r\n", &hidden),
            Refused,
        ),
        (
            "chunks and a length",
            post(key, "transfer-encoding: chunked\r\ncontent-length: 5\r\n", &hidden),
            Refused,
        ),
        (
            "chunks twice",
            post(key, "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", &hidden),
            Refused,
        ),
        ("chunks and not", post(key, "transfer-encoding: chunked, identity\r\n", &hidden), Refused),
        ("an unknown coding", post(key, "transfer-encoding: xchunked\r\n", &hidden), Refused),
        ("a space before the colon", post(key, "transfer-encoding : chunked\r\n", &hidden), Refused),
        ("a folded header", post(key, "x: y\r\n transfer-encoding: chunked\r\n", &hidden), Refused),
        ("a signed length", sized("+5"), Refused),
        ("a negative length", sized("-1"), Refused),
        ("a hexadecimal length", sized("0x5"), Refused),
        ("a length beyond numbers", sized("99999999999999999999999"), Refused),
        (
            "chunks of HTTP/1.0",
            chunked(&hidden).escape_replace("HTTP/1.1\r\nhost: x\r\napikey", "HTTP/1.0\r\nhost: x\r\napikey"),
            Refused,
        ),
        ("an unknown version", b"GET / HTTP/9.9\r\n\r\n".to_vec(), Refused),
        ("no version", b"GET /\r\n\r\n".to_vec(), Refused),
        ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Refused),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), Refused),
        ("a space in the target", b"GET /rest/v1/a b HTTP/1.1\r\n\r\n".to_vec(), Refused),
        ("a NUL in the target", b"GET /rest/v1/a\x00b HTTP/1.1\r\n\r\n".to_vec(), Refused),
        ("a header without a name", get(": x\r\n"), Refused),
        ("a header without a colon", get("x\r\n"), Refused),
        ("a NUL in a header", get("x: a\x00b\r\n"), Refused),
        ("a chunk of no size", chunked(&format!("zz\r\n{HIDDEN}")), Answered),
        ("a chunk of every size", chunked(&format!("ffffffffffffffffff\r\n{HIDDEN}")), Answered),
        ("a chunk without its end", chunked(&format!("2\r\n{{}}x\r\n{HIDDEN}")), Answered),
        ("a body in chunks", chunked("1\r\n{\r\n1;ext=\"a\"\r\n}\r\n0\r\nx-trailer: y\r\n\r\n"), Answered),
        (
            "an absolute target",
            get("x: y\r\n").escape_replace("GET /", "GET http://other.example/"),
            Answered,
        ),
        ("two hosts", get("host: a\r\nhost: b\r\n"), Answered),
        ("no host", get(""), Answered),
        (
            "a change of protocol",
            get(
                "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n",
            ),
            Answered,
        ),
        (
            "HTTP/2 by and by",
            get(
                "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
            ),
            Answered,
        ),
        ("an unknown expectation", get("expect: a-miracle\r\n"), Answered),
        ("line feeds alone", get("x: y\r\n").escape_replace("\r\n", "\n"), Answered),
    ]
}

/// Replaces a text in bytes that are one.
trait Replace {
    fn escape_replace(self, from: &str, to: &str) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn escape_replace(self, from: &str, to: &str) -> Vec<u8> {
        String::from_utf8(self).unwrap().replace(from, to).into_bytes()
    }
}

/// Plays a trick, then asks for the canary on the same connection.
async fn play(stage: &Stage, name: &str, bytes: &[u8], expected: Option<Outcome>) -> Result<(), String> {
    let mut connection = Connection::to(stage.server.address());
    let answer = connection.exchange(bytes, false).await.map_err(|why| format!("{name}: {why}"))?;
    if answer.status >= 500 || answer.took > LONGEST {
        return Err(format!("{name}: {} after {:?}", answer.status, answer.took));
    }
    let ended = connection.is_closed();
    match expected {
        Some(Outcome::Refused) if !(400..500).contains(&answer.status) || !ended => {
            return Err(format!("{name}: {} and the connection goes on: {}", answer.status, !ended));
        }
        Some(Outcome::Refused | Outcome::Answered) | None => {}
    }
    if ended {
        return Ok(());
    }
    // Whatever stood behind the request must not be answered in the canary's place.
    match connection.exchange(&stage.canary().bytes(), false).await {
        Ok(answer) if matches!(answer.status, 200 | 400) => Ok(()),
        Ok(answer) => Err(format!("{name}: then {} {}", answer.status, answer.body.escape_ascii())),
        Err(_) => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_refused_and_hides_no_request() {
    let stage = Stage::open().await;
    let tricks = tricks(stage.server.keys.publishable());
    let mut faults: Vec<String> = Vec::new();
    let played =
        join_all(tricks.iter().map(|(name, bytes, expected)| play(&stage, name, bytes, Some(*expected))))
            .await;
    faults.extend(played.into_iter().filter_map(Result::err));
    let (seed, started) = (seed(), Instant::now());
    let mut dice = Dice(seed);
    let broken = if long() { 3_000 } else { 300 };
    for _ in 0..broken / 50 {
        // A good request with bytes changed, left out and put in. The end is always there, so that it can be judged.
        let requests: Vec<Vec<u8>> = (0..50)
            .map(|_| {
                let mut bytes = tricks[dice.below(tricks.len() as u64) as usize].1.clone();
                for _ in 0..=dice.below(4) {
                    let at = dice.below(bytes.len() as u64) as usize;
                    match dice.below(3) {
                        0 => bytes[at] = dice.below(256) as u8,
                        1 => bytes.insert(at, dice.pick(b"\r\n\t\0 :;,/?#%\x7f\xff")),
                        _ => drop(bytes.remove(at)),
                    }
                }
                bytes.extend_from_slice(b"\r\n\r\n");
                bytes.resize(bytes.len() + 64, b'}');
                bytes.extend_from_slice(b"\r\n\r\n");
                bytes
            })
            .collect();
        let played = join_all(requests.iter().map(|bytes| async {
            let mut connection = Connection::to(stage.server.address());
            // One that waits for more is not at fault: it is told so later, by the time-outs of slow clients.
            match timeout(Duration::from_secs(2), connection.exchange(bytes, false)).await {
                Ok(Ok(answer)) if answer.status >= 500 => {
                    Some(format!("{}: {}", answer.status, bytes.escape_ascii()))
                }
                Ok(_) | Err(_) => None,
            }
        }))
        .await;
        faults.extend(played.into_iter().flatten());
        if let Err(why) = stage.sings(&mut Connection::to(stage.server.address())).await {
            faults.push(why);
        }
    }
    stage.assert_calm();
    assert!(faults.is_empty(), "{faults:#?}");
    let seconds = started.elapsed().as_secs_f32();
    println!("PASS hostile_framing seed={seed} tricks={} broken={broken} seconds={seconds:.1}", tricks.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_wait_for_answers_are_answered_in_order() {
    let stage = Stage::open().await;
    let key = stage.server.keys.publishable();
    let mut bytes = Vec::new();
    for number in 0..60 {
        let path = if number % 2 == 0 { "canaries?select=song" } else { "hidden" };
        bytes.extend_from_slice(
            format!("GET /rest/v1/{path} HTTP/1.1\r\nhost: x\r\napikey: {key}\r\n\r\n").as_bytes(),
        );
    }
    let mut connection = Connection::to(stage.server.address());
    for number in 0..60 {
        let sent = if number == 0 { &bytes[..] } else { b"" };
        let answer = connection.exchange(sent, false).await.unwrap();
        assert_eq!(answer.status, if number % 2 == 0 { 200 } else { 404 }, "answer {number}");
    }
}
