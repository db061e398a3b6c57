//! Showing a link or a code that was mailed: what is proven by it, and what comes true with it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::identity::take_over;
use super::limit::Counted;
use super::mail::{Letter, Occasion};
use super::one_time::{self, Purpose, Redeemed};
use super::session::{Grant, Method};
use super::sign_in::set_password;
use super::user::{self, User};
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'a> {
    /// What a link carries.
    Link(&'a str),
    /// The code of a letter, and the address that got it.
    Code { address: &'a str, code: &'a str },
}

/// What came of it.
#[derive(Debug)]
pub enum Verified {
    /// A session.
    In(Box<Grant>),
    /// A code that the app exchanges for a session.
    Code(String),
    /// One of two addresses has agreed to a change: the other has to.
    Half,
}

/// What is said when one of two addresses has agreed.
pub const HALF: &str = "Confirmation link accepted. Please proceed to confirm link sent to the other email";

fn refused(shown: Shown<'_>) -> Error {
    match shown {
        Shown::Link(_) => Error::with(AuthCode::OtpExpired, "Email link is invalid or has expired"),
        Shown::Code { .. } => AuthCode::OtpExpired.into(),
    }
}

impl Visit<'_> {
    /// Shows a link or a code. `kind` is the wire's `type`. Where a browser follows a link that was asked for with PKCE, it
    /// gets a code for `redirect_to` instead of a session.
    ///
    /// # Errors
    /// `otp_expired` for whatever is wrong, used or over; `user_banned`; `email_exists` where somebody else has the address
    /// by now; 429.
    pub async fn verify(
        &self,
        kind: &str,
        shown: Shown<'_>,
        redirect_to: Option<&str>,
    ) -> Result<Verified, Error> {
        let purposes = Purpose::of_kind(kind)
            .ok_or_else(|| Error::with(AuthCode::ValidationFailed, "Unsupported verification type"))?;
        self.limits.from(Counted::Verify, self.visitor.address)?;
        let found = match shown {
            Shown::Link(token) => self.by_link(purposes, token).await?,
            Shown::Code { address, code } => {
                let address = email::normal(address).ok_or(AuthCode::EmailAddressInvalid)?;
                self.limits.of(Counted::Verify, &address)?;
                self.by_code(purposes, &address, code.trim()).await?
            }
        };
        let tx = self.begin().await?;
        let Some(found) = found else {
            self.note(&tx, self.entry(Event::SignInFailed, None, json!({ "method": kind }))).await?;
            tx.commit().await.map_err(DbError::into_error)?;
            return Err(refused(shown));
        };
        let user = user::lock(&tx, found.user).await?;
        let redeemed = self.consume(&tx, &found).await?;
        let (Some(user), Some(redeemed)) = (user, redeemed) else {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(refused(shown));
        };
        if user.is_banned {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(AuthCode::UserBanned.into());
        }
        let mut ended = false;
        let letters = match redeemed.purpose {
            Purpose::EmailChangeCurrent | Purpose::EmailChangeNew => {
                match self.agree(&tx, &user, &redeemed, shown).await? {
                    Some(letters) => letters,
                    None => {
                        tx.commit().await.map_err(DbError::into_error)?;
                        return Ok(Verified::Half);
                    }
                }
            }
            // It proves the address to which it was sent, and no other that the user may have had since.
            _ if user.email.as_deref() != Some(&redeemed.address) => {
                tx.rollback().await.map_err(DbError::into_error)?;
                return Err(refused(shown));
            }
            _ if user.is_confirmed() => {
                one_time::forget(&tx, user.id, &[redeemed.purpose]).await?;
                Vec::new()
            }
            _ => {
                // Whoever was let in without a proof has none, and what he put there does not stay to let him in again.
                ended = user.last_sign_in_at.is_some();
                if ended {
                    take_over(&tx, user.id).await?;
                }
                self.confirm(&tx, &user, &redeemed.payload).await?;
                Vec::new()
            }
        };
        let method = match (shown, redeemed.purpose) {
            (Shown::Code { .. }, _) => Method::Otp,
            (Shown::Link(_), purpose) => purpose.method(),
        };
        let rows = tx.query(&user::select_by_id(user.id)).await.map_err(DbError::into_error)?;
        let mut user = user::first(&rows)?.ok_or_else(|| refused(shown))?;
        let verified = match (redirect_to, &redeemed.challenge) {
            (Some(redirect_to), Some(challenge)) => {
                let code = self.auth_code(&tx, user.id, method, challenge, redirect_to).await?;
                self.end(tx, ended).await?;
                Verified::Code(code)
            }
            _ => {
                let opened = self.open(&tx, &mut user, method).await?;
                self.end(tx, ended).await?;
                Verified::In(Box::new(self.grant(opened, user)?))
            }
        };
        for letter in letters {
            self.notify(letter);
        }
        Ok(verified)
    }

    /// Commits what may have ended sessions.
    async fn end(&self, tx: Tx, ended: bool) -> Result<(), Error> {
        if ended { self.commit_known(tx).await } else { self.commit_opened(tx).await }
    }

    /// The user's address is proven. What came with the proof comes true, and all else that was pending is gone: what
    /// others asked for in his name among it.
    pub(super) async fn confirm(&self, tx: &Tx, user: &User, payload: &Value) -> Result<(), Error> {
        let data = payload.get("data").filter(|data| data.is_object());
        let mut sql = Sql::new();
        sql.raw(
            "update auth.users set email_confirmed_at = now(), is_anonymous = false, user_metadata = user_metadata || ",
        )
        .bind(Kind::JSON, Some(data.map_or_else(|| "{}".to_owned(), Value::to_string)))
        .raw(" where id = ")
        .bind(Kind::UUID, Some(user.id.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        if let Some(hash) = payload.get("hash").and_then(Value::as_str) {
            set_password(tx, user, hash).await?;
        }
        if let Some(address) = &user.email {
            user::prove(tx, user.id, address).await?;
        }
        one_time::forget(tx, user.id, &[]).await?;
        self.note(tx, self.entry(Event::EmailConfirmed, Some(user.id), json!({}))).await
    }

    /// One address agrees to a change. `None` while the other has not; else the change is made, and these letters are due.
    async fn agree(
        &self,
        tx: &Tx,
        user: &User,
        redeemed: &Redeemed,
        shown: Shown<'_>,
    ) -> Result<Option<Vec<Letter>>, Error> {
        let wanted = redeemed.payload.get("new_email").and_then(Value::as_str);
        let Some(wanted) = wanted.filter(|wanted| user.new_email.as_deref() == Some(wanted)) else {
            return Err(refused(shown));
        };
        if redeemed.payload.get("waits") == Some(&Value::Bool(true)) {
            let other = match redeemed.purpose {
                Purpose::EmailChangeNew => Purpose::EmailChangeCurrent,
                _ => Purpose::EmailChangeNew,
            };
            let mut sql = Sql::new();
            sql.raw(
                "update auth.one_time_tokens set payload = payload || '{\"waits\": false}' \
                 where expires_at > now() and user_id = ",
            )
            .bind(Kind::UUID, Some(user.id.to_string()))
            .raw(" and purpose = ")
            .bind_text(other.as_str())
            .raw(" and payload ->> 'new_email' = ")
            .bind_text(wanted)
            .raw(" returning true");
            if tx.query(&sql).await.map_err(DbError::into_error)?.is_empty() {
                return Err(refused(shown));
            }
            one_time::forget(tx, user.id, &[redeemed.purpose]).await?;
            return Ok(None);
        }
        self.change_email(tx, user, wanted).await?;
        let before = user.email.clone();
        Ok(Some(before.into_iter().map(|to| moved(to, wanted)).collect()))
    }

    /// Gives a user another address, which is proven. Links to the one before are worth nothing any more.
    ///
    /// # Errors
    /// `email_exists`.
    pub(super) async fn change_email(&self, tx: &Tx, user: &User, wanted: &str) -> Result<(), Error> {
        make_room(tx, wanted).await?;
        self.put_email(tx, user, wanted, true).await?;
        user::prove(tx, user.id, wanted).await
    }

    /// Gives an address that nobody has proven to a user who had none, where addresses need no proof: as if he had signed
    /// up with it.
    ///
    /// # Errors
    /// `email_exists`.
    pub(super) async fn claim_email(&self, tx: &Tx, user: &User, wanted: &str) -> Result<(), Error> {
        self.put_email(tx, user, wanted, false).await
    }

    async fn put_email(&self, tx: &Tx, user: &User, wanted: &str, is_proven: bool) -> Result<(), Error> {
        let mut taken = Sql::new();
        taken
            .raw("select from auth.users where lower(email) = ")
            .bind_text(wanted)
            .raw(" and id <> ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        if !tx.query(&taken).await.map_err(DbError::into_error)?.is_empty() {
            return Err(AuthCode::EmailExists.into());
        }
        let mut sql = Sql::new();
        sql.raw("update auth.users set new_email = null, is_anonymous = false, email_confirmed_at = ")
            .raw(if is_proven { "now()" } else { "null" })
            .raw(", email = ")
            .bind_text(wanted)
            .raw(" where id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        tx.query(&sql).await.map_err(taken_or)?;
        one_time::forget(tx, user.id, &[]).await?;
        self.note(tx, self.entry(Event::EmailChanged, Some(user.id), json!({}))).await
    }

    /// Sends a letter after what it tells of is done: that it cannot be sent undoes nothing.
    pub(super) fn notify(&self, letter: Letter) {
        if let Err(fault) = self.send(letter) {
            tracing::warn!(%fault, "a letter to a user was not sent");
        }
    }
}

/// The letter that tells the address before of a change.
pub(super) fn moved(to: String, wanted: &str) -> Letter {
    Letter {
        occasion: Occasion::AddressChanged,
        to,
        link: None,
        code: None,
        new_email: Some(wanted.to_owned()),
    }
}

/// What the database says when somebody else was faster with an address.
pub(super) fn taken_or(fault: DbError) -> Error {
    if fault.constraint() == Some("users_email_key") {
        Error::from(AuthCode::EmailExists).source(fault)
    } else {
        fault.into_error()
    }
}

/// Whoever proves an address need not make room for somebody who has merely typed it: users of whom there is nothing but
/// a sign-up that nobody confirmed are gone.
async fn make_room(tx: &Tx, address: &str) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("select u.id::text from auth.users u where lower(u.email) = ").bind_text(address).raw(MERE);
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    let Some(id) = rows.first().and_then(|row| row.text(0)?.parse::<Uuid>().ok()) else { return Ok(()) };
    // Not waited for: whoever holds it is about to confirm it.
    let mut sql = Sql::new();
    sql.raw("delete from auth.users where id in (select u.id from auth.users u where u.id = ")
        .bind(Kind::UUID, Some(id.to_string()))
        .raw(MERE)
        .raw(" for update skip locked)");
    tx.query(&sql).await.map_err(|fault| {
        // Records refer to somebody who never signed in: the operator's doing, and his to undo.
        if fault.sqlstate() == Some("23503") { AuthCode::EmailExists.into() } else { fault.into_error() }
    })?;
    Ok(())
}

/// Whether there is nothing of a user but a sign-up that nobody confirmed: only then is a stranger's word as good as any.
/// Of nobody it takes as long. The caller holds the user's lock.
pub(super) async fn is_mere(tx: &Tx, user: Option<Uuid>) -> Result<bool, Error> {
    let mut sql = Sql::new();
    sql.raw("select from auth.users u where u.id = ")
        .bind(Kind::UUID, user.map(|user| user.to_string()))
        .raw(MERE);
    Ok(!tx.query(&sql).await.map_err(DbError::into_error)?.is_empty())
}

/// Holds of a user `u` of whom there is nothing but a sign-up that nobody confirmed.
pub(super) const MERE: &str = " and u.email_confirmed_at is null and u.invited_at is null and not u.is_anonymous \
    and u.deleted_at is null and u.app_metadata = '{}' and u.user_metadata = '{}' \
    and not exists (select from auth.passwords p where p.user_id = u.id) \
    and not exists (select from auth.identities i where i.user_id = u.id) \
    and not exists (select from auth.user_roles r where r.user_id = u.id) \
    and not exists (select from auth.sessions s where s.user_id = u.id)";
