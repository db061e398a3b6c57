//! Roles of users and their sessions, as an operator gives and takes them, and as users see their own sessions.

use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::admin::again;
use super::audit::Event;
use super::desk::Visit;
use super::factor::undone;
use super::session::{end_all, end_one};
use super::user;
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// A session, without anything that lets somebody in.
#[derive(Clone, Debug, Deserialize)]
pub struct Standing {
    pub id: Uuid,
    pub created_at: String,
    pub refreshed_at: Option<String>,
    pub aal: u8,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
}

/// What becomes of a user's roles.
#[derive(Clone, Copy, Debug)]
pub enum Granting<'a> {
    /// These, and no others.
    Exactly(&'a [String]),
    Also(&'a str),
    Without(&'a str),
}

impl Visit<'_> {
    /// Changes the roles of a user: those he has then. It counts at once, at every door.
    ///
    /// # Errors
    /// `user_not_found`; `validation_failed` for a role that the project does not declare.
    pub async fn grant_roles(&self, id: Uuid, granting: Granting<'_>) -> Result<Vec<String>, Error> {
        let tx = self.begin().await?;
        let user = user::lock(&tx, id).await?.ok_or(AuthCode::UserNotFound)?;
        let mut wanted = match granting {
            Granting::Exactly(roles) => roles.to_vec(),
            Granting::Also(role) => {
                let mut roles = user.roles.clone();
                roles.push(role.to_owned());
                roles
            }
            Granting::Without(role) => user.roles.iter().filter(|has| *has != role).cloned().collect(),
        };
        wanted.sort();
        wanted.dedup();
        for role in wanted.iter().filter(|role| !user.roles.contains(role)) {
            self.known_role(role)?;
            self.change_role(&tx, id, role, true).await?;
        }
        for role in user.roles.iter().filter(|role| !wanted.contains(role)) {
            self.change_role(&tx, id, role, false).await?;
        }
        let user = again(&tx, id).await?;
        self.commit_known(tx).await?;
        Ok(user.roles)
    }

    fn known_role(&self, role: &str) -> Result<(), Error> {
        if self.settings.roles.iter().any(|known| known == role) {
            return Ok(());
        }
        let known = self.settings.roles.join(", ");
        let sentence = format!("The project has no role `{role}` that can be granted; it has: {known}");
        Err(Error::with(AuthCode::ValidationFailed, sentence))
    }

    async fn change_role(&self, tx: &Tx, id: Uuid, role: &str, granted: bool) -> Result<(), Error> {
        let mut sql = Sql::new();
        let event = if granted {
            sql.raw("insert into auth.user_roles (user_id, role) values (")
                .bind(Kind::UUID, Some(id.to_string()))
                .raw(", ")
                .bind_text(role)
                .raw(") on conflict do nothing");
            Event::RoleGranted
        } else {
            sql.raw("delete from auth.user_roles where user_id = ")
                .bind(Kind::UUID, Some(id.to_string()))
                .raw(" and role = ")
                .bind_text(role);
            Event::RoleRevoked
        };
        tx.query(&sql).await.map_err(DbError::into_error)?;
        self.note(tx, self.entry(event, Some(id), json!({ "role": role }))).await
    }

    /// The sessions of a user, the newest first.
    ///
    /// # Errors
    /// `user_not_found`.
    pub async fn sessions(&self, id: Uuid) -> Result<Vec<Standing>, Error> {
        self.user(id).await?;
        let mut sql = Sql::new();
        sql.raw(
            "select jsonb_build_object('id', s.id, 'created_at', basewright.rfc3339(s.created_at), \
             'refreshed_at', basewright.rfc3339(t.refreshed_at), 'aal', s.aal, 'ip', host(s.ip), \
             'user_agent', s.user_agent)::text \
             from auth.sessions s left join auth.refresh_tokens t on t.session_id = s.id where s.user_id = ",
        )
        .bind(Kind::UUID, Some(id.to_string()))
        .raw(" order by s.created_at desc, s.id");
        let rows = self.read(&sql).await?;
        rows.iter()
            .map(|row| serde_json::from_slice(row.raw(0).unwrap_or_default()).map_err(Error::internal))
            .collect()
    }

    /// Ends a session of a user.
    ///
    /// # Errors
    /// `session_not_found` if he has no such session.
    pub async fn end_session(&self, id: Uuid, session: Uuid) -> Result<(), Error> {
        let tx = self.begin().await?;
        // Under his lock, as what he changes of himself is: a change that saw the session lasts before it ends.
        if user::lock(&tx, id).await?.is_none() {
            return undone(tx, AuthCode::NoSuchSession).await;
        }
        let mut sql = Sql::new();
        sql.raw("select from auth.sessions where id = ")
            .bind(Kind::UUID, Some(session.to_string()))
            .raw(" and user_id = ")
            .bind(Kind::UUID, Some(id.to_string()));
        if tx.query(&sql).await.map_err(DbError::into_error)?.is_empty() {
            return undone(tx, AuthCode::NoSuchSession).await;
        }
        end_one(&tx, session).await?;
        let mut entry = self.entry(Event::SessionRevoked, Some(id), json!({}));
        entry.session = Some(session);
        self.note(&tx, entry).await?;
        self.commit_known(tx).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// `user_not_found`.
    pub async fn end_sessions(&self, id: Uuid) -> Result<(), Error> {
        let tx = self.begin().await?;
        user::lock(&tx, id).await?.ok_or(AuthCode::UserNotFound)?;
        end_all(&tx, id, None).await?;
        self.note(&tx, self.entry(Event::SessionRevoked, Some(id), json!({ "scope": "global" }))).await?;
        self.commit_known(tx).await
    }
}
