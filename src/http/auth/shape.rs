//! Users, identities, factors and sessions as JSON of this dialect. Times that are not are left out.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::auth::invite::Link;
use crate::auth::rights::Standing;
use crate::auth::session::Grant;
use crate::auth::user::{Factor, Identity, User};
use crate::model::AUTHENTICATED;

/// A user.
pub(super) fn user(user: &User) -> Value {
    let mut shape = json!({
        "id": user.id, "aud": "authenticated", "role": AUTHENTICATED,
        "email": user.email.as_deref().unwrap_or_default(), "phone": "",
        "app_metadata": user.app_metadata(), "user_metadata": user.user_metadata,
        "identities": user.identities.iter().map(identity).collect::<Vec<_>>(),
        "created_at": user.created_at, "updated_at": user.updated_at, "is_anonymous": user.is_anonymous,
    });
    let members = members(&mut shape);
    for (name, value) in [
        ("email_confirmed_at", &user.email_confirmed_at),
        ("confirmed_at", &user.email_confirmed_at),
        ("invited_at", &user.invited_at),
        ("confirmation_sent_at", &user.confirmation_sent_at),
        ("recovery_sent_at", &user.recovery_sent_at),
        ("new_email", &user.new_email),
        ("email_change_sent_at", &user.email_change_sent_at),
        ("reauthentication_sent_at", &user.reauthentication_sent_at),
        ("last_sign_in_at", &user.last_sign_in_at),
        ("banned_until", &user.banned_until),
        ("deleted_at", &user.deleted_at),
    ] {
        optional(members, name, value.as_deref());
    }
    if !user.factors.is_empty() {
        members.insert("factors".to_owned(), user.factors.iter().map(factor).collect());
    }
    shape
}

/// An identity.
pub(super) fn identity(identity: &Identity) -> Value {
    let mut shape = json!({
        "identity_id": identity.id, "id": identity.provider_id, "user_id": identity.user_id,
        "identity_data": identity.identity_data, "provider": identity.provider,
        "created_at": identity.created_at, "updated_at": identity.updated_at,
    });
    let members = members(&mut shape);
    optional(members, "last_sign_in_at", identity.last_sign_in_at.as_deref());
    optional(members, "email", identity.identity_data.get("email").and_then(Value::as_str));
    shape
}

/// A second factor.
pub(super) fn factor(factor: &Factor) -> Value {
    let mut shape = json!({
        "id": factor.id, "created_at": factor.created_at, "updated_at": factor.updated_at,
        "status": factor.status, "factor_type": factor.factor_type,
    });
    let members = members(&mut shape);
    optional(members, "friendly_name", factor.friendly_name.as_deref());
    optional(members, "last_challenged_at", factor.last_challenged_at.as_deref());
    shape
}

/// A session as its user and the operator see it.
pub(super) fn session(session: &Standing, current: Option<Uuid>) -> Value {
    let mut shape =
        json!({ "id": session.id, "created_at": session.created_at, "aal": format!("aal{}", session.aal) });
    let members = members(&mut shape);
    optional(members, "refreshed_at", session.refreshed_at.as_deref());
    optional(members, "ip", session.ip.as_deref());
    optional(members, "user_agent", session.user_agent.as_deref());
    if let Some(current) = current {
        members.insert("is_current".to_owned(), (session.id == current).into());
    }
    shape
}

/// A link for the operator to deliver, beside the members of its user.
pub(super) fn link(link: &Link) -> Value {
    let mut shape = user(&link.user);
    let members = members(&mut shape);
    for (name, value) in [
        ("action_link", link.url.as_str()),
        ("email_otp", &link.code),
        ("hashed_token", &link.token),
        ("verification_type", link.purpose.as_str()),
        ("redirect_to", &link.redirect_to),
    ] {
        members.insert(name.to_owned(), value.into());
    }
    shape
}

/// A session with its tokens.
pub(super) fn grant(grant: &Grant) -> Value {
    let mut shape = json!({
        "access_token": grant.access_token, "token_type": "bearer", "expires_in": grant.expires_in,
        "expires_at": grant.expires_at, "refresh_token": grant.refresh_token, "user": user(&grant.user),
    });
    let members = members(&mut shape);
    optional(members, "provider_token", grant.provider_token.as_deref());
    optional(members, "provider_refresh_token", grant.provider_refresh_token.as_deref());
    shape
}

fn optional(members: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}

/// The members of an object that `json!` has made.
fn members(shape: &mut Value) -> &mut Map<String, Value> {
    match shape {
        Value::Object(members) => members,
        _ => unreachable!("it was made as an object"),
    }
}
