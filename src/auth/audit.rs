//! [`Entry`]: one line of the audit log: what happened, who did it, and to whom.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::Visit;
use crate::error::Error;
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// What happened. The words are stable: people search for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    SignedUp,
    SignedIn,
    SignInFailed,
    SignedOut,
    SessionRevoked,
    RefreshTokenReused,
    EmailConfirmed,
    EmailChanged,
    PasswordChanged,
    RecoveryRequested,
    Invited,
    LinkGenerated,
    IdentityLinked,
    IdentityUnlinked,
    FactorEnrolled,
    FactorVerified,
    FactorFailed,
    FactorRemoved,
    RecoveryCodesMade,
    RecoveryCodeUsed,
    UserCreated,
    UserUpdated,
    UserBanned,
    UserDeleted,
    RoleGranted,
    RoleRevoked,
    KeysChanged,
    KeyRevoked,
    PoliciesChanged,
}

impl Event {
    pub fn as_str(self) -> &'static str {
        match self {
            Event::SignedUp => "signed_up",
            Event::SignedIn => "signed_in",
            Event::SignInFailed => "sign_in_failed",
            Event::SignedOut => "signed_out",
            Event::SessionRevoked => "session_revoked",
            Event::RefreshTokenReused => "refresh_token_reused",
            Event::EmailConfirmed => "email_confirmed",
            Event::EmailChanged => "email_changed",
            Event::PasswordChanged => "password_changed",
            Event::RecoveryRequested => "recovery_requested",
            Event::Invited => "invited",
            Event::LinkGenerated => "link_generated",
            Event::IdentityLinked => "identity_linked",
            Event::IdentityUnlinked => "identity_unlinked",
            Event::FactorEnrolled => "factor_enrolled",
            Event::FactorVerified => "factor_verified",
            Event::FactorFailed => "factor_failed",
            Event::FactorRemoved => "factor_removed",
            Event::RecoveryCodesMade => "recovery_codes_made",
            Event::RecoveryCodeUsed => "recovery_code_used",
            Event::UserCreated => "user_created",
            Event::UserUpdated => "user_updated",
            Event::UserBanned => "user_banned",
            Event::UserDeleted => "user_deleted",
            Event::RoleGranted => "role_granted",
            Event::RoleRevoked => "role_revoked",
            Event::KeysChanged => "keys_changed",
            Event::KeyRevoked => "key_revoked",
            Event::PoliciesChanged => "policies_changed",
        }
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `anon`, `authenticated`, `service_role`, `operator` (the command line) or `server`.
    pub role: &'static str,
    pub user: Option<Uuid>,
}

/// A line to be added.
#[derive(Clone, Debug)]
pub struct Entry {
    pub event: Event,
    pub actor: Actor,
    pub subject: Option<Uuid>,
    pub session: Option<Uuid>,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    /// An object. Never a secret.
    pub details: Value,
}

/// Characters of a user agent that are kept.
const USER_AGENT: usize = 300;

impl Entry {
    /// The statement that adds it.
    pub fn insert(&self) -> Sql {
        let id = |id: Option<Uuid>| id.map(|id| id.to_string());
        let agent = self.user_agent.as_ref().map(|agent| agent.chars().take(USER_AGENT).collect());
        let details = if self.details.is_object() { self.details.clone() } else { json!({}) };
        let mut sql = Sql::new();
        sql.raw("insert into auth.audit_log (event, actor, actor_role, subject, session_id, ip, user_agent, details) values (")
            .bind_text(self.event.as_str())
            .raw(", ")
            .bind(Kind::UUID, id(self.actor.user))
            .raw(", ")
            .bind_text(self.actor.role)
            .raw(", ")
            .bind(Kind::UUID, id(self.subject))
            .raw(", ")
            .bind(Kind::UUID, id(self.session))
            .raw(", ")
            .bind(Kind::one(Scalar::Inet), self.address.map(|address| address.to_string()))
            .raw(", ")
            .bind(Kind::TEXT, agent)
            .raw(", ")
            .bind(Kind::JSON, Some(details.to_string()))
            .raw(")");
        sql
    }
}

/// A line of the log, as it is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub id: Uuid,
    /// RFC 3339.
    pub at: String,
    pub event: String,
    pub actor: Option<Uuid>,
    pub actor_role: String,
    pub subject: Option<Uuid>,
    pub session_id: Option<Uuid>,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub details: Value,
}

/// Which lines of the log are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub event: Option<&'a str>,
    pub subject: Option<Uuid>,
    /// Those before this one.
    pub before: Option<Uuid>,
}

impl Visit<'_> {
    /// A page of the log, the newest lines first. `page` begins at 1.
    pub async fn audit(&self, wanted: Wanted<'_>, page: u32, per_page: u32) -> Result<Vec<Line>, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "select jsonb_build_object('id', id, 'at', basewright.rfc3339(at), 'event', event, 'actor', actor, \
             'actor_role', actor_role, 'subject', subject, 'session_id', session_id, 'ip', host(ip), \
             'user_agent', user_agent, 'details', details)::text from auth.audit_log where true",
        );
        if let Some(event) = wanted.event {
            sql.raw(" and event = ").bind_text(event);
        }
        if let Some(subject) = wanted.subject {
            sql.raw(" and subject = ").bind(Kind::UUID, Some(subject.to_string()));
        }
        if let Some(before) = wanted.before {
            sql.raw(" and id < ").bind(Kind::UUID, Some(before.to_string()));
        }
        let passed = i64::from(page.saturating_sub(1)) * i64::from(per_page);
        sql.raw(" order by id desc limit ")
            .bind(Kind::one(Scalar::Bigint), Some(per_page.to_string()))
            .raw(" offset ")
            .bind(Kind::one(Scalar::Bigint), Some(passed.to_string()));
        let rows = self.read(&sql).await?;
        let line = |row: &crate::db::Row| serde_json::from_slice(row.raw(0).unwrap_or_default());
        rows.iter().map(line).collect::<Result<_, _>>().map_err(Error::internal)
    }
}
