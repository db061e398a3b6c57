//! Codes that an app exchanges for a session (`?code=…`): good once, for a few minutes, and only with the secret of
//! whoever began (PKCE, RFC 7636).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time;
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::desk::Visit;
use super::identity::Linker;
use super::limit::Counted;
use super::provider::profile::Profile;
use super::refresh::{random, sha256};
use super::session::{Grant, Method};
use super::user;
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// How the challenge was made from the secret (RFC 7636, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeMethod {
    S256,
    Plain,
}

impl ChallengeMethod {
    pub fn as_str(self) -> &'static str {
        match self {
            ChallengeMethod::S256 => "s256",
            ChallengeMethod::Plain => "plain",
        }
    }

    pub fn parse(word: &str) -> Option<ChallengeMethod> {
        [ChallengeMethod::S256, ChallengeMethod::Plain]
            .into_iter()
            .find(|method| method.as_str().eq_ignore_ascii_case(word))
    }
}

/// What whoever begins shows of a secret that he keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub challenge: String,
    pub method: ChallengeMethod,
}

impl Challenge {
    /// Reads the two parameters. `None` where neither says anything: the flow is the implicit one.
    ///
    /// # Errors
    /// `validation_failed` for a challenge that is none (43 to 128 unreserved characters, RFC 7636, 4.2), for another
    /// method, and for a method without a challenge.
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Option<Challenge>, Error> {
        let invalid = |sentence| Err(Error::with(AuthCode::ValidationFailed, sentence));
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let method = given(method);
        let Some(challenge) = given(challenge) else {
            return match method {
                None => Ok(None),
                Some(_) => invalid("code_challenge_method is of no use without code_challenge"),
            };
        };
        let Some(method) = ChallengeMethod::parse(method.as_deref().unwrap_or("s256")) else {
            return invalid("code_challenge_method must be s256 or plain");
        };
        if !is_unreserved(&challenge) {
            return invalid("code_challenge must be 43 to 128 letters, digits and -._~");
        }
        Ok(Some(Challenge { challenge, method }))
    }

    /// Whether this is the secret. Takes as long whatever is wrong with it.
    fn is_answered_by(&self, verifier: &str) -> bool {
        let made = match self.method {
            ChallengeMethod::S256 => URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())),
            ChallengeMethod::Plain => verifier.to_owned(),
        };
        is_unreserved(verifier)
            && constant_time::verify_slices_are_equal(made.as_bytes(), self.challenge.as_bytes()).is_ok()
    }
}

fn is_unreserved(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

/// A provider's own tokens, for the app to use there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderTokens {
    pub access: Option<String>,
    pub refresh: Option<String>,
}

/// What a provider's answer leaves for the exchange of a code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sealed {
    pub(super) tokens: ProviderTokens,
    /// Whom the provider speaks of, where that is still to be linked.
    pub(super) linking: Option<Linking>,
}

/// An identity that is proven, and added to the account of whoever exchanges the code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Linking {
    pub(super) provider: String,
    pub(super) profile: Profile,
}

/// Encrypts what a provider has said with a code. A key is made for one text, so that its nonce need not differ.
fn seal(code: &str, sealed: &Sealed) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec(sealed).map_err(Error::internal)?;
    key_of(code)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut text)
        .map_err(Error::internal)?;
    Ok(text)
}

fn unseal(code: &str, mut sealed: Vec<u8>) -> Result<Sealed, Error> {
    let text = key_of(code)?
        .open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut sealed)
        .map_err(Error::internal)?;
    serde_json::from_slice(text).map_err(Error::internal)
}

/// What is stored of the code is its SHA-256, from which this does not follow.
fn key_of(code: &str) -> Result<LessSafeKey, Error> {
    let random = hkdf::Salt::new(hkdf::HKDF_SHA256, b"flow").extract(code.as_bytes());
    let key = random.expand(&[b"provider tokens"], &AES_256_GCM).map_err(Error::internal)?;
    Ok(LessSafeKey::new(UnboundKey::from(key)))
}

/// What a code stands for.
struct Pending {
    id: Uuid,
    user: Uuid,
    method: Method,
    challenge: Challenge,
    sealed: Option<Vec<u8>>,
    /// In which session the user began to link an identity, if that is what it stands for.
    link_session: Option<Uuid>,
    is_over: bool,
}

impl Visit<'_> {
    /// A code for whoever holds the secret behind the challenge: it is exchanged for a session of the user.
    pub(super) async fn auth_code(
        &self,
        tx: &Tx,
        user: Uuid,
        method: Method,
        challenge: &Challenge,
        redirect_to: &str,
    ) -> Result<String, Error> {
        self.store_code(tx, user, method, challenge, redirect_to, None, None).await
    }

    /// As above, and with the tokens of the provider that let the user in: only the code can open them.
    pub(super) async fn auth_code_with(
        &self,
        tx: &Tx,
        user: Uuid,
        challenge: &Challenge,
        redirect_to: &str,
        tokens: ProviderTokens,
    ) -> Result<String, Error> {
        let sealed = Sealed { tokens, linking: None };
        self.store_code(tx, user, Method::Oauth, challenge, redirect_to, Some(&sealed), None).await
    }

    /// A code for whoever began to link an identity: it is linked when he exchanges the code, and not before. The browser
    /// that brings the provider's answer may be another's, who was sent to the provider by somebody who wants that identity
    /// in an account of his own; the secret behind the challenge is only where it began.
    pub(super) async fn link_code(
        &self,
        tx: &Tx,
        linker: Linker,
        challenge: &Challenge,
        redirect_to: &str,
        sealed: &Sealed,
    ) -> Result<String, Error> {
        let session = Some(linker.session);
        self.store_code(tx, linker.user, Method::Oauth, challenge, redirect_to, Some(sealed), session).await
    }

    #[expect(clippy::too_many_arguments, reason = "a row, written in one place")]
    async fn store_code(
        &self,
        tx: &Tx,
        user: Uuid,
        method: Method,
        challenge: &Challenge,
        redirect_to: &str,
        sealed: Option<&Sealed>,
        link_session: Option<Uuid>,
    ) -> Result<String, Error> {
        let code = URL_SAFE_NO_PAD.encode(random::<32>().map_err(Error::internal)?);
        let sealed = sealed.map(|sealed| seal(&code, sealed)).transpose()?;
        let mut sql = Sql::new();
        sql.raw(
            "insert into auth.flows (code_hash, user_id, method, code_challenge, code_challenge_method, redirect_to, sealed, link_session, expires_at) values (",
        )
        .bind(Kind::one(Scalar::Bytes), Some(hex(&sha256(code.as_bytes()))))
        .raw(", ")
        .bind(Kind::UUID, Some(user.to_string()))
        .raw(", ")
        .bind_text(method.as_str())
        .raw(", ")
        .bind_text(&challenge.challenge)
        .raw(", ")
        .bind_text(challenge.method.as_str())
        .raw(", ")
        .bind_text(redirect_to)
        .raw(", ")
        .bind(Kind::one(Scalar::Bytes), sealed.as_deref().map(hex))
        .raw(", ")
        .bind(Kind::UUID, link_session.map(|id| id.to_string()))
        .raw(", now() + interval '5 minutes')");
        tx.query(&sql).await.map_err(DbError::into_error)?;
        Ok(code)
    }

    /// Exchanges a code for a session (`grant_type=pkce`). A wrong secret does not use the code up: nobody guesses one,
    /// and whoever stole the code could otherwise take it from its owner. An identity that was to be linked is linked now,
    /// if the session in which that began still lives.
    ///
    /// # Errors
    /// `flow_state_not_found`, `flow_state_expired`, `bad_code_verifier`, `user_banned`, and what linking is refused for.
    pub async fn exchange(&self, code: &str, verifier: &str) -> Result<Grant, Error> {
        self.limits.from(Counted::Verify, self.visitor.address)?;
        let pending = self.pending(code).await?.ok_or(AuthCode::FlowStateNotFound)?;
        if !pending.challenge.is_answered_by(verifier) {
            return Err(AuthCode::BadCodeVerifier.into());
        }
        if pending.is_over {
            return Err(AuthCode::FlowStateExpired.into());
        }
        let Sealed { tokens, linking } =
            pending.sealed.map(|sealed| unseal(code, sealed)).transpose()?.unwrap_or_default();
        let tx = self.begin().await?;
        // The user first, as everything that ends his sessions and codes does.
        let user = user::lock(&tx, pending.user).await?.ok_or(AuthCode::FlowStateNotFound)?;
        let mut sql = Sql::new();
        sql.raw("delete from auth.flows where expires_at > now() and id = ")
            .bind(Kind::UUID, Some(pending.id.to_string()))
            .raw(" returning true");
        if tx.query(&sql).await.map_err(DbError::into_error)?.is_empty() {
            return Err(AuthCode::FlowStateNotFound.into());
        }
        let mut user = match (linking, pending.link_session) {
            (None, None) => user,
            (Some(Linking { provider, profile }), Some(session)) => {
                self.link(&tx, Linker { user: user.id, session }, &provider, &profile).await?
            }
            _ => return Err(Error::internal("a linking cannot be read")),
        };
        let opened = self.open(&tx, &mut user, pending.method).await?;
        self.commit_opened(tx).await?;
        let grant = self.grant(opened, user)?;
        Ok(Grant { provider_token: tokens.access, provider_refresh_token: tokens.refresh, ..grant })
    }

    async fn pending(&self, code: &str) -> Result<Option<Pending>, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "select id::text, user_id::text, method, code_challenge, code_challenge_method, encode(sealed, 'hex'), \
             link_session::text, expires_at <= now() \
             from auth.flows where user_id is not null and code_hash = ",
        )
        .bind(Kind::one(Scalar::Bytes), Some(hex(&sha256(code.as_bytes()))));
        let rows = self.read(&sql).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let pending = || {
            Some(Pending {
                id: row.text(0)?.parse().ok()?,
                user: row.text(1)?.parse().ok()?,
                method: Method::parse(row.text(2)?)?,
                challenge: Challenge {
                    challenge: row.text(3)?.to_owned(),
                    method: ChallengeMethod::parse(row.text(4)?)?,
                },
                sealed: row.text(5).map(unhex),
                link_session: row.text(6).and_then(|id| id.parse().ok()),
                is_over: row.boolean(7)?,
            })
        };
        pending().map(Some).ok_or_else(|| Error::internal("a pending sign-in cannot be read"))
    }
}

/// Bytes as a value of Postgres.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

/// Bytes out of `encode(…, 'hex')`.
fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const S256: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn a_challenge_is_read_as_the_wire_has_it() {
        let parse = |challenge, method| {
            Challenge::parse(challenge, method).map_err(|error| error.code.as_str().to_owned())
        };
        let some = |challenge: &str, method| Ok(Some(Challenge { challenge: challenge.to_owned(), method }));
        let long = "a".repeat(129);
        for (challenge, method, expected) in [
            (None, None, Ok(None)),
            (Some(""), Some(""), Ok(None)),
            (Some(S256), Some("s256"), some(S256, ChallengeMethod::S256)),
            (Some(S256), Some("S256"), some(S256, ChallengeMethod::S256)),
            (Some(S256), None, some(S256, ChallengeMethod::S256)),
            (Some(VERIFIER), Some("PLAIN"), some(VERIFIER, ChallengeMethod::Plain)),
            (None, Some("s256"), Err("validation_failed".to_owned())),
            (Some(S256), Some("s512"), Err("validation_failed".to_owned())),
            (Some(&S256[..42]), None, Err("validation_failed".to_owned())),
            (Some(&long), None, Err("validation_failed".to_owned())),
            (Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw+cM"), None, Err("validation_failed".to_owned())),
        ] {
            assert_eq!(parse(challenge, method), expected, "{challenge:?} {method:?}");
        }
    }

    #[test]
    fn a_challenge_is_answered_by_its_secret_alone() {
        let challenge = |text: &str, method| Challenge { challenge: text.to_owned(), method };
        let s256 = challenge(S256, ChallengeMethod::S256);
        let plain = challenge(VERIFIER, ChallengeMethod::Plain);
        assert!(s256.is_answered_by(VERIFIER) && plain.is_answered_by(VERIFIER));
        for wrong in ["", S256, &VERIFIER[..42], &format!("{VERIFIER}A"), &VERIFIER.to_lowercase()] {
            assert!(!s256.is_answered_by(wrong) && !plain.is_answered_by(wrong), "{wrong}");
        }
    }

    #[test]
    fn only_the_code_opens_what_it_has_sealed() {
        let tokens = ProviderTokens { access: Some("a".to_owned()), refresh: None };
        let said = Sealed { tokens, linking: None };
        let sealed = seal("code", &said).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("access"));
        assert_eq!(unseal("code", unhex(&hex(&sealed)[2..])).unwrap(), said);
        assert!(unseal("other", sealed.clone()).is_err());
        let changed: Vec<u8> = sealed.iter().map(|byte| byte ^ 1).collect();
        assert!(unseal("code", changed).is_err());
    }
}
