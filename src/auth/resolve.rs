//! From credentials to a [`Principal`]: which credential counts, and which roles its holder has.
//!
//! The order is the one that clients of this wire rely on: a Bearer token decides; a Bearer equal to the
//! API key means that key's role; without a Bearer the API key decides; with nothing at all the caller is
//! `anon` only where the operator allowed that.

use std::sync::Arc;

use uuid::Uuid;

use super::standing::Standings;
use super::token::{Holder, KeyRole, TokenFault, Verified, is_grantable};
use crate::db::Lanes;
use crate::error::{Code, Error};
use crate::model::{ANON, AUTHENTICATED, Kind, Principal};
use crate::realtime::visibility::Visibility;
use crate::sql::Sql;

/// What a request presented.
#[derive(Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The token of `Authorization: Bearer …`.
    pub bearer: Option<&'a str>,
    /// The `apikey` header.
    pub api_key: Option<&'a str>,
}

/// Finds the credential that counts and verifies all that were presented. `None` is a caller without any.
///
/// # Errors
/// A credential that does not hold, an API key that is none, or none at all where one is required. Nothing
/// here asks the database, so that a stranger with a bad token never costs a connection.
pub fn identify(
    credentials: Credentials<'_>,
    keyless: bool,
    mut verify: impl FnMut(&str) -> Result<Arc<Verified>, TokenFault>,
) -> Result<Option<Arc<Verified>>, Error> {
    let key = match credentials.api_key {
        None => None,
        Some(text) => {
            let key = verify(text)?;
            match key.holder {
                Holder::Key { .. } => Some(key),
                Holder::Operator { .. } | Holder::Session { .. } | Holder::Foreign { .. } => {
                    return Err(Error::with(Code::Token, "The apikey is not an API key"));
                }
            }
        }
    };
    match (credentials.bearer, key) {
        (Some(bearer), Some(key)) if credentials.api_key == Some(bearer) => Ok(Some(key)),
        (Some(bearer), _) => Ok(Some(verify(bearer)?)),
        (None, Some(key)) => Ok(Some(key)),
        (None, None) if keyless => Ok(None),
        (None, None) => Err(Error::with(Code::CredentialRequired, "No API key found in request")
            .hint("Send the publishable key in the apikey header.")),
    }
}

/// The principal of a verified token; asks the database whether a person's session lasts and for the roles, unless they
/// are known.
///
/// # Errors
/// 401 if the session is over, or its user is gone or banned; 503 if the database cannot say.
pub async fn principal(
    verified: &Verified,
    lanes: &Lanes,
    known: &Standings,
) -> Result<Arc<Principal>, Error> {
    let standing =
        |make: &dyn Fn() -> Principal| Arc::clone(verified.standing.get_or_init(|| Arc::new(make())));
    Ok(match &verified.holder {
        Holder::Key { role: KeyRole::Anon } => standing(&Principal::anonymous),
        Holder::Key { role: KeyRole::Service } => standing(&Principal::service),
        Holder::Operator { id, role, roles } => standing(&|| person(verified, *id, role, roles.clone())),
        Holder::Foreign { id, roles } => standing(&|| foreigner(verified, *id, roles.clone())),
        // The database may say something else the next time.
        Holder::Session { id, session, role } => {
            let roles = granted(*id, *session, lanes, known).await?;
            Arc::new(person(verified, *id, role, roles.iter().cloned()))
        }
    })
}

/// The principal that a person's claims and roles make.
fn person(
    verified: &Verified,
    id: Uuid,
    role: &'static str,
    granted: impl IntoIterator<Item = String>,
) -> Principal {
    let mut roles = vec![role.to_owned()];
    for granted in granted {
        // `anon` with further roles is still nobody's login: roles are granted to those who signed in.
        if role == AUTHENTICATED && granted != ANON && is_grantable(&granted) && !roles.contains(&granted) {
            roles.push(granted);
        }
    }
    Principal { role: role.to_owned(), roles, id: Some(id), ..Principal::anonymous() }
        .with_claims(verified.claims.clone())
}

/// The principal that another issuer's claims make. The address counts only if the issuer vouches for it; what else our own
/// tokens say of a session, its claims do not.
fn foreigner(verified: &Verified, id: Uuid, roles: Vec<String>) -> Principal {
    let principal = person(verified, id, AUTHENTICATED, roles);
    let vouches = verified.claims.get("email_verified").and_then(|claim| claim.as_bool()) == Some(true);
    let email = principal.email.filter(|_| vouches);
    Principal { email, is_anonymous: false, aal: None, ..principal }
}

/// The roles that the database grants to the user who holds a session.
async fn granted(id: Uuid, session: Uuid, lanes: &Lanes, known: &Standings) -> Result<Arc<[String]>, Error> {
    if let Some(roles) = known.get(session, id) {
        return Ok(roles);
    }
    let asking = known.ask();
    let mut sql = Sql::new();
    sql.raw(
        "select coalesce((select json_agg(r.role order by r.role) from auth.user_roles r where r.user_id = u.id), '[]')::text, \
         pg_current_snapshot()::text, coalesce(u.banned_until > now(), false), s.id is not null \
         from auth.users u left join auth.sessions s on s.user_id = u.id and s.id = ",
    )
    .bind(Kind::UUID, Some(session.to_string()))
    .raw(" where u.deleted_at is null and u.id = ")
    .bind(Kind::UUID, Some(id.to_string()));
    let rows = lanes.read(&sql).await.map_err(|fault| fault.into_error())?;
    let row = rows.first().ok_or(TokenFault::Gone)?;
    if row.boolean(2) != Some(false) {
        return Err(TokenFault::Banned.into());
    }
    if row.boolean(3) != Some(true) {
        return Err(TokenFault::Ended.into());
    }
    let roles: Vec<String> = serde_json::from_slice(row.raw(0).unwrap_or(b"[]")).map_err(Error::internal)?;
    let roles: Arc<[String]> = roles.into();
    if let (Some(asking), Some(seen)) = (asking, row.text(1).and_then(Visibility::parse)) {
        known.keep(&asking, session, id, &roles, &seen);
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::{Algorithm, Keyring};
    use crate::auth::token;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn outcome(ring: &Keyring, bearer: Option<&str>, api_key: Option<&str>, keyless: bool) -> String {
        let found = identify(Credentials { bearer, api_key }, keyless, |token| {
            token::verify(token, ring, NOW).map(Arc::new)
        });
        match found {
            Ok(None) => "nobody".to_owned(),
            Ok(Some(verified)) => match &verified.holder {
                Holder::Key { role } => role.as_str().to_owned(),
                Holder::Operator { .. } => "operator".to_owned(),
                Holder::Session { .. } => "session".to_owned(),
                Holder::Foreign { .. } => "foreign".to_owned(),
            },
            Err(error) => error.code.as_str().to_owned(),
        }
    }

    #[test]
    fn the_order_of_credentials_is_that_of_the_wire() {
        let ring = Keyring::generate(Algorithm::EdDsa, NOW).unwrap();
        let token =
            token::mint_operator(ring.active(), Uuid::nil(), "authenticated", &[], NOW, NOW + 60).unwrap();
        let (anon, service) = (ring.publishable(), ring.secret());
        for (bearer, key, keyless, expected) in [
            (None, None, false, "PGRST302"),
            (None, None, true, "nobody"),
            (None, Some(anon), false, "anon"),
            (None, Some(service), false, "service_role"),
            (Some(anon), Some(anon), false, "anon"),
            (Some(service), Some(service), false, "service_role"),
            (Some(token.as_str()), Some(anon), false, "operator"),
            (Some(token.as_str()), Some(service), false, "operator"),
            (Some(token.as_str()), None, false, "operator"),
            (Some(service), None, false, "service_role"),
            (Some(service), Some(anon), false, "service_role"),
            (Some("x"), Some(anon), false, "PGRST301"),
            (Some(token.as_str()), Some("x"), false, "PGRST301"),
            (Some(token.as_str()), Some(token.as_str()), false, "PGRST301"),
            (Some(""), None, true, "PGRST301"),
            (None, Some(""), true, "PGRST301"),
        ] {
            assert_eq!(outcome(&ring, bearer, key, keyless), expected, "{bearer:?} {key:?} {keyless}");
        }
    }

    #[test]
    fn another_issuers_word_counts_for_an_address_that_it_vouches_for() {
        for (said, expected) in [
            (json!({ "email_verified": true }), Some("a@b.example")),
            (json!({ "email_verified": "true" }), None),
            (json!({ "email_verified": false }), None),
            (json!({}), None),
        ] {
            let mut claims = json!({ "email": "a@b.example", "aal": "aal2", "is_anonymous": true });
            claims["email_verified"] = said["email_verified"].clone();
            let roles = ["editor", "service_role"].map(str::to_owned).to_vec();
            let verified = Verified {
                holder: Holder::Foreign { id: Uuid::nil(), roles: roles.clone() },
                key: String::new(),
                jti: None,
                expires: NOW,
                claims: claims.as_object().unwrap().clone(),
                standing: Default::default(),
            };
            let principal = foreigner(&verified, Uuid::nil(), roles);
            assert_eq!(principal.roles, ["authenticated", "editor"]);
            assert_eq!(
                (principal.email.as_deref(), principal.aal, principal.is_anonymous),
                (expected, None, false)
            );
        }
    }

    #[test]
    fn nobody_is_granted_the_secret_keys_role() {
        let claims = json!({ "email": "a@b.example", "aal": "aal2", "is_anonymous": true });
        let verified = Verified {
            holder: Holder::Session { id: Uuid::nil(), session: Uuid::nil(), role: AUTHENTICATED },
            key: String::new(),
            jti: None,
            expires: NOW,
            claims: claims.as_object().unwrap().clone(),
            standing: Default::default(),
        };
        let granted = ["service_role", "editor", "Bad Role", "editor", "anon"].map(str::to_owned).to_vec();
        let person = person(&verified, Uuid::nil(), AUTHENTICATED, granted);
        assert_eq!(person.roles, ["authenticated", "editor"]);
        assert_eq!((person.email.as_deref(), person.aal.as_deref()), (Some("a@b.example"), Some("aal2")));
        assert!(person.is_anonymous);
    }
}
