//! A mail server of the tests: takes what it is given and keeps it.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A letter as it came.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, lines between `\n`.
    pub data: String,
}

impl Received {
    /// The headers, folded lines joined.
    pub fn headers(&self) -> Vec<(String, String)> {
        let head = self.data.split("\n\n").next().unwrap().replace("\n ", " ").replace("\n\t", " ");
        head.lines()
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
                (name.to_ascii_lowercase(), value.trim().to_owned())
            })
            .collect()
    }

    /// The only header of a name.
    pub fn header(&self, name: &str) -> String {
        let found: Vec<_> = self.headers().into_iter().filter(|(known, _)| known == name).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found.into_iter().next().unwrap().1
    }

    /// The parts by their types, decoded.
    pub fn parts(&self) -> Vec<(String, String)> {
        let kind = self.header("content-type");
        assert!(kind.starts_with("multipart/alternative"), "{kind}");
        let boundary = kind.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let limit = format!("--{boundary}");
        let parts = self.data.split(limit.as_str()).skip(1).filter(|part| !part.starts_with("--"));
        parts
            .map(|part| {
                let (head, body) = part.trim_start_matches('\n').split_once("\n\n").unwrap();
                let head = head.to_ascii_lowercase();
                let kind = head.split("content-type:").nth(1).unwrap().lines().next().unwrap().trim();
                let body = if head.contains("quoted-printable") { unquoted(body) } else { body.to_owned() };
                (kind.split(';').next().unwrap().to_owned(), body)
            })
            .collect()
    }
}

/// Quoted-printable (RFC 2045, 6.7), undone.
fn unquoted(text: &str) -> String {
    let joined = text.replace("=\n", "");
    let mut out = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'=', [high, low, after @ ..]) => {
                let hex = [*high, *low];
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

#[derive(Default)]
struct Shelf {
    letters: Vec<Received>,
    /// What the next recipients are answered instead of 250.
    refusals: VecDeque<&'static str>,
    recipients: usize,
}

/// A mail server on a port of this machine. Ends with its runtime.
pub struct Smtp {
    pub url: String,
    shelf: Arc<Mutex<Shelf>>,
}

impl Smtp {
    pub async fn start() -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let shared = Arc::clone(&shelf);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shelf = Arc::clone(&shared);
                // A client that goes away in the middle is not the server's fault.
                tokio::spawn(async move {
                    let _ = talk(stream, shelf).await;
                });
            }
        });
        Smtp { url, shelf }
    }

    /// Answers the next recipients like this.
    pub fn refuse(&self, answers: &[&'static str]) {
        self.shelf.lock().refusals.extend(answers);
    }

    /// How often a recipient was named.
    pub fn recipients(&self) -> usize {
        self.shelf.lock().recipients
    }

    pub fn letters(&self) -> Vec<Received> {
        self.shelf.lock().letters.clone()
    }
}

/// One connection (RFC 5321, as much as a client needs).
async fn talk(stream: TcpStream, shelf: Arc<Mutex<Shelf>>) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 test\r\n").await?;
    let mut letter = Received::default();
    while let Some(line) = lines.next_line().await? {
        let word = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let answer = match word.as_str() {
            "MAIL" => {
                letter = Received { from: address(), ..Received::default() };
                "250 ok"
            }
            "RCPT" => {
                letter.to.push(address());
                let mut shelf = shelf.lock();
                shelf.recipients += 1;
                shelf.refusals.pop_front().unwrap_or("250 ok")
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    letter.data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    letter.data.push('\n');
                }
                shelf.lock().letters.push(std::mem::take(&mut letter));
                "250 taken"
            }
            "QUIT" => {
                write.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "250 ok",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}
