//! Tokens: JSON Web Tokens (RFC 7519) of our own signing keys, minted and verified.
//!
//! Three kinds of holder exist, and a token must be exactly one of them: an API key, an operator
//! (`basewright token`) or a person's session. What decides is only the verified payload; of the header
//! nothing is believed but the key's id. Does not know HTTP, the database or the clock.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::keys::{KeyFault, Keyring, SigningKey};
use crate::error::{Code, Error};
use crate::model::{ANON, AUTHENTICATED, Name, Principal, SERVICE_ROLE};

/// The `iss` of keys and of operators' tokens.
pub const ISSUER: &str = "basewright";
/// How the `iss` of access tokens ends: it is the address below which their issuer is described.
pub const ISSUER_PATH: &str = "/auth/v1";
/// The `aud` of tokens that stand for somebody.
pub const AUDIENCE: &str = "authenticated";
/// Seconds by which two clocks may differ.
const SKEW: i64 = 30;
/// A token longer than this is refused before anything is decoded.
pub(super) const MAX_BYTES: usize = 8 << 10;

/// The role of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// The publishable key.
    Anon,
    /// The secret key.
    Service,
}

impl KeyRole {
    pub fn as_str(self) -> &'static str {
        match self {
            KeyRole::Anon => ANON,
            KeyRole::Service => SERVICE_ROLE,
        }
    }
}

/// Whom a verified token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An API key.
    Key { role: KeyRole },
    /// Somebody whom the operator vouches for; the token itself carries the roles.
    Operator { id: Uuid, role: &'static str, roles: Vec<String> },
    /// A person who signed in; the database holds the roles.
    Session { id: Uuid, session: Uuid, role: &'static str },
    /// Somebody else's user, for whom another issuer vouches; the token says which roles he has there.
    Foreign { id: Uuid, roles: Vec<String> },
}

/// A token whose signature and claims hold.
#[derive(Clone, Debug)]
pub struct Verified {
    pub holder: Holder,
    /// The id of the key that signed it.
    pub key: String,
    /// Id by which it can be revoked; API keys and operator tokens always have one.
    pub jti: Option<String>,
    /// Seconds since the epoch after which it is dead.
    pub expires: i64,
    /// All claims, for `auth.claims.NAME`.
    pub claims: Map<String, Value>,
    /// Whoever it stands for where nothing but the token decides that: worked out on first use.
    pub(super) standing: OnceLock<Arc<Principal>>,
}

impl Verified {
    /// Whether it has not expired at `now` (seconds since the epoch).
    pub fn is_alive(&self, now: i64) -> bool {
        self.expires.saturating_add(SKEW) > now
    }
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    #[error("JWT is longer than 8 KiB")]
    TooLong,
    #[error("Expected 3 parts in JWT")]
    Parts,
    #[error("JWT header cannot be decoded")]
    Header,
    #[error("No suitable key was found to decode the JWT")]
    UnknownKey,
    #[error("JWT algorithm is not the one of its key")]
    Algorithm,
    #[error("JWT cryptographic operation failed")]
    Signature,
    #[error("JWT payload cannot be decoded")]
    Payload,
    #[error("JWT expired")]
    Expired,
    #[error("JWT not yet valid")]
    NotYetValid,
    #[error("JWT issued at future")]
    IssuedInFuture,
    #[error("The JWT 'exp' claim must be a number")]
    Expiry,
    #[error("The JWT '{0}' claim must be a number")]
    Time(&'static str),
    #[error("JWT not issued by this server")]
    Issuer,
    #[error("JWT not in audience")]
    Audience,
    #[error("The JWT 'role' claim names no role that a token may have")]
    Role,
    #[error("The JWT 'sub' claim must be a uuid")]
    Subject,
    #[error("The JWT '{0}' claim has the wrong type")]
    Claim(&'static str),
    #[error("JWT is neither a key, an operator's token nor a session's")]
    Holder,
    #[error("JWT has been revoked")]
    Revoked,
    #[error("The user of the JWT does not exist")]
    Gone,
    #[error("The user of the JWT is banned")]
    Banned,
    #[error("The session of the JWT is over")]
    Ended,
    #[error("The issuer of the JWT does not say by which keys it is verified")]
    Unreachable,
}

impl From<TokenFault> for Error {
    fn from(fault: TokenFault) -> Error {
        let code = match fault {
            TokenFault::TooLong
            | TokenFault::Parts
            | TokenFault::Header
            | TokenFault::UnknownKey
            | TokenFault::Algorithm
            | TokenFault::Signature
            | TokenFault::Payload => Code::Token,
            TokenFault::Expired
            | TokenFault::NotYetValid
            | TokenFault::IssuedInFuture
            | TokenFault::Expiry
            | TokenFault::Time(_)
            | TokenFault::Issuer
            | TokenFault::Audience
            | TokenFault::Role
            | TokenFault::Subject
            | TokenFault::Claim(_)
            | TokenFault::Holder
            | TokenFault::Revoked => Code::Claims,
            TokenFault::Gone => Code::UserGone,
            TokenFault::Banned => Code::UserBanned,
            TokenFault::Ended => Code::SessionEnded,
            TokenFault::Unreachable => Code::Unavailable,
        };
        Error::with(code, fault.to_string())
    }
}

/// The whole of what a header may say. `jku`, `jwk`, `x5u`, `x5c`, `crit`, `b64`, `zip` and the rest would
/// ask us to take keys or rules from the token itself: a header with any other member is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: Option<String>,
}

/// Verifies a token against the keyring at `now` (seconds since the epoch), the file's revocations included.
pub fn verify(token: &str, ring: &Keyring, now: i64) -> Result<Verified, TokenFault> {
    if token.len() > MAX_BYTES {
        return Err(TokenFault::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Parts)?;
    let (header, payload) = message.split_once('.').ok_or(TokenFault::Parts)?;
    if payload.contains('.') {
        return Err(TokenFault::Parts);
    }
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenFault::Header)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| TokenFault::Header)?;
    if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(TokenFault::Header);
    }
    let key = ring.find(&header.kid).ok_or(TokenFault::UnknownKey)?;
    if header.alg != key.algorithm().as_str() {
        return Err(TokenFault::Algorithm);
    }
    if !key.verifies(signature, message.as_bytes()) {
        return Err(TokenFault::Signature);
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenFault::Payload)?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).map_err(|_| TokenFault::Payload)?;
    let verified = judge(claims, header.kid, now)?;
    if verified.jti.as_ref().is_some_and(|jti| ring.revoked().contains(jti)) {
        return Err(TokenFault::Revoked);
    }
    Ok(verified)
}

/// Judges the claims of a token whose signature holds.
pub(super) fn judge(claims: Map<String, Value>, key: String, now: i64) -> Result<Verified, TokenFault> {
    let expires = match claims.get("exp") {
        Some(Value::Number(exp)) => seconds(exp).ok_or(TokenFault::Expiry)?,
        Some(_) | None => return Err(TokenFault::Expiry),
    };
    if expires.saturating_add(SKEW) <= now {
        return Err(TokenFault::Expired);
    }
    if time(&claims, "nbf")?.is_some_and(|nbf| nbf > now.saturating_add(SKEW)) {
        return Err(TokenFault::NotYetValid);
    }
    if time(&claims, "iat")?.is_some_and(|iat| iat > now.saturating_add(SKEW)) {
        return Err(TokenFault::IssuedInFuture);
    }
    // Whatever address the node that signed it is found at: the nodes of an installation may have several.
    if text(&claims, "iss")?.is_none_or(|iss| iss != ISSUER && !iss.ends_with(ISSUER_PATH)) {
        return Err(TokenFault::Issuer);
    }
    let jti = text(&claims, "jti")?.map(str::to_owned);
    text(&claims, "email")?;
    text(&claims, "aal")?;
    flag(&claims, "is_anonymous")?;
    let role = text(&claims, "role")?.ok_or(TokenFault::Role)?;
    let holder = if claims.contains_key("sub") {
        if !in_audience(&claims)? {
            return Err(TokenFault::Audience);
        }
        let id = identity(&claims, "sub").ok_or(TokenFault::Subject)?;
        // Roles are fixed words from here on, so that no claim can name another.
        let role = match role {
            ANON => ANON,
            AUTHENTICATED => AUTHENTICATED,
            _ => return Err(TokenFault::Role),
        };
        match (flag(&claims, "bw_op")?, claims.contains_key("session_id")) {
            (Some(true), false) if jti.is_some() => {
                Holder::Operator { id, role, roles: roles(claims.get("roles"))? }
            }
            (None | Some(false), true) => {
                let session = identity(&claims, "session_id").ok_or(TokenFault::Claim("session_id"))?;
                Holder::Session { id, session, role }
            }
            _ => return Err(TokenFault::Holder),
        }
    } else {
        // What stands for nobody can only be an API key, and says nothing that a person's token says.
        if jti.is_none()
            || ["session_id", "bw_op", "roles", "aud"].iter().any(|name| claims.contains_key(*name))
        {
            return Err(TokenFault::Holder);
        }
        match role {
            ANON => Holder::Key { role: KeyRole::Anon },
            SERVICE_ROLE => Holder::Key { role: KeyRole::Service },
            _ => return Err(TokenFault::Role),
        }
    };
    Ok(Verified { holder, key, jti, expires, claims, standing: OnceLock::new() })
}

/// A NumericDate (RFC 7519, 2) in whole seconds.
fn seconds(number: &serde_json::Number) -> Option<i64> {
    match number.as_i64() {
        Some(whole) => Some(whole),
        // The cast saturates, which is right for a time beyond all times.
        None => number.as_f64().filter(|n| n.is_finite()).map(|n| n.floor() as i64),
    }
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => seconds(number).map(Some).ok_or(TokenFault::Time(name)),
        Some(_) => Err(TokenFault::Time(name)),
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenFault::Claim(name)),
    }
}

fn flag(claims: &Map<String, Value>, name: &'static str) -> Result<Option<bool>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(TokenFault::Claim(name)),
    }
}

/// A uuid in its usual 36 characters and no other spelling.
fn identity(claims: &Map<String, Value>, name: &str) -> Option<Uuid> {
    let text = claims.get(name)?.as_str()?;
    if text.len() == 36 { Uuid::try_parse(text).ok() } else { None }
}

fn in_audience(claims: &Map<String, Value>) -> Result<bool, TokenFault> {
    match claims.get("aud") {
        None => Ok(false),
        Some(Value::String(aud)) => Ok(aud == AUDIENCE),
        Some(Value::Array(all)) => {
            if !all.iter().all(Value::is_string) {
                return Err(TokenFault::Claim("aud"));
            }
            Ok(all.iter().any(|aud| aud == AUDIENCE))
        }
        Some(_) => Err(TokenFault::Claim("aud")),
    }
}

/// The roles that an operator's token carries.
fn roles(claim: Option<&Value>) -> Result<Vec<String>, TokenFault> {
    let Some(claim) = claim else { return Ok(Vec::new()) };
    let list = claim.as_array().ok_or(TokenFault::Claim("roles"))?;
    list.iter()
        .map(|role| match role.as_str() {
            Some(role) if is_grantable(role) => Ok(role.to_owned()),
            Some(_) => Err(TokenFault::Role),
            None => Err(TokenFault::Claim("roles")),
        })
        .collect()
}

/// Whether a role can be granted to somebody: a name that a project may declare, and not the secret key's.
pub fn is_grantable(role: &str) -> bool {
    role != SERVICE_ROLE && Name::declared(role).is_ok()
}

/// Signs claims with a key.
pub fn mint(key: &SigningKey, claims: &Map<String, Value>) -> Result<String, KeyFault> {
    let header = json!({ "alg": key.algorithm().as_str(), "kid": key.kid(), "typ": "JWT" });
    let mut token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header)?);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims)?, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&signature);
    Ok(token)
}

/// An API key. Times are seconds since the epoch.
pub fn mint_api_key(
    key: &SigningKey,
    role: KeyRole,
    jti: &str,
    issued: i64,
    expires: i64,
) -> Result<String, KeyFault> {
    let claims = json!({ "iss": ISSUER, "role": role.as_str(), "iat": issued, "exp": expires, "jti": jti });
    mint(key, &members(claims))
}

/// What an access token says of a session and its user.
pub struct Access<'a> {
    pub issuer: &'a str,
    pub user: Uuid,
    pub session: Uuid,
    pub email: &'a str,
    pub is_anonymous: bool,
    /// 1 or 2.
    pub aal: u8,
    /// `[{ "method", "timestamp" }]`, newest first.
    pub amr: &'a Value,
    pub app_metadata: &'a Map<String, Value>,
    pub user_metadata: &'a Map<String, Value>,
    /// Seconds since the epoch.
    pub issued: i64,
    pub expires: i64,
}

/// Bytes of metadata that a token carries; what is longer has to be asked for. A token travels with every request.
const MAX_METADATA: usize = 2 << 10;

/// The access token of a session.
pub fn mint_access(key: &SigningKey, access: &Access<'_>) -> Result<String, KeyFault> {
    let carried = |metadata: &Map<String, Value>| match serde_json::to_string(metadata) {
        Ok(text) if text.len() <= MAX_METADATA => Value::Object(metadata.clone()),
        Ok(_) | Err(_) => json!({}),
    };
    let claims = json!({
        "iss": access.issuer, "aud": AUDIENCE, "sub": access.user.to_string(), "role": AUTHENTICATED,
        "email": access.email, "phone": "", "app_metadata": carried(access.app_metadata),
        "user_metadata": carried(access.user_metadata), "aal": format!("aal{}", access.aal), "amr": access.amr,
        "session_id": access.session.to_string(), "is_anonymous": access.is_anonymous,
        "iat": access.issued, "exp": access.expires,
    });
    mint(key, &members(claims))
}

/// A token that the operator vouches for: it carries its roles, needs no user row, lives until `expires`
/// and dies with its key.
pub fn mint_operator(
    key: &SigningKey,
    id: Uuid,
    role: &str,
    roles: &[String],
    issued: i64,
    expires: i64,
) -> Result<String, KeyFault> {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": id.to_string(), "role": role, "roles": roles, "bw_op": true,
        "iat": issued, "exp": expires, "jti": Uuid::new_v4().to_string(),
    });
    mint(key, &members(claims))
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Algorithm;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;
    const ID: Uuid = Uuid::from_u128(7);

    #[test]
    fn an_operators_token_carries_its_roles_under_every_algorithm() {
        for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Hs256] {
            let ring = Keyring::generate(algorithm, NOW).unwrap();
            let roles = ["editor".to_owned()];
            let token = mint_operator(ring.active(), ID, AUTHENTICATED, &roles, NOW, NOW + 60).unwrap();
            let verified = verify(&token, &ring, NOW).unwrap();
            let expected = Holder::Operator { id: ID, role: AUTHENTICATED, roles: roles.to_vec() };
            assert_eq!(verified.holder, expected);
            assert!(verified.jti.is_some());
        }
    }

    #[test]
    fn times_are_judged_with_half_a_minute_of_patience() {
        let ring = Keyring::generate(Algorithm::Hs256, NOW).unwrap();
        let token = mint_operator(ring.active(), ID, ANON, &[], NOW, NOW + 60).unwrap();
        assert!(verify(&token, &ring, NOW + 89).is_ok());
        assert_eq!(verify(&token, &ring, NOW + 90).unwrap_err(), TokenFault::Expired);
        assert!(verify(&token, &ring, NOW - 30).is_ok());
        assert_eq!(verify(&token, &ring, NOW - 31).unwrap_err(), TokenFault::IssuedInFuture);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_verifier_panic_or_pass(text in ".{0,200}") {
            let ring = Keyring::from_secret("an entirely private text of 40 letters!!").unwrap();
            prop_assert!(verify(&text, &ring, NOW).is_err());
        }

        #[test]
        fn one_changed_byte_is_enough_to_refuse(at in 0usize..1000, to in "[A-Za-z0-9_.-]") {
            let ring = Keyring::from_secret("an entirely private text of 40 letters!!").unwrap();
            let token = ring.secret();
            let at = at % token.len();
            let mut changed = token.to_owned();
            changed.replace_range(at..=at, &to);
            prop_assume!(changed != token);
            prop_assert!(verify(&changed, &ring, NOW).is_err());
        }
    }
}
