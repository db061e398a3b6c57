//! Users as an operator keeps them: listed, made, changed, deleted. Whoever gets here holds the secret key, or the database.

use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::email;
use super::one_time;
use super::password::is_importable;
use super::session::end_all;
use super::sign_in::set_password;
use super::user::{self, New, User};
use super::verify::taken_or;
use crate::db::{DbError, Tx};
use crate::error::{AuthCode, Error};
use crate::model::{AUTHENTICATED, Kind};
use crate::sql::Sql;

/// A page of users.
#[derive(Clone, Debug)]
pub struct Page {
    pub users: Vec<User>,
    /// How many there are on all pages.
    pub total: i64,
}

/// What an operator says of a user. What is not named stays, or is as it is for everybody.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Only of one who is made.
    pub id: Option<Uuid>,
    pub email: Option<String>,
    pub email_confirm: Option<bool>,
    pub password: Option<String>,
    /// A hash that an import brings along.
    pub password_hash: Option<String>,
    pub user_metadata: Option<Value>,
    pub app_metadata: Option<Value>,
    /// `24h`, `1h30m`; `none` ends a ban.
    pub ban_duration: Option<String>,
    /// The wire has a place for it; a user's is always the same.
    pub role: Option<String>,
}

/// How long somebody is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ban {
    None,
    /// Seconds.
    For(i64),
}

/// The longest ban, in seconds: a thousand years and some.
const LONGEST_BAN: i64 = 10_000_000 * 3_600;

impl Ban {
    /// Reads `24h`, `1h30m`, `90s`, `none`.
    pub fn parse(text: &str) -> Option<Ban> {
        let text = text.trim();
        if text == "none" {
            return Some(Ban::None);
        }
        let (mut total, mut number, mut rest) = (0_i64, None::<i64>, 0);
        for c in text.chars() {
            if let Some(digit) = c.to_digit(10) {
                number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit.into())?);
                continue;
            }
            // The larger unit first, and each once.
            let (unit, rank) = match c {
                'h' => (3_600, 1),
                'm' => (60, 2),
                's' => (1, 3),
                _ => return None,
            };
            if rank <= rest {
                return None;
            }
            rest = rank;
            total = total.checked_add(number.take()?.checked_mul(unit)?)?;
        }
        (number.is_none() && rest > 0 && (1..=LONGEST_BAN).contains(&total)).then_some(Ban::For(total))
    }
}

/// What an operator says, found good.
struct Sound {
    email: Option<String>,
    confirm: bool,
    hash: Option<String>,
    ban: Option<Ban>,
}

fn invalid(sentence: impl Into<String>) -> Error {
    Error::with(AuthCode::ValidationFailed, sentence)
}

impl Visit<'_> {
    /// A page of users, the newest first. `page` begins at 1. The filter is a part of the address, or an id.
    pub async fn users(&self, page: u32, per_page: u32, filter: Option<&str>) -> Result<Page, Error> {
        let filter = filter.map(str::trim).filter(|filter| !filter.is_empty());
        let narrow = |sql: &mut Sql| {
            sql.raw("u.deleted_at is null");
            if let Some(filter) = filter {
                sql.raw(" and (position(lower(")
                    .bind_text(filter)
                    .raw(") in lower(coalesce(u.email, ''))) > 0 or u.id::text = lower(")
                    .bind_text(filter)
                    .raw("))");
            }
        };
        let mut count = Sql::new();
        count.raw("select count(*) from auth.users u where ");
        narrow(&mut count);
        let mut rows = user::select();
        narrow(&mut rows);
        rows.raw(" order by u.created_at desc, u.id desc limit ")
            .number(per_page.into())
            .raw(" offset ")
            .number(i64::from(page.saturating_sub(1)) * i64::from(per_page));
        let (count, rows) = futures_util::future::try_join(self.read(&count), self.read(&rows)).await?;
        let total = count.first().and_then(|row| row.integer(0)).unwrap_or_default();
        Ok(Page { users: user::read(&rows)?, total })
    }

    /// A user.
    ///
    /// # Errors
    /// `user_not_found`.
    pub async fn user(&self, id: Uuid) -> Result<User, Error> {
        user::first(&self.read(&user::select_by_id(id)).await?)?.ok_or_else(|| AuthCode::UserNotFound.into())
    }

    /// The user whom a person at a keyboard means: an id or an address.
    ///
    /// # Errors
    /// `user_not_found`.
    pub async fn user_called(&self, name: &str) -> Result<User, Error> {
        if let Ok(id) = name.parse() {
            return self.user(id).await;
        }
        let address = email::normal(name).ok_or(AuthCode::UserNotFound)?;
        let rows = self.read(&user::select_by_email(&address)).await?;
        user::first(&rows)?.ok_or_else(|| AuthCode::UserNotFound.into())
    }

    /// Makes a user.
    ///
    /// # Errors
    /// `email_exists`, `user_already_exists` for an id that is taken, `email_address_invalid`, `weak_password`,
    /// `validation_failed`.
    pub async fn make_user(&self, kept: Kept) -> Result<User, Error> {
        let sound = self.judge(&kept).await?;
        let Some(address) = &sound.email else {
            return Err(invalid("Cannot create a user without an email"));
        };
        let app_metadata = own_metadata(kept.app_metadata)?;
        let user_metadata = user::metadata(kept.user_metadata)?;
        let tx = self.begin().await?;
        let new = New {
            id: kept.id,
            email: Some(address),
            is_confirmed: sound.confirm,
            is_anonymous: false,
            user_metadata,
            app_metadata,
        };
        let Some(id) = user::add(&tx, new).await? else {
            let has_address = user::lock_by_email(&tx, address).await?.is_some();
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(if has_address {
                AuthCode::EmailExists.into()
            } else {
                Error::with(AuthCode::UserAlreadyExists, "A user with this id exists already")
            });
        };
        let user = user::lock(&tx, id).await?.ok_or(AuthCode::UserNotFound)?;
        if let Some(hash) = &sound.hash {
            set_password(&tx, &user, hash).await?;
        }
        if let Some(ban) = sound.ban {
            self.ban(&tx, id, ban).await?;
        }
        self.note(&tx, self.entry(Event::UserCreated, Some(id), json!({}))).await?;
        let user = again(&tx, id).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(user)
    }

    /// Changes a user. A new password, another address or a ban ends his sessions.
    ///
    /// # Errors
    /// As [`Visit::make_user`], and `user_not_found`.
    pub async fn change_user(&self, id: Uuid, kept: Kept) -> Result<User, Error> {
        let sound = self.judge(&kept).await?;
        let tx = self.begin().await?;
        let user = user::lock(&tx, id).await?.ok_or(AuthCode::UserNotFound)?;
        let address = sound.email.filter(|address| user.email.as_deref() != Some(address));
        let mut fields = Vec::new();
        if let Some(address) = &address {
            let mut sql = Sql::new();
            // The operator's word counts as much as it did for the address before.
            sql.raw("update auth.users set new_email = null, is_anonymous = false, email = ")
                .bind_text(address)
                .raw(" where id = ")
                .bind(Kind::UUID, Some(id.to_string()));
            tx.query(&sql).await.map_err(taken_or)?;
            one_time::forget(&tx, id, &[]).await?;
            if user.is_confirmed() {
                user::prove(&tx, id, address).await?;
            }
            self.note(&tx, self.entry(Event::EmailChanged, Some(id), json!({}))).await?;
        }
        if sound.confirm && !user.is_confirmed() {
            self.confirm(&tx, &again(&tx, id).await?, &Value::Null).await?;
        }
        if let Some(hash) = &sound.hash {
            set_password(&tx, &user, hash).await?;
            one_time::forget(&tx, id, &[]).await?;
            self.note(&tx, self.entry(Event::PasswordChanged, Some(id), json!({}))).await?;
        }
        if let Some(data) = kept.user_metadata {
            let merged = user::merged(&user.user_metadata, user::metadata(Some(data))?)?;
            let mut sql = Sql::new();
            sql.raw("update auth.users set user_metadata = ")
                .bind(Kind::JSON, Some(Value::Object(merged).to_string()))
                .raw(" where id = ")
                .bind(Kind::UUID, Some(id.to_string()));
            tx.query(&sql).await.map_err(DbError::into_error)?;
            fields.push("user_metadata");
        }
        if let Some(data) = kept.app_metadata {
            let merged = user::merged(&user.app_metadata, own_metadata(Some(data))?)?;
            let mut sql = Sql::new();
            sql.raw("update auth.users set app_metadata = ")
                .bind(Kind::JSON, Some(Value::Object(merged).to_string()))
                .raw(" where id = ")
                .bind(Kind::UUID, Some(id.to_string()));
            tx.query(&sql).await.map_err(DbError::into_error)?;
            fields.push("app_metadata");
        }
        if !fields.is_empty() {
            self.note(&tx, self.entry(Event::UserUpdated, Some(id), json!({ "fields": fields }))).await?;
        }
        if let Some(ban) = sound.ban {
            self.ban(&tx, id, ban).await?;
        }
        if address.is_some() || sound.hash.is_some() || matches!(sound.ban, Some(Ban::For(_))) {
            end_all(&tx, id, None).await?;
        }
        let user = again(&tx, id).await?;
        self.commit_known(tx).await?;
        Ok(user)
    }

    /// Deletes a user, with everything that was his to sign in with. Softly, his row stays for the records that refer to
    /// it, and nothing on it says who he was.
    ///
    /// # Errors
    /// `user_not_found`; `conflict` where records refer to him that must not be left without.
    pub async fn delete_user(&self, id: Uuid, softly: bool) -> Result<(), Error> {
        let tx = self.begin().await?;
        user::lock(&tx, id).await?.ok_or(AuthCode::UserNotFound)?;
        let mut sql = Sql::new();
        if softly {
            sql.raw(SCRUB).bind(Kind::UUID, Some(id.to_string())).raw(SCRUBBED);
        } else {
            sql.raw("delete from auth.users where id = ").bind(Kind::UUID, Some(id.to_string()));
        }
        tx.query(&sql).await.map_err(|fault| match fault.sqlstate() {
            Some("23503" | "23001") => Error::with(
                AuthCode::Conflict,
                "Records refer to this user: delete them first, or delete the user softly (should_soft_delete)",
            )
            .source(fault),
            _ => fault.into_error(),
        })?;
        self.note(&tx, self.entry(Event::UserDeleted, Some(id), json!({ "soft": softly }))).await?;
        self.commit_known(tx).await
    }

    async fn ban(&self, tx: &Tx, id: Uuid, ban: Ban) -> Result<(), Error> {
        let mut sql = Sql::new();
        sql.raw("update auth.users set banned_until = ");
        let details = match ban {
            Ban::None => {
                sql.raw("null");
                json!({ "seconds": 0 })
            }
            Ban::For(seconds) => {
                sql.raw("now() + interval '1 second' * ").number(seconds);
                json!({ "seconds": seconds })
            }
        };
        sql.raw(" where id = ").bind(Kind::UUID, Some(id.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        self.note(tx, self.entry(Event::UserBanned, Some(id), details)).await
    }

    /// Judges what an operator says, and hashes the password.
    async fn judge(&self, kept: &Kept) -> Result<Sound, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(role) = given(&kept.role).filter(|role| role != AUTHENTICATED) {
            return Err(invalid(format!(
                "`{role}` is no role of this kind: users are `{AUTHENTICATED}`, and the project's roles are granted at /admin/users/ID/roles"
            )));
        }
        let email =
            given(&kept.email).map(|email| email::normal(&email).ok_or(AuthCode::EmailAddressInvalid));
        let ban = given(&kept.ban_duration).map(|text| {
            Ban::parse(&text)
                .ok_or_else(|| invalid("invalid format for ban duration: write 24h, 1h30m or none"))
        });
        let (email, ban) = (email.transpose()?, ban.transpose()?);
        let hash = match (given(&kept.password), given(&kept.password_hash)) {
            (Some(_), Some(_)) => {
                return Err(invalid("Only a password or a password hash should be provided, not both"));
            }
            (Some(password), None) => {
                self.hashing().judge(&password, self.settings.project.password_min_length).await?;
                Some(self.hashing().hash(&password).await?)
            }
            (None, Some(hash)) if is_importable(&hash) => Some(hash),
            (None, Some(_)) => {
                return Err(invalid("The password hash is neither bcrypt nor argon2 in PHC format"));
            }
            (None, None) => None,
        };
        Ok(Sound { email, confirm: kept.email_confirm == Some(true), hash, ban })
    }
}

/// Takes everything from a user that says who he was, and by which he could come back.
const SCRUB: &str = "with gone as (update auth.users set email = null, new_email = null, email_confirmed_at = null, \
    app_metadata = '{}', user_metadata = '{}', deleted_at = now() where id = ";
const SCRUBBED: &str = " returning id), \
    a as (delete from auth.identities where user_id in (select id from gone)), \
    b as (delete from auth.passwords where user_id in (select id from gone)), \
    c as (delete from auth.factors where user_id in (select id from gone)), \
    d as (delete from auth.recovery_codes where user_id in (select id from gone)), \
    e as (delete from auth.one_time_tokens where user_id in (select id from gone)), \
    f as (delete from auth.flows where user_id in (select id from gone) or link_to in (select id from gone)), \
    g as (delete from auth.user_roles where user_id in (select id from gone)), \
    h as (delete from auth.sessions where user_id in (select id from gone)) select from gone";

/// What the operator knows of a user, without what is worked out.
fn own_metadata(sent: Option<Value>) -> Result<serde_json::Map<String, Value>, Error> {
    let mut metadata = user::metadata(sent)?;
    metadata.remove("provider");
    metadata.remove("providers");
    Ok(metadata)
}

/// A user as this transaction has made him.
pub(super) async fn again(tx: &Tx, id: Uuid) -> Result<User, Error> {
    let rows = tx.query(&user::select_by_id(id)).await.map_err(DbError::into_error)?;
    user::first(&rows)?.ok_or_else(|| AuthCode::UserNotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_hours_minutes_and_seconds_or_none() {
        for (text, expected) in [
            ("none", Some(Ban::None)),
            ("24h", Some(Ban::For(86_400))),
            ("876600h", Some(Ban::For(876_600 * 3_600))),
            ("1h30m", Some(Ban::For(5_400))),
            ("1h30m5s", Some(Ban::For(5_405))),
            ("90s", Some(Ban::For(90))),
            (" 5m ", Some(Ban::For(300))),
            ("", None),
            ("0s", None),
            ("h", None),
            ("24", None),
            ("24d", None),
            ("30m1h", None),
            ("1h1h", None),
            ("-1h", None),
            ("1.5h", None),
            ("1h 30m", None),
            ("None", None),
            ("99999999999h", None),
            ("99999999999999999999999h", None),
        ] {
            assert_eq!(Ban::parse(text), expected, "{text:?}");
        }
    }
}
