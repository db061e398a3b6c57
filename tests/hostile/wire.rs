//! HTTP/1.1 by hand: a client library would refuse to send most of what is sent here.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than any answer may take, so that a slow one is told from none.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: Vec<u8>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(b" HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if let Some(body) = &self.body {
            bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
        } else {
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// Short enough for a report.
    pub fn told(&self) -> String {
        let short = |bytes: &[u8]| {
            let cut = &bytes[..bytes.len().min(600)];
            format!("{}{}", cut.escape_ascii(), if cut.len() < bytes.len() { "…" } else { "" })
        };
        let mut text = format!("{} {}", self.method, short(&self.target));
        for (name, value) in &self.headers {
            if !matches!(name.as_str(), "apikey" | "authorization") {
                text += &format!("\n    {name}: {}", short(value));
            }
        }
        if let Some(body) = &self.body {
            text += &format!("\n    {}", short(body));
        }
        text
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that is kept while the server keeps it.
#[derive(Debug)]
pub struct Connection {
    address: String,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

impl Connection {
    pub fn to(address: &str) -> Connection {
        Connection { address: address.to_owned(), stream: None, received: Vec::new() }
    }

    /// The server said with its last answer that it is the last.
    pub fn is_closed(&self) -> bool {
        self.stream.is_none()
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, String> {
        let bytes = request.bytes();
        let reused = self.stream.is_some();
        let bodiless = request.method == "HEAD";
        match self.exchange(&bytes, bodiless).await {
            // The server may have closed what it kept until now.
            Err(_) if reused => {
                self.stream = None;
                self.exchange(&bytes, bodiless).await
            }
            outcome => outcome,
        }
    }

    /// Sends bytes and reads one answer; an error if none comes or it is none.
    pub async fn exchange(&mut self, bytes: &[u8], bodiless: bool) -> Result<Answer, String> {
        let outcome = timeout(PATIENCE, self.attempt(bytes, bodiless)).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let closes =
            |answer: &Answer| answer.header("connection").is_some_and(|value| value.contains("close"));
        if outcome.as_ref().map_or(true, closes) {
            self.stream = None;
        }
        outcome
    }

    async fn attempt(&mut self, bytes: &[u8], bodiless: bool) -> Result<Answer, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.received.clear();
                TcpStream::connect(&self.address).await.map_err(told)?
            }
        };
        let started = Instant::now();
        let (mut reader, mut writer) = stream.split();
        // A server that has heard enough answers and closes before everything is sent.
        let sent = Cell::new(bytes.is_empty());
        let mut sending = Box::pin(async {
            sent.set(writer.write_all(bytes).await.is_ok());
            std::future::pending::<()>().await;
        });
        let received = &mut self.received;
        let answer = async {
            loop {
                let (status, headers) = head(&mut reader, received).await?;
                if (100..200).contains(&status) {
                    continue;
                }
                let body = if bodiless || status == 204 || status == 304 {
                    Vec::new()
                } else {
                    body(&mut reader, received, &headers).await?
                };
                return Ok(Answer { status, headers, body, took: started.elapsed() });
            }
        };
        let outcome = tokio::select! {
            answer = answer => answer,
            () = &mut sending => Err("not sent".to_owned()),
        };
        drop(sending);
        // What was not sent would be taken for the next request.
        self.stream = sent.get().then_some(stream);
        outcome
    }
}

type Head = (u16, Vec<(String, String)>);

async fn more(reader: &mut (impl AsyncReadExt + Unpin), received: &mut Vec<u8>) -> Result<(), String> {
    match reader.read_buf(received).await {
        Ok(0) => {
            Err(format!("the connection ended after {} bytes: {}", received.len(), received.escape_ascii()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn head(reader: &mut (impl AsyncReadExt + Unpin), received: &mut Vec<u8>) -> Result<Head, String> {
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(reader, received).await?;
    };
    let text = String::from_utf8_lossy(&received[..end]).into_owned();
    received.drain(..end + 4);
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    code.map(|code| (code, headers)).ok_or_else(|| format!("no status line: {status}"))
}

async fn body(
    reader: &mut (impl AsyncReadExt + Unpin),
    received: &mut Vec<u8>,
    headers: &[(String, String)],
) -> Result<Vec<u8>, String> {
    let header =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if header("transfer-encoding").is_some() {
        return Err("the answer comes in chunks, which none of this server's should".to_owned());
    }
    let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
    let length = length.ok_or("the answer has no content-length")?;
    while received.len() < length {
        more(reader, received).await?;
    }
    Ok(received.drain(..length).collect())
}
