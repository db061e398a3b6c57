//! Links and codes that are mailed: each is good once, for one purpose and one address.
//!
//! A link carries 256 random bits, of which a hash is kept. A code is a few digits: what is kept of it is sealed with the
//! signing key, so that whoever reads the database cannot try them all, and few may be tried. Whoever makes or consumes
//! one of a user's holds the lock on the user first ([`user::lock`](super::user::lock)).

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::desk::Visit;
use super::flow::{Challenge, ChallengeMethod, hex};
use super::mail::Occasion;
use super::refresh::{random, sha256};
use super::session::Method;
use super::settings::{Settings, seconds};
use crate::db::{DbError, Tx};
use crate::error::Error;
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// Links of one purpose that one address may have at once; the oldest makes room.
const PENDING: i64 = 5;
/// Codes that may be tried for one purpose and address. What was tried counts for later codes too, as long as one lives:
/// otherwise whoever asks for code after code could try on and on.
const ATTEMPTS: i64 = 10;
/// How a link begins whose result is a code for the app that asked for it.
pub const PKCE: &str = "pkce_";

/// What a link or code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    SignUp,
    Invite,
    Recovery,
    MagicLink,
    /// Another address: that the one so far agrees.
    EmailChangeCurrent,
    /// Another address: that it is the user's.
    EmailChangeNew,
    Reauthentication,
}

impl Purpose {
    pub const ALL: [Purpose; 7] = [
        Purpose::SignUp,
        Purpose::Invite,
        Purpose::Recovery,
        Purpose::MagicLink,
        Purpose::EmailChangeCurrent,
        Purpose::EmailChangeNew,
        Purpose::Reauthentication,
    ];

    /// As it is stored, and as the operator names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::SignUp => "signup",
            Purpose::Invite => "invite",
            Purpose::Recovery => "recovery",
            Purpose::MagicLink => "magiclink",
            Purpose::EmailChangeCurrent => "email_change_current",
            Purpose::EmailChangeNew => "email_change_new",
            Purpose::Reauthentication => "reauthentication",
        }
    }

    pub fn parse(word: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.as_str() == word)
    }

    /// The `type` that links name.
    pub fn kind(self) -> &'static str {
        match self {
            Purpose::EmailChangeCurrent | Purpose::EmailChangeNew => "email_change",
            _ => self.as_str(),
        }
    }

    /// The purposes that a `type` may mean.
    pub fn of_kind(kind: &str) -> Option<&'static [Purpose]> {
        Some(match kind {
            "signup" => &[Purpose::SignUp],
            "invite" => &[Purpose::Invite],
            "recovery" => &[Purpose::Recovery],
            "magiclink" => &[Purpose::MagicLink],
            "email" => &[Purpose::SignUp, Purpose::MagicLink],
            "email_change" => &[Purpose::EmailChangeCurrent, Purpose::EmailChangeNew],
            _ => return None,
        })
    }

    /// How somebody has signed in by it.
    pub fn method(self) -> Method {
        match self {
            Purpose::SignUp => Method::EmailSignup,
            Purpose::Invite => Method::Invite,
            Purpose::Recovery => Method::Recovery,
            Purpose::MagicLink => Method::MagicLink,
            Purpose::EmailChangeCurrent | Purpose::EmailChangeNew => Method::EmailChange,
            Purpose::Reauthentication => Method::Otp,
        }
    }

    /// The letter that brings it.
    pub fn occasion(self) -> Occasion {
        match self {
            Purpose::SignUp => Occasion::Confirm,
            Purpose::Invite => Occasion::Invite,
            Purpose::Recovery => Occasion::Recover,
            Purpose::MagicLink => Occasion::MagicLink,
            Purpose::EmailChangeCurrent => Occasion::ChangeFrom,
            Purpose::EmailChangeNew => Occasion::ChangeTo,
            Purpose::Reauthentication => Occasion::Reauthenticate,
        }
    }
}

/// A link and a code that are to be made.
pub(super) struct Wanted<'a> {
    /// None for an address that nobody has: it costs what any other costs and lets nobody in.
    pub user: Option<Uuid>,
    pub purpose: Purpose,
    /// In its [normal](super::email::normal) form.
    pub address: &'a str,
    /// An object: what comes true with it.
    pub payload: Value,
    pub challenge: Option<&'a Challenge>,
    pub redirect_to: &'a str,
}

/// A link and a code that were made.
#[derive(Clone, Debug)]
pub struct Issued {
    pub purpose: Purpose,
    pub address: String,
    /// What the link carries.
    pub token: String,
    pub code: String,
    pub redirect_to: String,
}

impl Issued {
    /// The link. Its host is the operator's word and never a request's.
    pub fn link(&self, settings: &Settings) -> String {
        let base = format!("{}/auth/v1/verify", settings.public_url);
        match Url::parse(&base) {
            Ok(mut url) => {
                url.query_pairs_mut()
                    .append_pair("token", &self.token)
                    .append_pair("type", self.purpose.kind())
                    .append_pair("redirect_to", &self.redirect_to);
                url.into()
            }
            Err(_) => base,
        }
    }
}

/// A pending one that was shown.
pub(super) struct Found {
    id: Uuid,
    pub user: Uuid,
}

/// One that was consumed.
pub(super) struct Redeemed {
    pub purpose: Purpose,
    pub address: String,
    pub payload: Value,
    pub challenge: Option<Challenge>,
}

/// So many random digits.
fn digits(count: u32) -> Result<String, Error> {
    let random = u64::from_le_bytes(random().map_err(Error::internal)?);
    // 2^64 is so much larger than any 10^count that the digits are as good as even.
    let count = count.clamp(1, 12);
    Ok(format!("{:0width$}", random % 10_u64.pow(count), width = count as usize))
}

fn label(purpose: Purpose, address: &str) -> String {
    format!("{}|{address}", purpose.as_str())
}

/// `in ('…', …)`.
fn among(sql: &mut Sql, purposes: &[Purpose]) {
    for (at, purpose) in purposes.iter().enumerate() {
        sql.raw(if at == 0 { " purpose in (" } else { ", " }).bind_text(purpose.as_str());
    }
    sql.raw(")");
}

impl Visit<'_> {
    /// Makes a link and a code. Makes room for them first, and takes the opportunity to forget a few that are long over.
    pub(super) async fn issue(&self, tx: &Tx, wanted: Wanted<'_>) -> Result<Issued, Error> {
        let Wanted { user, purpose, address, payload, challenge, redirect_to } = wanted;
        let secret = URL_SAFE_NO_PAD.encode(random::<32>().map_err(Error::internal)?);
        let token = if challenge.is_some() { format!("{PKCE}{secret}") } else { secret };
        let email = &self.settings.project.email;
        let code = digits(email.code_length)?;
        let seals = self.keys.seals(&label(purpose, address), code.as_bytes());
        let seal = seals.first().ok_or_else(|| Error::internal("no key seals"))?;
        let user = user.map(|user| user.to_string());
        let mut room = Sql::new();
        // An expired one is kept for a day: who asks for the letter again wants the same to come true.
        room.raw(
            "with old as (select id from auth.one_time_tokens where expires_at < now() - interval '1 day' \
             order by expires_at limit 20 for update skip locked), \
             crowd as (select id from auth.one_time_tokens where address = ",
        )
        .bind_text(address)
        .raw(" and purpose = ")
        .bind_text(purpose.as_str())
        .raw(" and user_id is not distinct from ")
        .bind(Kind::UUID, user.clone())
        .raw(" order by id desc offset ")
        .number(PENDING - 1)
        .raw(
            " for update skip locked) \
             delete from auth.one_time_tokens t using (select id from old union select id from crowd) gone where t.id = gone.id",
        );
        tx.query(&room).await.map_err(DbError::into_error)?;
        let lives = if purpose == Purpose::Invite { email.invite_expiry } else { email.expiry };
        let bytes = Kind::one(Scalar::Bytes);
        let mut sql = Sql::new();
        sql.raw(
            "insert into auth.one_time_tokens (user_id, purpose, address, token_hash, code_hash, payload, code_challenge, \
             code_challenge_method, redirect_to, expires_at, attempts) select ",
        )
        .bind(Kind::UUID, user)
        .raw(", ")
        .bind_text(purpose.as_str())
        .raw(", ")
        .bind_text(address)
        .raw(", ")
        .bind(bytes, Some(hex(&sha256(token.as_bytes()))))
        .raw(", ")
        .bind(bytes, Some(hex(seal)))
        .raw(", ")
        .bind(Kind::JSON, Some(payload.to_string()))
        .raw(", ")
        .bind(Kind::TEXT, challenge.map(|challenge| challenge.challenge.clone()))
        .raw(", ")
        .bind(Kind::TEXT, challenge.map(|challenge| challenge.method.as_str().to_owned()))
        .raw(", ")
        .bind_text(redirect_to)
        .raw(", now() + interval '1 second' * ")
        .number(seconds(lives))
        .raw(
            ", coalesce((select max(t.attempts) from auth.one_time_tokens t where t.expires_at > now() and t.address = ",
        )
        .bind_text(address)
        .raw(" and t.purpose = ")
        .bind_text(purpose.as_str())
        .raw("), 0)");
        tx.query(&sql).await.map_err(DbError::into_error)?;
        Ok(Issued { purpose, address: address.to_owned(), token, code, redirect_to: redirect_to.to_owned() })
    }

    /// The pending one that a link carries.
    pub(super) async fn by_link(&self, purposes: &[Purpose], token: &str) -> Result<Option<Found>, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "select id::text, user_id::text from auth.one_time_tokens \
             where user_id is not null and expires_at > now() and token_hash = ",
        )
        .bind(Kind::one(Scalar::Bytes), Some(hex(&sha256(token.as_bytes()))))
        .raw(" and");
        among(&mut sql, purposes);
        let rows = self.read(&sql).await?;
        let found = rows
            .first()
            .and_then(|row| Some(Found { id: row.text(0)?.parse().ok()?, user: row.text(1)?.parse().ok()? }));
        Ok(found)
    }

    /// The pending one to which a code belongs. Only the code of the newest letter of a purpose counts: of several that
    /// live at once each would be one more to guess. The attempt is counted before the code is looked at, so that many at once
    /// are not more than are allowed.
    pub(super) async fn by_code(
        &self,
        purposes: &[Purpose],
        address: &str,
        code: &str,
    ) -> Result<Option<Found>, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "with pending as (select id from auth.one_time_tokens where expires_at > now() and attempts < ",
        )
        .number(ATTEMPTS)
        .raw(" and address = ")
        .bind_text(address)
        .raw(" and");
        among(&mut sql, purposes);
        sql.raw(
            " order by id for update) \
             update auth.one_time_tokens t set attempts = t.attempts + 1 from pending where t.id = pending.id \
             returning t.id::text, t.user_id::text, t.purpose, encode(t.code_hash, 'hex')",
        );
        let rows = self.run(&sql).await?;
        let mut found = None;
        for row in &rows {
            let (Some(id), Some(purpose), Some(kept)) = (row.text(0), row.text(2), row.text(3)) else {
                continue;
            };
            let is_newest =
                rows.iter().all(|other| other.text(2) != Some(purpose) || other.text(0) <= Some(id));
            let Some(purpose) = Purpose::parse(purpose).filter(|_| is_newest) else { continue };
            let kept = format!("\\x{kept}");
            let fits = self.keys.seals(&label(purpose, address), code.as_bytes()).iter().any(|seal| {
                constant_time::verify_slices_are_equal(hex(seal).as_bytes(), kept.as_bytes()).is_ok()
            });
            if let (true, Ok(id), Some(user)) = (fits, id.parse(), row.text(1).and_then(|id| id.parse().ok()))
            {
                found = Some(Found { id, user });
            }
        }
        Ok(found)
    }

    /// Consumes one. Of many who try at once one does; `None` for the others.
    pub(super) async fn consume(&self, tx: &Tx, found: &Found) -> Result<Option<Redeemed>, Error> {
        let mut sql = Sql::new();
        sql.raw("delete from auth.one_time_tokens where expires_at > now() and id = ")
            .bind(Kind::UUID, Some(found.id.to_string()))
            .raw(" returning purpose, address, payload::text, code_challenge, code_challenge_method");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let redeemed = || {
            let challenge = match (row.text(3), row.text(4)) {
                (Some(challenge), Some(method)) => Some(Challenge {
                    challenge: challenge.to_owned(),
                    method: ChallengeMethod::parse(method)?,
                }),
                _ => None,
            };
            Some(Redeemed {
                purpose: Purpose::parse(row.text(0)?)?,
                address: row.text(1)?.to_owned(),
                payload: serde_json::from_str(row.text(2)?).ok()?,
                challenge,
            })
        };
        redeemed().map(Some).ok_or_else(|| Error::internal("a one-time token cannot be read"))
    }
}

/// Forgets what is pending of a user: everything, or what has these purposes.
pub(super) async fn forget(tx: &Tx, user: Uuid, purposes: &[Purpose]) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("delete from auth.one_time_tokens where user_id = ").bind(Kind::UUID, Some(user.to_string()));
    if !purposes.is_empty() {
        sql.raw(" and");
        among(&mut sql, purposes);
    }
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_as_many_digits_as_were_asked_for() {
        for count in [6, 8, 10] {
            for _ in 0..50 {
                let code = digits(count).unwrap();
                assert_eq!(code.len(), count as usize);
                assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
            }
        }
    }

    #[test]
    fn every_purpose_is_found_by_its_word_and_those_of_links_by_their_type() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
            let kinds = Purpose::of_kind(purpose.kind());
            let by_link = purpose != Purpose::Reauthentication;
            assert_eq!(kinds.is_some_and(|kinds| kinds.contains(&purpose)), by_link, "{purpose:?}");
        }
        assert_eq!(Purpose::of_kind("sms"), None);
        assert_eq!(Purpose::of_kind("email").unwrap(), [Purpose::SignUp, Purpose::MagicLink]);
    }
}
