//! Recovery codes: what stands for a lost second factor, each once.

use serde_json::json;
use uuid::Uuid;

use super::{hex, undone};
use crate::auth::audit::Event;
use crate::auth::desk::Visit;
use crate::auth::limit::Counted;
use crate::auth::refresh::{NoRandom, random, sha256};
use crate::auth::session::{self, Grant, Method};
use crate::db::DbError;
use crate::error::{AuthCode, Error};
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// How many there are.
const CODES: usize = 10;
/// Letters and digits that nobody takes for each other: five bits each.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Visit<'_> {
    /// Codes that each stand for a second factor once, in the place of those that there were.
    ///
    /// # Errors
    /// `insufficient_aal` in a session of the first level; `mfa_factor_not_found` without a verified factor.
    pub async fn make_recovery_codes(&self) -> Result<Vec<String>, Error> {
        let (id, session) = self.session_shown()?;
        let tx = self.begin().await?;
        let user = self.identified(&tx, id).await?;
        if !user.has_verified_factor() {
            return undone(tx, AuthCode::FactorNotFound).await;
        }
        if session::level(&tx, session).await? < 2 {
            return undone(tx, AuthCode::InsufficientAal).await;
        }
        let codes = make().map_err(Error::internal)?;
        tx.query(&forget(id)).await.map_err(DbError::into_error)?;
        let mut sql = Sql::new();
        sql.raw("insert into auth.recovery_codes (user_id, code_hash) values ");
        for (at, code) in codes.iter().enumerate() {
            sql.raw(if at == 0 { "(" } else { ", (" })
                .bind(Kind::UUID, Some(id.to_string()))
                .raw(", ")
                .bind(Kind::one(Scalar::Bytes), Some(hex(&hash(code))))
                .raw(")");
        }
        tx.query(&sql).await.map_err(DbError::into_error)?;
        let mut entry = self.entry(Event::RecoveryCodesMade, Some(id), json!({ "count": codes.len() }));
        entry.session = Some(session);
        self.note(&tx, entry).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(codes)
    }

    /// Shows a recovery code in the place of a second factor.
    ///
    /// # Errors
    /// `mfa_verification_failed`.
    pub async fn use_recovery_code(&self, code: &str) -> Result<Grant, Error> {
        let (id, session) = self.session_shown()?;
        let attempt = self.limits.attempt(Counted::Verify, Some(&id.to_string()), self.visitor.address)?;
        let tx = self.begin().await?;
        let user = self.identified(&tx, id).await?;
        let mut sql = Sql::new();
        sql.raw("delete from auth.recovery_codes where user_id = ")
            .bind(Kind::UUID, Some(id.to_string()))
            .raw(" and code_hash = ")
            .bind(Kind::one(Scalar::Bytes), Some(hex(&hash(code))))
            .raw(" returning user_id::text");
        let spent = tx.query(&sql).await.map_err(DbError::into_error)?;
        if spent.is_empty() {
            tx.rollback().await.map_err(DbError::into_error)?;
            self.note_failure(id, session, json!({ "recovery_code": true })).await?;
            attempt.failed();
            return Err(Error::with(AuthCode::FactorVerificationFailed, "Invalid recovery code entered"));
        }
        let event = Event::RecoveryCodeUsed;
        let opened = self.raised(&tx, &user, session, Method::RecoveryCode, event, json!({})).await?;
        self.commit_known(tx).await?;
        attempt.succeeded();
        self.tell_of_factors(&user);
        self.granted(opened, id).await
    }
}

/// New ones: 80 random bits each, in four groups.
fn make() -> Result<Vec<String>, NoRandom> {
    (0..CODES).map(|_| Ok(write(random::<10>()?))).collect()
}

fn write(bytes: [u8; 10]) -> String {
    let bits = bytes.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    let mut text = String::with_capacity(19);
    for at in 0..16 {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        // The mask leaves what indexes the alphabet.
        text.push(char::from(ALPHABET[((bits >> (75 - 5 * at)) & 31) as usize]));
    }
    text
}

/// What is kept of one, however it was typed.
fn hash(code: &str) -> [u8; 32] {
    let plain: Vec<u8> = code
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric())
        .map(|byte| match byte.to_ascii_lowercase() {
            b'o' => b'0',
            b'i' | b'l' => b'1',
            byte => byte,
        })
        .collect();
    sha256(&plain)
}

/// Forgets all codes of a user.
pub(super) fn forget(user: Uuid) -> Sql {
    let mut sql = Sql::new();
    sql.raw("delete from auth.recovery_codes where user_id = ").bind(Kind::UUID, Some(user.to_string()));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_all_its_bits_and_is_known_however_it_is_typed() {
        assert_eq!(write([0; 10]), "0000-0000-0000-0000");
        assert_eq!(write([255; 10]), "zzzz-zzzz-zzzz-zzzz");
        assert_eq!(write([0, 0, 0, 0, 0, 0, 0, 0, 0, 33]), "0000-0000-0000-0011");
        assert_eq!(write([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]), "g000-0000-0000-0000");
        for typed in ["01ab-cdef-0011-zzzz", "01ABCDEF0011ZZZZ", " oiab cdef o0l1 zzzz "] {
            assert_eq!(hash(typed), hash("01ab-cdef-0011-zzzz"), "{typed}");
        }
        let codes = make().unwrap();
        assert_eq!(codes.len(), CODES);
        assert!(codes.iter().all(|code| code.len() == 19));
        assert!((1..CODES).all(|at| !codes[..at].contains(&codes[at])));
    }
}
