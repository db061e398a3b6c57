//! Refresh tokens: what one looks like, and what is to be done when one is shown.
//!
//! A token is `session ‖ counter ‖ secret ‖ tag` in base64url. The database holds a hash of the one in force, and for each of
//! the last ones the nonce that it was made with: `secret = HMAC(secret before, nonce)`. So whoever shows the token before
//! can be given the one in force (two tabs that refresh at once stay signed in), and whoever reads the database has none.
//! The tag tells an old token of the session, whose reuse ends it, from something made up. Pure.

use aws_lc_rs::{constant_time, digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Bytes of a token before it is text: the session, the counter, the secret, the tag.
const BYTES: usize = 16 + 4 + 32 + 8;
/// Tokens whose nonces are remembered at most, however fast they follow on each other.
const CHAIN: usize = 256;

/// A token that was shown.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub session: Uuid,
    counter: u32,
    secret: [u8; 32],
    tag: [u8; 8],
}

/// How one token followed from another: its counter, the nonce (base64url), and when that was (seconds since the epoch).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link(u32, String, i64);

/// What the database holds of a session's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub counter: u32,
    pub tag_key: [u8; 32],
    pub token_hash: [u8; 32],
    pub chain: Vec<Link>,
}

/// What to do about a token that was shown.
#[derive(PartialEq, Eq)]
pub enum Verdict {
    /// It is the one in force: here is the next one, and what to store.
    Next(RefreshToken, Stored),
    /// It was used a moment ago, or the one in force was made from it: this is the one in force.
    Again(RefreshToken),
    /// It is an old one: two hold what one should.
    Reused,
    /// It never was one of this session.
    Unknown,
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandom;

/// Random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], NoRandom> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    tag
}

impl RefreshToken {
    /// Reads what a client sent.
    pub fn parse(text: &str) -> Option<RefreshToken> {
        // The length first, so that nothing long is decoded.
        if text.len() != BYTES.div_ceil(3) * 4 {
            return None;
        }
        let bytes: [u8; BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (session, rest) = bytes.split_first_chunk::<16>()?;
        let (counter, rest) = rest.split_first_chunk::<4>()?;
        let (secret, rest) = rest.split_first_chunk::<32>()?;
        let tag = rest.first_chunk::<8>()?;
        Some(RefreshToken {
            session: Uuid::from_bytes(*session),
            counter: u32::from_be_bytes(*counter),
            secret: *secret,
            tag: *tag,
        })
    }

    /// As it travels.
    pub fn text(&self) -> String {
        let mut bytes = self.body();
        bytes.extend_from_slice(&self.tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(self.session.as_bytes());
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        bytes.extend_from_slice(&self.secret);
        bytes
    }

    fn of(session: Uuid, counter: u32, secret: [u8; 32], tag_key: &[u8; 32]) -> RefreshToken {
        let token = RefreshToken { session, counter, secret, tag: [0; 8] };
        let tag = mac(tag_key, &token.body());
        let mut short = [0; 8];
        short.copy_from_slice(&tag[..8]);
        RefreshToken { tag: short, ..token }
    }

    fn is_of(&self, tag_key: &[u8; 32]) -> bool {
        let tag = mac(tag_key, &self.body());
        constant_time::verify_slices_are_equal(&tag[..8], &self.tag).is_ok()
    }

    fn next(&self, nonce: &[u8], tag_key: &[u8; 32]) -> RefreshToken {
        RefreshToken::of(self.session, self.counter.wrapping_add(1), mac(&self.secret, nonce), tag_key)
    }
}

/// The first token of a session.
pub fn first(session: Uuid) -> Result<(RefreshToken, Stored), NoRandom> {
    let tag_key = random()?;
    let token = RefreshToken::of(session, 0, random()?, &tag_key);
    let token_hash = sha256(&token.body());
    Ok((token, Stored { counter: 0, tag_key, token_hash, chain: Vec::new() }))
}

/// A token that does not follow from the one in force, which nobody can be given any more: whoever holds that one alone is
/// not to have what the session was raised to. To show it again is reuse.
pub fn anew(session: Uuid, stored: &Stored) -> Result<(RefreshToken, Stored), NoRandom> {
    // Two further, so that the one in force is not its parent.
    let counter = stored.counter.wrapping_add(2);
    let token = RefreshToken::of(session, counter, random()?, &stored.tag_key);
    let token_hash = sha256(&token.body());
    Ok((token, Stored { counter, tag_key: stored.tag_key, token_hash, chain: Vec::new() }))
}

/// Judges a token against what is stored of its session. Times are seconds since the epoch; `reuse` is how long after its
/// use a token may be shown again.
pub fn judge(shown: &RefreshToken, stored: &Stored, now: i64, reuse: i64) -> Result<Verdict, NoRandom> {
    if !shown.is_of(&stored.tag_key) {
        return Ok(Verdict::Unknown);
    }
    let is_in_force = |token: &RefreshToken| {
        constant_time::verify_slices_are_equal(&sha256(&token.body()), &stored.token_hash).is_ok()
    };
    if shown.counter == stored.counter && is_in_force(shown) {
        let nonce: [u8; 16] = random()?;
        let next = shown.next(&nonce, &stored.tag_key);
        // Nobody asks for what was used before the interval, except for the one that is used now.
        let mut chain: Vec<Link> = stored.chain.iter().filter(|link| now - link.2 < reuse).cloned().collect();
        chain.push(Link(next.counter, URL_SAFE_NO_PAD.encode(nonce), now));
        if chain.len() > CHAIN {
            chain.remove(0);
        }
        let token_hash = sha256(&next.body());
        let stored = Stored { counter: next.counter, tag_key: stored.tag_key, token_hash, chain };
        return Ok(Verdict::Next(next, stored));
    }
    if shown.counter >= stored.counter {
        return Ok(Verdict::Reused);
    }
    // From the one that was shown to the one in force, by the nonces in between.
    let since: Vec<&Link> = stored.chain.iter().filter(|link| link.0 > shown.counter).collect();
    let is_parent = shown.counter + 1 == stored.counter;
    let is_recent = since.first().is_some_and(|link| link.0 == shown.counter + 1 && now - link.2 < reuse);
    if !is_parent && !is_recent {
        return Ok(Verdict::Reused);
    }
    let mut token = shown.clone();
    for link in since {
        let Ok(nonce) = URL_SAFE_NO_PAD.decode(&link.1) else { return Ok(Verdict::Reused) };
        token = token.next(&nonce, &stored.tag_key);
    }
    Ok(if is_in_force(&token) { Verdict::Again(token) } else { Verdict::Reused })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;
    const REUSE: i64 = 10;

    fn session() -> (RefreshToken, Stored) {
        first(Uuid::from_u128(7)).unwrap()
    }

    fn next(shown: &RefreshToken, stored: &mut Stored, now: i64) -> RefreshToken {
        match judge(shown, stored, now, REUSE).unwrap() {
            Verdict::Next(token, kept) => {
                *stored = kept;
                token
            }
            Verdict::Again(_) | Verdict::Reused | Verdict::Unknown => panic!("not the one in force"),
        }
    }

    fn word(shown: &RefreshToken, stored: &Stored, now: i64) -> &'static str {
        match judge(shown, stored, now, REUSE).unwrap() {
            Verdict::Next(..) => "next",
            Verdict::Again(_) => "again",
            Verdict::Reused => "reused",
            Verdict::Unknown => "unknown",
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let (token, _) = session();
        assert_eq!(token.text().len(), 80);
        assert!(RefreshToken::parse(&token.text()).unwrap() == token);
        for bad in ["", "short", &"a".repeat(79), &"a".repeat(81), &"!".repeat(80)] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_token_before_answers_with_the_one_in_force_however_late() {
        let (first, mut stored) = session();
        let second = next(&first, &mut stored, NOW);
        for late in [0, 5, REUSE, 100_000] {
            match judge(&first, &stored, NOW + late, REUSE).unwrap() {
                Verdict::Again(token) => assert!(token == second),
                _ => panic!("the parent of the one in force"),
            }
        }
    }

    #[test]
    fn an_older_one_is_good_for_the_interval_only() {
        let (first, mut stored) = session();
        let second = next(&first, &mut stored, NOW);
        let third = next(&second, &mut stored, NOW + 3);
        match judge(&first, &stored, NOW + REUSE - 1, REUSE).unwrap() {
            Verdict::Again(token) => assert!(token == third),
            _ => panic!("within the interval"),
        }
        assert_eq!(word(&first, &stored, NOW + REUSE), "reused");
        assert_eq!(word(&second, &stored, NOW + 1_000), "again");
        assert_eq!(word(&third, &stored, NOW + 1_000), "next");
    }

    #[test]
    fn what_is_older_than_memory_is_reuse_and_never_a_stranger() {
        let (first, mut stored) = session();
        let mut token = first.clone();
        for _ in 0..300 {
            token = next(&token, &mut stored, NOW);
        }
        assert_eq!(stored.chain.len(), CHAIN);
        assert_eq!(word(&first, &stored, NOW), "reused");
        token = next(&token, &mut stored, NOW + REUSE + 1);
        assert_eq!(stored.chain.len(), 1);
        assert_eq!(word(&first, &stored, NOW + REUSE + 1), "reused");
        assert_eq!(word(&token, &stored, NOW + REUSE + 1), "next");
    }

    #[test]
    fn nothing_leads_from_the_tokens_before_to_one_made_anew() {
        let (first, mut stored) = session();
        let second = next(&first, &mut stored, NOW);
        let (raised, mut stored) = anew(Uuid::from_u128(7), &stored).unwrap();
        for before in [&first, &second] {
            assert_eq!(word(before, &stored, NOW), "reused");
        }
        let after = next(&raised, &mut stored, NOW);
        assert_eq!(word(&raised, &stored, NOW), "again");
        assert_eq!(word(&second, &stored, NOW), "reused");
        assert_eq!(word(&after, &stored, NOW), "next");
    }

    #[test]
    fn what_was_made_up_is_unknown() {
        let (token, stored) = session();
        let (other, _) = session();
        assert_eq!(word(&other, &stored, NOW), "unknown");
        for changed in [
            RefreshToken { counter: 1, ..token.clone() },
            RefreshToken { session: Uuid::nil(), ..token.clone() },
            RefreshToken { secret: [0; 32], ..token.clone() },
            RefreshToken { tag: [0; 8], ..token },
        ] {
            assert_eq!(word(&changed, &stored, NOW), "unknown");
        }
    }
}
