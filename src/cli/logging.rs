//! The log: on stderr, as text for people or as JSON for machines.
//!
//! The lines of requests that were answered are gathered for a moment and written together: written one by one
//! they cost a busy server a fifth of its time. Every other line goes out at once, behind those that wait.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How the log is written.
#[derive(Args, Clone, Debug)]
pub(super) struct Logging {
    /// How the log on stderr is written [default: text for dev, json for serve]
    #[arg(long, env = "BASEWRIGHT_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<Format>,
    /// What is logged: error, warn, info, debug, trace, or a list like `info,basewright::access=off`
    #[arg(long, env = "BASEWRIGHT_LOG", default_value = "info", value_name = "LEVEL")]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl Logging {
    /// Starts the log of this process. What waits is written when the returned value is dropped.
    ///
    /// # Errors
    /// The level is none.
    pub(super) fn start(&self, usual: Format) -> Result<Started, super::Failure> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|fault| super::Failure::usage(format!("`--log {}`: {fault}", self.log)))?
            .add_directive(directive("tokio_postgres=info")?)
            .add_directive(directive("actix_server=warn")?);
        let layers = tracing_subscriber::registry().with(filter);
        let stderr = Stderr(Arc::new(Waiting::default()));
        let started = Started(Arc::clone(&stderr.0));
        // A process starts its log once; a second start in a test process keeps the first.
        let _ = match self.log_format.unwrap_or(usual) {
            Format::Text => {
                let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
                let text = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(ansi);
                layers.with(text.compact()).try_init()
            }
            Format::Json => {
                let json = tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false);
                layers.with(json.json().flatten_event(true)).try_init()
            }
        };
        std::panic::set_hook(Box::new(|panic| {
            // Where and what, never the values around it.
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let what = panic.payload_as_str().unwrap_or("a value that is no text");
            tracing::error!(place, what, "panicked");
        }));
        let waiting = Arc::clone(&started.0);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || waiting.write_now_and_then())
            .map_err(super::Failure::fault)?;
        Ok(started)
    }
}

/// How long a line of an answered request may wait for others.
const GATHER: Duration = Duration::from_millis(20);
/// So many bytes do not wait any longer.
const ENOUGH: usize = 64 << 10;
/// What tells of answered requests.
const ACCESS: &str = "basewright::access";

/// A log that runs until this is dropped.
pub(super) struct Started(Arc<Waiting>);

impl Drop for Started {
    fn drop(&mut self) {
        write_out(&mut self.0.lines.lock());
    }
}

/// Lines on their way to stderr.
#[derive(Default)]
struct Waiting {
    lines: Mutex<Vec<u8>>,
    /// The first line waits.
    begun: Condvar,
}

impl Waiting {
    /// Runs for the rest of the process.
    fn write_now_and_then(&self) {
        loop {
            let mut lines = self.lines.lock();
            while lines.is_empty() {
                self.begun.wait(&mut lines);
            }
            drop(lines);
            std::thread::sleep(GATHER);
            write_out(&mut self.lines.lock());
        }
    }

    fn put(&self, line: &[u8], at_once: bool) {
        let mut lines = self.lines.lock();
        let first = lines.is_empty();
        lines.extend_from_slice(line);
        if at_once || lines.len() >= ENOUGH {
            write_out(&mut lines);
        } else if first {
            self.begun.notify_one();
        }
    }
}

/// A log that cannot be written has nobody to tell.
fn write_out(lines: &mut Vec<u8>) {
    let _ = io::stderr().write_all(lines);
    lines.clear();
}

/// Makes a writer for each line, by what the line is about.
struct Stderr(Arc<Waiting>);

/// One line, or a part of one.
struct Line<'a> {
    waiting: &'a Waiting,
    at_once: bool,
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { waiting: &self.0, at_once: true }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Line<'a> {
        Line { waiting: &self.0, at_once: about.target() != ACCESS }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.waiting.put(part, self.at_once);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The driver's trace level shows parameters, so it is never let through; actix tells what we tell.
fn directive(text: &str) -> Result<tracing_subscriber::filter::Directive, super::Failure> {
    text.parse().map_err(super::Failure::fault)
}
