//! Many sockets that count what they are sent.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, timeout, timeout_at};

/// Shorter frames are replies and heartbeats; a change is longer.
const A_CHANGE: u64 = 200;

const PATIENCE: Duration = Duration::from_secs(60);

/// What all sockets of a crowd were sent.
#[derive(Default)]
pub struct Tally {
    changes: Cell<u64>,
    wanted: Cell<u64>,
    reached: Notify,
    /// The last whole change that some socket was sent in one piece, with its head.
    sample: RefCell<Bytes>,
    /// Sockets that ended.
    pub ended: Cell<u64>,
}

/// Sockets of one server.
pub struct Crowd {
    pub tally: Rc<Tally>,
    streams: Vec<Rc<TcpStream>>,
    readers: Vec<JoinHandle<()>>,
    beaten: Instant,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
    }
}

impl Crowd {
    /// Sockets of the bare server.
    pub async fn bare(address: &str, count: usize) -> Crowd {
        let open = |_| async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(b"?").await.unwrap();
            stream.read_u8().await.unwrap();
            stream
        };
        Crowd::of(stream::iter(0..count).map(open).buffer_unordered(64).collect().await)
    }

    /// Sockets of ours, of which the `n`th joined a channel for each of the bindings that `bindings(n)` gives.
    pub async fn joined(
        address: &str,
        key: &str,
        count: usize,
        bindings: impl Fn(usize) -> Vec<String>,
    ) -> Crowd {
        let bindings = &bindings;
        let open = |n| async move { subscribed(address, key, None, &bindings(n)).await };
        Crowd::of(stream::iter(0..count).map(open).buffer_unordered(64).collect().await)
    }

    fn of(streams: Vec<TcpStream>) -> Crowd {
        let tally: Rc<Tally> = Rc::default();
        let streams: Vec<_> = streams.into_iter().map(Rc::new).collect();
        // All read into one buffer: what is in it is counted before the next one reads.
        let buffer = Rc::new(RefCell::new(vec![0; 256 * 1024]));
        let readers = streams
            .iter()
            .map(|stream| spawn_local(read(Rc::clone(stream), Rc::clone(&tally), Rc::clone(&buffer))))
            .collect();
        Crowd { tally, streams, readers, beaten: Instant::now() }
    }

    /// Says that everybody is still there, if that was long ago.
    pub fn beat(&mut self) {
        if self.beaten.elapsed() > Duration::from_secs(15) {
            self.beaten = Instant::now();
            let beat = masked(r#"[null,"0","phoenix","heartbeat",{}]"#);
            for stream in &self.streams {
                let _ = stream.try_write(&beat);
            }
        }
    }

    /// Waits until so many more changes came, over all sockets, than had when the waiting was prepared.
    pub fn expect(&self, more: u64) -> impl Future<Output = Duration> + use<> {
        let tally = Rc::clone(&self.tally);
        tally.wanted.set(tally.changes.get() + more);
        let started = Instant::now();
        async move {
            while tally.changes.get() < tally.wanted.get() {
                let reached = timeout_at(started + PATIENCE, tally.reached.notified()).await;
                assert!(reached.is_ok(), "{} of {} changes", tally.changes.get(), tally.wanted.get());
            }
            started.elapsed()
        }
    }

    pub fn changes(&self) -> u64 {
        self.tally.changes.get()
    }

    /// A change as it stood on the wire, with its head.
    pub fn sample(&self) -> Bytes {
        self.tally.sample.borrow().clone()
    }
}

/// A socket of ours that joined a channel for each binding and gets its changes.
pub async fn subscribed(
    address: &str,
    key: &str,
    receive_buffer: Option<u32>,
    bindings: &[String],
) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(size) = receive_buffer {
        socket.set_recv_buffer_size(size).unwrap();
    }
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let head = format!(
        "GET /realtime/v1/websocket?apikey={key}&vsn=2.0.0 HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\n\
         connection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    until(&mut stream, &mut received, "\r\n\r\n", 1).await;
    assert!(received.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&received));
    received.clear();
    // As many joins a second as a socket may send.
    for (n, some) in bindings.chunks(50).enumerate() {
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        for (at, binding) in some.iter().enumerate() {
            let number = n * 50 + at;
            let join = format!(
                r#"["{number}","{number}","realtime:{number}","phx_join",{{"config":{{"postgres_changes":[{binding}]}}}}]"#
            );
            stream.write_all(&masked(&join)).await.unwrap();
        }
        until(&mut stream, &mut received, "Subscribed to PostgreSQL", some.len()).await;
        received.clear();
    }
    stream
}

/// Reads until the words came so many times.
async fn until(stream: &mut TcpStream, received: &mut Vec<u8>, words: &str, times: usize) {
    loop {
        let text = String::from_utf8_lossy(received).into_owned();
        if text.matches(words).count() >= times {
            return;
        }
        match timeout(PATIENCE, stream.read_buf(received)).await {
            Ok(Ok(1..)) => {}
            other => panic!("{other:?} after {text}"),
        }
    }
}

/// A whole text message of a client's.
pub fn masked(text: &str) -> Vec<u8> {
    // A mask of zeros leaves the text as it is.
    let mut bytes = vec![0x81];
    match text.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

async fn read(stream: Rc<TcpStream>, tally: Rc<Tally>, buffer: Rc<RefCell<Vec<u8>>>) {
    let mut frames = Frames::default();
    loop {
        if stream.readable().await.is_err() {
            break;
        }
        let mut buffer = buffer.borrow_mut();
        match stream.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let changes = frames.take(&buffer[..length]);
                if changes == 0 {
                    continue;
                }
                if tally.changes.get() == 0 && frames.at_boundary() {
                    *tally.sample.borrow_mut() = Bytes::copy_from_slice(&buffer[..length]);
                }
                tally.changes.set(tally.changes.get() + changes);
                if tally.changes.get() >= tally.wanted.get() {
                    tally.reached.notify_one();
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    tally.ended.set(tally.ended.get() + 1);
}

/// Counts the frames of a stream of bytes.
#[derive(Default)]
pub struct Frames {
    head: [u8; 10],
    have: usize,
    /// Of the frame whose head is known.
    remaining: u64,
    length: u64,
}

impl Frames {
    /// Takes the next bytes; the answer is how many changes ended in them.
    pub fn take(&mut self, mut bytes: &[u8]) -> u64 {
        let mut changes = 0;
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let some = self.remaining.min(bytes.len() as u64);
                self.remaining -= some;
                bytes = &bytes[some as usize..];
                changes += u64::from(self.remaining == 0 && self.length >= A_CHANGE);
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            let length = match (self.have, self.head[1]) {
                (0 | 1, _) => continue,
                (2, short @ 0..126) => u64::from(short),
                (4, 126) => number(&self.head[2..4]),
                (10, _) => number(&self.head[2..10]),
                _ => continue,
            };
            (self.have, self.remaining, self.length) = (0, length, length);
        }
        changes
    }

    fn at_boundary(&self) -> bool {
        self.remaining == 0 && self.have == 0
    }
}
