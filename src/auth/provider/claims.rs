//! Tokens of other issuers: their signature and their claims (OpenID Connect Core 3.1.3.7, RFC 7519).

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::keys::{KeySet, algorithm};

/// Seconds by which two clocks may differ.
const SKEW: i64 = 30;
/// A token longer than this is refused before anything is decoded.
const MAX_BYTES: usize = 16 << 10;
/// Members of a header that would make us take keys or rules from the token itself.
const REFUSED: [&str; 9] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "epk"];

/// Why another issuer's token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimFault {
    #[error("it is longer than 16 KiB")]
    TooLong,
    #[error("it has not three parts")]
    Parts,
    #[error("its header cannot be used")]
    Header,
    #[error("its algorithm is none that a public key can verify")]
    Algorithm,
    #[error("no key of its issuer made the signature")]
    Signature,
    #[error("its payload cannot be decoded")]
    Payload,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not yet valid")]
    Early,
    #[error("the claim '{0}' is missing or of another type")]
    Claim(&'static str),
    #[error("its nonce is another")]
    Nonce,
    #[error("it was given with another access token")]
    AccessToken,
}

/// A token as it was written, before anything of it is believed.
pub struct Written<'t> {
    message: &'t str,
    signature: &'t str,
    pub algorithm: Algorithm,
    pub key: Option<String>,
    /// It says of itself that it is an access token (RFC 9068, 2.1).
    is_access: bool,
    claims: Map<String, Value>,
}

/// A claim of a token that was not verified: good for finding out who could verify it, and for nothing else.
pub fn unverified(token: &str, claim: &str) -> Option<String> {
    if token.len() > MAX_BYTES {
        return None;
    }
    let payload = token.split('.').nth(1)?;
    let mut claims: Map<String, Value> =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    match claims.remove(claim)? {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl<'t> Written<'t> {
    /// Reads a token.
    pub fn read(token: &'t str) -> Result<Written<'t>, ClaimFault> {
        if token.len() > MAX_BYTES {
            return Err(ClaimFault::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(ClaimFault::Parts)?;
        let (header, payload) = message.split_once('.').ok_or(ClaimFault::Parts)?;
        if payload.contains('.') {
            return Err(ClaimFault::Parts);
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| ClaimFault::Header)?;
        let header: Map<String, Value> = serde_json::from_slice(&header).map_err(|_| ClaimFault::Header)?;
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(ClaimFault::Header);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(ClaimFault::Header),
        };
        // `at+jwt` is an access token (RFC 9068); other types are not for signing in.
        let typ = text("typ")?.map(str::to_ascii_lowercase);
        if !matches!(typ.as_deref(), None | Some("jwt" | "at+jwt" | "application/at+jwt")) {
            return Err(ClaimFault::Header);
        }
        let is_access = typ.is_some_and(|typ| typ != "jwt");
        let algorithm = text("alg")?.and_then(algorithm).ok_or(ClaimFault::Algorithm)?;
        let key = text("kid")?.map(str::to_owned);
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| ClaimFault::Payload)?;
        let claims = serde_json::from_slice(&payload).map_err(|_| ClaimFault::Payload)?;
        Ok(Written { message, signature, algorithm, key, is_access, claims })
    }

    /// Its claims, if one of the keys has signed them and they are what is expected at `now` (seconds since the epoch).
    pub fn verify(
        self,
        keys: &KeySet,
        expected: &Expected<'_>,
        now: i64,
    ) -> Result<Map<String, Value>, ClaimFault> {
        // An access token is no proof that its subject is here (RFC 9068, 4 and 5).
        if expected.is_id_token && self.is_access {
            return Err(ClaimFault::Header);
        }
        if !keys.verifies(self.key.as_deref(), self.algorithm, self.message.as_bytes(), self.signature) {
            return Err(ClaimFault::Signature);
        }
        expected.judge(&self.claims, now)?;
        Ok(self.claims)
    }
}

/// What a token has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    /// One of these must be its audience.
    pub audiences: &'a [&'a str],
    /// It is an ID token: of several audiences one has to be named as the party it was made for, and it says when it was made.
    pub is_id_token: bool,
}

impl Expected<'_> {
    fn judge(&self, claims: &Map<String, Value>, now: i64) -> Result<(), ClaimFault> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer) {
            return Err(ClaimFault::Issuer);
        }
        self.audience(claims)?;
        let expires = expiry(claims)?;
        if expires.saturating_add(SKEW) <= now {
            return Err(ClaimFault::Expired);
        }
        let latest = now.saturating_add(SKEW);
        let issued = time(claims, "iat")?;
        if self.is_id_token && issued.is_none() {
            return Err(ClaimFault::Claim("iat"));
        }
        if issued.is_some_and(|at| at > latest) || time(claims, "nbf")?.is_some_and(|at| at > latest) {
            return Err(ClaimFault::Early);
        }
        subject(claims)?;
        Ok(())
    }

    fn audience(&self, claims: &Map<String, Value>) -> Result<(), ClaimFault> {
        let fits = |value: &Value| value.as_str().is_some_and(|text| self.audiences.contains(&text));
        let several = match claims.get("aud") {
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
                if !all.iter().any(fits) {
                    return Err(ClaimFault::Audience);
                }
                all.len() > 1
            }
            Some(one @ Value::String(_)) if fits(one) => false,
            Some(Value::String(_)) => return Err(ClaimFault::Audience),
            Some(_) | None => return Err(ClaimFault::Claim("aud")),
        };
        if self.is_id_token && several && !claims.get("azp").is_some_and(fits) {
            return Err(ClaimFault::Audience);
        }
        Ok(())
    }
}

/// Who it is about: a text of at most 255 characters (OpenID Connect Core 2).
pub fn subject(claims: &Map<String, Value>) -> Result<&str, ClaimFault> {
    let subject = claims.get("sub").and_then(Value::as_str);
    let fits =
        |text: &&str| !text.is_empty() && text.chars().count() <= 255 && !text.chars().any(char::is_control);
    subject.filter(fits).ok_or(ClaimFault::Claim("sub"))
}

/// After which second it is dead.
pub fn expiry(claims: &Map<String, Value>) -> Result<i64, ClaimFault> {
    time(claims, "exp")?.ok_or(ClaimFault::Claim("exp"))
}

/// Judges the half hash of an access token that an ID token may carry (OpenID Connect Core 3.1.3.6).
pub fn judge_access_token(
    claims: &Map<String, Value>,
    algorithm: Algorithm,
    access_token: &str,
) -> Result<(), ClaimFault> {
    let Some(claim) = claims.get("at_hash") else { return Ok(()) };
    let by = match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => &digest::SHA256,
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => &digest::SHA384,
        // Ed25519 is used with SHA-512.
        _ => &digest::SHA512,
    };
    let hash = digest::digest(by, access_token.as_bytes());
    let half = hash.as_ref().get(..hash.as_ref().len() / 2).unwrap_or_default();
    let expected = URL_SAFE_NO_PAD.encode(half);
    if claim.as_str() == Some(&expected) { Ok(()) } else { Err(ClaimFault::AccessToken) }
}

/// A NumericDate (RFC 7519, 2) in whole seconds.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, ClaimFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| {
                // The cast saturates, which is right for a time beyond all times.
                number.as_f64().filter(|n| n.is_finite()).map(|n| n.floor() as i64)
            });
            whole.map(Some).ok_or(ClaimFault::Claim(name))
        }
        Some(_) => Err(ClaimFault::Claim(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::{Algorithm as Own, Keyring};
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;
    const ISSUER: &str = "https://id.test";

    struct Signer {
        ring: Keyring,
        jwk: Value,
        set: KeySet,
    }

    fn signer(algorithm: Own) -> Signer {
        let ring = Keyring::generate(algorithm, NOW).unwrap();
        let jwk = ring.jwks()["keys"][0].clone();
        let set = json!({ "keys": [{ "kty": "unknown" }, 7, jwk] });
        Signer { set: KeySet::parse(&serde_json::to_vec(&set).unwrap()).unwrap(), jwk, ring }
    }

    impl Signer {
        fn token(&self, header: &Value, claims: &Value) -> String {
            let mut text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(header).unwrap());
            text.push('.');
            text.push_str(&URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap()));
            let signature = self.ring.active().sign(text.as_bytes()).unwrap();
            format!("{text}.{signature}")
        }

        fn judge(&self, token: &str) -> Result<Map<String, Value>, ClaimFault> {
            let expected = Expected { issuer: ISSUER, audiences: &["app", "native"], is_id_token: true };
            Written::read(token)?.verify(&self.set, &expected, NOW)
        }
    }

    fn with(changes: &Value) -> Value {
        let mut claims = json!({ "iss": ISSUER, "aud": "app", "sub": "7", "exp": NOW + 60, "iat": NOW });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    #[test]
    fn claims_are_judged_one_by_one() {
        for algorithm in [Own::Es256, Own::EdDsa] {
            let signer = signer(algorithm);
            let header =
                json!({ "alg": algorithm.as_str(), "kid": signer.ring.active().kid(), "x5t": "passed over" });
            for (changes, expected) in [
                (json!({}), None),
                (json!({ "aud": ["app"] }), None),
                (json!({ "aud": "native" }), None),
                (json!({ "aud": ["app", "other"], "azp": "app" }), None),
                (json!({ "exp": NOW as f64 + 0.5 }), None),
                (json!({ "exp": NOW - 29 }), None),
                (json!({ "iss": "https://id.test/" }), Some(ClaimFault::Issuer)),
                (json!({ "iss": "https://evil.test" }), Some(ClaimFault::Issuer)),
                (json!({ "iss": [ISSUER] }), Some(ClaimFault::Issuer)),
                (json!({ "iss": null }), Some(ClaimFault::Issuer)),
                (json!({ "aud": "other" }), Some(ClaimFault::Audience)),
                (json!({ "aud": ["other"] }), Some(ClaimFault::Audience)),
                (json!({ "aud": [] }), Some(ClaimFault::Audience)),
                (json!({ "aud": ["app", 7] }), Some(ClaimFault::Claim("aud"))),
                (json!({ "aud": { "app": true } }), Some(ClaimFault::Claim("aud"))),
                (json!({ "aud": null }), Some(ClaimFault::Claim("aud"))),
                (json!({ "aud": ["app", "other"] }), Some(ClaimFault::Audience)),
                (json!({ "aud": ["app", "other"], "azp": "other" }), Some(ClaimFault::Audience)),
                (json!({ "aud": ["app", "other"], "azp": ["app"] }), Some(ClaimFault::Audience)),
                (json!({ "exp": NOW - 30 }), Some(ClaimFault::Expired)),
                (json!({ "exp": null }), Some(ClaimFault::Claim("exp"))),
                (json!({ "exp": (NOW + 60).to_string() }), Some(ClaimFault::Claim("exp"))),
                (json!({ "exp": [NOW + 60] }), Some(ClaimFault::Claim("exp"))),
                (json!({ "iat": null }), Some(ClaimFault::Claim("iat"))),
                (json!({ "iat": "now" }), Some(ClaimFault::Claim("iat"))),
                (json!({ "iat": NOW + 31 }), Some(ClaimFault::Early)),
                (json!({ "nbf": NOW + 31 }), Some(ClaimFault::Early)),
                (json!({ "nbf": true }), Some(ClaimFault::Claim("nbf"))),
                (json!({ "sub": null }), Some(ClaimFault::Claim("sub"))),
                (json!({ "sub": "" }), Some(ClaimFault::Claim("sub"))),
                (json!({ "sub": 7 }), Some(ClaimFault::Claim("sub"))),
                (json!({ "sub": "a".repeat(256) }), Some(ClaimFault::Claim("sub"))),
                (json!({ "sub": "a\0b" }), Some(ClaimFault::Claim("sub"))),
            ] {
                let token = signer.token(&header, &with(&changes));
                assert_eq!(signer.judge(&token).err(), expected, "{changes}");
            }
        }
    }

    #[test]
    fn only_the_key_decides_how_it_is_verified() {
        let signer = signer(Own::Es256);
        let kid = signer.ring.active().kid();
        let claims = with(&json!({}));
        let jwk = &signer.jwk;
        for (header, expected) in [
            (json!({ "alg": "ES256", "kid": kid, "typ": "JWT" }), None),
            (json!({ "alg": "ES256" }), None),
            (json!({ "alg": "ES256", "typ": "at+jwt" }), Some(ClaimFault::Header)),
            (json!({ "alg": "ES256", "typ": "application/AT+JWT" }), Some(ClaimFault::Header)),
            (json!({ "alg": "none", "kid": kid }), Some(ClaimFault::Algorithm)),
            (json!({ "alg": "None", "kid": kid }), Some(ClaimFault::Algorithm)),
            (json!({ "alg": "", "kid": kid }), Some(ClaimFault::Algorithm)),
            (json!({ "kid": kid }), Some(ClaimFault::Algorithm)),
            (json!({ "alg": "HS256", "kid": kid }), Some(ClaimFault::Algorithm)),
            (json!({ "alg": "HS512" }), Some(ClaimFault::Algorithm)),
            (json!({ "alg": "es256", "kid": kid }), Some(ClaimFault::Algorithm)),
            (json!({ "alg": "ES384", "kid": kid }), Some(ClaimFault::Signature)),
            (json!({ "alg": "RS256", "kid": kid }), Some(ClaimFault::Signature)),
            (json!({ "alg": "EdDSA", "kid": kid }), Some(ClaimFault::Signature)),
            (json!({ "alg": "ES256", "kid": "other" }), Some(ClaimFault::Signature)),
            (json!({ "alg": "ES256", "kid": "../../dev/null" }), Some(ClaimFault::Signature)),
            (json!({ "alg": "ES256", "kid": 7 }), Some(ClaimFault::Header)),
            (json!({ "alg": ["ES256"], "kid": kid }), Some(ClaimFault::Header)),
            (json!({ "alg": "ES256", "kid": kid, "jwk": jwk }), Some(ClaimFault::Header)),
            (json!({ "alg": "ES256", "kid": kid, "jku": "https://evil.test" }), Some(ClaimFault::Header)),
            (json!({ "alg": "ES256", "kid": kid, "crit": [] }), Some(ClaimFault::Header)),
            (json!({ "alg": "ES256", "kid": kid, "typ": "logout+jwt" }), Some(ClaimFault::Header)),
        ] {
            assert_eq!(signer.judge(&signer.token(&header, &claims)).err(), expected, "{header}");
        }
        // For what an access token is for, it is taken.
        let access = signer.token(&json!({ "alg": "ES256", "typ": "at+jwt" }), &claims);
        let expected = Expected { issuer: ISSUER, audiences: &["app"], is_id_token: false };
        assert!(Written::read(&access).unwrap().verify(&signer.set, &expected, NOW).is_ok());
        let token = signer.token(&json!({ "alg": "ES256" }), &claims);
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(signer.judge(&format!("{message}.")).err(), Some(ClaimFault::Signature));
        assert_eq!(signer.judge(message).err(), Some(ClaimFault::Parts));
        assert_eq!(signer.judge(&format!("{token}.{signature}")).err(), Some(ClaimFault::Parts));
        assert_eq!(signer.judge(&"a".repeat(20_000)).err(), Some(ClaimFault::TooLong));
        // Another's signature.
        let other = self::signer(Own::Es256).token(&json!({ "alg": "ES256" }), &claims);
        assert_eq!(signer.judge(&other).err(), Some(ClaimFault::Signature));
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let jwk = signer(Own::Es256).jwk;
        let set = |changes: Value| {
            let mut jwk = jwk.clone();
            for (name, value) in changes.as_object().unwrap() {
                jwk[name] = value.clone();
            }
            KeySet::parse(&serde_json::to_vec(&json!({ "keys": [jwk] })).unwrap()).unwrap()
        };
        assert!(!set(json!({})).is_empty());
        for changes in [
            json!({ "use": "enc" }),
            json!({ "key_ops": ["sign"] }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "RS256" }),
            json!({ "alg": "none" }),
            json!({ "kty": "oct", "k": "c2VjcmV0" }),
            json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }),
            json!({ "crv": "secp256k1" }),
        ] {
            assert!(set(changes.clone()).is_empty(), "{changes}");
        }
        assert!(KeySet::parse(b"[]").is_err() && KeySet::parse(b"{}").is_err());
    }
}
