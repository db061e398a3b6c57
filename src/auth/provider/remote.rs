//! [`Remote`]: an issuer of OpenID Connect: its endpoints (Discovery 1.0, 4) and its keys, fetched when they are needed.
//!
//! However many ask, one fetch is under way; nobody can cause one a request. Keys that were fetched are good for ten minutes,
//! and for an hour where the issuer does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ProviderFault;
use super::claims::Written;
use super::keys::KeySet;
use crate::auth::outbound::Outbound;

/// How long what was fetched is not asked for again.
const FRESH: Duration = Duration::from_secs(600);
/// How long it serves while the issuer does not answer.
const USABLE: Duration = Duration::from_secs(3_600);
/// How long an issuer that did not answer is left alone.
const AGAIN: Duration = Duration::from_secs(5);
/// How often somebody may make us look for a key that the issuer did not have a moment ago.
const UNKNOWN_KEY: Duration = Duration::from_secs(30);

/// What an issuer says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub userinfo_endpoint: Option<String>,
    jwks_uri: String,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
    /// RFC 9207, 3: it says in its answer who it is.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
}

/// What was fetched of an issuer.
#[derive(Debug)]
pub struct Known {
    pub metadata: Metadata,
    pub keys: KeySet,
    fetched: Instant,
}

impl Known {
    pub fn is_fresh(&self) -> bool {
        self.fetched.elapsed() < FRESH
    }
}

#[derive(Default)]
struct Attempts {
    /// When it was last asked, and did not answer since.
    failed: Option<Instant>,
    /// When it was last asked for a key that was not known.
    for_key: Option<Instant>,
}

/// An issuer.
pub struct Remote {
    issuer: String,
    known: ArcSwapOption<Known>,
    attempts: Mutex<Attempts>,
    /// One fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

impl Remote {
    fn new(issuer: &str) -> Remote {
        Remote {
            issuer: issuer.to_owned(),
            known: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// What is known of it at this moment, without asking.
    pub fn present(&self) -> Option<Arc<Known>> {
        self.known.load_full()
    }

    /// What is known of it; asks where nothing is, or nothing fresh.
    ///
    /// # Errors
    /// It does not answer, or not as it should.
    pub async fn known(self: &Arc<Self>, outbound: &Outbound) -> Result<Arc<Known>, ProviderFault> {
        if let Some(known) = self.present().filter(|known| known.is_fresh()) {
            return Ok(known);
        }
        let fault = self.fetch(outbound, None).await.err();
        let usable = self.present().filter(|known| known.fetched.elapsed() < USABLE);
        usable.ok_or_else(|| fault.unwrap_or(ProviderFault::Unreachable))
    }

    /// What is known of it, with the key that a token names if the issuer has it by now.
    ///
    /// # Errors
    /// As [`Remote::known`].
    pub async fn known_for(
        self: &Arc<Self>,
        outbound: &Outbound,
        token: &Written<'_>,
    ) -> Result<Arc<Known>, ProviderFault> {
        let known = self.known(outbound).await?;
        let Some(key) = token.key.as_deref().filter(|key| !known.keys.has(key)) else { return Ok(known) };
        let may_ask = {
            let mut attempts = self.attempts.lock();
            let may = attempts.for_key.is_none_or(|at| at.elapsed() >= UNKNOWN_KEY);
            if may {
                attempts.for_key = Some(Instant::now());
            }
            may
        };
        if may_ask {
            if let Err(fault) = self.fetch(outbound, Some(key.to_owned())).await {
                tracing::warn!(issuer = self.issuer, %fault, "the keys of an issuer could not be fetched again");
            }
        } else {
            // Another is asking: his answer may hold the key.
            drop(self.fetching.lock().await);
        }
        Ok(self.present().unwrap_or(known))
    }

    /// Fetches what is not there: fresh keys, and this one. Goes on if nobody waits any more, so that nobody who hangs up
    /// can make us begin again and again.
    async fn fetch(self: &Arc<Self>, outbound: &Outbound, key: Option<String>) -> Result<(), ProviderFault> {
        let (remote, outbound) = (Arc::clone(self), outbound.clone());
        let fetching = tokio::spawn(async move {
            let _one = remote.fetching.lock().await;
            let is_there = remote.present().is_some_and(|known| {
                known.is_fresh() && key.as_deref().is_none_or(|key| known.keys.has(key))
            });
            if is_there {
                return Ok(());
            }
            if remote.attempts.lock().failed.is_some_and(|at| at.elapsed() < AGAIN) {
                return Err(ProviderFault::Unreachable);
            }
            let fetched = fetch(&remote.issuer, &outbound).await;
            remote.attempts.lock().failed = fetched.is_err().then(Instant::now);
            remote.known.store(Some(Arc::new(fetched?)));
            Ok(())
        });
        fetching.await.unwrap_or(Err(ProviderFault::Unreachable))
    }
}

async fn fetch(issuer: &str, outbound: &Outbound) -> Result<Known, ProviderFault> {
    let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let metadata: Metadata = json(outbound, "discovery", &address, None).await?;
    // Exactly (Discovery 1.0, 4.3): whoever may write at this address could otherwise speak for another.
    if metadata.issuer != issuer {
        return Err(ProviderFault::Issuer(metadata.issuer));
    }
    let answer = outbound.get(&metadata.jwks_uri, None).await?;
    if !answer.status.is_success() {
        return Err(ProviderFault::Status("the key set", answer.status.as_u16()));
    }
    let keys = KeySet::parse(&answer.body)
        .map_err(|fault| ProviderFault::Answer("the key set", fault.to_string()))?;
    Ok(Known { metadata, keys, fetched: Instant::now() })
}

/// Gets JSON.
pub(in crate::auth) async fn json<T: DeserializeOwned>(
    outbound: &Outbound,
    what: &'static str,
    address: &str,
    bearer: Option<&str>,
) -> Result<T, ProviderFault> {
    let answer = outbound.get(address, bearer).await?;
    if !answer.status.is_success() {
        return Err(ProviderFault::Status(what, answer.status.as_u16()));
    }
    serde_json::from_slice(&answer.body).map_err(|fault| ProviderFault::Answer(what, fault.to_string()))
}

/// The issuers that a project names, by what they call themselves.
#[derive(Default)]
pub struct Remotes {
    all: Mutex<HashMap<String, Arc<Remote>>>,
}

impl Remotes {
    /// An issuer that the project names; never one that a request names.
    pub fn of(&self, issuer: &str) -> Arc<Remote> {
        let mut all = self.all.lock();
        Arc::clone(all.entry(issuer.to_owned()).or_insert_with(|| Arc::new(Remote::new(issuer))))
    }
}
