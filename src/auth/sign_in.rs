//! Signing in with address and password.

use serde_json::json;

use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::factor::undone;
use super::limit::Counted;
use super::session::{Grant, Method};
use super::user::{self, User};
use crate::db::DbError;
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

impl Visit<'_> {
    /// Signs in with an address and a password. Whatever is wrong, the answer and its time are the same.
    ///
    /// # Errors
    /// `invalid_credentials`; `email_not_confirmed` only for whoever knows the password.
    pub async fn sign_in(&self, address: &str, password: &str) -> Result<Grant, Error> {
        if !self.settings.project.email.enabled {
            return Err(AuthCode::EmailProviderDisabled.into());
        }
        let address = email::normal(address);
        let attempt = self.limits.attempt(Counted::SignIn, address.as_deref(), self.visitor.address)?;
        if password.len() > super::password::MAX_BYTES {
            attempt.failed();
            return Err(AuthCode::InvalidCredentials.into());
        }
        // A text that no address can be finds nobody, and takes as long.
        let found = self.by_email(address.as_deref().unwrap_or_default()).await?;
        let stored = found.as_ref().and_then(|(_, hash)| hash.as_deref());
        let compared = self.hashing().compare(password, stored).await?;
        if !compared.matches && self.waits(address.as_deref().unwrap_or_default(), password).await? {
            return Err(AuthCode::EmailNotConfirmed.into());
        }
        let (user, stored) = match found {
            Some((user, stored)) if compared.matches => (user, stored),
            found => {
                let tx = self.begin().await?;
                let subject = found.map(|(user, _)| user.id);
                self.note(&tx, self.entry(Event::SignInFailed, subject, json!({ "method": "password" })))
                    .await?;
                tx.commit().await.map_err(DbError::into_error)?;
                attempt.failed();
                return Err(AuthCode::InvalidCredentials.into());
            }
        };
        attempt.succeeded();
        if !user.is_confirmed() && self.settings.project.signup.confirm_email {
            return Err(AuthCode::EmailNotConfirmed.into());
        }
        // Before anything is locked: it takes long.
        let anew = if compared.is_outdated { Some(self.hashing().hash(password).await?) } else { None };
        let tx = self.begin().await?;
        // As he is now: somebody may have changed the password meanwhile, which ended all sessions.
        let Some(mut user) = user::lock(&tx, user.id).await? else {
            return undone(tx, AuthCode::InvalidCredentials).await;
        };
        let mut sql = Sql::new();
        sql.raw("select hash from auth.passwords where user_id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        if rows.first().and_then(|row| row.text(0)) != stored.as_deref() {
            return undone(tx, AuthCode::InvalidCredentials).await;
        }
        if user.is_banned {
            return undone(tx, AuthCode::UserBanned).await;
        }
        if let Some(hash) = anew {
            set_password(&tx, &user, &hash).await?;
        }
        let opened = self.open(&tx, &mut user, Method::Password).await?;
        self.commit_opened(tx).await?;
        self.grant(opened, user)
    }

    /// Whether this is the password that somebody signed up with last, and that waits for the address to be proven. That
    /// somebody has the address already makes no difference here: it would tell a stranger, who signs up first and then
    /// tries.
    async fn waits(&self, address: &str, password: &str) -> Result<bool, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "select coalesce(payload ->> 'hash', payload ->> 'void') from auth.one_time_tokens \
             where purpose = 'signup' and payload ?| '{hash,void}' and address = ",
        )
        .bind_text(address)
        .raw(" order by id desc limit 1");
        match self.read(&sql).await?.first().and_then(|row| row.text(0)) {
            Some(hash) => Ok(self.hashing().compare(password, Some(hash)).await?.matches),
            None => Ok(false),
        }
    }

    /// A user and the hash of his password.
    async fn by_email(&self, address: &str) -> Result<Option<(User, Option<String>)>, Error> {
        let mut hash = Sql::new();
        hash.raw("select p.hash from auth.passwords p join auth.users u on u.id = p.user_id where u.deleted_at is null and lower(u.email) = ")
            .bind_text(address);
        let by_email = user::select_by_email(address);
        let (users, hashes) = futures_util::future::try_join(self.read(&by_email), self.read(&hash)).await?;
        let hash = hashes.first().and_then(|row| row.text(0)).map(str::to_owned);
        Ok(user::first(&users)?.map(|user| (user, hash)))
    }
}

/// Sets the hash of a user's password.
pub(super) async fn set_password(tx: &crate::db::Tx, user: &User, hash: &str) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("insert into auth.passwords (user_id, hash) values (")
        .bind(Kind::UUID, Some(user.id.to_string()))
        .raw(", ")
        .bind_text(hash)
        .raw(") on conflict (user_id) do update set hash = excluded.hash, changed_at = now()");
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}
