//! Invitations, and links that an operator has made to deliver himself.

use serde_json::{Value, json};

use super::admin::again;
use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::one_time::{self, Issued, Purpose, Wanted};
use super::user::{self, New, User};
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// A link that is to be made and not mailed.
#[derive(Clone, Debug)]
pub struct LinkWish<'a> {
    pub purpose: Purpose,
    pub email: &'a str,
    pub new_email: Option<&'a str>,
    /// Of a sign-up.
    pub password: Option<&'a str>,
    pub data: Option<Value>,
    /// Judged.
    pub redirect_to: String,
}

/// A link that was made.
#[derive(Debug)]
pub struct Link {
    pub user: User,
    pub url: String,
    pub code: String,
    pub token: String,
    pub purpose: Purpose,
    pub redirect_to: String,
}

impl Visit<'_> {
    /// Invites somebody by mail; once more, if he did not come.
    ///
    /// # Errors
    /// `email_address_invalid`, `email_exists`, `validation_failed`.
    pub async fn invite(&self, address: &str, data: Option<Value>, redirect_to: &str) -> Result<User, Error> {
        let address = email::normal(address).ok_or(AuthCode::EmailAddressInvalid)?;
        self.can_mail()?;
        let tx = self.begin().await?;
        let (user, issued) = self.invited(&tx, &address, data, redirect_to).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        self.notify(self.letter(&issued));
        Ok(user)
    }

    async fn invited(
        &self,
        tx: &Tx,
        address: &str,
        data: Option<Value>,
        redirect_to: &str,
    ) -> Result<(User, Issued), Error> {
        let data = user::metadata(data)?;
        user::add(tx, New { email: Some(address), ..New::default() }).await?;
        let user = user::lock_by_email(tx, address).await?.ok_or(AuthCode::Conflict)?;
        if user.is_confirmed() {
            return Err(AuthCode::EmailExists.into());
        }
        // What strangers asked for in his name is not what he is invited to.
        one_time::forget(tx, user.id, &[]).await?;
        let mut sql = Sql::new();
        sql.raw("update auth.users set user_metadata = ")
            .bind(
                Kind::JSON,
                Some(Value::Object(user::merged(&user.user_metadata, data.clone())?).to_string()),
            )
            .raw(" where id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        let issued =
            self.issue_to(tx, &user, Purpose::Invite, address, json!({ "data": data }), redirect_to).await?;
        self.sent(tx, Some(user.id), Purpose::Invite).await?;
        self.note(tx, self.entry(Event::Invited, Some(user.id), json!({}))).await?;
        Ok((again(tx, user.id).await?, issued))
    }

    /// Makes a link and a code for the operator to deliver. Whoever is not known and wants to sign in signs up.
    ///
    /// # Errors
    /// `user_not_found`, `email_exists`, `email_address_invalid`, `weak_password`, `validation_failed`.
    pub async fn make_link(&self, wish: LinkWish<'_>) -> Result<Link, Error> {
        let address = email::normal(wish.email).ok_or(AuthCode::EmailAddressInvalid)?;
        let wanted = wish.new_email.map(|email| email::normal(email).ok_or(AuthCode::EmailAddressInvalid));
        let wanted = wanted.transpose()?;
        let password = wish.password.filter(|password| !password.is_empty());
        let hash = match (wish.purpose, password) {
            (Purpose::SignUp, Some(password)) => {
                self.hashing().judge(password, self.settings.project.password_min_length).await?;
                Some(self.hashing().hash(password).await?)
            }
            (Purpose::SignUp, None) => {
                return Err(Error::with(AuthCode::ValidationFailed, "Signup requires a valid password"));
            }
            _ => None,
        };
        let tx = self.begin().await?;
        let (user, issued) = match wish.purpose {
            Purpose::Invite => self.invited(&tx, &address, wish.data, &wish.redirect_to).await?,
            Purpose::SignUp | Purpose::MagicLink => {
                self.signing(&tx, &address, wish.purpose, wish.data, hash, &wish.redirect_to).await?
            }
            Purpose::Recovery => {
                let user = user::lock_by_email(&tx, &address).await?.ok_or_else(unknown)?;
                let purpose = Purpose::Recovery;
                let issued =
                    self.issue_to(&tx, &user, purpose, &address, json!({}), &wish.redirect_to).await?;
                self.sent(&tx, Some(user.id), purpose).await?;
                (user, issued)
            }
            Purpose::EmailChangeCurrent | Purpose::EmailChangeNew => {
                let user = user::lock_by_email(&tx, &address).await?.ok_or_else(unknown)?;
                let wanted =
                    wanted.ok_or_else(|| Error::with(AuthCode::ValidationFailed, "new_email is required"))?;
                self.moving(&tx, user, wish.purpose, &wanted, &wish.redirect_to).await?
            }
            Purpose::Reauthentication => {
                return Err(Error::with(
                    AuthCode::ValidationFailed,
                    "Invalid email action link type requested",
                ));
            }
        };
        let details = json!({ "type": issued.purpose.as_str() });
        self.note(&tx, self.entry(Event::LinkGenerated, Some(user.id), details)).await?;
        let user = again(&tx, user.id).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(Link {
            user,
            url: issued.link(&self.settings),
            code: issued.code,
            token: issued.token,
            purpose: issued.purpose,
            redirect_to: issued.redirect_to,
        })
    }

    async fn signing(
        &self,
        tx: &Tx,
        address: &str,
        purpose: Purpose,
        data: Option<Value>,
        hash: Option<String>,
        redirect_to: &str,
    ) -> Result<(User, Issued), Error> {
        let data = user::metadata(data)?;
        user::add(tx, New { email: Some(address), ..New::default() }).await?;
        let user = user::lock_by_email(tx, address).await?.ok_or(AuthCode::Conflict)?;
        let (purpose, payload) = match (purpose, user.is_confirmed()) {
            (Purpose::SignUp, true) => return Err(AuthCode::EmailExists.into()),
            (_, true) => (Purpose::MagicLink, json!({})),
            (_, false) => {
                // Not what strangers asked for in his name.
                one_time::forget(tx, user.id, &[]).await?;
                // The operator vouches for the password, and not for whose hands the link gets into: both come true at once.
                (
                    Purpose::SignUp,
                    match hash {
                        Some(hash) => json!({ "hash": hash, "data": data }),
                        None => json!({ "data": data }),
                    },
                )
            }
        };
        let issued = self.issue_to(tx, &user, purpose, address, payload, redirect_to).await?;
        self.sent(tx, Some(user.id), purpose).await?;
        Ok((user, issued))
    }

    /// One half of a change of address. With both halves made, one after the other, both have to be shown.
    async fn moving(
        &self,
        tx: &Tx,
        user: User,
        purpose: Purpose,
        wanted: &str,
        redirect_to: &str,
    ) -> Result<(User, Issued), Error> {
        let both = self.settings.project.email.confirm_both && user.is_confirmed();
        if purpose == Purpose::EmailChangeCurrent && !both {
            let sentence = "Enable secure email change to generate link for current email";
            return Err(Error::with(AuthCode::ValidationFailed, sentence));
        }
        let mut sql = Sql::new();
        sql.raw("select from auth.users where lower(email) = ").bind_text(wanted);
        if !tx.query(&sql).await.map_err(DbError::into_error)?.is_empty() {
            return Err(AuthCode::EmailExists.into());
        }
        if user.new_email.as_deref() != Some(wanted) {
            one_time::forget(tx, user.id, &[Purpose::EmailChangeCurrent, Purpose::EmailChangeNew]).await?;
        }
        let mut sql = Sql::new();
        sql.raw("update auth.users set email_change_sent_at = now(), new_email = ")
            .bind_text(wanted)
            .raw(" where id = ")
            .bind(Kind::UUID, Some(user.id.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        let own = user.email.clone().unwrap_or_default();
        let address = if purpose == Purpose::EmailChangeNew { wanted } else { &own };
        let payload = json!({ "new_email": wanted, "waits": both });
        let issued = self.issue_to(tx, &user, purpose, address, payload, redirect_to).await?;
        Ok((user, issued))
    }

    async fn issue_to(
        &self,
        tx: &Tx,
        user: &User,
        purpose: Purpose,
        address: &str,
        payload: Value,
        redirect_to: &str,
    ) -> Result<Issued, Error> {
        let wanted = Wanted { user: Some(user.id), purpose, address, payload, challenge: None, redirect_to };
        self.issue(tx, wanted).await
    }
}

fn unknown() -> Error {
    Error::with(AuthCode::UserNotFound, "User with this email not found")
}
