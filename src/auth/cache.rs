//! [`TokenCache`]: what a worker verified lately, so that a burst of requests pays for one signature.
//!
//! A hit is only ever the same text under the same keyring: entries die with the keyring that vouched
//! for them, and time is judged anew on every use. Revocation by id is the caller's check, on every use too.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::keys::Keyring;
use super::token::{self, TokenFault, Verified};

/// Verified tokens of one worker. Bounded; keyed by the whole token.
#[derive(Debug)]
pub struct TokenCache {
    verified: LruCache<Box<str>, Arc<Verified>>,
    /// Who vouched for the entries. Held, so that its address cannot be taken by another keyring.
    ring: Option<Arc<Keyring>>,
}

impl TokenCache {
    /// A cache of at most `room` tokens.
    pub fn new(room: NonZeroUsize) -> TokenCache {
        TokenCache { verified: LruCache::new(room), ring: None }
    }

    /// Verifies a token, or remembers having done so. Refused tokens are not kept: they would let a
    /// stranger push out those of others.
    pub fn verify(
        &mut self,
        token: &str,
        ring: &Arc<Keyring>,
        now: i64,
    ) -> Result<Arc<Verified>, TokenFault> {
        if !self.ring.as_ref().is_some_and(|known| Arc::ptr_eq(known, ring)) {
            self.verified.clear();
            self.ring = Some(Arc::clone(ring));
        }
        if let Some(known) = self.verified.get(token) {
            if known.is_alive(now) {
                return Ok(Arc::clone(known));
            }
            self.verified.pop(token);
        }
        let fresh = Arc::new(token::verify(token, ring, now)?);
        self.verified.put(Box::from(token), Arc::clone(&fresh));
        Ok(fresh)
    }

    /// How many tokens it holds.
    pub fn len(&self) -> usize {
        self.verified.len()
    }

    pub fn is_empty(&self) -> bool {
        self.verified.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Algorithm;
    use uuid::Uuid;

    const NOW: i64 = 1_800_000_000;

    fn cache() -> TokenCache {
        TokenCache::new(NonZeroUsize::new(4).unwrap())
    }

    #[test]
    fn a_remembered_token_still_expires() {
        let ring = Arc::new(Keyring::generate(Algorithm::Hs256, NOW).unwrap());
        let token =
            token::mint_operator(ring.active(), Uuid::nil(), "authenticated", &[], NOW, NOW + 60).unwrap();
        let mut cache = cache();
        assert!(cache.verify(&token, &ring, NOW).is_ok());
        assert!(cache.verify(&token, &ring, NOW + 59).is_ok());
        assert_eq!(cache.verify(&token, &ring, NOW + 91).unwrap_err(), TokenFault::Expired);
        assert!(cache.is_empty());
    }

    #[test]
    fn nothing_survives_a_change_of_the_keyring() {
        let old = Arc::new(Keyring::generate(Algorithm::EdDsa, NOW).unwrap());
        let mut cache = cache();
        assert!(cache.verify(old.secret(), &old, NOW).is_ok());
        let new = Arc::new(Keyring::generate(Algorithm::EdDsa, NOW).unwrap());
        assert_eq!(cache.verify(old.secret(), &new, NOW).unwrap_err(), TokenFault::UnknownKey);
        let mut revoked = Keyring::clone(&old);
        let jti = cache.verify(old.secret(), &old, NOW).unwrap().jti.clone().unwrap();
        revoked.revoke(&jti);
        assert_eq!(cache.verify(old.secret(), &Arc::new(revoked), NOW).unwrap_err(), TokenFault::Revoked);
    }

    #[test]
    fn the_cache_is_bounded_and_never_keeps_what_was_refused() {
        let ring = Arc::new(Keyring::generate(Algorithm::Hs256, NOW).unwrap());
        let mut cache = cache();
        for n in 0..20 {
            let token =
                token::mint_operator(ring.active(), Uuid::from_u128(n), "anon", &[], NOW, NOW + 60).unwrap();
            cache.verify(&token, &ring, NOW).unwrap();
            assert!(cache.verify(&format!("{token}x"), &ring, NOW).is_err());
            assert!(cache.len() <= 4);
        }
        assert_eq!(cache.len(), 4);
    }
}
