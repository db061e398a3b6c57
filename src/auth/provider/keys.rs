//! [`KeySet`]: the public keys of an issuer (RFC 7517), each good for the algorithms that its kind allows.
//!
//! The key decides the algorithm, never the token. There is no secret key among these: what is signed with a text that
//! everybody can read proves nothing.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Keys of one issuer that are looked at.
const MAX_KEYS: usize = 64;
/// Characters of an RSA modulus of 2,048 bits in base64url.
const RSA_CHARACTERS: usize = 342;

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// What can verify tokens of an issuer.
#[derive(Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySet({})", self.keys.len())
    }
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a JWK Set. Keys of another kind are passed over, as RFC 7517, 5 asks.
    ///
    /// # Errors
    /// What is no JWK Set at all.
    pub fn parse(text: &[u8]) -> Result<KeySet, serde_json::Error> {
        let published: Published = serde_json::from_slice(text)?;
        Ok(KeySet { keys: published.keys.into_iter().take(MAX_KEYS).filter_map(key).collect() })
    }

    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether one of the keys made a signature: the one that the token names, or any where it names none.
    pub fn verifies(&self, id: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        self.keys
            .iter()
            .filter(|key| id.is_none() || key.id.as_deref() == id)
            .filter(|key| key.algorithms.contains(&algorithm))
            .any(|key| {
                jsonwebtoken::crypto::verify(signature, message, &key.decoding, algorithm).unwrap_or(false)
            })
    }
}

/// The algorithms of RSA keys (RFC 7518, 3.3 and 3.5).
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// An algorithm that a public key can be for.
pub fn algorithm(word: &str) -> Option<Algorithm> {
    let others = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    word.parse().ok().filter(|algorithm| RSA.contains(algorithm) || others.contains(algorithm))
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= RSA_CHARACTERS => &RSA,
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[Algorithm::EdDSA]
        }
        _ => return None,
    };
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
        return None;
    }
    let algorithms = match common.key_algorithm {
        None => fitting.to_vec(),
        Some(named) => {
            let named = Algorithm::try_from(named).ok()?;
            fitting.iter().copied().filter(|algorithm| *algorithm == named).collect()
        }
    };
    if algorithms.is_empty() {
        return None;
    }
    let decoding = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: common.key_id.clone(), algorithms, decoding })
}
