//! Identities: by what a user is recognised at a provider, and whose account that opens.
//!
//! An address opens an account only where both sides have proven it: the provider vouches for it, and the account's owner
//! has shown that mail to it reaches him. An account whose address nobody has proven belongs to whoever proves it first;
//! what was put into it before (password, factors, sessions, identities, the user's own words) goes. An address that the
//! provider does not vouch for opens nothing: its holder gets an account of his own, without that address.

use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::provider::profile::Profile;
use super::session::{self, end_all};
use super::user::{self, EMAIL, Identity, User};
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// Whose account an identity is to be added to, and in which of his sessions he asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Linker {
    pub(super) user: Uuid,
    pub(super) session: Uuid,
}

/// Whom a provider's word has let in.
pub(super) struct Recognised {
    pub(super) user: User,
    /// Somebody else has lost what he had in the account: [`Visit::commit_known`].
    pub(super) took_over: bool,
}

impl Visit<'_> {
    /// The user whom a provider speaks of: the one who has this identity, the one who has proven the same address, or a new
    /// one. `None` if somebody did the same at the same moment: to be tried again.
    ///
    /// # Errors
    /// `user_banned`, `signup_disabled`.
    pub(super) async fn recognise(
        &self,
        tx: &Tx,
        provider: &str,
        profile: &Profile,
    ) -> Result<Option<Recognised>, Error> {
        if let Some(id) = owner(tx, provider, &profile.subject).await? {
            let user = user::lock(tx, id).await?.ok_or(AuthCode::TokenUserNotFound)?;
            let user = self.come_back(tx, user, provider, profile).await?;
            return Ok(user.map(|user| Recognised { user, took_over: false }));
        }
        if let Some(email) = profile.proven() {
            let rows = tx.query(&user::select_by_email(email)).await.map_err(DbError::into_error)?;
            if let Some(found) = user::first(&rows)? {
                let Some(user) = user::lock(tx, found.id).await? else { return Ok(None) };
                if user.email.as_deref().map(str::to_ascii_lowercase).as_deref() != Some(email) {
                    return Ok(None);
                }
                return self.join(tx, user, provider, profile).await;
            }
        }
        if !self.settings.project.signup.enabled {
            return Err(AuthCode::SignupDisabled.into());
        }
        self.welcome(tx, provider, profile).await
    }

    /// Somebody who has the identity already.
    async fn come_back(
        &self,
        tx: &Tx,
        user: User,
        provider: &str,
        profile: &Profile,
    ) -> Result<Option<User>, Error> {
        if user.is_banned {
            return Err(AuthCode::UserBanned.into());
        }
        let mut sql = Sql::new();
        sql.raw("update auth.identities set last_sign_in_at = now(), identity_data = ")
            .bind(Kind::JSON, Some(data(profile)))
            .raw(" where provider = ")
            .bind_text(provider)
            .raw(" and provider_id = ")
            .bind_text(&profile.subject)
            .raw(" and user_id = ")
            .bind(Kind::UUID, Some(user.id.to_string()))
            .raw(" returning true");
        if tx.query(&sql).await.map_err(DbError::into_error)?.is_empty() {
            return Ok(None);
        }
        say(tx, user.id, profile).await?;
        if user.email.is_none() {
            give_address(tx, user.id, profile).await?;
        }
        read(tx, user.id).await.map(Some)
    }

    /// Somebody whose account is known by the address that the provider vouches for.
    async fn join(
        &self,
        tx: &Tx,
        user: User,
        provider: &str,
        profile: &Profile,
    ) -> Result<Option<Recognised>, Error> {
        if user.is_banned {
            return Err(AuthCode::UserBanned.into());
        }
        let took_over = !user.is_confirmed();
        if took_over {
            take_over(tx, user.id).await?;
        }
        if !self.add(tx, user.id, provider, profile).await? {
            return Ok(None);
        }
        say(tx, user.id, profile).await?;
        if took_over {
            self.note(tx, self.entry(Event::EmailConfirmed, Some(user.id), json!({ "provider": provider })))
                .await?;
        }
        Ok(Some(Recognised { user: read(tx, user.id).await?, took_over }))
    }

    /// Somebody new.
    async fn welcome(&self, tx: &Tx, provider: &str, profile: &Profile) -> Result<Option<Recognised>, Error> {
        let email = profile.proven();
        let mut sql = Sql::new();
        sql.raw("insert into auth.users (email, email_confirmed_at, user_metadata) values (")
            .bind(Kind::TEXT, email.map(str::to_owned))
            .raw(", case when ")
            .bind(Kind::BOOLEAN, Some(email.is_some().to_string()))
            .raw(" then now() end, ")
            .bind(Kind::JSON, Some(data(profile)))
            .raw(") on conflict do nothing returning id::text");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let Some(id) = rows.first().and_then(|row| row.text(0)?.parse().ok()) else { return Ok(None) };
        if !self.add(tx, id, provider, profile).await? {
            return Ok(None);
        }
        self.note(tx, self.entry(Event::SignedUp, Some(id), json!({ "provider": provider }))).await?;
        Ok(Some(Recognised { user: read(tx, id).await?, took_over: false }))
    }

    /// Adds an identity to a user; false if somebody has it.
    async fn add(&self, tx: &Tx, user: Uuid, provider: &str, profile: &Profile) -> Result<bool, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "insert into auth.identities (user_id, provider, provider_id, identity_data, last_sign_in_at) values (",
        )
        .bind(Kind::UUID, Some(user.to_string()))
        .raw(", ")
        .bind_text(provider)
        .raw(", ")
        .bind_text(&profile.subject)
        .raw(", ")
        .bind(Kind::JSON, Some(data(profile)))
        .raw(", now()) on conflict (provider, provider_id) do nothing returning id::text");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let Some(identity) = rows.first().and_then(|row| row.text(0)) else { return Ok(false) };
        let details = json!({ "provider": provider, "identity": identity });
        self.note(tx, self.entry(Event::IdentityLinked, Some(user), details)).await?;
        Ok(true)
    }

    /// Adds an identity to the account of somebody who is signed in. Who had no address gets the one that the provider
    /// vouches for, if nobody has it; who was anonymous is so no more.
    ///
    /// The caller has made sure that it is himself whom the provider speaks of: that whoever began it holds the answer.
    ///
    /// # Errors
    /// `identity_already_exists`, and what [`Visit::check_linker`] says.
    pub(super) async fn link(
        &self,
        tx: &Tx,
        linker: Linker,
        provider: &str,
        profile: &Profile,
    ) -> Result<User, Error> {
        let user = user::lock(tx, linker.user).await?.ok_or(AuthCode::TokenUserNotFound)?;
        self.check_linker(tx, &user, linker.session).await?;
        if !self.add(tx, user.id, provider, profile).await? {
            return Err(AuthCode::IdentityAlreadyExists.into());
        }
        if user.is_anonymous {
            let mut sql = Sql::new();
            sql.raw("update auth.users set is_anonymous = false where id = ")
                .bind(Kind::UUID, Some(user.id.to_string()));
            tx.query(&sql).await.map_err(DbError::into_error)?;
        }
        if user.email.is_none() {
            give_address(tx, user.id, profile).await?;
        }
        read(tx, user.id).await
    }

    /// Makes sure, under the lock of the user, that he may change by what he is recognised: the session in which he asked
    /// for it still lives, and all his factors were shown in it.
    ///
    /// # Errors
    /// `manual_linking_disabled`, `user_banned`, `session_not_found`, `insufficient_aal`.
    pub(super) async fn check_linker(&self, tx: &Tx, user: &User, session: Uuid) -> Result<(), Error> {
        if !self.settings.project.manual_linking {
            return Err(AuthCode::ManualLinkingDisabled.into());
        }
        if user.is_banned {
            return Err(AuthCode::UserBanned.into());
        }
        let level = session::level(tx, session).await?;
        if user.has_verified_factor() && level < 2 {
            return Err(AuthCode::InsufficientAal.into());
        }
        Ok(())
    }

    /// Refuses early whoever may not change by what he is recognised. What counts is [`Visit::check_linker`].
    ///
    /// # Errors
    /// `manual_linking_disabled`, `insufficient_aal`; of the token, as [`Visit::user_shown`].
    pub(super) async fn may_link(&self) -> Result<Linker, Error> {
        let (_, session) = self.session_shown()?;
        let user = self.user_shown().await?;
        if !self.settings.project.manual_linking {
            return Err(AuthCode::ManualLinkingDisabled.into());
        }
        if user.has_verified_factor() && self.aal_shown() < 2 {
            return Err(AuthCode::InsufficientAal.into());
        }
        Ok(Linker { user: user.id, session })
    }

    /// Takes an identity from whoever is signed in. An address that no identity proves any more goes with it, and so does
    /// the password where signing in by address goes.
    ///
    /// # Errors
    /// `single_identity_not_deletable`, `identity_not_found`, `email_conflict_identity_not_deletable`, and what
    /// is said of who may link.
    pub async fn unlink(&self, identity: Uuid) -> Result<(), Error> {
        let shown = self.may_link().await?;
        let tx = self.begin().await?;
        let user = user::lock(&tx, shown.user).await?.ok_or(AuthCode::TokenUserNotFound)?;
        self.check_linker(&tx, &user, shown.session).await?;
        let Some(gone) = user.identities.iter().find(|known| known.id == identity) else {
            return Err(AuthCode::IdentityNotFound.into());
        };
        if user.identities.len() < 2 {
            return Err(AuthCode::SingleIdentityNotDeletable.into());
        }
        let mut sql = Sql::new();
        sql.raw("delete from auth.identities where id = ").bind(Kind::UUID, Some(identity.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        if gone.provider == EMAIL {
            forget(&tx, "delete from auth.passwords where user_id = ", user.id).await?;
            forget(&tx, "delete from auth.one_time_tokens where user_id = ", user.id).await?;
        }
        let left: Vec<&str> =
            user.identities.iter().filter(|known| known.id != identity).filter_map(proven).collect();
        let has = user.email.as_deref().map(str::to_ascii_lowercase);
        if has.as_deref().is_some_and(|has| !left.contains(&has)) {
            move_address(&tx, user.id, left.first().copied()).await?;
        }
        let details = json!({ "provider": gone.provider, "identity": identity });
        self.note(&tx, self.entry(Event::IdentityUnlinked, Some(user.id), details)).await?;
        self.commit_known(tx).await
    }
}

/// The address that an identity proves.
fn proven(identity: &Identity) -> Option<&str> {
    let is_verified = identity.identity_data.get("email_verified") == Some(&Value::Bool(true));
    let email = identity.identity_data.get("email").and_then(Value::as_str);
    email.filter(|_| is_verified)
}

fn data(profile: &Profile) -> String {
    Value::Object(profile.data.clone()).to_string()
}

/// Who has an identity.
pub(super) async fn owner(tx: &Tx, provider: &str, subject: &str) -> Result<Option<Uuid>, Error> {
    let mut sql = Sql::new();
    sql.raw("select user_id::text from auth.identities where provider = ")
        .bind_text(provider)
        .raw(" and provider_id = ")
        .bind_text(subject);
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(rows.first().and_then(|row| row.text(0)?.parse().ok()))
}

/// Lets the provider's words be the user's, over what he says himself.
async fn say(tx: &Tx, user: Uuid, profile: &Profile) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("update auth.users set user_metadata = user_metadata || ")
        .bind(Kind::JSON, Some(data(profile)))
        .raw(" where id = ")
        .bind(Kind::UUID, Some(user.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// Gives the proven address to a user who has none, unless somebody has it.
async fn give_address(tx: &Tx, user: Uuid, profile: &Profile) -> Result<(), Error> {
    let Some(email) = profile.proven() else { return Ok(()) };
    let mut sql = Sql::new();
    sql.raw("update auth.users set email_confirmed_at = now(), email = ")
        .bind_text(email)
        .raw(" where email is null and not exists (select from auth.users o where lower(o.email) = ")
        .bind_text(email)
        .raw(") and id = ")
        .bind(Kind::UUID, Some(user.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// Gives a user another proven address instead of the one he has, or none.
async fn move_address(tx: &Tx, user: Uuid, email: Option<&str>) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("update auth.users u set email = ")
        .bind(Kind::TEXT, email.map(str::to_owned))
        .raw(", email_confirmed_at = case when ")
        .bind(Kind::BOOLEAN, Some(email.is_some().to_string()))
        .raw(" then now() end where not exists (select from auth.users o where o.id <> u.id and lower(o.email) = ")
        .bind(Kind::TEXT, email.map(str::to_owned))
        .raw(") and id = ")
        .bind(Kind::UUID, Some(user.to_string()))
        .raw(" returning true");
    if tx.query(&sql).await.map_err(DbError::into_error)?.is_empty() {
        return Err(AuthCode::EmailConflictIdentityNotDeletable.into());
    }
    Ok(())
}

/// Makes an account whose address nobody had proven one that was never used.
pub(super) async fn take_over(tx: &Tx, user: Uuid) -> Result<(), Error> {
    end_all(tx, user, None).await?;
    for what in [
        "delete from auth.passwords where user_id = ",
        "delete from auth.one_time_tokens where user_id = ",
        "delete from auth.factors where user_id = ",
        "delete from auth.recovery_codes where user_id = ",
        "delete from auth.identities where user_id = ",
        "update auth.users set email_confirmed_at = now(), new_email = null, user_metadata = '{}', is_anonymous = false where id = ",
    ] {
        forget(tx, what, user).await?;
    }
    Ok(())
}

async fn forget(tx: &Tx, what: &'static str, user: Uuid) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw(what).bind(Kind::UUID, Some(user.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// A user whose row this transaction has locked.
async fn read(tx: &Tx, id: Uuid) -> Result<User, Error> {
    let rows = tx.query(&user::select_by_id(id)).await.map_err(DbError::into_error)?;
    user::first(&rows)?.ok_or_else(|| AuthCode::TokenUserNotFound.into())
}
