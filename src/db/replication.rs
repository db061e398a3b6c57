//! [`Replication`]: a connection to a walsender, which the driver does not offer: simple queries, then the stream.
//!
//! What is sent and received is described in PostgreSQL's manual under "Message Flow" and "Streaming Replication
//! Protocol". Whatever bytes come, the answer is an error at worst.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{DataRowBody, ErrorFields, Header, Message};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::config::{self, Host, SslMode, TargetSessionAttrs};
use tokio_postgres::fallible_iterator::FallibleIterator as _;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};

use super::target::CONNECT_WITHIN;
use super::{DbError, Report, Target, embedded};

/// What the connection is called in `pg_stat_activity`.
const APPLICATION_NAME: &str = "basewright-feed";

/// Nothing that Postgres sends is larger.
const LARGEST: usize = 1 << 30;

/// How long an answer may take that waits for nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Bytes that are read at once.
const READ: usize = 64 << 10;

/// The answer to `START_REPLICATION`: from then on both sides send copy data.
const COPY_BOTH: u8 = b'W';

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A row of a simple query's answer, each column as text.
pub type TextRow = Vec<Option<String>>;

/// A connection to a walsender of one database.
pub struct Replication {
    socket: Box<dyn Socket>,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Replication {
    /// Connects, and signs in. A refusal of the server has its report.
    pub async fn connect(target: &Target) -> Result<Replication, DbError> {
        let config = target.config();
        let within = config.get_connect_timeout().copied().unwrap_or(CONNECT_WITHIN) + CONNECT_WITHIN;
        let mut last = DbError::unreachable("the database URL names no host");
        for place in places(config) {
            let signing_in = async {
                let socket = place.connect(target).await?;
                let mut link = Replication { socket, incoming: BytesMut::new(), outgoing: BytesMut::new() };
                link.sign_in(config).await?;
                link.check_session(config).await?;
                Ok::<_, DbError>(link)
            };
            last = match timeout(within, signing_in).await {
                Ok(Ok(link)) => return Ok(link),
                // A server that could serve says no: another one is not what is missing.
                Ok(Err(refused)) if refused.report().is_some() && !refused.is_unavailable() => {
                    return Err(refused);
                }
                Ok(Err(fault)) => fault,
                Err(_) => DbError::unreachable("the server did not let us in in time"),
            };
        }
        Err(last)
    }

    async fn sign_in(&mut self, config: &tokio_postgres::Config) -> Result<(), DbError> {
        let user = config.get_user().map_or_else(embedded::own_name, str::to_owned);
        let options = config.get_options().unwrap_or_default();
        // A slot is made only when transactions that run now are over, which is waited for as for locks.
        let options = format!("{options} -c statement_timeout=0 -c lock_timeout=60000");
        let mut parameters = vec![
            ("user", user.as_str()),
            ("replication", "database"),
            ("application_name", APPLICATION_NAME),
            ("client_encoding", "UTF8"),
            ("options", &options),
        ];
        parameters.extend(config.get_dbname().map(|name| ("database", name)));
        frontend::startup_message(parameters, &mut self.outgoing).map_err(driver)?;
        let password = || {
            let none = || DbError::unreachable("the database asks for a password, and the URL has none");
            config.get_password().ok_or_else(none)
        };
        let unknown = || DbError::unreachable("the database asks for a way to sign in that is not known");
        let mut scram = None;
        loop {
            match self.answer().await? {
                // A server that did not prove that it knows the password could be anybody.
                Message::AuthenticationOk if scram.is_some() => return Err(out_of_turn()),
                Message::AuthenticationOk => break,
                Message::AuthenticationCleartextPassword => {
                    frontend::password_message(password()?, &mut self.outgoing).map_err(driver)?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(user.as_bytes(), password()?, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut self.outgoing).map_err(driver)?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    let mut known = false;
                    while let Some(mechanism) = mechanisms.next().map_err(garbled)? {
                        known |= mechanism == SCRAM_SHA_256;
                    }
                    if !known {
                        return Err(unknown());
                    }
                    if config.get_channel_binding() == config::ChannelBinding::Require {
                        return Err(DbError::unreachable(
                            "channel_binding=require cannot be kept on a connection to the WAL",
                        ));
                    }
                    let begun = ScramSha256::new(password()?, ChannelBinding::unsupported());
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), &mut self.outgoing)
                        .map_err(driver)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(out_of_turn)?;
                    scram.update(body.data()).map_err(garbled)?;
                    frontend::sasl_response(scram.message(), &mut self.outgoing).map_err(driver)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    scram.take().ok_or_else(out_of_turn)?.finish(body.data()).map_err(garbled)?;
                }
                Message::ErrorResponse(body) => return Err(reported(body.fields())),
                Message::NoticeResponse(_) => {}
                _ => return Err(unknown()),
            }
        }
        self.rows().await.map(drop)
    }

    /// Whether this is the kind of server that the URL asks for.
    async fn check_session(&mut self, config: &tokio_postgres::Config) -> Result<(), DbError> {
        let wanted = match config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let rows = self.query("show transaction_read_only").await?;
        let is = rows.first().and_then(|row| row.first()?.as_deref());
        if is == Some(wanted) {
            Ok(())
        } else {
            Err(DbError::unreachable("the server is not of the kind that target_session_attrs asks for"))
        }
    }

    /// Runs one command or statement, which is text of ours: a walsender takes no values beside the text.
    pub async fn query(&mut self, text: &str) -> Result<Vec<TextRow>, DbError> {
        self.query_within(text, ANSWER_WITHIN).await
    }

    /// [`Replication::query`] for what may take longer. After a fault that is no refusal, the connection is of no use.
    pub async fn query_within(&mut self, text: &str, within: Duration) -> Result<Vec<TextRow>, DbError> {
        frontend::query(text, &mut self.outgoing).map_err(driver)?;
        let answer = timeout(within, self.rows()).await;
        answer.unwrap_or_else(|_| Err(DbError::lost("the server did not answer in time")))
    }

    /// The rows of the answer under way, up to where the server is ready for something new.
    async fn rows(&mut self) -> Result<Vec<TextRow>, DbError> {
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            let answer = match self.answer().await {
                Ok(answer) => answer,
                // After a fatal refusal the server closes the connection: that is no news.
                Err(e) => return Err(refused.unwrap_or(e)),
            };
            match answer {
                Message::DataRow(row) => rows.push(text_row(&row)?),
                Message::ErrorResponse(body) => refused = Some(reported(body.fields())),
                Message::ReadyForQuery(_) => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Begins the stream with a `START_REPLICATION` command. A refusal leaves the connection as it was.
    pub async fn start(&mut self, command: &str) -> Result<(), DbError> {
        frontend::query(command, &mut self.outgoing).map_err(driver)?;
        loop {
            let Frame(tag, frame) = poll_fn(|context| self.poll_frame(context)).await?;
            if tag == COPY_BOTH {
                return Ok(());
            }
            match parsed(frame)? {
                Message::ErrorResponse(body) => {
                    let refused = reported(body.fields());
                    // Up to where it is ready again, if it lives.
                    let _ = self.rows().await;
                    return Err(refused);
                }
                Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// What the stream brings next; `None` once the server has ended it. What was [sent](Replication::send) goes out
    /// meanwhile. Nothing is lost if the future is dropped.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, DbError> {
        loop {
            let frame = poll_fn(|context| self.poll_frame(context)).await?;
            match frame {
                Frame(b'd', mut data) => {
                    data.advance(5);
                    return Ok(Some(data.freeze()));
                }
                Frame(b'c', _) => return Ok(None),
                Frame(_, frame) => match parsed(frame)? {
                    Message::ErrorResponse(body) => return Err(reported(body.fields())),
                    Message::NoticeResponse(_) | Message::ParameterStatus(_) => {}
                    Message::CommandComplete(_) | Message::ReadyForQuery(_) => return Ok(None),
                    _ => return Err(out_of_turn()),
                },
            }
        }
    }

    /// Puts copy data of a few bytes on its way: what the socket does not take now, [`Replication::receive`] sends.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), DbError> {
        frontend::CopyData::new(data).map_err(driver)?.write(&mut self.outgoing);
        poll_fn(|context| match self.poll_outgoing(context) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(lost(&e))),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    async fn answer(&mut self) -> Result<Message, DbError> {
        let Frame(_, frame) = poll_fn(|context| self.poll_frame(context)).await?;
        parsed(frame)
    }

    /// The next whole message. What came of one is kept, so this can be given up and asked anew at any time.
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Result<Frame, DbError>> {
        let sent = self.poll_outgoing(context);
        loop {
            if let Some(frame) = take_frame(&mut self.incoming)? {
                return Poll::Ready(Ok(frame));
            }
            self.incoming.reserve(READ);
            let mut reading = pin!(self.socket.read_buf(&mut self.incoming));
            match reading.as_mut().poll(context) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(DbError::lost("the server closed the connection")));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(lost(&e))),
                // The server's last word, where there is one, says more than that it takes nothing.
                Poll::Pending => {
                    return match sent {
                        Poll::Ready(Err(e)) => Poll::Ready(Err(lost(&e))),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            let mut writing = pin!(self.socket.write_buf(&mut self.outgoing));
            if ready!(writing.as_mut().poll(context))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Pin::new(self.socket.as_mut()).poll_flush(context)
    }
}

/// What it sends and receives may be rows.
impl fmt::Debug for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replication { .. }")
    }
}

/// A message as it came: its first byte, and all of it.
struct Frame(u8, BytesMut);

/// Takes a message out of what has come, if all of it has.
fn take_frame(incoming: &mut BytesMut) -> Result<Option<Frame>, DbError> {
    let Some(header) = Header::parse(incoming).map_err(garbled)? else { return Ok(None) };
    let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
    if length > LARGEST {
        return Err(DbError::lost("the server sent a message that is too large"));
    }
    // The length counts itself, and not the first byte.
    let whole = length + 1;
    Ok((incoming.len() >= whole).then(|| Frame(header.tag(), incoming.split_to(whole))))
}

fn parsed(mut frame: BytesMut) -> Result<Message, DbError> {
    Message::parse(&mut frame).map_err(garbled)?.ok_or_else(out_of_turn)
}

fn text_row(row: &DataRowBody) -> Result<TextRow, DbError> {
    let column = |range: Option<Range<usize>>| {
        let text = range.map(|range| row.buffer().get(range).map(String::from_utf8_lossy));
        // A range that is not there is refused by the iterator already.
        Ok(text.flatten().map(String::from))
    };
    row.ranges().map(column).collect().map_err(garbled)
}

fn reported(mut fields: ErrorFields<'_>) -> DbError {
    let mut report = Report::default();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        // The manual's "Error and Notice Message Fields".
        match field.type_() {
            b'C' => report.sqlstate = value,
            b'M' => report.message = value,
            b'D' => report.detail = Some(value),
            b'H' => report.hint = Some(value),
            b'n' => report.constraint = Some(value),
            b't' => report.table = Some(value),
            b'c' => report.column = Some(value),
            _ => {}
        }
    }
    DbError::reported(report)
}

/// Where a server may be.
struct Place {
    /// The name that its certificate is for.
    name: String,
    at: At,
}

enum At {
    Socket(PathBuf),
    Tcp(String, u16),
}

/// The places of a URL, in its order.
fn places(config: &tokio_postgres::Config) -> Vec<Place> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let place = |n: usize| {
        let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
        match (hosts.get(n), addresses.get(n)) {
            (Some(Host::Unix(folder)), _) => {
                Some(Place { name: String::new(), at: At::Socket(folder.join(format!(".s.PGSQL.{port}"))) })
            }
            (Some(Host::Tcp(name)), address) => {
                let at = address.map_or_else(|| name.clone(), IpAddr::to_string);
                Some(Place { name: name.clone(), at: At::Tcp(at, port) })
            }
            (None, Some(address)) => {
                Some(Place { name: address.to_string(), at: At::Tcp(address.to_string(), port) })
            }
            (None, None) => None,
        }
    };
    (0..hosts.len().max(addresses.len())).filter_map(place).collect()
}

impl Place {
    async fn connect(&self, target: &Target) -> Result<Box<dyn Socket>, DbError> {
        match &self.at {
            At::Socket(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)),
            At::Tcp(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                socket.set_nodelay(true).map_err(unreachable)?;
                self.secure(socket, target).await
            }
        }
    }

    /// Encrypts as the URL asks.
    async fn secure(&self, mut socket: TcpStream, target: &Target) -> Result<Box<dyn Socket>, DbError> {
        let mode = target.config().get_ssl_mode();
        let Some(tls) = target.tls().filter(|_| mode != SslMode::Disable) else {
            return Ok(Box::new(socket));
        };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        socket.write_all(&request).await.map_err(unreachable)?;
        // One byte and no more: what came after it in the clear could be from anybody.
        match socket.read_u8().await.map_err(unreachable)? {
            b'S' => {}
            b'N' if mode == SslMode::Prefer => return Ok(Box::new(socket)),
            _ => return Err(DbError::unreachable("the server does not take TLS, and the URL asks for it")),
        }
        let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.connector(), &self.name);
        let connect = connect.map_err(|e| DbError::unreachable(format!("TLS cannot be set up: {e}")))?;
        Ok(Box::new(connect.connect(socket).await.map_err(unreachable)?))
    }
}

fn unreachable(e: io::Error) -> DbError {
    DbError::unreachable(e.to_string())
}

fn lost(e: &io::Error) -> DbError {
    DbError::lost(e.to_string())
}

/// The server's bytes cannot be understood: nothing that comes after them can.
fn garbled(e: io::Error) -> DbError {
    DbError::lost(format!("a message of the server cannot be read: {e}"))
}

fn out_of_turn() -> DbError {
    DbError::lost("the server sent a message that does not belong here")
}

/// Our own text cannot be sent.
fn driver(e: io::Error) -> DbError {
    DbError::driver(e.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// A connection, and the server's end of it.
    fn link() -> (Replication, DuplexStream) {
        let (ours, theirs) = duplex(1 << 20);
        let socket = Box::new(ours);
        (Replication { socket, incoming: BytesMut::new(), outgoing: BytesMut::new() }, theirs)
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend((body.len() as u32 + 4).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    /// What is made of a server that says this, and no more.
    fn told<T>(bytes: &[u8], work: impl AsyncFnOnce(&mut Replication) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut link, mut server) = link();
            server.write_all(bytes).await.unwrap();
            server.shutdown().await.unwrap();
            timeout(Duration::from_secs(20), work(&mut link)).await.expect("it ends")
        })
    }

    fn config() -> tokio_postgres::Config {
        "postgresql://u:p@h/d".parse().unwrap()
    }

    fn refusal() -> Vec<u8> {
        message(b'E', b"SFATAL\0C42501\0Mpermission denied\0Dsecret\0\0")
    }

    #[test]
    fn a_refusal_is_told_although_the_connection_ends_with_it() {
        let refused = |e: DbError| {
            let report = e.report().unwrap().clone();
            assert_eq!((report.sqlstate.as_str(), report.message.as_str()), ("42501", "permission denied"));
        };
        refused(told(&refusal(), async |link| link.query("x").await).unwrap_err());
        refused(told(&refusal(), async |link| link.start("x").await).unwrap_err());
        refused(told(&refusal(), async |link| link.receive().await).unwrap_err());
        let signed_in = [message(b'R', &[0; 4]), refusal()].concat();
        refused(told(&signed_in, async |link| link.sign_in(&config()).await).unwrap_err());
    }

    #[test]
    fn a_server_that_does_not_prove_that_it_knows_the_password_is_refused() {
        let asks = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let ready = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        told(&ready, async |link| link.sign_in(&config()).await).unwrap();
        let early = [asks, ready].concat();
        let e = told(&early, async |link| link.sign_in(&config()).await).unwrap_err();
        assert!(e.to_string().contains("does not belong here"), "{e}");
    }

    #[test]
    fn rows_are_text_or_null() {
        let row = message(b'D', b"\0\x02\0\0\0\x02hi\xff\xff\xff\xff");
        let answer = [row, message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
        let rows = told(&answer, async |link| link.query("x").await).unwrap();
        assert_eq!(rows, [vec![Some("hi".to_owned()), None]]);
    }

    #[test]
    fn a_message_larger_than_any_is_refused_before_it_comes() {
        let e = told(b"d\x7f\xff\xff\xff", async |link| link.receive().await).unwrap_err();
        assert!(e.to_string().contains("too large"), "{e}");
    }

    #[test]
    fn the_stream_ends_where_the_server_ends_it() {
        let bytes = [message(b'd', b"one"), message(b'N', b"SNOTICE\0\0"), message(b'c', b"")].concat();
        let received = told(&bytes, async |link| {
            let one = link.receive().await.unwrap();
            (one, link.receive().await.unwrap())
        });
        assert_eq!(received, (Some(Bytes::from_static(b"one")), None));
    }

    #[tokio::test]
    async fn a_message_that_comes_byte_by_byte_survives_that_nobody_waits_for_it() {
        let (mut link, mut server) = link();
        let mut received = Vec::new();
        for byte in [message(b'd', b"first"), message(b'd', b"second")].concat() {
            server.write_all(&[byte]).await.unwrap();
            // Polled, and dropped.
            let mut waiting = pin!(link.receive());
            let polled = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await;
            if let Poll::Ready(data) = polled {
                received.push(data.unwrap().unwrap());
            }
        }
        assert_eq!(received, [&b"first"[..], b"second"]);
    }

    #[tokio::test]
    async fn what_the_socket_does_not_take_goes_out_later() {
        let (ours, mut server) = duplex(8);
        let socket = Box::new(ours);
        let mut link = Replication { socket, incoming: BytesMut::new(), outgoing: BytesMut::new() };
        link.send(&[7; 100]).await.unwrap();
        let reading = async {
            let mut sent = vec![0; 105];
            server.read_exact(&mut sent).await.unwrap();
            sent
        };
        let sent = tokio::select! {
            sent = reading => sent,
            _ = link.receive() => panic!("nothing was said"),
        };
        assert_eq!(sent, message(b'd', &[7; 100]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn whatever_a_server_says_the_answer_is_an_error_at_worst(
            tags in prop::collection::vec((prop::sample::select(b"RKSZTDCENWdcIG?".to_vec()), prop::collection::vec(any::<u8>(), 0..24)), 0..6),
            tail in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            let mut bytes: Vec<u8> = tags.iter().flat_map(|(tag, body)| message(*tag, body)).collect();
            bytes.extend(tail);
            let _ = told(&bytes, async |link| link.sign_in(&config()).await);
            let _ = told(&bytes, async |link| link.query("x").await);
            let _ = told(&bytes, async |link| link.start("x").await);
            told(&bytes, async |link| while let Ok(Some(_)) = link.receive().await {});
        }

        #[test]
        fn whatever_a_server_asks_while_it_signs_us_in_the_answer_is_an_error_at_worst(
            asked in prop::collection::vec((prop::sample::select(vec![0u32, 3, 5, 7, 10, 11, 12, 99]), prop::collection::vec(any::<u8>(), 0..40)), 0..5),
        ) {
            let ask = |(kind, body): &(u32, Vec<u8>)| message(b'R', &[&kind.to_be_bytes()[..], body].concat());
            let bytes: Vec<u8> = asked.iter().flat_map(ask).collect();
            prop_assert!(told(&bytes, async |link| link.sign_in(&config()).await).is_err(), "nobody was let in");
        }
    }
}
