//! The log: on stderr, as text for people or as JSON for machines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
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
    /// Starts the log of this process.
    ///
    /// # Errors
    /// The level is none.
    pub(super) fn start(&self, usual: Format) -> Result<(), super::Failure> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|fault| super::Failure::usage(format!("`--log {}`: {fault}", self.log)))?
            .add_directive(directive("tokio_postgres=info")?)
            .add_directive(directive("actix_server=warn")?);
        let layers = tracing_subscriber::registry().with(filter);
        // A process starts its log once; a second start in a test process keeps the first.
        let _ = match self.log_format.unwrap_or(usual) {
            Format::Text => {
                let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
                let text = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
                layers.with(text.compact()).try_init()
            }
            Format::Json => {
                let json = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
                layers.with(json.json().flatten_event(true)).try_init()
            }
        };
        std::panic::set_hook(Box::new(|panic| {
            // Where and what, never the values around it.
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let what = panic.payload_as_str().unwrap_or("a value that is no text");
            tracing::error!(place, what, "panicked");
        }));
        Ok(())
    }
}

/// The driver's trace level shows parameters, so it is never let through; actix tells what we tell.
fn directive(text: &str) -> Result<tracing_subscriber::filter::Directive, super::Failure> {
    text.parse().map_err(super::Failure::fault)
}
