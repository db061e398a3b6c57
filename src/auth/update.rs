//! What signed-in users change of themselves: what they say of themselves, their password, their address.

use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::factor::undone;
use super::flow::Challenge;
use super::limit::Counted;
use super::mail::{Letter, Occasion};
use super::one_time::{self, Found, Purpose, Wanted};
use super::session::{self, end_all};
use super::sign_in::set_password;
use super::sign_up::already_registered;
use super::user::{self, User};
use super::verify::{MERE, moved};
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// Changes that a user wants. What he does not name stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub data: Option<Value>,
    pub password: Option<String>,
    /// The password so far.
    pub current_password: Option<String>,
    /// A code that was mailed to prove that it is he.
    pub nonce: Option<String>,
    pub email: Option<String>,
    pub challenge: Option<Challenge>,
    /// Where links lead; judged.
    pub redirect_to: String,
}

/// Seconds for which a session needs no code to change the password.
const FRESH: i64 = 24 * 3_600;

/// A password that was found good.
struct NewPassword {
    hash: String,
    /// The hash with which the one before was compared.
    before: Option<String>,
    /// The code that was shown with it.
    nonce: Option<Found>,
}

impl Visit<'_> {
    /// Changes the signed-in user.
    ///
    /// # Errors
    /// `session_not_found` and `user_banned` for whoever lost his right meanwhile, `insufficient_aal`, `weak_password`, `same_password`, `current_password_invalid`, `reauthentication_needed`,
    /// `reauthentication_not_valid`, `email_address_invalid`, `validation_failed`, 429.
    pub async fn change(&self, change: Change) -> Result<User, Error> {
        let (id, session) = self.session_shown()?;
        let user = self.user_shown().await?;
        let password = change.password.as_deref().filter(|password| !password.is_empty());
        let wished = change.email.as_deref().filter(|email| !email.trim().is_empty());
        let wished =
            wished.map(|email| email::normal(email).ok_or(AuthCode::EmailAddressInvalid)).transpose()?;
        let wished = wished.filter(|email| user.email.as_deref() != Some(email));
        if (password.is_some() || wished.is_some()) && user.has_verified_factor() && self.aal_shown() < 2 {
            return Err(AuthCode::InsufficientAalToUpdate.into());
        }
        if password.is_some() && user.is_anonymous && wished.is_none() {
            let sentence = "Updating password of an anonymous user without an email or phone is not allowed";
            return Err(Error::with(AuthCode::ValidationFailed, sentence));
        }
        let data = change.data.clone().map(|data| user::metadata(Some(data))).transpose()?;
        let password = match password {
            Some(password) => Some(self.new_password(&user, session, password, &change).await?),
            None => None,
        };
        if let Some(address) = &wished
            && (self.settings.project.signup.confirm_email || !user.is_anonymous)
        {
            self.can_mail()?;
            self.limits.from(Counted::Mail, self.visitor.address)?;
            self.limits.of(Counted::MailTo, address)?;
        }
        let tx = self.begin().await?;
        let Some(user) = user::lock(&tx, id).await? else {
            return undone(tx, AuthCode::TokenUserNotFound).await;
        };
        // The token was judged a while ago. What is so under the lock stays so until the change lasts.
        if user.is_banned {
            return undone(tx, AuthCode::UserBanned).await;
        }
        let level = match session::level(&tx, session).await {
            Ok(level) => level,
            Err(error) => {
                tx.rollback().await.map_err(DbError::into_error)?;
                return Err(error);
            }
        };
        // A token of the first level stays one when its session is raised.
        let level = level.min(self.aal_shown());
        if (password.is_some() || wished.is_some()) && user.has_verified_factor() && level < 2 {
            return undone(tx, AuthCode::InsufficientAalToUpdate).await;
        }
        let mut letters = Vec::new();
        if let Some(data) = data {
            let mut sql = Sql::new();
            sql.raw("update auth.users set user_metadata = ")
                .bind(Kind::JSON, Some(Value::Object(user::merged(&user.user_metadata, data)?).to_string()))
                .raw(" where id = ")
                .bind(Kind::UUID, Some(id.to_string()));
            tx.query(&sql).await.map_err(DbError::into_error)?;
            self.note(&tx, self.entry(Event::UserUpdated, Some(id), json!({ "fields": ["data"] }))).await?;
        }
        let ends_sessions = password.is_some();
        if let Some(password) = password {
            self.put_password(&tx, &user, session, password).await?;
            letters.extend(user.email.clone().filter(|_| user.is_confirmed()).map(|to| Letter {
                occasion: Occasion::PasswordChanged,
                to,
                link: None,
                code: None,
                new_email: None,
            }));
        }
        if let Some(address) = wished {
            letters.extend(self.wish_email(&tx, &user, &address, &change).await?);
        }
        let rows = tx.query(&user::select_by_id(id)).await.map_err(DbError::into_error)?;
        let user = user::first(&rows)?.ok_or(AuthCode::TokenUserNotFound)?;
        if ends_sessions {
            self.commit_known(tx).await?;
        } else {
            tx.commit().await.map_err(DbError::into_error)?;
        }
        letters.into_iter().for_each(|letter| self.notify(letter));
        Ok(user)
    }

    /// Judges a password that is to be set. Work that takes long is done before anything is locked.
    async fn new_password(
        &self,
        user: &User,
        session: Uuid,
        password: &str,
        change: &Change,
    ) -> Result<NewPassword, Error> {
        let project = &self.settings.project;
        // Whoever holds a stolen token is not to try passwords with it.
        self.limits.of(Counted::SignIn, &user.id.to_string())?;
        let nonce = change.nonce.as_deref().filter(|nonce| !nonce.is_empty());
        let nonce = match (project.email.reauthenticate && self.is_old(session).await?, nonce) {
            (false, _) => None,
            (true, None) => return Err(AuthCode::ReauthenticationNeeded.into()),
            (true, Some(nonce)) => {
                let address = user.email.as_deref().unwrap_or_default();
                let found = self.by_code(&[Purpose::Reauthentication], address, nonce).await?;
                let found = found.filter(|found| found.user == user.id);
                Some(found.ok_or(AuthCode::ReauthenticationNotValid)?)
            }
        };
        let mut sql = Sql::new();
        sql.raw("select hash from auth.passwords where user_id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        let before = self.read(&sql).await?.first().and_then(|row| row.text(0).map(str::to_owned));
        if let Some(current) = &change.current_password
            && before.is_some()
            && !self.hashing().compare(current, before.as_deref()).await?.matches
        {
            return Err(AuthCode::CurrentPasswordInvalid.into());
        }
        self.hashing().judge(password, project.password_min_length).await?;
        if before.is_some() && self.hashing().compare(password, before.as_deref()).await?.matches {
            return Err(AuthCode::SamePassword.into());
        }
        Ok(NewPassword { hash: self.hashing().hash(password).await?, before, nonce })
    }

    /// Sets a password that was found good. The user's other sessions and his links end.
    async fn put_password(
        &self,
        tx: &Tx,
        user: &User,
        session: Uuid,
        password: NewPassword,
    ) -> Result<(), Error> {
        let NewPassword { hash, before, nonce } = password;
        if let Some(nonce) = nonce
            && self.consume(tx, &nonce).await?.is_none()
        {
            return Err(AuthCode::ReauthenticationNotValid.into());
        }
        let mut sql = Sql::new();
        sql.raw("select hash from auth.passwords where user_id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        if rows.first().and_then(|row| row.text(0)) != before.as_deref() {
            return Err(AuthCode::Conflict.into());
        }
        set_password(tx, user, &hash).await?;
        // Whoever came by a provider has two ways from now on, each of which he may give up.
        if let Some(address) = user.email.as_deref().filter(|_| before.is_none() && user.is_confirmed()) {
            user::prove(tx, user.id, address).await?;
        }
        one_time::forget(tx, user.id, &[]).await?;
        end_all(tx, user.id, Some(session)).await?;
        self.note(tx, self.entry(Event::PasswordChanged, Some(user.id), json!({}))).await
    }

    /// Whether a session was opened so long ago that a code is needed.
    async fn is_old(&self, session: Uuid) -> Result<bool, Error> {
        let mut sql = Sql::new();
        sql.raw("select extract(epoch from created_at)::bigint from auth.sessions where id = ")
            .bind(Kind::UUID, Some(session.to_string()));
        let created = self.read(&sql).await?.first().and_then(|row| row.integer(0));
        Ok(created.is_none_or(|created| self.now >= created.saturating_add(FRESH)))
    }

    /// Begins a change of address: the letters that it takes. Whether somebody has the address is told to him and to nobody
    /// else.
    async fn wish_email(
        &self,
        tx: &Tx,
        user: &User,
        address: &str,
        change: &Change,
    ) -> Result<Vec<Letter>, Error> {
        let project = &self.settings.project;
        if !project.signup.confirm_email && user.is_anonymous {
            self.claim_email(tx, user, address).await?;
            return Ok(user.email.clone().into_iter().map(|to| moved(to, address)).collect());
        }
        let mut taken = Sql::new();
        taken
            .raw("select from auth.users o where lower(o.email) = ")
            .bind_text(address)
            .raw(" and o.id <> ")
            .bind(Kind::UUID, Some(user.id.to_string()))
            .raw(" and not exists (select from auth.users u where u.id = o.id")
            .raw(MERE)
            .raw(")");
        let is_taken = !tx.query(&taken).await.map_err(DbError::into_error)?.is_empty();
        let mut sql = Sql::new();
        sql.raw("update auth.users set email_change_sent_at = now(), new_email = ")
            .bind_text(address)
            .raw(" where id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        // Only the last wish counts.
        one_time::forget(tx, user.id, &[Purpose::EmailChangeCurrent, Purpose::EmailChangeNew]).await?;
        let before = user.email.as_deref().filter(|_| project.email.confirm_both && user.is_confirmed());
        let payload = json!({ "new_email": address, "waits": before.is_some(), "taken": is_taken });
        let halves = [(Purpose::EmailChangeNew, Some(address)), (Purpose::EmailChangeCurrent, before)];
        let mut letters = Vec::new();
        for (purpose, to) in halves {
            let Some(to) = to else { continue };
            let wanted = Wanted {
                user: Some(user.id),
                purpose,
                address: to,
                payload: payload.clone(),
                challenge: change.challenge.as_ref(),
                redirect_to: &change.redirect_to,
            };
            let issued = self.issue(tx, wanted).await?;
            letters.push(if is_taken && purpose == Purpose::EmailChangeNew {
                already_registered(to.to_owned())
            } else {
                Letter { new_email: Some(address.to_owned()), ..self.letter(&issued) }
            });
        }
        self.note(tx, self.entry(Event::UserUpdated, Some(user.id), json!({ "fields": ["email"] }))).await?;
        Ok(letters)
    }
}
