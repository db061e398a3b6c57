//! A WebSocket client by hand: it can send what no library would, and reads only when it is told to, so that it can
//! be a slow reader. Above the frames it speaks Phoenix, both versions.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use super::caller::Caller;
use super::server::Server;

/// Longer than any answer may take.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// Any 16 bytes do: the answer to them is checked.
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// Which serialisation of Phoenix' messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// JSON objects.
    V1,
    /// JSON arrays, and binary frames for broadcasts.
    V2,
}

/// One frame as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub fin: bool,
    pub opcode: u8,
    pub payload: Vec<u8>,
}

/// Why nothing came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Not within the time given.
    Deadline,
    /// The server closed the socket with this code and reason.
    Closed { code: Option<u16>, reason: String },
    /// The connection ended without a close frame.
    Lost(String),
}

/// A Phoenix message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub join_ref: Option<String>,
    pub reference: Option<String>,
    pub topic: String,
    pub event: String,
    pub payload: Value,
    /// The bytes of a binary broadcast.
    pub binary: Option<Vec<u8>>,
    /// The message as it stood on the wire.
    pub text: String,
}

/// A change as a subscriber was told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RowEvent {
    pub topic: String,
    /// The binding's.
    pub ids: Vec<u64>,
    /// `INSERT`, `UPDATE` or `DELETE`.
    pub kind: String,
    pub table: String,
    /// Null where the event has none.
    pub record: Value,
    pub old_record: Value,
    pub cursor: String,
    pub data: Value,
    /// The message as it stood on the wire.
    pub text: String,
}

impl Message {
    /// The message as a change, if it is one.
    pub fn row(&self) -> Option<RowEvent> {
        if self.event != "postgres_changes" {
            return None;
        }
        let data = &self.payload["data"];
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        Some(RowEvent {
            topic: self.topic.clone(),
            ids: self.payload["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect(),
            kind: text("type"),
            table: text("table"),
            record: data["record"].clone(),
            old_record: data["old_record"].clone(),
            cursor: text("cursor"),
            data: data.clone(),
            text: self.text.clone(),
        })
    }

    /// A message of the server's about a channel, of this status.
    pub fn is_system(&self, status: &str) -> bool {
        self.event == "system" && self.payload["status"] == status
    }
}

/// What was told before: delivery is at least once, and whoever drops what he has had, has each once.
#[derive(Debug, Default)]
pub struct Seen(HashSet<(u64, String)>);

impl Seen {
    /// Whether it is the first time for all of the event's bindings.
    pub fn first(&mut self, event: &RowEvent) -> bool {
        event.ids.iter().filter(|id| self.0.insert((**id, event.cursor.clone()))).count() == event.ids.len()
    }
}

/// A joined channel.
#[derive(Clone, Debug)]
pub struct Channel {
    pub topic: String,
    pub join_ref: String,
    /// The `response` of the join's reply.
    pub response: Value,
}

impl Channel {
    /// The place in the stream at which the channel was joined.
    pub fn cursor(&self) -> String {
        self.response["cursor"].as_str().unwrap_or_default().to_owned()
    }
}

/// How a socket is to be opened.
#[derive(Clone, Debug)]
pub struct Connect<'a> {
    pub address: &'a str,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(&'a str, String)>,
    /// The kernel's buffer for what was not read; a slow reader's is small.
    pub receive_buffer: Option<u32>,
    pub version: Version,
}

/// The server did not want to become a socket.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl<'a> Connect<'a> {
    /// With a key where clients of its kind put it: the secret one may not stand in an address.
    pub fn new(server: &'a Server, key: &str, version: Version) -> Connect<'a> {
        let vsn = match version {
            Version::V1 => "1.0.0",
            Version::V2 => "2.0.0",
        };
        let target = format!("/realtime/v1/websocket?vsn={vsn}");
        let (target, headers) = if key == server.keys.secret() {
            (target, vec![("apikey", key.to_owned())])
        } else {
            (format!("{target}&apikey={key}"), Vec::new())
        };
        Connect { address: server.address(), target, headers, receive_buffer: None, version }
    }

    /// Opens it.
    ///
    /// # Errors
    /// What was answered instead, with status 0 where nothing was.
    pub async fn open(self) -> Result<Socket, Refused> {
        let nothing =
            |error: std::io::Error| Refused { status: 0, headers: Vec::new(), body: error.to_string() };
        let socket = TcpSocket::new_v4().map_err(nothing)?;
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size).map_err(nothing)?;
        }
        let mut stream = socket.connect(self.address.parse().unwrap()).await.map_err(nothing)?;
        stream.set_nodelay(true).map_err(nothing)?;
        let mut head = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {NONCE}\r\n",
            self.target, self.address
        );
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).await.map_err(nothing)?;
        let mut received = Vec::new();
        let deadline = Instant::now() + ANSWERED_WITHIN;
        let end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let read = timeout_at(deadline, stream.read_buf(&mut received)).await.expect("no handshake");
            if read.map_err(nothing)? == 0 {
                return Err(nothing(std::io::ErrorKind::UnexpectedEof.into()));
            }
        };
        let body = received.split_off(end);
        let head = String::from_utf8(received).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let header =
            |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        if status != 101 {
            let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            let body = rest_of_body(&mut stream, body, length).await;
            return Err(Refused { status, headers, body });
        }
        let proof = digest::digest(
            &digest::SHA1_FOR_LEGACY_USE_ONLY,
            format!("{NONCE}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
        );
        assert_eq!(header("sec-websocket-accept"), Some(STANDARD.encode(proof).as_str()), "{head}");
        Ok(Socket {
            stream,
            version: self.version,
            received: body,
            partial: None,
            inbox: VecDeque::new(),
            references: 0,
            end: None,
        })
    }
}

async fn rest_of_body(stream: &mut TcpStream, mut body: Vec<u8>, length: usize) -> String {
    let deadline = Instant::now() + ANSWERED_WITHIN;
    while body.len() < length {
        match timeout_at(deadline, stream.read_buf(&mut body)).await {
            Ok(Ok(1..)) => {}
            other => panic!("{} of {length} bytes: {other:?}", body.len()),
        }
    }
    String::from_utf8(body).unwrap()
}

/// An open socket. It reads when it is asked for something, and at no other time.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    version: Version,
    received: Vec<u8>,
    /// A message of several frames that is not whole yet.
    partial: Option<Frame>,
    /// What came while something else was waited for.
    inbox: VecDeque<Message>,
    references: u64,
    end: Option<End>,
}

impl Socket {
    /// Opens a socket as the holder of a key.
    pub async fn connect(server: &Server, key: &str, version: Version) -> Socket {
        match Connect::new(server, key, version).open().await {
            Ok(socket) => socket,
            Err(refused) => panic!("{refused:?}\n{}", server.log()),
        }
    }

    /// A v2 socket with the publishable key.
    pub async fn open(server: &Server) -> Socket {
        Socket::connect(server, server.keys.publishable(), Version::V2).await
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends one frame, masked.
    pub async fn send_frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        self.send_bytes(&masked(fin, opcode, payload)).await
    }

    /// Sends a whole text message.
    pub async fn send_text(&mut self, text: &str) -> std::io::Result<()> {
        self.send_frame(true, opcode::TEXT, text.as_bytes()).await
    }

    /// A reference that was not used before.
    pub fn reference(&mut self) -> String {
        self.references += 1;
        self.references.to_string()
    }

    /// Sends a Phoenix message; the answer is its reference. A connection that is gone shows when it is read.
    pub async fn push(&mut self, join_ref: Option<&str>, topic: &str, event: &str, payload: Value) -> String {
        let reference = self.reference();
        let message = match self.version {
            Version::V1 => {
                json!({ "topic": topic, "event": event, "payload": payload, "ref": reference, "join_ref": join_ref })
            }
            Version::V2 => json!([join_ref, reference, topic, event, payload]),
        };
        let _ = self.send_text(&message.to_string()).await;
        reference
    }

    /// Sends a broadcast as a binary frame of v2. `encoding` is 0 for bytes, 1 for JSON.
    pub async fn push_binary(
        &mut self,
        channel: &Channel,
        event: &str,
        meta: &str,
        encoding: u8,
        payload: &[u8],
    ) -> String {
        let reference = self.reference();
        let parts = [channel.join_ref.as_str(), reference.as_str(), channel.topic.as_str(), event, meta];
        let mut bytes = vec![3];
        bytes.extend(parts.iter().map(|part| u8::try_from(part.len()).unwrap()));
        bytes.push(encoding);
        parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
        bytes.extend_from_slice(payload);
        let _ = self.send_frame(true, opcode::BINARY, &bytes).await;
        reference
    }

    /// The next frame, pings and pongs and closes too.
    pub async fn frame(&mut self, within: Duration) -> Result<Frame, End> {
        let deadline = Instant::now() + within;
        loop {
            if let Some((frame, length)) = parse(&self.received) {
                self.received.drain(..length);
                return Ok(frame);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            if self.received.capacity() - self.received.len() < 16 * 1024 {
                self.received.reserve(64 * 1024);
            }
            match timeout_at(deadline, self.stream.read_buf(&mut self.received)).await {
                Err(_) => return Err(End::Deadline),
                Ok(Ok(1..)) => {}
                Ok(Ok(_)) => self.end = Some(End::Lost("end of file".to_owned())),
                Ok(Err(error)) => self.end = Some(End::Lost(error.to_string())),
            }
        }
    }

    /// The next message, of those that were put aside first. Pings are answered.
    pub async fn next(&mut self, within: Duration) -> Result<Message, End> {
        match self.inbox.pop_front() {
            Some(message) => Ok(message),
            None => self.receive(within).await,
        }
    }

    async fn receive(&mut self, within: Duration) -> Result<Message, End> {
        let deadline = Instant::now() + within;
        loop {
            let frame = self.frame(deadline.saturating_duration_since(Instant::now())).await?;
            let whole = match frame.opcode {
                opcode::PING => {
                    let _ = self.send_frame(true, opcode::PONG, &frame.payload).await;
                    continue;
                }
                opcode::PONG => continue,
                opcode::CLOSE => {
                    let (code, reason) = match frame.payload.as_slice() {
                        [high, low, reason @ ..] => (
                            Some(u16::from_be_bytes([*high, *low])),
                            String::from_utf8(reason.to_vec()).unwrap(),
                        ),
                        _ => (None, String::new()),
                    };
                    let end = End::Closed { code, reason };
                    self.end = Some(end.clone());
                    let _ = self.send_frame(true, opcode::CLOSE, &frame.payload).await;
                    return Err(end);
                }
                opcode::CONTINUATION => {
                    let mut whole = self.partial.take().expect("a continuation of nothing");
                    whole.payload.extend_from_slice(&frame.payload);
                    Frame { fin: frame.fin, ..whole }
                }
                opcode::TEXT | opcode::BINARY => {
                    assert!(self.partial.is_none(), "a message within a message");
                    frame
                }
                other => panic!("opcode {other}"),
            };
            if whole.fin {
                return Ok(self.understood(whole));
            }
            self.partial = Some(whole);
        }
    }

    fn understood(&self, frame: Frame) -> Message {
        if frame.opcode == opcode::BINARY {
            assert_eq!(self.version, Version::V2, "a binary frame for an old client");
            return broadcast(&frame.payload);
        }
        let text = String::from_utf8(frame.payload).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let place = |at: usize, name: &str| match self.version {
            Version::V1 => value.get(name).cloned().unwrap_or_default(),
            Version::V2 => value[at].clone(),
        };
        let word = |at: usize, name: &str| place(at, name).as_str().map(str::to_owned);
        Message {
            join_ref: word(0, "join_ref"),
            reference: word(1, "ref"),
            topic: word(2, "topic").unwrap_or_else(|| panic!("{text}")),
            event: word(3, "event").unwrap_or_else(|| panic!("{text}")),
            payload: place(4, "payload"),
            binary: None,
            text,
        }
    }

    /// Waits for a message that `wanted` says yes to. Others are put aside for [`Socket::next`], in their order.
    pub async fn wait(
        &mut self,
        within: Duration,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Result<Message, End> {
        if let Some(at) = self.inbox.iter().position(&mut wanted) {
            return Ok(self.inbox.remove(at).unwrap());
        }
        let deadline = Instant::now() + within;
        loop {
            let message = self.receive(deadline.saturating_duration_since(Instant::now())).await?;
            if wanted(&message) {
                return Ok(message);
            }
            self.inbox.push_back(message);
        }
    }

    /// The payload of the reply to a message.
    pub async fn reply(&mut self, reference: &str) -> Value {
        self.wait(ANSWERED_WITHIN, |message| {
            message.event == "phx_reply" && message.reference.as_deref() == Some(reference)
        })
        .await
        .unwrap_or_else(|end| panic!("no reply: {end:?}"))
        .payload
    }

    /// Joins a channel, and waits until it gets changes if it asks for some.
    ///
    /// # Errors
    /// The reply's reason, or the message of the system that says why there are no changes; or how the socket ended.
    pub async fn try_join(
        &mut self,
        topic: &str,
        config: Value,
        token: Option<&str>,
    ) -> Result<Channel, String> {
        let changes = config["postgres_changes"].as_array().is_some_and(|bindings| !bindings.is_empty());
        let mut payload = json!({ "config": config });
        if let Some(token) = token {
            payload["access_token"] = token.into();
        }
        let reference = (self.references + 1).to_string();
        self.push(Some(&reference), topic, "phx_join", payload).await;
        let answer = self
            .wait(ANSWERED_WITHIN, |message| {
                message.event == "phx_reply" && message.reference.as_deref() == Some(&reference)
            })
            .await
            .map_err(|end| format!("{end:?}"))?
            .payload;
        let response = answer["response"].clone();
        if answer["status"] != "ok" {
            return Err(response["reason"].as_str().map_or_else(|| answer.to_string(), str::to_owned));
        }
        if changes {
            let told = self
                .wait(ANSWERED_WITHIN, |message| {
                    message.topic == topic
                        && message.event == "system"
                        && message.payload["extension"] == "postgres_changes"
                        && (message.payload["status"] == "ok" || message.payload["status"] == "error")
                })
                .await
                .map_err(|end| format!("{end:?}"))?
                .payload;
            if told["status"] != "ok" {
                return Err(told["message"].as_str().map_or_else(|| told.to_string(), str::to_owned));
            }
            assert_eq!(told["message"], "Subscribed to PostgreSQL");
        }
        Ok(Channel { topic: topic.to_owned(), join_ref: reference, response })
    }

    /// Joins a channel, and waits until it gets changes if it asks for some.
    #[track_caller]
    pub fn join<'s>(
        &'s mut self,
        topic: &'s str,
        config: Value,
        token: Option<&'s str>,
    ) -> impl Future<Output = Channel> + 's {
        let place = std::panic::Location::caller();
        async move {
            let joined = self.try_join(topic, config, token).await;
            joined.unwrap_or_else(|reason| panic!("{topic} was not joined at {place}: {reason}"))
        }
    }

    /// Joins a channel for changes as a caller.
    #[track_caller]
    pub fn subscribe<'s>(
        &'s mut self,
        topic: &'s str,
        bindings: Value,
        caller: &'s Caller,
    ) -> impl Future<Output = Channel> + 's {
        self.join(topic, json!({ "postgres_changes": bindings }), caller.token())
    }

    /// The next change; what else comes is passed over.
    pub async fn row(&mut self, within: Duration) -> Result<RowEvent, End> {
        let deadline = Instant::now() + within;
        loop {
            let message = self.next(deadline.saturating_duration_since(Instant::now())).await?;
            if let Some(row) = message.row() {
                return Ok(row);
            }
        }
    }

    /// Says that it is still there, and waits for the answer.
    pub async fn beat(&mut self) {
        let reference = self.push(None, "phoenix", "heartbeat", json!({})).await;
        assert_eq!(self.reply(&reference).await["status"], "ok");
    }

    /// Reads until the socket ends, and says how. Messages are put aside.
    pub async fn ended(&mut self, within: Duration) -> End {
        match self.wait(within, |_| false).await {
            Err(end) => end,
            Ok(message) => unreachable!("{message:?}"),
        }
    }

    /// Closes the socket as a client does.
    pub async fn close(mut self) {
        let _ = self.send_frame(true, opcode::CLOSE, &1000u16.to_be_bytes()).await;
        let _ = self.ended(Duration::from_secs(5)).await;
    }
}

/// A frame of a client's.
pub fn masked(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The first frame of what was received, and its length with its head.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, ..] = *bytes else { return None };
    assert_eq!(first & 0x70, 0, "reserved bits without an extension");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (length, head) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => {
            let length = u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap());
            (usize::try_from(length).unwrap(), 10)
        }
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    Some((Frame { fin: first & 0x80 != 0, opcode: first & 0x0f, payload }, head + length))
}

/// A broadcast of the server's in v2: kind 4, lengths of topic, event and meta, encoding, then those and the payload.
fn broadcast(bytes: &[u8]) -> Message {
    let [4, topic, event, meta, encoding, rest @ ..] = bytes else { panic!("not a broadcast: {bytes:?}") };
    let (topic, rest) = rest.split_at(usize::from(*topic));
    let (event, rest) = rest.split_at(usize::from(*event));
    let (meta, payload) = rest.split_at(usize::from(*meta));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (value, binary) = match encoding {
        0 => (Value::Null, Some(payload.to_vec())),
        1 => (serde_json::from_slice(payload).unwrap(), None),
        other => panic!("encoding {other}"),
    };
    let mut outer = json!({ "type": "broadcast", "event": text(event), "payload": value });
    if !meta.is_empty() {
        outer["meta"] = serde_json::from_slice(meta).unwrap();
    }
    Message {
        join_ref: None,
        reference: None,
        topic: text(topic),
        event: "broadcast".to_owned(),
        text: outer.to_string(),
        payload: outer,
        binary,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_raw_client_understands_what_a_server_may_send() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            let hello = "HTTP/1.1 101 Switching Protocols\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            let mut bytes = hello.as_bytes().to_vec();
            let reply = r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#;
            // A message in two frames with a ping between, a long one, and a binary broadcast.
            let long = format!(
                r#"[null,null,"t","postgres_changes",{{"ids":[1],"data":{{"type":"INSERT","record":{{"x":"{}"}},"cursor":"c"}}}}]"#,
                "x".repeat(300)
            );
            bytes.extend_from_slice(&[0x01, 10]);
            bytes.extend_from_slice(&reply.as_bytes()[..10]);
            bytes.extend_from_slice(&[0x89, 2, b'h', b'i']);
            bytes.extend_from_slice(&[0x80, u8::try_from(reply.len() - 10).unwrap()]);
            bytes.extend_from_slice(&reply.as_bytes()[10..]);
            bytes.extend_from_slice(&[0x81, 126]);
            bytes.extend_from_slice(&u16::try_from(long.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(long.as_bytes());
            bytes.extend_from_slice(&[0x82, 10, 4, 1, 1, 0, 0, b't', b'e', 1, 2, 3]);
            bytes.extend_from_slice(&[0x88, 4, 0x03, 0xf5, b'b', b'y']);
            stream.write_all(&bytes).await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            received
        });
        let connect = Connect {
            address: &address,
            target: "/".to_owned(),
            headers: Vec::new(),
            receive_buffer: None,
            version: Version::V2,
        };
        let mut socket = connect.open().await.unwrap();
        socket.beat().await;
        let event = socket.row(ANSWERED_WITHIN).await.unwrap();
        assert_eq!(
            (event.ids.as_slice(), event.kind.as_str(), event.cursor.as_str()),
            (&[1][..], "INSERT", "c")
        );
        let mut seen = Seen::default();
        assert!(seen.first(&event) && !seen.first(&event));
        let cast = socket.next(ANSWERED_WITHIN).await.unwrap();
        assert_eq!((cast.topic.as_str(), cast.binary), ("t", Some(vec![1, 2, 3])));
        let end = socket.ended(ANSWERED_WITHIN).await;
        assert_eq!(end, End::Closed { code: Some(1013), reason: "by".to_owned() });
        drop(socket);
        let received = server.await.unwrap();
        let beat = masked(true, opcode::TEXT, br#"[null,"1","phoenix","heartbeat",{}]"#);
        let pong = masked(true, opcode::PONG, b"hi");
        let close = masked(true, opcode::CLOSE, &[0x03, 0xf5, b'b', b'y']);
        assert_eq!(received, [beat, pong, close].concat());
    }
}
