//! [`Keyring`]: the signing keys of an installation and the two API keys that they vouch for.
//!
//! Every key has an id (`kid`) and exactly one algorithm: a token names the key, the key alone decides
//! the algorithm. New tokens are signed by the active key; the others only verify, so that a rotation
//! overlaps. Holds secrets: never `Debug` their bytes. Does not know files, environment or HTTP.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::provider::claims::unverified;
use super::token::{self, Holder, KeyRole};

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256; its public half is published.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519; its public half is published.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC with SHA-256: whoever can verify can also sign, so it is never published.
    #[serde(rename = "HS256")]
    Hs256,
}

impl Algorithm {
    /// The `alg` of a token's header (RFC 7518, RFC 8037).
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Hs256 => "HS256",
        }
    }

    fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

/// Why keys cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    #[error("a secret has at least 32 bytes; this one has {0}: make one with `openssl rand -base64 48`")]
    Short(usize),
    #[error(
        "this secret stands in public documentation, so everyone knows it: make one with `openssl rand -base64 48`"
    )]
    Known,
    #[error("this secret repeats the same few characters: make one with `openssl rand -base64 48`")]
    Weak,
    #[error("two signing keys share the id or the secret of `{0}`")]
    Twice(String),
    #[error("the active key `{0}` is not among the signing keys")]
    NoActive(String),
    #[error("no signing key has the id `{0}`")]
    NoSuchKey(String),
    #[error("`{0}` is the active key: rotate first")]
    StillActive(String),
    #[error("the private half of key `{0}` cannot be read")]
    Private(String),
    #[error("the {0} key is not one of these signing keys' API keys: {1}")]
    ApiKey(&'static str, String),
    #[error("the keys are no valid JSON of their kind: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the operating system gave no random bytes")]
    Random,
    #[error("signing failed")]
    Signing,
}

/// One key that signs or verifies.
#[derive(Clone)]
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    /// PKCS#8 for key pairs, the secret itself for HS256.
    private: Vec<u8>,
    /// The published half as a JWK (RFC 7517), for key pairs.
    public: Option<serde_json::Value>,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Seconds since the epoch.
    created: i64,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.kid, self.algorithm.as_str())
    }
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate(algorithm: Algorithm, now: i64) -> Result<SigningKey, KeyFault> {
        let random = rand::SystemRandom::new();
        let private = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                .map_err(|_| KeyFault::Random)?
                .as_ref()
                .to_vec(),
            Algorithm::EdDsa => {
                Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| KeyFault::Random)?.as_ref().to_vec()
            }
            Algorithm::Hs256 => {
                let mut secret = vec![0; 48];
                rand::fill(&mut secret).map_err(|_| KeyFault::Random)?;
                secret
            }
        };
        let mut id = [0; 8];
        rand::fill(&mut id).map_err(|_| KeyFault::Random)?;
        SigningKey::assemble(hex(&id), algorithm, private, now)
    }

    fn assemble(
        kid: String,
        algorithm: Algorithm,
        private: Vec<u8>,
        created: i64,
    ) -> Result<SigningKey, KeyFault> {
        let unreadable = || KeyFault::Private(kid.clone());
        let (encoding, decoding, public) = match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &private)
                    .map_err(|_| unreadable())?;
                // An uncompressed point: 4, x, y (SEC 1, 2.3.3).
                let point = pair.public_key().as_ref();
                let (Some(4), Some(x), Some(y)) = (point.first(), point.get(1..33), point.get(33..65)) else {
                    return Err(unreadable());
                };
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                let decoding = DecodingKey::from_ec_components(&x, &y).map_err(|_| unreadable())?;
                let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
                (EncodingKey::from_ec_der(&private), decoding, Some(jwk))
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(&private).map_err(|_| unreadable())?;
                let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
                let decoding = DecodingKey::from_ed_components(&x).map_err(|_| unreadable())?;
                let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
                (EncodingKey::from_ed_der(&private), decoding, Some(jwk))
            }
            Algorithm::Hs256 => {
                check_secret(&private)?;
                (EncodingKey::from_secret(&private), DecodingKey::from_secret(&private), None)
            }
        };
        let public = public.map(|mut jwk| {
            if let Some(members) = jwk.as_object_mut() {
                members.insert("kid".to_owned(), json!(kid));
                members.insert("alg".to_owned(), json!(algorithm.as_str()));
                members.insert("use".to_owned(), json!("sig"));
                members.insert("key_ops".to_owned(), json!(["verify"]));
            }
            jwk
        });
        Ok(SigningKey { kid, algorithm, private, public, encoding, decoding, created })
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Seconds since the epoch at which it was made.
    pub fn created(&self) -> i64 {
        self.created
    }

    /// The signature over `message`, as the third part of a token.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, KeyFault> {
        jsonwebtoken::crypto::sign(message, &self.encoding, self.algorithm.library())
            .map_err(|_| KeyFault::Signing)
    }

    /// Whether `signature` (a token's third part) is this key's over `message`.
    pub(super) fn verifies(&self, signature: &str, message: &[u8]) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, self.algorithm.library())
            .unwrap_or(false)
    }
}

/// The signing keys, which of them is active, and the two API keys.
#[derive(Clone)]
pub struct Keyring {
    signing: Vec<SigningKey>,
    active: usize,
    publishable: String,
    secret: String,
    /// Ids (`jti`) of API keys and tokens that are refused, besides those that the database holds.
    revoked: BTreeSet<String>,
    /// The `iss` of access tokens. Not written down: it is where this server is found.
    issuer: Arc<str>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("signing", &self.signing).finish_non_exhaustive()
    }
}

/// How a keyring is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    active: String,
    signing: Vec<WrittenKey>,
    publishable: String,
    secret: String,
    #[serde(default)]
    revoked: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    kid: String,
    alg: Algorithm,
    /// PKCS#8 or the secret, base64url without padding.
    private: String,
    created: i64,
}

/// API keys live ten years: they are revoked by id, not by time.
const API_KEY_SECONDS: i64 = 10 * 365 * 24 * 3600;
/// API keys that follow from a shared secret must be the same on every node and after every start, so
/// their times are fixed: from 2026-01-01 to 2100-01-01.
const DERIVED_ISSUED: i64 = 1_767_225_600;
const DERIVED_EXPIRES: i64 = 4_102_444_800;

impl Keyring {
    /// A new keyring with one signing key.
    pub fn generate(algorithm: Algorithm, now: i64) -> Result<Keyring, KeyFault> {
        let key = SigningKey::generate(algorithm, now)?;
        let mint =
            |role| token::mint_api_key(&key, role, &Uuid::new_v4().to_string(), now, now + API_KEY_SECONDS);
        let (publishable, secret) = (mint(KeyRole::Anon)?, mint(KeyRole::Service)?);
        Ok(Keyring {
            signing: vec![key],
            active: 0,
            publishable,
            secret,
            revoked: BTreeSet::new(),
            issuer: Arc::from(token::ISSUER),
        })
    }

    /// The keyring that follows from one shared secret: one HS256 key and the same API keys on every node.
    pub fn from_secret(secret: &str) -> Result<Keyring, KeyFault> {
        check_secret(secret.as_bytes())?;
        let mac = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let derive = |label: &[u8]| {
            let tag = hmac::sign(&mac, label);
            hex(&tag.as_ref()[..16])
        };
        let kid = derive(b"basewright signing key");
        let key = SigningKey::assemble(kid, Algorithm::Hs256, secret.as_bytes().to_vec(), DERIVED_ISSUED)?;
        let mint = |role, label: &[u8]| {
            token::mint_api_key(&key, role, &derive(label), DERIVED_ISSUED, DERIVED_EXPIRES)
        };
        let publishable = mint(KeyRole::Anon, b"basewright publishable key")?;
        let service = mint(KeyRole::Service, b"basewright secret key")?;
        Ok(Keyring {
            signing: vec![key],
            active: 0,
            publishable,
            secret: service,
            revoked: BTreeSet::new(),
            issuer: Arc::from(token::ISSUER),
        })
    }

    /// Reads what [`Keyring::to_json`] wrote, and checks it: no key twice, no weak secret, API keys that hold.
    pub fn from_json(text: &str, now: i64) -> Result<Keyring, KeyFault> {
        let written: Written = serde_json::from_str(text)?;
        let mut signing: Vec<SigningKey> = Vec::new();
        for key in written.signing {
            let private =
                URL_SAFE_NO_PAD.decode(&key.private).map_err(|_| KeyFault::Private(key.kid.clone()))?;
            let key = SigningKey::assemble(key.kid, key.alg, private, key.created)?;
            if signing.iter().any(|other| other.kid == key.kid || other.private == key.private) {
                return Err(KeyFault::Twice(key.kid));
            }
            signing.push(key);
        }
        let active = signing
            .iter()
            .position(|key| key.kid == written.active)
            .ok_or(KeyFault::NoActive(written.active))?;
        let ring = Keyring {
            signing,
            active,
            publishable: written.publishable,
            secret: written.secret,
            revoked: BTreeSet::new(),
            issuer: Arc::from(token::ISSUER),
        };
        ring.check_api_key("publishable", &ring.publishable, KeyRole::Anon, now)?;
        ring.check_api_key("secret", &ring.secret, KeyRole::Service, now)?;
        // That one of them is revoked is no fault of the file: it is how everybody hears of it.
        Ok(Keyring { revoked: written.revoked, ..ring })
    }

    fn check_api_key(&self, what: &'static str, key: &str, role: KeyRole, now: i64) -> Result<(), KeyFault> {
        match token::verify(key, self, now) {
            Ok(verified) if matches!(&verified.holder, Holder::Key { role: held, .. } if *held == role) => {
                Ok(())
            }
            Ok(_) => Err(KeyFault::ApiKey(what, "it has another role".to_owned())),
            Err(fault) => Err(KeyFault::ApiKey(what, fault.to_string())),
        }
    }

    /// The keyring as JSON, private halves included: for a file of mode 0600 or a secret store.
    pub fn to_json(&self) -> Result<String, KeyFault> {
        let signing = self
            .signing
            .iter()
            .map(|key| WrittenKey {
                kid: key.kid.clone(),
                alg: key.algorithm,
                private: URL_SAFE_NO_PAD.encode(&key.private),
                created: key.created,
            })
            .collect();
        let written = Written {
            version: 1,
            active: self.active().kid.clone(),
            signing,
            publishable: self.publishable.clone(),
            secret: self.secret.clone(),
            revoked: self.revoked.clone(),
        };
        Ok(serde_json::to_string_pretty(&written)?)
    }

    /// Adds a new active key and mints new API keys with it. What the older keys signed stays valid until
    /// they are dropped.
    pub fn rotate(&mut self, algorithm: Algorithm, now: i64) -> Result<(), KeyFault> {
        let fresh = Keyring::generate(algorithm, now)?;
        self.signing.extend(fresh.signing);
        self.active = self.signing.len() - 1;
        self.publishable = fresh.publishable;
        self.secret = fresh.secret;
        Ok(())
    }

    /// Forgets a key that is not active: everything that it signed dies.
    pub fn drop_key(&mut self, kid: &str) -> Result<(), KeyFault> {
        let at = self
            .signing
            .iter()
            .position(|key| key.kid == kid)
            .ok_or_else(|| KeyFault::NoSuchKey(kid.to_owned()))?;
        if at == self.active {
            return Err(KeyFault::StillActive(kid.to_owned()));
        }
        self.signing.remove(at);
        if at < self.active {
            self.active -= 1;
        }
        Ok(())
    }

    /// Forgets every key but the active one.
    pub fn drop_inactive(&mut self) {
        let active = self.active().clone();
        self.signing = vec![active];
        self.active = 0;
    }

    /// Refuses the API key or token with this id from now on. False if it was refused already.
    pub fn revoke(&mut self, jti: &str) -> bool {
        self.revoked.insert(jti.to_owned())
    }

    /// The `iss` of access tokens: the address under which `/.well-known/openid-configuration` is found.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The same keys, which sign as this issuer.
    pub fn issuing_as(self, issuer: &str) -> Keyring {
        Keyring { issuer: Arc::from(issuer), ..self }
    }

    /// A keyed hash of a short secret, under each key: whoever reads the hashes alone cannot try all short secrets. The
    /// first is that of the active key.
    pub fn seals(&self, label: &str, secret: &[u8]) -> Vec<[u8; 32]> {
        let mut keys: Vec<&SigningKey> = vec![self.active()];
        keys.extend(self.signing.iter().filter(|key| key.kid != self.active().kid));
        keys.into_iter()
            .map(|key| {
                let own = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.private), b"basewright seal");
                let mut message = label.as_bytes().to_vec();
                message.push(0);
                message.extend_from_slice(secret);
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()), &message);
                let mut seal = [0; 32];
                seal.copy_from_slice(tag.as_ref());
                seal
            })
            .collect()
    }

    pub fn revoked(&self) -> &BTreeSet<String> {
        &self.revoked
    }

    /// The key that signs. There always is one.
    pub fn active(&self) -> &SigningKey {
        &self.signing[self.active]
    }

    pub fn signing(&self) -> &[SigningKey] {
        &self.signing
    }

    /// The key with this id.
    pub fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.signing.iter().find(|key| key.kid == kid)
    }

    /// The API key of role `anon`: may stand in a browser.
    pub fn publishable(&self) -> &str {
        &self.publishable
    }

    /// The API key of role `service_role`: only for servers.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The ids (`jti`) of the publishable and of the secret key, by which they are revoked.
    pub fn api_key_ids(&self) -> [Option<String>; 2] {
        [&self.publishable, &self.secret].map(|key| unverified(key, "jti"))
    }

    /// The public halves as a JWK Set (RFC 7517, 5). Shared secrets have none.
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = self.signing.iter().filter_map(|key| key.public.clone()).collect();
        json!({ "keys": keys })
    }
}

/// Secrets that stand in the documentation of programs whose users may bring theirs along.
const KNOWN: [&str; 4] = [
    "super-secret-jwt-token-with-at-least-32-characters-long",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "reallyreallyreallyreallyverysafe",
    "a-string-secret-at-least-256-bits-long",
];

/// Refuses what can be guessed: short, published or monotonous secrets.
fn check_secret(secret: &[u8]) -> Result<(), KeyFault> {
    if secret.len() < 32 {
        return Err(KeyFault::Short(secret.len()));
    }
    if KNOWN.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(secret)) {
        return Err(KeyFault::Known);
    }
    let distinct: BTreeSet<u8> = secret.iter().copied().collect();
    if distinct.len() < 10 {
        return Err(KeyFault::Weak);
    }
    Ok(())
}

/// A short digest by which a log can tell two credentials apart without holding either.
pub fn fingerprint(credential: &str) -> String {
    hex(&digest::digest(&digest::SHA256, credential.as_bytes()).as_ref()[..6])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[test]
    fn a_keyring_of_every_algorithm_survives_being_written_down() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
            let ring = Keyring::generate(algorithm, NOW).unwrap();
            let again = Keyring::from_json(&ring.to_json().unwrap(), NOW).unwrap();
            assert_eq!(again.publishable(), ring.publishable());
            assert_eq!(again.active().kid(), ring.active().kid());
            let published = again.jwks()["keys"].as_array().unwrap().len();
            assert_eq!(published, usize::from(algorithm != Algorithm::Hs256), "{algorithm:?}");
        }
    }

    #[test]
    fn a_published_key_holds_no_private_member() {
        let mut ring = Keyring::generate(Algorithm::Es256, NOW).unwrap();
        ring.rotate(Algorithm::EdDsa, NOW).unwrap();
        ring.rotate(Algorithm::Hs256, NOW).unwrap();
        let jwks = ring.jwks();
        let keys = jwks["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            assert!(key.get("d").is_none() && key.get("k").is_none());
            assert!(key["kid"].is_string() && key["alg"].is_string() && key["use"] == "sig");
        }
    }

    #[test]
    fn a_shared_secret_gives_every_node_the_same_keys() {
        let secret = "0123456789abcdefghijklmnopqrstuvwxyz";
        let (one, two) = (Keyring::from_secret(secret).unwrap(), Keyring::from_secret(secret).unwrap());
        assert_eq!(one.publishable(), two.publishable());
        assert_eq!(one.secret(), two.secret());
        assert_ne!(one.publishable(), one.secret());
        assert!(token::verify(one.publishable(), &two, NOW).is_ok());
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        for (secret, why) in [
            ("short", "Short"),
            ("0123456789abcdefghijklmnopqrstu", "Short"),
            ("super-secret-jwt-token-with-at-least-32-characters-long", "Known"),
            ("ReallyReallyReallyReallyVerySafe", "Known"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Weak"),
            ("abcabcabcabcabcabcabcabcabcabcabcabcabc", "Weak"),
        ] {
            let fault = Keyring::from_secret(secret).unwrap_err();
            assert!(format!("{fault:?}").starts_with(why), "{secret}: {fault:?}");
        }
    }

    #[test]
    fn a_rotation_overlaps_until_the_old_key_is_dropped() {
        let mut ring = Keyring::generate(Algorithm::Es256, NOW).unwrap();
        let (old, old_kid) = (ring.publishable().to_owned(), ring.active().kid().to_owned());
        assert!(matches!(ring.drop_key(&old_kid), Err(KeyFault::StillActive(_))));
        ring.rotate(Algorithm::EdDsa, NOW).unwrap();
        assert_ne!(ring.publishable(), old);
        assert!(token::verify(&old, &ring, NOW).is_ok());
        ring.drop_key(&old_kid).unwrap();
        assert!(token::verify(&old, &ring, NOW).is_err());
        assert!(token::verify(ring.publishable(), &ring, NOW).is_ok());
    }

    #[test]
    fn a_keyring_whose_own_keys_are_revoked_is_one_still() {
        let mut ring = Keyring::generate(Algorithm::Es256, NOW).unwrap();
        for id in ring.api_key_ids() {
            ring.revoke(&id.unwrap());
        }
        let mut again = Keyring::from_json(&ring.to_json().unwrap(), NOW).unwrap();
        for key in [again.publishable(), again.secret()] {
            assert_eq!(token::verify(key, &again, NOW).unwrap_err(), token::TokenFault::Revoked);
        }
        again.rotate(Algorithm::Es256, NOW).unwrap();
        assert!(token::verify(again.publishable(), &again, NOW).is_ok());
        assert!(token::verify(ring.publishable(), &again, NOW).is_err());
    }

    #[test]
    fn a_tampered_key_file_is_refused() {
        let ring = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        let other = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        let text = ring.to_json().unwrap();
        for (what, bad) in [
            ("an unknown member", text.replacen("\"version\"", "\"extra\": 1, \"version\"", 1)),
            ("another's key", text.replace(ring.publishable(), other.publishable())),
            ("swapped keys", text.replace(ring.publishable(), ring.secret())),
            ("no active key", text.replacen(ring.active().kid(), "other", 1)),
            ("no JSON", text[..40].to_owned()),
        ] {
            assert!(Keyring::from_json(&bad, NOW).is_err(), "{what}");
        }
    }
}
