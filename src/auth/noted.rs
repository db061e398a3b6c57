//! [`Noted`]: a credential as it is written down with what its holder was granted, so that he can be judged again when that
//! is used: by the session, the ban, the roles and the keys of then.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::OnceLock;
use uuid::Uuid;

use super::keys::Keyring;
use super::token::{self, Holder, TokenFault, Verified};

/// What is kept of a verified credential. It proves nothing by itself: whoever can write it down has verified it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Noted {
    /// There was none.
    Nobody,
    /// A token of ours, without its signature.
    Own {
        /// The id of the key that signed it.
        key: String,
        claims: Map<String, Value>,
    },
    /// Another issuer's.
    Foreign { id: Uuid, roles: Vec<String>, key: String, expires: i64, claims: Map<String, Value> },
}

impl Noted {
    pub fn of(verified: Option<&Verified>) -> Noted {
        let Some(verified) = verified else { return Noted::Nobody };
        let (key, claims) = (verified.key.clone(), verified.claims.clone());
        match &verified.holder {
            Holder::Key { .. } | Holder::Operator { .. } | Holder::Session { .. } => {
                Noted::Own { key, claims }
            }
            Holder::Foreign { id, roles } => {
                Noted::Foreign { id: *id, roles: roles.clone(), key, expires: verified.expires, claims }
            }
        }
    }

    /// The credential, if it holds at `now` (seconds since the epoch) as far as that can be said without asking. A
    /// session lasts longer than the token that showed it, and is what has to be asked for; all else is over with the
    /// token.
    ///
    /// # Errors
    /// Why it holds no more.
    pub fn recall(&self, ring: &Keyring, now: i64) -> Result<Option<Verified>, TokenFault> {
        let verified = match self {
            Noted::Nobody => return Ok(None),
            Noted::Own { key, claims } => {
                ring.find(key).ok_or(TokenFault::UnknownKey)?;
                let expires = claims.get("exp").and_then(Value::as_i64).ok_or(TokenFault::Expiry)?;
                let in_time = now.min(expires.saturating_sub(1));
                let is_session = claims.contains_key("session_id");
                token::judge(claims.clone(), key.clone(), if is_session { in_time } else { now })?
            }
            Noted::Foreign { id, roles, key, expires, claims } => Verified {
                holder: Holder::Foreign { id: *id, roles: roles.clone() },
                key: key.clone(),
                jti: None,
                expires: *expires,
                claims: claims.clone(),
                standing: OnceLock::new(),
            },
        };
        if !matches!(verified.holder, Holder::Session { .. }) && !verified.is_alive(now) {
            return Err(TokenFault::Expired);
        }
        if verified.jti.as_ref().is_some_and(|jti| ring.revoked().contains(jti)) {
            return Err(TokenFault::Revoked);
        }
        Ok(Some(verified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Algorithm;
    use crate::auth::token::{Access, mint_access, mint_operator, verify};
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;
    const ID: Uuid = Uuid::from_u128(7);

    fn noted(token: &str, ring: &Keyring) -> Noted {
        let noted = Noted::of(Some(&verify(token, ring, NOW).unwrap()));
        // As the database gives it back.
        serde_json::from_value(serde_json::to_value(noted).unwrap()).unwrap()
    }

    #[test]
    fn a_session_outlives_its_token_and_an_operators_token_does_not() {
        let ring = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        let none = Map::new();
        let access = Access {
            issuer: "http://localhost/auth/v1",
            user: ID,
            session: Uuid::from_u128(8),
            email: "ada@example.test",
            is_anonymous: false,
            aal: 1,
            amr: &json!([]),
            app_metadata: &none,
            user_metadata: &none,
            issued: NOW,
            expires: NOW + 60,
        };
        let session = noted(&mint_access(ring.active(), &access).unwrap(), &ring);
        let held = session.recall(&ring, NOW + 7_000).unwrap().unwrap();
        assert!(matches!(held.holder, Holder::Session { id: ID, .. }));
        let operator = mint_operator(ring.active(), ID, "authenticated", &[], NOW, NOW + 60).unwrap();
        let operator = noted(&operator, &ring);
        assert!(operator.recall(&ring, NOW + 59).is_ok());
        assert_eq!(operator.recall(&ring, NOW + 7_000).unwrap_err(), TokenFault::Expired);
    }

    #[test]
    fn a_credential_dies_with_its_key_and_when_it_is_revoked() {
        let mut ring = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        let old = noted(ring.secret(), &ring);
        ring.rotate(Algorithm::Hs256, NOW).unwrap();
        let new = noted(ring.secret(), &ring);
        ring.drop_inactive();
        assert_eq!(old.recall(&ring, NOW).unwrap_err(), TokenFault::UnknownKey);
        assert!(new.recall(&ring, NOW).unwrap().is_some());
        let [_, secret] = ring.api_key_ids();
        ring.revoke(&secret.unwrap());
        assert_eq!(new.recall(&ring, NOW).unwrap_err(), TokenFault::Revoked);
        assert!(Noted::of(None).recall(&ring, NOW).unwrap().is_none());
    }
}
