//! [`Pass`]: a token that opens one object to whoever holds it, to read it or to store it, and stands for nobody.
//!
//! The same keys sign it that sign access tokens, and neither can be taken for the other: the header says another type
//! (RFC 8725, 3.11), which both verifiers insist on. Every claim must be there, and no other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{KeyFault, Keyring, SigningKey};
use super::token::MAX_BYTES;
use crate::error::{Error, StorageCode};

/// The `typ` of its header.
const TYPE: &str = "object+jwt";

/// What it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    Read,
    Upload,
}

/// What a pass says. The names are its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pass {
    #[serde(rename = "use")]
    pub purpose: Purpose,
    /// Bucket and key, with a slash between them.
    pub url: String,
    /// The object that is to be read: another one that gets its key is not meant. None of a pass to store one.
    #[serde(rename = "sub", default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Uuid>,
    /// The upload that was granted; none of a pass to read.
    #[serde(rename = "jti", default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Uuid>,
    /// Seconds since the epoch.
    #[serde(rename = "iat")]
    pub issued: i64,
    #[serde(rename = "exp")]
    pub expires: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Why a pass opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It is none of ours, or one for something else.
    Other,
    Expired,
}

impl Pass {
    /// Signs it.
    ///
    /// # Errors
    /// Where the key cannot sign.
    pub fn mint(&self, key: &SigningKey) -> Result<String, KeyFault> {
        let header = Header {
            alg: key.algorithm().as_str().to_owned(),
            kid: key.kid().to_owned(),
            typ: TYPE.to_owned(),
        };
        let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(self)?, &mut token);
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&signature);
        Ok(token)
    }

    /// Verifies that a token is a pass for a purpose at `now` (seconds since the epoch). What it opens is for the caller
    /// to compare. It dies with the key that signed it.
    ///
    /// # Errors
    /// `InvalidSignature` or `InvalidUploadSignature`, by the purpose; `ExpiredToken`.
    pub fn verify(token: &str, ring: &Keyring, purpose: Purpose, now: i64) -> Result<Pass, Error> {
        open(token, ring, purpose, now).map_err(|fault| match (fault, purpose) {
            (Fault::Expired, _) => StorageCode::ExpiredToken.into(),
            (Fault::Other, purpose) => Pass::refusal(purpose),
        })
    }

    /// What a pass for something else is answered with.
    pub fn refusal(purpose: Purpose) -> Error {
        match purpose {
            Purpose::Read => StorageCode::InvalidSignature.into(),
            Purpose::Upload => StorageCode::InvalidUploadSignature.into(),
        }
    }
}

fn open(token: &str, ring: &Keyring, purpose: Purpose, now: i64) -> Result<Pass, Fault> {
    if token.len() > MAX_BYTES {
        return Err(Fault::Other);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Fault::Other)?;
    let (header, claims) = message.split_once('.').ok_or(Fault::Other)?;
    let header: Header = read(header)?;
    if header.typ != TYPE {
        return Err(Fault::Other);
    }
    let key = ring.find(&header.kid).ok_or(Fault::Other)?;
    if header.alg != key.algorithm().as_str() || !key.verifies(signature, message.as_bytes()) {
        return Err(Fault::Other);
    }
    let pass: Pass = read(claims)?;
    let (reads, stores) = (pass.object.is_some(), pass.upload.is_some());
    if pass.purpose != purpose || (reads, stores) != (purpose == Purpose::Read, purpose == Purpose::Upload) {
        return Err(Fault::Other);
    }
    if pass.expires <= now { Err(Fault::Expired) } else { Ok(pass) }
}

fn read<T: DeserializeOwned>(part: &str) -> Result<T, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::Other)?;
    serde_json::from_slice(&bytes).map_err(|_| Fault::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Algorithm;
    use crate::auth::token;
    use serde_json::{Value, json};

    const NOW: i64 = 1_800_000_000;

    fn pass(purpose: Purpose) -> Pass {
        let upload = (purpose == Purpose::Upload).then(Uuid::new_v4);
        let object = (purpose == Purpose::Read).then(Uuid::new_v4);
        Pass { purpose, url: "avatars/ada/me.png".to_owned(), object, upload, issued: NOW, expires: NOW + 60 }
    }

    /// A token of any header and payload under a key.
    fn forged(key: &SigningKey, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = key.sign(message.as_bytes()).unwrap();
        format!("{message}.{signature}")
    }

    fn word(outcome: Result<Pass, Error>) -> String {
        outcome.map_or_else(|error| error.code.as_str().to_owned(), |_| "opens".to_owned())
    }

    #[test]
    fn a_pass_opens_what_it_was_made_for_until_it_expires_and_its_key_is_dropped() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
            let mut ring = Keyring::generate(algorithm, NOW).unwrap();
            let token = pass(Purpose::Read).mint(ring.active()).unwrap();
            let verify = |ring: &Keyring, purpose, now| word(Pass::verify(&token, ring, purpose, now));
            assert_eq!(verify(&ring, Purpose::Read, NOW + 59), "opens");
            assert_eq!(verify(&ring, Purpose::Read, NOW + 60), "ExpiredToken");
            assert_eq!(verify(&ring, Purpose::Upload, NOW), "InvalidUploadSignature");
            ring.rotate(algorithm, NOW).unwrap();
            assert_eq!(verify(&ring, Purpose::Read, NOW), "opens");
            ring.drop_inactive();
            assert_eq!(verify(&ring, Purpose::Read, NOW), "InvalidSignature");
        }
    }

    #[test]
    fn no_pass_is_an_access_token_and_no_access_token_is_a_pass() {
        let ring = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        for purpose in [Purpose::Read, Purpose::Upload] {
            let token = pass(purpose).mint(ring.active()).unwrap();
            assert!(token::verify(&token, &ring, NOW).is_err());
            let id = Uuid::new_v4();
            let access =
                token::mint_operator(ring.active(), id, "authenticated", &[], NOW, NOW + 60).unwrap();
            for other in [access.as_str(), ring.secret(), ring.publishable()] {
                assert_ne!(word(Pass::verify(other, &ring, purpose, NOW)), "opens");
            }
        }
    }

    #[test]
    fn what_differs_in_anything_opens_nothing() {
        let ring = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        let key = ring.active();
        let header = json!({ "alg": "HS256", "kid": key.kid(), "typ": TYPE });
        let claims = serde_json::to_value(pass(Purpose::Read)).unwrap();
        assert_eq!(word(Pass::verify(&forged(key, &header, &claims), &ring, Purpose::Read, NOW)), "opens");
        let with = |of: &Value, name: &str, value: Value| {
            let mut changed = of.clone();
            changed[name] = value;
            changed
        };
        let without = |of: &Value, name: &str| {
            let mut changed = of.clone();
            changed.as_object_mut().unwrap().remove(name);
            changed
        };
        let mut tokens = vec![String::new(), ".".to_owned(), "..".to_owned(), "a.b.c".to_owned()];
        for header in [
            with(&header, "typ", json!("JWT")),
            with(&header, "typ", json!("OBJECT+JWT")),
            with(&header, "alg", json!("none")),
            with(&header, "alg", json!("ES256")),
            with(&header, "kid", json!("another")),
            with(&header, "jwk", json!({})),
            with(&header, "crit", json!(["exp"])),
            without(&header, "typ"),
            without(&header, "kid"),
        ] {
            tokens.push(forged(key, &header, &claims));
        }
        for claims in [
            with(&claims, "use", json!("upload")),
            with(&claims, "use", json!("write")),
            with(&claims, "role", json!("service_role")),
            with(&claims, "exp", json!("1900000000")),
            with(&claims, "jti", json!(Uuid::new_v4())),
            without(&claims, "exp"),
            without(&claims, "url"),
            without(&claims, "use"),
            without(&claims, "sub"),
            json!([]),
        ] {
            tokens.push(forged(key, &header, &claims));
        }
        let stranger = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        tokens.push(forged(stranger.active(), &header, &claims));
        let sound = forged(key, &header, &claims);
        let unsigned = sound.rsplit_once('.').unwrap().0;
        tokens.extend([
            unsigned.to_owned(),
            format!("{unsigned}."),
            format!("{sound}A"),
            sound[1..].to_owned(),
        ]);
        tokens.push(format!("{sound}.{}", "A".repeat(MAX_BYTES)));
        for token in tokens {
            assert_eq!(word(Pass::verify(&token, &ring, Purpose::Read, NOW)), "InvalidSignature", "{token}");
        }
    }
}
