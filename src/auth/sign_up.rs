//! Signing up. What a stranger says of an address waits beside a link that is mailed to it, and comes true when the link is
//! shown: nobody puts a password into somebody else's account, and the answer does not tell who has one.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::flow::Challenge;
use super::limit::Counted;
use super::mail::{Letter, Occasion};
use super::one_time::{Purpose, Wanted};
use super::session::{Grant, Method};
use super::sign_in::set_password;
use super::user::{self, New, User};
use super::verify::is_mere;
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// Somebody who signs up.
#[derive(Clone, Debug)]
pub struct SignUp<'a> {
    pub email: &'a str,
    pub password: &'a str,
    /// What he says of himself.
    pub data: Option<Value>,
    pub challenge: Option<Challenge>,
    /// Where the link leads; judged.
    pub redirect_to: String,
}

/// What comes of it.
#[derive(Debug)]
pub enum SignedUp {
    /// Nothing needs to be proven.
    In(Box<Grant>),
    /// A letter is under way, to whoever has the address. What is told of the user is the same for everybody.
    Waits(Box<User>),
}

impl Visit<'_> {
    /// Signs up.
    ///
    /// # Errors
    /// `signup_disabled`, `email_provider_disabled`, `email_address_invalid`, `weak_password`, `validation_failed`, 429; and
    /// `user_already_exists` where addresses need no proof.
    pub async fn sign_up(&self, wish: SignUp<'_>) -> Result<SignedUp, Error> {
        let project = &self.settings.project;
        if !project.signup.enabled {
            return Err(AuthCode::SignupDisabled.into());
        }
        if !project.email.enabled {
            return Err(AuthCode::EmailProviderDisabled.into());
        }
        self.limits.from(Counted::SignUp, self.visitor.address)?;
        let address = email::normal(wish.email).ok_or(AuthCode::EmailAddressInvalid)?;
        let data = user::metadata(wish.data)?;
        self.hashing().judge(wish.password, project.password_min_length).await?;
        if !project.signup.confirm_email {
            return self.sign_up_at_once(&address, wish.password, data).await;
        }
        self.can_mail()?;
        self.limits.from(Counted::Mail, self.visitor.address)?;
        self.limits.of(Counted::MailTo, &address)?;
        let hash = self.hashing().hash(wish.password).await?;
        let tx = self.begin().await?;
        let (mut told, owner) = self.expected(&tx, &address, &data).await?;
        let is_new = owner.is_none();
        // Whoever is proven already keeps what he has: what waits then lets nobody in.
        let open = match owner {
            None => Some(told.id),
            Some(owner) if !owner.is_confirmed() && !owner.is_banned => Some(owner.id),
            Some(_) => None,
        };
        // Whom the operator knows, or who was let in before, does not get a stranger's password with his letter. It is kept
        // as void then, for the answer to whoever tries it to be what it is for everybody.
        let is_mere = is_mere(&tx, open).await?;
        let payload = if is_mere || open.is_none() {
            json!({ "hash": hash, "data": data })
        } else {
            json!({ "void": hash })
        };
        let issued = self
            .issue(
                &tx,
                Wanted {
                    user: open,
                    purpose: Purpose::SignUp,
                    address: &address,
                    payload,
                    challenge: wish.challenge.as_ref(),
                    redirect_to: &wish.redirect_to,
                },
            )
            .await?;
        self.sent(&tx, open, Purpose::SignUp).await?;
        self.note(&tx, self.entry(Event::SignedUp, open, json!({ "repeated": !is_new }))).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        told.confirmation_sent_at = Some(told.created_at.clone());
        self.notify(match open {
            Some(_) => self.letter(&issued),
            None => already_registered(address),
        });
        Ok(SignedUp::Waits(Box::new(told)))
    }

    /// Signs up where addresses need no proof. Whoever typed the address is let in, and has proven nothing: the account is
    /// his until somebody proves the address, and then all that he put into it goes, the password too. That holds for
    /// himself as well, if he is who has the address: nothing tells him from somebody who typed it before him.
    async fn sign_up_at_once(
        &self,
        address: &str,
        password: &str,
        user_metadata: Map<String, Value>,
    ) -> Result<SignedUp, Error> {
        let hash = self.hashing().hash(password).await?;
        let tx = self.begin().await?;
        let new = New { email: Some(address), user_metadata, ..New::default() };
        let Some(id) = user::add(&tx, new).await? else {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(AuthCode::UserAlreadyExists.into());
        };
        let user = user::lock(&tx, id).await?.ok_or(AuthCode::UserAlreadyExists)?;
        set_password(&tx, &user, &hash).await?;
        self.note(&tx, self.entry(Event::SignedUp, Some(id), json!({}))).await?;
        self.enter(tx, id, Method::Password).await.map(SignedUp::In)
    }

    /// Signs in as nobody in particular.
    ///
    /// # Errors
    /// `anonymous_provider_disabled`, `signup_disabled`, 429.
    pub async fn sign_up_anonymously(&self, data: Option<Value>) -> Result<Grant, Error> {
        let signup = &self.settings.project.signup;
        if !signup.anonymous {
            return Err(AuthCode::AnonymousProviderDisabled.into());
        }
        if !signup.enabled {
            return Err(AuthCode::SignupDisabled.into());
        }
        self.limits.from(Counted::Anonymous, self.visitor.address)?;
        let user_metadata = user::metadata(data)?;
        let tx = self.begin().await?;
        let new = New { is_anonymous: true, user_metadata, ..New::default() };
        let id = user::add(&tx, new).await?.ok_or_else(|| Error::internal("an id was made twice"))?;
        self.note(&tx, self.entry(Event::SignedUp, Some(id), json!({ "anonymous": true }))).await?;
        self.enter(tx, id, Method::Anonymous).await.map(|grant| *grant)
    }

    /// Opens a session of a user who was made in this transaction, and ends it.
    async fn enter(&self, tx: Tx, id: Uuid, method: Method) -> Result<Box<Grant>, Error> {
        let rows = tx.query(&user::select_by_id(id)).await.map_err(DbError::into_error)?;
        let mut user = user::first(&rows)?.ok_or(AuthCode::UserNotFound)?;
        let opened = self.open(&tx, &mut user, method).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        self.grant(opened, user).map(Box::new)
    }

    /// What whoever signs up is told, and who has the address already. Nobody has: then the user is made, as he is told.
    /// The id is a fresh one every time, so that to ask twice tells nothing either.
    async fn expected(
        &self,
        tx: &Tx,
        address: &str,
        data: &Map<String, Value>,
    ) -> Result<(User, Option<User>), Error> {
        let mut fresh = Sql::new();
        fresh.raw("select basewright.uuid_v7()::text, basewright.rfc3339(now())");
        let rows = tx.query(&fresh).await.map_err(DbError::into_error)?;
        let fresh = || {
            let row = rows.first()?;
            Some((row.text(0)?.parse().ok()?, row.text(1)?.to_owned()))
        };
        let (id, now) = fresh().ok_or_else(|| Error::internal("the database made no id"))?;
        user::add(tx, New { id: Some(id), email: Some(address), ..New::default() }).await?;
        // Another request may have made the user a moment ago; this finds him then.
        let owner = user::lock_by_email(tx, address).await?.filter(|owner| owner.id != id);
        let told = User {
            id,
            email: Some(address.to_owned()),
            new_email: None,
            email_confirmed_at: None,
            invited_at: None,
            confirmation_sent_at: None,
            recovery_sent_at: None,
            email_change_sent_at: None,
            reauthentication_sent_at: None,
            last_sign_in_at: None,
            app_metadata: Map::new(),
            user_metadata: data.clone(),
            is_anonymous: false,
            banned_until: None,
            is_banned: false,
            deleted_at: None,
            created_at: now.clone(),
            updated_at: now,
            has_password: false,
            roles: Vec::new(),
            identities: Vec::new(),
            factors: Vec::new(),
        };
        Ok((told, owner))
    }

    /// Notes when a letter was sent to a user; of nobody, nothing in the same time.
    pub(super) async fn sent(&self, tx: &Tx, user: Option<Uuid>, purpose: Purpose) -> Result<(), Error> {
        let mut sql = Sql::new();
        sql.raw("update auth.users set ")
            .raw(match purpose {
                Purpose::SignUp => "confirmation_sent_at",
                Purpose::Invite => "confirmation_sent_at = now(), invited_at",
                Purpose::Recovery | Purpose::MagicLink => "recovery_sent_at",
                Purpose::EmailChangeCurrent | Purpose::EmailChangeNew => "email_change_sent_at",
                Purpose::Reauthentication => "reauthentication_sent_at",
            })
            .raw(" = now() where id = ")
            .bind(Kind::UUID, user.map(|user| user.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        Ok(())
    }
}

/// The letter to whoever has an account already.
pub(super) fn already_registered(to: String) -> Letter {
    Letter { occasion: Occasion::AlreadyRegistered, to, link: None, code: None, new_email: None }
}
