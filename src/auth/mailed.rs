//! Letters that somebody asks for: to sign in, to recover, to confirm once more, to prove presence. The answer is the same
//! whoever has the address, and so is the work.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::flow::Challenge;
use super::limit::Counted;
use super::mail::Letter;
use super::one_time::{Issued, Purpose, Wanted};
use super::sign_up::already_registered;
use super::user::{self, New, User};
use super::verify::is_mere;
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// Somebody who wants a letter.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub email: &'a str,
    pub challenge: Option<Challenge>,
    /// Where the link leads; judged.
    pub redirect_to: String,
}

/// For whom a link is, and what comes true with it.
struct Ground {
    user: Option<Uuid>,
    purpose: Purpose,
    payload: Value,
}

impl Ground {
    /// Nobody gets a letter, and everything else is as if somebody did.
    fn nobody(purpose: Purpose) -> Ground {
        Ground { user: None, purpose, payload: json!({}) }
    }
}

impl Visit<'_> {
    /// A link and a code to sign in with. Makes a user where nobody has the address. Whoever asks that none be made is told
    /// that there is none, as clients of this wire rely on; how often he may ask is counted before.
    ///
    /// # Errors
    /// `otp_disabled`, `email_provider_disabled`, `email_address_invalid`, `validation_failed`, 429; 503 where no mail can be
    /// sent, whoever has the address.
    pub async fn mail_sign_in(
        &self,
        asked: Asked<'_>,
        create: bool,
        data: Option<Value>,
    ) -> Result<(), Error> {
        let data = user::metadata(data)?;
        let address = self.may_mail(asked.email)?;
        let tx = self.begin().await?;
        let mut found = user::lock_by_email(&tx, &address).await?;
        if found.is_none() && !create {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(AuthCode::OtpDisabled.into());
        }
        if found.is_none() && self.settings.project.signup.enabled {
            user::add(&tx, New { email: Some(&address), ..New::default() }).await?;
            found = user::lock_by_email(&tx, &address).await?;
        }
        // What a stranger says of somebody whom the operator knows does not come true.
        let is_mere = is_mere(&tx, found.as_ref().map(|user| user.id)).await?;
        let ground = match found {
            Some(user) if user.is_banned => Ground::nobody(Purpose::MagicLink),
            Some(user) if user.is_confirmed() => {
                Ground { user: Some(user.id), purpose: Purpose::MagicLink, payload: json!({}) }
            }
            Some(user) => {
                let payload = if is_mere { json!({ "data": data }) } else { json!({}) };
                Ground { user: Some(user.id), purpose: Purpose::SignUp, payload }
            }
            None => Ground::nobody(Purpose::MagicLink),
        };
        self.mail(tx, &address, ground, &asked).await
    }

    /// A link and a code to come back with for somebody who has lost his password.
    ///
    /// # Errors
    /// `email_provider_disabled`, `email_address_invalid`, 429.
    pub async fn mail_recovery(&self, asked: Asked<'_>) -> Result<(), Error> {
        let address = self.may_mail(asked.email)?;
        let tx = self.begin().await?;
        let found = user::lock_by_email(&tx, &address).await?.filter(|user| !user.is_banned);
        let user = found.map(|user| user.id);
        self.mail(tx, &address, Ground { user, ..Ground::nobody(Purpose::Recovery) }, &asked).await
    }

    /// The letter of a sign-up once more. If different people may have signed up with the address, no password comes true
    /// with it: nobody can tell whose it would be.
    ///
    /// # Errors
    /// As above.
    pub async fn mail_sign_up_again(&self, asked: Asked<'_>) -> Result<(), Error> {
        let address = self.may_mail(asked.email)?;
        let tx = self.begin().await?;
        let found = user::lock_by_email(&tx, &address).await?;
        let user = found.filter(|user| !user.is_banned && !user.is_confirmed()).map(|user| user.id);
        let mut sql = Sql::new();
        sql.raw(
            "select payload::text, coalesce(payload ->> 'hash', '') from auth.one_time_tokens where purpose = 'signup' and user_id = ",
        )
        .bind(Kind::UUID, user.map(|user| user.to_string()))
        .raw(" order by id desc");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let is_one = rows.windows(2).all(|pair| pair[0].text(1) == pair[1].text(1));
        let payload = rows.first().filter(|_| is_one).and_then(|row| serde_json::from_str(row.text(0)?).ok());
        let payload = payload.unwrap_or_else(|| json!({}));
        self.mail(tx, &address, Ground { user, purpose: Purpose::SignUp, payload }, &asked).await
    }

    /// The letters of a change of address once more, to those who have not agreed yet.
    ///
    /// # Errors
    /// As above.
    pub async fn mail_email_change_again(&self, asked: Asked<'_>) -> Result<(), Error> {
        let address = self.may_mail(asked.email)?;
        let tx = self.begin().await?;
        let found = user::lock_by_email(&tx, &address).await?.filter(|user| !user.is_banned);
        let id = found.as_ref().map(|user| user.id);
        let mut sql = Sql::new();
        sql.raw(
            "select distinct on (purpose) purpose, address, payload::text from auth.one_time_tokens \
             where expires_at > now() and purpose in ('email_change_current', 'email_change_new') and user_id = ",
        )
        .bind(Kind::UUID, id.map(|id| id.to_string()))
        .raw(" and payload ->> 'new_email' = ")
        .bind(Kind::TEXT, found.as_ref().and_then(|user| user.new_email.clone()))
        .raw(" order by purpose, id desc");
        let mut letters = Vec::new();
        for row in tx.query(&sql).await.map_err(DbError::into_error)? {
            let (Some(purpose), Some(to), Some(payload)) =
                (row.text(0).and_then(Purpose::parse), row.text(1), row.text(2))
            else {
                continue;
            };
            let payload: Value = serde_json::from_str(payload).map_err(Error::internal)?;
            let is_somebodys =
                purpose == Purpose::EmailChangeNew && payload.get("taken") == Some(&Value::Bool(true));
            let wanted = Wanted {
                user: id,
                purpose,
                address: to,
                payload,
                challenge: asked.challenge.as_ref(),
                redirect_to: &asked.redirect_to,
            };
            let issued = self.issue(&tx, wanted).await?;
            // The other address is not the one that was asked about: to refuse would tell of it.
            if to == address || self.limits.of(Counted::MailTo, to).is_ok() {
                letters.push(if is_somebodys {
                    already_registered(to.to_owned())
                } else {
                    self.letter_about_change(&issued, found.as_ref())
                });
            }
        }
        if letters.is_empty() {
            self.issue_to_nobody(&tx, &address, &asked).await?;
        }
        self.sent(&tx, id.filter(|_| !letters.is_empty()), Purpose::EmailChangeNew).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        letters.into_iter().for_each(|letter| self.notify(letter));
        Ok(())
    }

    /// A code that proves that the signed-in user is there.
    ///
    /// # Errors
    /// `validation_failed` for a user without a proven address; 429.
    pub async fn mail_reauthentication(&self) -> Result<(), Error> {
        let (id, _) = self.session_shown()?;
        self.can_mail()?;
        self.limits.from(Counted::Mail, self.visitor.address)?;
        let tx = self.begin().await?;
        let user = user::lock(&tx, id).await?.ok_or(AuthCode::TokenUserNotFound)?;
        let Some(address) = user.email.as_deref().filter(|_| user.is_confirmed()) else {
            tx.rollback().await.map_err(DbError::into_error)?;
            let sentence = "Reauthentication requires the user to have a confirmed email address";
            return Err(Error::with(AuthCode::ValidationFailed, sentence));
        };
        if let Err(refused) = self.limits.of(Counted::MailTo, address) {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(refused);
        }
        let wanted = Wanted {
            user: Some(id),
            purpose: Purpose::Reauthentication,
            address,
            payload: json!({}),
            challenge: None,
            redirect_to: &self.settings.site_url,
        };
        let issued = self.issue(&tx, wanted).await?;
        self.sent(&tx, Some(id), Purpose::Reauthentication).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        self.notify(Letter { link: None, ..self.letter(&issued) });
        Ok(())
    }

    /// Counts a letter that a stranger asks for: the address in its normal form. What is counted says nothing of who has it.
    fn may_mail(&self, address: &str) -> Result<String, Error> {
        if !self.settings.project.email.enabled {
            return Err(AuthCode::EmailProviderDisabled.into());
        }
        self.can_mail()?;
        let address = email::normal(address).ok_or(AuthCode::EmailAddressInvalid)?;
        self.limits.from(Counted::Mail, self.visitor.address)?;
        self.limits.of(Counted::MailTo, &address)?;
        Ok(address)
    }

    async fn mail(&self, tx: Tx, address: &str, ground: Ground, asked: &Asked<'_>) -> Result<(), Error> {
        let Ground { user, purpose, payload } = ground;
        let wanted = Wanted {
            user,
            purpose,
            address,
            payload,
            challenge: asked.challenge.as_ref(),
            redirect_to: &asked.redirect_to,
        };
        let issued = self.issue(&tx, wanted).await?;
        self.sent(&tx, user, purpose).await?;
        self.note(&tx, self.entry(Event::RecoveryRequested, user, json!({ "method": purpose.as_str() })))
            .await?;
        tx.commit().await.map_err(DbError::into_error)?;
        if user.is_some() {
            self.notify(self.letter(&issued));
        }
        Ok(())
    }

    async fn issue_to_nobody(&self, tx: &Tx, address: &str, asked: &Asked<'_>) -> Result<(), Error> {
        let wanted = Wanted {
            user: None,
            purpose: Purpose::EmailChangeNew,
            address,
            payload: Value::Object(Map::new()),
            challenge: asked.challenge.as_ref(),
            redirect_to: &asked.redirect_to,
        };
        self.issue(tx, wanted).await.map(|_| ())
    }

    /// The letter that brings a link and a code.
    pub(super) fn letter(&self, issued: &Issued) -> Letter {
        Letter {
            occasion: issued.purpose.occasion(),
            to: issued.address.clone(),
            link: Some(issued.link(&self.settings)),
            code: Some(issued.code.clone()),
            new_email: None,
        }
    }

    /// As above, of a change of address, which it names.
    pub(super) fn letter_about_change(&self, issued: &Issued, user: Option<&User>) -> Letter {
        Letter { new_email: user.and_then(|user| user.new_email.clone()), ..self.letter(issued) }
    }
}
