//! `basewright health`: asks a running server how it is, for what watches over it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use super::Failure;
use super::settings::public_url;
use super::tables::block_on;

/// Ask a running server whether it can serve
///
/// Exits with 0 if it can and with 1 if it cannot or does not answer, and prints what it says. Without a URL it asks
/// the server on this machine, by the variables that the server is started with. Made for a container's health check.
#[derive(Args)]
#[command(after_help = "Examples:
  basewright health
  basewright health https://api.example.com")]
pub(super) struct Health {
    /// Where the server is [default: http://127.0.0.1:8000]
    url: Option<String>,
    #[arg(long, env = "BASEWRIGHT_PORT", default_value_t = 8000, hide = true)]
    port: u16,
    #[arg(long, env = "BASEWRIGHT_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), hide = true)]
    listen: IpAddr,
}

/// How long an answer may take: it is no work to a server.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(command: &Health) -> Result<(), Failure> {
    let url = public_url(command.url.as_deref(), SocketAddr::new(command.listen, command.port));
    if !Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err(Failure::usage(format!(
            "`{url}` is no URL of a server: it begins with http:// or https://"
        )));
    }
    let (status, said) = block_on(ask(&url))?;
    let word = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if status == StatusCode::OK && word("status") == "ready" {
        println!("ready");
        return Ok(());
    }
    Err(Failure::Fault(match word("details") {
        reason if reason.is_empty() => format!("{url} answers {status}"),
        reason => format!("not ready: {reason}"),
    }))
}

async fn ask(url: &str) -> Result<(StatusCode, Value), Failure> {
    let silent = |error: reqwest::Error| Failure::fault(format!("{url} does not answer: {error}"));
    // What this asks is beside it: a proxy for the rest of the world is not on the way.
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(silent)?;
    let answer = client.get(format!("{url}/health/ready")).send().await.map_err(silent)?;
    let status = answer.status();
    let text = answer.text().await.map_err(silent)?;
    Ok((status, serde_json::from_str(&text).unwrap_or_default()))
}
