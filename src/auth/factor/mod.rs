//! Second factors: time-based one-time passwords (RFC 6238), enrolled, asked for, shown and taken away.
//!
//! Whoever has shown one has a session of the second level of assurance. Where a user has one, only such a session may
//! add or remove any.

mod admin;
mod recovery;

use qrcode::QrCode;
use qrcode::render::svg;
use serde_json::json;
use totp_rs::{Builder, Totp};
use uuid::Uuid;

use crate::auth::audit::Event;
use crate::auth::desk::Visit;
use crate::auth::limit::Counted;
use crate::auth::mail::{Letter, Occasion};
use crate::auth::refresh;
use crate::auth::session::{self, Grant, Method, Opened};
use crate::auth::user::{self, Factor, User};
use crate::db::{DbError, Row, Tx};
use crate::error::{AuthCode, Error};
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// Bytes of a secret: as many as the hash has (RFC 4226, 4).
const SECRET: usize = 20;
/// Seconds of a step, and steps that two clocks may be apart (RFC 6238, 5.2).
const STEP: u64 = 30;
const SKEW: u16 = 1;
/// Characters of a name that a user gives, and of what an authenticator shows.
const NAME: usize = 100;
/// Bytes of what an authenticator shows. It stands twice in the address, each byte as three characters, beside an address of
/// mail: more of it would not fit into a picture, which holds 2331 bytes (ISO/IEC 18004, version 40-M).
const ISSUER: usize = 200;
/// Seconds in which a challenge can be met.
const CHALLENGE: i64 = 300;

/// A factor that was enrolled and waits for its first code. Its secret is told this once.
#[derive(Clone)]
pub struct Enrolment {
    pub id: Uuid,
    pub friendly_name: Option<String>,
    /// Base32.
    pub secret: String,
    /// `otpauth://totp/…`
    pub uri: String,
    /// The same as a picture: SVG.
    pub picture: String,
}

/// A code was asked for.
#[derive(Clone, Debug)]
pub struct Challenge {
    pub id: Uuid,
    /// Seconds since the epoch.
    pub expires_at: i64,
}

impl Visit<'_> {
    /// Enrols a factor for the user of the token.
    ///
    /// # Errors
    /// `mfa_totp_enroll_not_enabled`, `no_authorization` for somebody without identity, `insufficient_aal`,
    /// `mfa_factor_name_conflict`, `too_many_enrolled_mfa_factors`, `validation_failed`.
    pub async fn enrol(&self, name: Option<&str>, issuer: Option<&str>) -> Result<Enrolment, Error> {
        let (id, session) = self.session_shown()?;
        if !self.settings.project.mfa.totp {
            return Err(AuthCode::TotpEnrollDisabled.into());
        }
        let name = label("friendly_name", name)?;
        let issuer = match label("issuer", issuer)? {
            Some(issuer) => issuer,
            None => self.issuer_shown(),
        };
        let tx = self.begin().await?;
        let user = self.identified(&tx, id).await?;
        let level = session::level(&tx, session).await?;
        let mut sql = Sql::new();
        sql.raw("delete from auth.factors where status = 'unverified' and created_at < now() - interval '5 min' and user_id = ")
            .bind(Kind::UUID, Some(id.to_string()))
            .raw(" returning id::text");
        let forgotten = tx.query(&sql).await.map_err(DbError::into_error)?;
        let is_forgotten = |factor: &Factor| {
            let factor = factor.id.to_string();
            forgotten.iter().any(|row| row.text(0) == Some(&factor))
        };
        let factors: Vec<&Factor> = user.factors.iter().filter(|factor| !is_forgotten(factor)).collect();
        if name.is_some() && factors.iter().any(|factor| factor.friendly_name == name) {
            return undone(tx, AuthCode::FactorNameConflict).await;
        }
        if factors.len() >= self.settings.project.mfa.max_factors {
            return undone(tx, AuthCode::TooManyFactors).await;
        }
        if user.has_verified_factor() && level < 2 {
            return undone(tx, AuthCode::InsufficientAal).await;
        }
        let secret: [u8; SECRET] = refresh::random().map_err(Error::internal)?;
        let account = user.email.clone().unwrap_or_else(|| id.to_string());
        let totp = Builder::new()
            .with_secret(secret.to_vec())
            .with_account_name(account)
            .with_issuer(Some(issuer))
            .build()
            .map_err(Error::internal)?;
        let uri = totp.to_url().map_err(Error::internal)?;
        let picture = picture(&uri)?;
        let mut sql = Sql::new();
        sql.raw("insert into auth.factors (user_id, friendly_name, secret) values (")
            .bind(Kind::UUID, Some(id.to_string()))
            .raw(", ")
            .bind(Kind::TEXT, name.clone())
            .raw(", ")
            .bind(Kind::one(Scalar::Bytes), Some(hex(&secret)))
            .raw(") returning id::text");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let factor = uuid_of(rows.first(), 0).ok_or_else(|| Error::internal("a factor got no id"))?;
        let mut entry = self.entry(Event::FactorEnrolled, Some(id), json!({ "factor": factor }));
        entry.session = Some(session);
        self.note(&tx, entry).await?;
        tx.commit().await.map_err(DbError::into_error)?;
        let secret = totp.secret().to_base32();
        Ok(Enrolment { id: factor, friendly_name: name, secret, uri, picture })
    }

    /// Asks for a code of one of the user's factors.
    ///
    /// # Errors
    /// `mfa_totp_verify_not_enabled`, `mfa_factor_not_found`.
    pub async fn challenge(&self, factor: Uuid) -> Result<Challenge, Error> {
        let (id, _) = self.session_shown()?;
        if !self.settings.project.mfa.totp {
            return Err(AuthCode::TotpVerifyDisabled.into());
        }
        self.limits.from(Counted::Verify, self.visitor.address)?;
        let expires_at = self.now + CHALLENGE;
        let mut sql = Sql::new();
        sql.raw("with asked as (update auth.factors set last_challenged_at = now() where id = ")
            .bind(Kind::UUID, Some(factor.to_string()))
            .raw(" and user_id = ")
            .bind(Kind::UUID, Some(id.to_string()))
            .raw(
                " returning id) insert into auth.challenges (factor_id, expires_at) select id, to_timestamp(",
            )
            .bind(Kind::one(Scalar::Bigint), Some(expires_at.to_string()))
            .raw(") from asked returning id::text");
        let rows = self.run(&sql).await?;
        let id = uuid_of(rows.first(), 0).ok_or(AuthCode::FactorNotFound)?;
        Ok(Challenge { id, expires_at })
    }

    /// Meets a challenge with a code: the session is of the second level from then on.
    ///
    /// # Errors
    /// `mfa_factor_not_found`, `mfa_challenge_expired` (also of one for which too many wrong codes were tried),
    /// `mfa_verification_failed`, `insufficient_aal` for the first code of a further factor.
    pub async fn verify_factor(&self, factor: Uuid, challenge: Uuid, code: &str) -> Result<Grant, Error> {
        let (id, session) = self.session_shown()?;
        if !self.settings.project.mfa.totp {
            return Err(AuthCode::TotpVerifyDisabled.into());
        }
        let attempt = self.limits.attempt(Counted::Verify, Some(&id.to_string()), self.visitor.address)?;
        let secret = self.take_attempt(id, factor, challenge).await?;
        let now = u64::try_from(self.now).map_err(Error::internal)?;
        let Some(step) = totp(secret)?.check(code.trim(), now) else {
            self.note_failure(id, session, json!({ "factor": factor })).await?;
            attempt.failed();
            return Err(AuthCode::FactorVerificationFailed.into());
        };
        let tx = self.begin().await?;
        let user = self.identified(&tx, id).await?;
        let Some(found) = user.factors.iter().find(|known| known.id == factor) else {
            return undone(tx, AuthCode::FactorNotFound).await;
        };
        let is_first = !found.is_verified();
        // Enrolled before there was another, or the session would have been asked for that one.
        if is_first && user.has_verified_factor() && session::level(&tx, session).await? < 2 {
            return undone(tx, AuthCode::InsufficientAal).await;
        }
        if !met(&tx, factor, challenge, step).await? {
            attempt.failed();
            return undone(tx, AuthCode::FactorVerificationFailed).await;
        }
        if is_first {
            let mut sql = Sql::new();
            sql.raw("delete from auth.factors where status = 'unverified' and user_id = ")
                .bind(Kind::UUID, Some(id.to_string()));
            tx.query(&sql).await.map_err(DbError::into_error)?;
        }
        let details = json!({ "factor": factor, "first": is_first });
        let opened = self.raised(&tx, &user, session, Method::Totp, Event::FactorVerified, details).await?;
        self.commit_known(tx).await?;
        attempt.succeeded();
        if is_first {
            self.tell_of_factors(&user);
        }
        self.granted(opened, id).await
    }

    /// Takes a factor of the user away, and ends his other sessions if it was verified.
    ///
    /// # Errors
    /// `mfa_factor_not_found`; `insufficient_aal` for a verified one.
    pub async fn remove_factor(&self, factor: Uuid) -> Result<(), Error> {
        let (id, session) = self.session_shown()?;
        let tx = self.begin().await?;
        let user = self.identified(&tx, id).await?;
        let Some(found) = user.factors.iter().find(|known| known.id == factor) else {
            return undone(tx, AuthCode::FactorNotFound).await;
        };
        if found.is_verified() && session::level(&tx, session).await? < 2 {
            return undone(tx, AuthCode::InsufficientAalToUnenroll).await;
        }
        self.delete_factor(&tx, &user, found, Some(session)).await?;
        if !found.is_verified() {
            return tx.commit().await.map_err(DbError::into_error);
        }
        session::end_all(&tx, id, Some(session)).await?;
        if is_last(&user, found) {
            session::lower(&tx, session).await?;
        }
        self.commit_known(tx).await?;
        self.tell_of_factors(&user);
        Ok(())
    }

    /// A user in a transaction, locked; second factors are for somebody who can sign in again.
    async fn identified(&self, tx: &Tx, id: Uuid) -> Result<User, Error> {
        let user = user::lock(tx, id).await?.ok_or(AuthCode::TokenUserNotFound)?;
        if user.is_anonymous { Err(AuthCode::AnonymousUser.into()) } else { Ok(user) }
    }

    /// Takes one of the attempts that a challenge has, before it is known how it ends: the factor's secret.
    async fn take_attempt(&self, user: Uuid, factor: Uuid, challenge: Uuid) -> Result<Vec<u8>, Error> {
        let mut sql = Sql::new();
        sql.raw("with owned as (select id, secret from auth.factors where id = ")
            .bind(Kind::UUID, Some(factor.to_string()))
            .raw(" and user_id = ")
            .bind(Kind::UUID, Some(user.to_string()))
            .raw("), there as (select c.id from auth.challenges c join owned o on o.id = c.factor_id where c.id = ")
            .bind(Kind::UUID, Some(challenge.to_string()))
            .raw(
                "), tried as (update auth.challenges c set attempts = attempts + 1 from there t \
                 where c.id = t.id and c.expires_at > now() and c.attempts < 5 returning c.id) \
                 select exists (select from owned), exists (select from there), \
                 (select encode(o.secret, 'hex') from owned o, tried t)",
            );
        let rows = self.run(&sql).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a look at a challenge found no row"))?;
        match (row.boolean(0), row.boolean(1), row.text(2).map(unhex)) {
            (Some(true), Some(true), Some(secret)) => {
                secret.ok_or_else(|| Error::internal("a secret cannot be read"))
            }
            (Some(true), Some(true), None) => Err(AuthCode::ChallengeExpired.into()),
            (Some(true), _, _) => Err(AuthCode::ChallengeNotFound.into()),
            _ => Err(AuthCode::FactorNotFound.into()),
        }
    }

    async fn raised(
        &self,
        tx: &Tx,
        user: &User,
        session: Uuid,
        method: Method,
        event: Event,
        details: serde_json::Value,
    ) -> Result<Opened, Error> {
        let opened = self.raise(tx, user, session, method).await?;
        let mut entry = self.entry(event, Some(user.id), details);
        entry.session = Some(session);
        self.note(tx, entry).await?;
        Ok(opened)
    }

    /// The tokens of a raised session, with the user as he is now.
    async fn granted(&self, opened: Opened, user: Uuid) -> Result<Grant, Error> {
        let user = user::first(&self.read(&user::select_by_id(user)).await?)?;
        self.grant(opened, user.ok_or(AuthCode::TokenUserNotFound)?)
    }

    async fn note_failure(&self, user: Uuid, session: Uuid, details: serde_json::Value) -> Result<(), Error> {
        let mut entry = self.entry(Event::FactorFailed, Some(user), details);
        entry.session = Some(session);
        self.run(&entry.insert()).await?;
        Ok(())
    }

    /// Deletes a factor, and with the last one what stands for it.
    async fn delete_factor(
        &self,
        tx: &Tx,
        user: &User,
        factor: &Factor,
        session: Option<Uuid>,
    ) -> Result<(), Error> {
        let mut sql = Sql::new();
        sql.raw("delete from auth.factors where id = ").bind(Kind::UUID, Some(factor.id.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        if is_last(user, factor) {
            tx.query(&recovery::forget(user.id)).await.map_err(DbError::into_error)?;
        }
        let details = json!({ "factor": factor.id, "status": factor.status });
        let mut entry = self.entry(Event::FactorRemoved, Some(user.id), details);
        entry.session = session;
        self.note(tx, entry).await
    }

    /// Tells the user that something about his second factors changed.
    fn tell_of_factors(&self, user: &User) {
        let Some(to) = user.email.clone() else { return };
        self.notify(Letter {
            occasion: Occasion::FactorChanged,
            to,
            link: None,
            code: None,
            new_email: None,
        });
    }

    /// What an authenticator shows where nobody says it: the project's word, or the app's host.
    fn issuer_shown(&self) -> String {
        let host = || url::Url::parse(&self.settings.site_url).ok()?.host_str().map(str::to_owned);
        let shown =
            self.settings.project.mfa.issuer.clone().or_else(host).unwrap_or_else(|| "localhost".to_owned());
        // A colon would end it (the form of the address has no escape for it).
        shown.replace(':', " ")
    }
}

/// Undoes a transaction, and refuses.
pub(super) async fn undone<T>(tx: Tx, code: AuthCode) -> Result<T, Error> {
    tx.rollback().await.map_err(DbError::into_error)?;
    Err(code.into())
}

/// Whether it is the last verified factor that its user has.
fn is_last(user: &User, factor: &Factor) -> bool {
    factor.is_verified() && !user.factors.iter().any(|other| other.id != factor.id && other.is_verified())
}

/// Spends a challenge and the step of a code, which verifies the factor. False if either was spent before.
async fn met(tx: &Tx, factor: Uuid, challenge: Uuid, step: u64) -> Result<bool, Error> {
    let step = i64::try_from(step).map_err(Error::internal)?;
    let mut sql = Sql::new();
    sql.raw("with spent as (delete from auth.challenges where id = ")
        .bind(Kind::UUID, Some(challenge.to_string()))
        .raw(" and factor_id = ")
        .bind(Kind::UUID, Some(factor.to_string()))
        .raw(" returning factor_id) update auth.factors f set status = 'verified', last_step = ")
        .bind(Kind::one(Scalar::Bigint), Some(step.to_string()))
        .raw(" from spent s where f.id = s.factor_id and f.last_step < ")
        .bind(Kind::one(Scalar::Bigint), Some(step.to_string()))
        .raw(" returning f.id::text");
    Ok(!tx.query(&sql).await.map_err(DbError::into_error)?.is_empty())
}

fn totp(secret: Vec<u8>) -> Result<Totp, Error> {
    Builder::new()
        .with_secret(secret)
        .with_step_duration(STEP)
        .with_skew(SKEW)
        .build()
        .map_err(Error::internal)
}

/// The address as a picture. Its colours have names: clients put the text behind `data:image/svg+xml;utf-8,`, where a `#`
/// would end it.
fn picture(uri: &str) -> Result<String, Error> {
    let code = QrCode::new(uri).map_err(Error::internal)?;
    let (dark, light) = (svg::Color("black"), svg::Color("white"));
    Ok(code.render::<svg::Color<'_>>().min_dimensions(200, 200).dark_color(dark).light_color(light).build())
}

/// A name that a person chose; an empty one is none.
///
/// # Errors
/// `validation_failed` for what an authenticator could not show.
fn label(member: &str, text: Option<&str>) -> Result<Option<String>, Error> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let is_sound = text.chars().count() <= NAME && !text.chars().any(char::is_control);
    let is_shown = member == "issuer";
    if !is_sound || (is_shown && (text.contains(':') || text.len() > ISSUER)) {
        let sentence = if is_shown {
            format!("issuer must be at most {NAME} characters and {ISSUER} bytes without controls and colons")
        } else {
            format!("{member} must be at most {NAME} characters without controls")
        };
        return Err(Error::with(AuthCode::ValidationFailed, sentence));
    }
    Ok(Some(text.to_owned()))
}

fn uuid_of(row: Option<&Row>, column: usize) -> Option<Uuid> {
    row?.text(column)?.parse().ok()
}

/// Bytes as Postgres reads them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("\\x".to_owned(), |text, byte| text + format!("{byte:02x}").as_str())
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_that_of_the_standard_and_good_one_step_before_and_after() {
        // RFC 6238, appendix B, in six digits.
        let totp = totp(b"12345678901234567890".to_vec()).unwrap();
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let step = time / STEP;
            for now in [step * STEP, time, time + STEP, time - STEP] {
                assert_eq!(totp.check(code, now), Some(step), "{code} at {now}");
            }
            for now in [Some((step + 2) * STEP), (step * STEP).checked_sub(STEP + 1)].into_iter().flatten() {
                assert_eq!(totp.check(code, now), None, "{code} at {now}");
            }
        }
        for nonsense in ["", "1", "28708", "2870820", "abcdef", "²87082", "287082\0", "-87082"] {
            assert_eq!(totp.check(nonsense, 59), None, "{nonsense}");
        }
    }

    #[test]
    fn a_picture_can_stand_in_an_address() {
        let picture = picture("otpauth://totp/example:ada%40example.test?secret=ABC&issuer=example").unwrap();
        assert!(picture.contains("<svg") && !picture.contains('#') && !picture.contains('%'), "{picture}");
    }

    #[test]
    fn the_longest_address_fits_into_a_picture() {
        let issuer = "\u{1f511}".repeat(ISSUER / 4);
        let account = format!("{}@{}", "%".repeat(64), "a".repeat(189));
        let totp = Builder::new()
            .with_secret(vec![0; SECRET])
            .with_account_name(account)
            .with_issuer(label("issuer", Some(&issuer)).unwrap())
            .build()
            .unwrap();
        assert!(picture(&totp.to_url().unwrap()).is_ok());
    }

    #[test]
    fn a_label_is_short_text() {
        let long = "x".repeat(101);
        let wide = "\u{1f511}".repeat(51);
        for (text, expected) in [
            (None, Some(None)),
            (Some(""), Some(None)),
            (Some("  "), Some(None)),
            (Some(" My phone "), Some(Some("My phone"))),
            (Some("a\0b"), None),
            (Some("a\nb"), None),
            (Some(long.as_str()), None),
            (Some(wide.as_str()), None),
            (Some("a:b"), None),
        ] {
            let found = label("issuer", text).ok();
            assert_eq!(found.as_ref().map(Option::as_deref), expected, "{text:?}");
        }
        assert!(label("friendly_name", Some("a:b")).is_ok() && label("friendly_name", Some(&wide)).is_ok());
    }
}
