//! [`Post`]: the way to one SMTP server. [`Office`]: where letters wait for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use lettre::transport::smtp::{self, AsyncSmtpTransport, PoolConfig};
use lettre::{Address, AsyncTransport as _, Tokio1Executor};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::{Letter, Relay};
use crate::auth::settings::Settings;
use crate::error::{AuthCode, Error};
use crate::project::letters::Rendered;

/// Letters that may wait, those under way among them.
const MOST: u32 = 1_000;
/// Connections to the server, and letters that are handed over at one time.
const AT_ONCE: u32 = 4;
/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before each further attempt, in seconds: five minutes in all.
const AGAIN: [u64; 6] = [1, 4, 15, 40, 90, 150];

/// Where letters wait: a thread of its own, so that they outlive the worker that wrote them.
pub(super) struct Office {
    /// None once it is closed.
    runtime: Option<Runtime>,
    /// Room for letters.
    room: Arc<Semaphore>,
    /// True once there is no more time for another attempt.
    closing: watch::Sender<bool>,
}

impl Office {
    pub(super) fn open() -> io::Result<Office> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("mail").enable_all().build()?;
        Ok(Office {
            runtime: Some(runtime),
            room: Arc::new(Semaphore::new(MOST as usize)),
            closing: watch::Sender::new(false),
        })
    }

    /// Lets those that wait try once more at once, and waits so long for all of them.
    pub(super) async fn close(&self, within: Duration) {
        self.closing.send_replace(true);
        if timeout(within, self.room.acquire_many(MOST)).await.is_err() {
            let lost = (MOST as usize).saturating_sub(self.room.available_permits());
            tracing::error!(lost, "mails are lost: the server did not take them before the end");
        }
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        // Whoever drops it may be asynchronous itself, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The way to one SMTP server.
pub(super) struct Post {
    relay: Relay,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    hands: Arc<Semaphore>,
    office: Arc<Office>,
}

impl Post {
    pub(super) fn new(relay: Relay, office: Arc<Office>) -> Post {
        // The pool cleans up after itself in a task of the runtime in which it is made.
        let _within = office.runtime.as_ref().map(Runtime::enter);
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(relay.host.clone())
            .port(relay.port)
            .tls(relay.tls.clone())
            .timeout(Some(PATIENCE))
            .pool_config(PoolConfig::new().max_size(AT_ONCE));
        if let Some(credentials) = &relay.credentials {
            builder = builder.credentials(credentials.clone());
        }
        let transport = builder.build();
        Post { relay, transport, hands: Arc::new(Semaphore::new(AT_ONCE as usize)), office }
    }

    pub(super) fn is_to(&self, relay: &Relay) -> bool {
        self.relay == *relay
    }

    /// Whether there is room for a letter.
    pub(super) fn ready(&self) -> Result<(), Error> {
        if self.office.room.available_permits() > 0 { Ok(()) } else { Err(full()) }
    }

    /// Takes a letter, to be written and sent in the background.
    pub(super) fn take(&self, settings: Arc<Settings>, letter: Letter, to: Address) -> Result<(), Error> {
        let place = Arc::clone(&self.office.room).try_acquire_owned().map_err(|_| full())?;
        let Some(runtime) = &self.office.runtime else { return Err(full()) };
        let way = Way {
            transport: self.transport.clone(),
            from: self.relay.from.clone(),
            hands: Arc::clone(&self.hands),
            closing: self.office.closing.subscribe(),
        };
        runtime.spawn(async move {
            way.deliver(&settings, &letter, to).await;
            drop(place);
        });
        Ok(())
    }
}

fn full() -> Error {
    Error::with(AuthCode::MailUnavailable, "Too many mails wait already").retry_after(60)
}

/// What one letter needs to leave.
struct Way {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    hands: Arc<Semaphore>,
    closing: watch::Receiver<bool>,
}

impl Way {
    /// Writes a letter and hands it over, again and again where the server has no time. What is logged names neither
    /// the address nor what the letter holds; a server's answer may quote the address, so only its number is logged.
    async fn deliver(mut self, settings: &Settings, letter: &Letter, to: Address) {
        let occasion = letter.occasion.as_str();
        let written = letter
            .write(settings)
            .map_err(|error| error.to_string())
            .and_then(|rendered| written(&self.from, to, rendered).map_err(|error| error.to_string()));
        let (envelope, bytes) = match written {
            Ok(written) => written,
            Err(error) => {
                tracing::error!(occasion, error, "a mail could not be written");
                return;
            }
        };
        let mut delays = AGAIN.into_iter();
        loop {
            let outcome = {
                // Never closed.
                let _hand = self.hands.acquire().await;
                self.transport.send_raw(&envelope, &bytes).await
            };
            let Err(error) = outcome else {
                tracing::info!(occasion, "a mail was sent");
                return;
            };
            let (status, cause) = (error.status().map(u16::from), cause(&error));
            let closing = *self.closing.borrow_and_update();
            let Some(seconds) = delays.next().filter(|_| is_temporary(&error) && !closing) else {
                tracing::error!(occasion, status, cause, "a mail was not sent");
                return;
            };
            tracing::warn!(occasion, status, cause, seconds, "a mail was not sent yet: trying again");
            // Woken early where the server stops.
            let _ = timeout(Duration::from_secs(seconds), self.closing.changed()).await;
        }
    }
}

/// Whether another attempt may end better: the server said so, or could not be asked.
fn is_temporary(error: &smtp::Error) -> bool {
    !error.is_permanent() && !error.is_client() && !error.is_tls()
}

/// What went wrong, without what a server wrote: it may quote the address.
fn cause(error: &smtp::Error) -> String {
    match error.status() {
        Some(_) => "the server refused".to_owned(),
        None => {
            let source = std::error::Error::source(error).map(|source| format!(": {source}"));
            format!(
                "{error}{}",
                source.filter(|source| !error.to_string().contains(source.as_str())).unwrap_or_default()
            )
        }
    }
}

/// The message as it goes over the wire. The library makes the headers, so nothing in a letter can add one.
fn written(
    from: &Mailbox,
    to: Address,
    rendered: Rendered,
) -> Result<(Envelope, Vec<u8>), Box<dyn std::error::Error + Send + Sync>> {
    let envelope = Envelope::new(Some(from.email.clone()), vec![to.clone()])?;
    let id = format!("<{}@{}>", uuid::Uuid::new_v4(), from.email.domain());
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(rendered.subject)
        .date_now()
        .message_id(Some(id))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(rendered.text, rendered.html))?;
    Ok((envelope, message.formatted()))
}

/// `Auto-Submitted: auto-generated` (RFC 3834, 5): nobody's absence is to answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<AutoSubmitted, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(AutoSubmitted::name(), "auto-generated".to_owned())
    }
}
