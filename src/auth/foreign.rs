//! Tokens of other issuers that the project accepts (`auth.issuers`): verified by their issuer's keys, on every door.
//!
//! Which of the two judges a token is decided by its issuer alone, exactly: one of ours is never judged by another's keys,
//! and none of another's by ours. Whoever it is about is nobody here: his id is made from issuer and subject, so that no
//! other server's word can make somebody one of our users.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::desk::Desk;
use super::provider::ProviderFault;
use super::provider::claims::{ClaimFault, Expected, Written, expiry, subject, unverified};
use super::provider::remote::Known;
use super::settings::Settings;
use super::token::{Holder, TokenFault, Verified};
use crate::model::sign_in::Issuer;

/// Verified tokens that are remembered.
const TOKENS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// A token that was verified, and by what.
struct Entry {
    verified: Arc<Verified>,
    settings: Arc<Settings>,
    known: Arc<Known>,
}

/// Tokens of other issuers that were verified lately.
pub(super) struct Foreigners {
    seen: Mutex<LruCache<Box<str>, Entry>>,
}

impl Default for Foreigners {
    fn default() -> Foreigners {
        Foreigners { seen: Mutex::new(LruCache::new(TOKENS)) }
    }
}

impl Desk {
    /// Whether a token says that it is one of another issuer that the project accepts.
    pub fn is_foreign(&self, token: &str) -> bool {
        self.settings().is_ok_and(|settings| issuer(&settings, token).is_some())
    }

    /// Whether the project still accepts the issuer of a token that was verified once. One of ours has none to lose.
    pub fn still_accepts(&self, verified: &Verified) -> bool {
        let (Holder::Foreign { .. }, Ok(settings)) = (&verified.holder, self.settings()) else { return true };
        let said = verified.claims.get("iss").and_then(Value::as_str);
        settings.project.issuers.values().any(|issuer| said == Some(&issuer.issuer))
    }

    /// Verifies a token of another issuer at `now` (seconds since the epoch). `None`: it is not for this to judge. Asks the
    /// issuer where its keys are not known; however many tokens come, that is seldom.
    pub async fn verify_foreign(&self, token: &str, now: i64) -> Option<Result<Arc<Verified>, TokenFault>> {
        let settings = self.settings().ok()?;
        let issuer = issuer(&settings, token)?;
        Some(self.judge_foreign(token, &settings, issuer, now).await)
    }

    async fn judge_foreign(
        &self,
        token: &str,
        settings: &Arc<Settings>,
        issuer: &Issuer,
        now: i64,
    ) -> Result<Arc<Verified>, TokenFault> {
        let remote = self.remotes().of(&issuer.issuer);
        if let Some(known) = remote.present().filter(|known| known.is_fresh()) {
            let mut seen = self.foreigners().seen.lock();
            let entry = seen
                .get(token)
                .filter(|entry| Arc::ptr_eq(&entry.known, &known) && Arc::ptr_eq(&entry.settings, settings));
            if let Some(entry) = entry.filter(|entry| entry.verified.is_alive(now)) {
                return Ok(Arc::clone(&entry.verified));
            }
        }
        let written = Written::read(token).map_err(fault)?;
        let outbound = self.outbound().map_err(|_| TokenFault::Unreachable)?;
        let known = remote.known_for(outbound, &written).await.map_err(|fault: ProviderFault| {
            tracing::warn!(issuer = issuer.issuer, %fault, "an issuer's tokens cannot be verified");
            TokenFault::Unreachable
        })?;
        let key = written.key.clone().unwrap_or_default();
        let audiences = [issuer.audience.as_str()];
        let expected = Expected { issuer: &issuer.issuer, audiences: &audiences, is_id_token: false };
        let claims = written.verify(&known.keys, &expected, now).map_err(fault)?;
        let holder = Holder::Foreign {
            id: stand_in(&issuer.issuer, subject(&claims).map_err(fault)?),
            roles: roles(issuer, &claims),
        };
        let expires = expiry(&claims).map_err(fault)?;
        let verified =
            Arc::new(Verified { holder, key, jti: None, expires, claims, standing: OnceLock::new() });
        let entry = Entry { verified: Arc::clone(&verified), settings: Arc::clone(settings), known };
        self.foreigners().seen.lock().put(Box::from(token), entry);
        Ok(verified)
    }
}

/// The issuer that a token says it is of, if that is one that the project accepts.
fn issuer<'s>(settings: &'s Settings, token: &str) -> Option<&'s Issuer> {
    let all = &settings.project.issuers;
    if all.is_empty() || token.len() > super::token::MAX_BYTES {
        return None;
    }
    let said = unverified(token, "iss")?;
    // Ours are ours, whatever the project says.
    if said == super::token::ISSUER || said == settings.issuer() {
        return None;
    }
    all.values().find(|issuer| issuer.issuer == said)
}

/// The id of somebody else's user (RFC 9562, 5.5): none of ours is of this version.
fn stand_in(issuer: &str, subject: &str) -> Uuid {
    let space = Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes());
    Uuid::new_v5(&space, subject.as_bytes())
}

/// The roles that count: those that its claim names and the project lets it name.
fn roles(issuer: &Issuer, claims: &Map<String, Value>) -> Vec<String> {
    let Some(path) = &issuer.roles_claim else { return Vec::new() };
    // A name with dots in it, or a path through objects.
    let claim = claims.get(path).or_else(|| {
        let mut parts = path.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    });
    let named: Vec<&str> = match claim {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(all)) => all.split(' ').collect(),
        _ => Vec::new(),
    };
    issuer.roles.iter().filter(|role| named.contains(&role.as_str())).cloned().collect()
}

fn fault(fault: ClaimFault) -> TokenFault {
    match fault {
        ClaimFault::TooLong => TokenFault::TooLong,
        ClaimFault::Parts => TokenFault::Parts,
        ClaimFault::Header => TokenFault::Header,
        ClaimFault::Algorithm => TokenFault::Algorithm,
        ClaimFault::Signature => TokenFault::Signature,
        ClaimFault::Payload => TokenFault::Payload,
        ClaimFault::Issuer => TokenFault::Issuer,
        ClaimFault::Audience => TokenFault::Audience,
        ClaimFault::Expired => TokenFault::Expired,
        ClaimFault::Early => TokenFault::NotYetValid,
        ClaimFault::Claim(name) => TokenFault::Claim(name),
        // Only ID tokens have these.
        ClaimFault::Nonce => TokenFault::Claim("nonce"),
        ClaimFault::AccessToken => TokenFault::Claim("at_hash"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_roles_that_the_project_lets_it_name_count() {
        let issuer = |claim: &str| Issuer {
            issuer: "https://id.test".to_owned(),
            audience: "app".to_owned(),
            roles_claim: Some(claim.to_owned()),
            roles: vec!["editor".to_owned(), "viewer".to_owned()],
        };
        let editor: &[&str] = &["editor"];
        for (claim, claims, expected) in [
            ("roles", json!({ "roles": ["editor", "admin", "service_role"] }), editor),
            ("roles", json!({ "roles": "admin editor" }), editor),
            ("realm.roles", json!({ "realm": { "roles": ["editor"] } }), editor),
            ("realm.roles", json!({ "realm.roles": ["editor"], "realm": { "roles": ["viewer"] } }), editor),
            ("https://app.test/roles", json!({ "https://app.test/roles": ["editor"] }), editor),
            ("roles", json!({ "roles": { "editor": true } }), &[]),
            ("roles", json!({ "roles": [["editor"], 7] }), &[]),
            ("roles", json!({ "role": ["editor"] }), &[]),
            ("realm.roles.x", json!({ "realm": { "roles": ["editor"] } }), &[]),
        ] {
            assert_eq!(roles(&issuer(claim), claims.as_object().unwrap()), expected, "{claim} {claims}");
        }
    }

    #[test]
    fn a_stand_in_is_one_of_one_issuer_and_none_of_ours() {
        let id = stand_in("https://id.test", "7");
        assert_eq!(id, stand_in("https://id.test", "7"));
        assert_ne!(id, stand_in("https://id.test", "8"));
        assert_ne!(id, stand_in("https://other.test", "7"));
        assert_ne!(stand_in("https://id.test/a", "b"), stand_in("https://id.test/", "ab"));
        assert_eq!(id.get_version_num(), 5);
    }
}
