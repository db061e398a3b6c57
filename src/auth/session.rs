//! Sessions: opened, refreshed, ended. A session lives as long as its row does.

use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Event;
use super::desk::Visit;
use super::limit::Counted;
use super::one_time::{self, Purpose};
use super::refresh::{self, Link, RefreshToken, Stored, Verdict};
use super::settings::seconds;
use super::token::{Access, Holder, mint_access};
use super::user::{self, User};
use crate::db::{DbError, Row, Tx};
use crate::error::{AuthCode, Code, Error};
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// By what somebody proved who he is, as `amr` says it (RFC 8176 and the wire's own words).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Password,
    Otp,
    MagicLink,
    Recovery,
    Invite,
    EmailSignup,
    EmailChange,
    Oauth,
    Anonymous,
    Totp,
    RecoveryCode,
}

impl Method {
    pub const ALL: [Method; 11] = [
        Method::Password,
        Method::Otp,
        Method::MagicLink,
        Method::Recovery,
        Method::Invite,
        Method::EmailSignup,
        Method::EmailChange,
        Method::Oauth,
        Method::Anonymous,
        Method::Totp,
        Method::RecoveryCode,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Password => "password",
            Method::Otp => "otp",
            Method::MagicLink => "magiclink",
            Method::Recovery => "recovery",
            Method::Invite => "invite",
            Method::EmailSignup => "email/signup",
            Method::EmailChange => "email_change",
            Method::Oauth => "oauth",
            Method::Anonymous => "anonymous",
            Method::Totp => "totp",
            Method::RecoveryCode => "recovery_code",
        }
    }

    pub fn parse(word: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.as_str() == word)
    }

    /// Whether it is a second factor.
    pub fn is_second(self) -> bool {
        matches!(self, Method::Totp | Method::RecoveryCode)
    }
}

/// Which sessions of a user end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Global,
    /// The one that asks.
    Local,
    /// All but the one that asks.
    Others,
}

/// A session whose tokens are to be handed out.
#[derive(Clone, Debug)]
pub struct Opened {
    pub id: Uuid,
    pub aal: u8,
    /// `[{ "method", "timestamp" }]`, newest first.
    pub amr: Value,
    /// Seconds since the epoch.
    pub created: i64,
    pub refresh_token: String,
}

/// What somebody who signed in gets.
#[derive(Clone, Debug)]
pub struct Grant {
    pub session: Uuid,
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds, and seconds since the epoch.
    pub expires_in: i64,
    pub expires_at: i64,
    pub user: User,
    /// The provider's own tokens, where a provider let the user in just now.
    pub provider_token: Option<String>,
    pub provider_refresh_token: Option<String>,
}

/// What the database holds of a session beside its tokens.
struct Kept {
    user: Uuid,
    aal: u8,
    amr: Value,
    created: i64,
    refreshed: i64,
}

impl Visit<'_> {
    /// Opens a session for a user, and notes that he signed in, in `user` too. The caller has made sure of him, holds his
    /// row's lock, and commits by `commit_opened` or `commit_known`.
    ///
    /// # Errors
    /// `user_banned`.
    pub async fn open(&self, tx: &Tx, user: &mut User, method: Method) -> Result<Opened, Error> {
        if user.is_banned {
            return Err(AuthCode::UserBanned.into());
        }
        if self.settings.project.sessions.single {
            end_all(tx, user.id, None).await?;
        }
        let id = Uuid::new_v4();
        let (token, stored) = refresh::first(id).map_err(Error::internal)?;
        let amr = json!([{ "method": method.as_str(), "timestamp": self.now }]);
        let mut sql = Sql::new();
        sql.raw("with signed as (update auth.users set last_sign_in_at = now() where id = ")
            .bind(Kind::UUID, Some(user.id.to_string()))
            .raw(" returning basewright.rfc3339(last_sign_in_at) as at), opened as (insert into auth.sessions (id, user_id, amr, ip, user_agent) values (")
            .bind(Kind::UUID, Some(id.to_string()))
            .raw(", ")
            .bind(Kind::UUID, Some(user.id.to_string()))
            .raw(", ")
            .bind(Kind::JSON, Some(amr.to_string()))
            .raw(", ")
            .bind(Kind::one(Scalar::Inet), Some(self.visitor.address.to_string()))
            .raw(", left(")
            .bind(Kind::TEXT, self.visitor.user_agent.clone())
            .raw(", 300)) returning id) insert into auth.refresh_tokens (session_id, counter, tag_key, token_hash, chain) select id, ");
        bind_stored(&mut sql, &stored).raw(" from opened returning (select at from signed)");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        user.last_sign_in_at = rows.first().and_then(|row| row.text(0)).map(str::to_owned);
        let mut entry = self.entry(Event::SignedIn, Some(user.id), json!({ "method": method.as_str() }));
        entry.session = Some(id);
        self.note(tx, entry).await?;
        Ok(Opened { id, aal: 1, amr, created: self.now, refresh_token: token.text() })
    }

    /// The tokens of a session.
    pub fn grant(&self, opened: Opened, user: User) -> Result<Grant, Error> {
        let sessions = &self.settings.project.sessions;
        let end = opened.created.saturating_add(seconds(sessions.time_box));
        let expires = self.now.saturating_add(seconds(sessions.access_token)).min(end);
        let access_token = mint_access(
            self.keys.active(),
            &Access {
                issuer: self.keys.issuer(),
                user: user.id,
                session: opened.id,
                email: user.email.as_deref().unwrap_or_default(),
                is_anonymous: user.is_anonymous,
                aal: opened.aal,
                amr: &opened.amr,
                app_metadata: &user.app_metadata(),
                user_metadata: &user.user_metadata,
                issued: self.now,
                expires,
            },
        )
        .map_err(Error::internal)?;
        Ok(Grant {
            session: opened.id,
            access_token,
            refresh_token: opened.refresh_token,
            expires_in: expires - self.now,
            expires_at: expires,
            user,
            provider_token: None,
            provider_refresh_token: None,
        })
    }

    /// New tokens for a refresh token.
    ///
    /// # Errors
    /// 400 with `refresh_token_not_found`, `refresh_token_already_used` (the session is over then) or `session_expired`.
    pub async fn refresh(&self, shown: &str) -> Result<Grant, Error> {
        self.limits.from(Counted::Refresh, self.visitor.address)?;
        let shown = RefreshToken::parse(shown).ok_or(AuthCode::RefreshTokenNotFound)?;
        let tx = self.begin().await?;
        let Some((kept, stored)) = find(&tx, shown.session).await? else {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(AuthCode::RefreshTokenNotFound.into());
        };
        let sessions = &self.settings.project.sessions;
        let reuse = seconds(sessions.reuse_interval);
        let verdict = refresh::judge(&shown, &stored, self.now, reuse).map_err(Error::internal)?;
        if verdict == Verdict::Unknown {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(AuthCode::RefreshTokenNotFound.into());
        }
        let is_over = self.now >= kept.created.saturating_add(seconds(sessions.time_box))
            || self.now >= kept.refreshed.saturating_add(seconds(sessions.inactivity));
        if is_over || verdict == Verdict::Reused {
            end_one(&tx, shown.session).await?;
            let (event, code) = if is_over {
                (Event::SignedOut, AuthCode::SessionExpired)
            } else {
                (Event::RefreshTokenReused, AuthCode::RefreshTokenAlreadyUsed)
            };
            let mut entry = self.entry(
                event,
                Some(kept.user),
                json!({ "reason": if is_over { "expired" } else { "reuse" } }),
            );
            entry.session = Some(shown.session);
            self.note(&tx, entry).await?;
            self.commit_known(tx).await?;
            return Err(code.into());
        }
        let rows = tx.query(&user::select_by_id(kept.user)).await.map_err(DbError::into_error)?;
        let user = user::first(&rows)?.ok_or(AuthCode::RefreshTokenNotFound)?;
        if user.is_banned {
            tx.rollback().await.map_err(DbError::into_error)?;
            return Err(Error::with(AuthCode::UserBanned, "User is banned"));
        }
        let token = match verdict {
            Verdict::Next(next, stored) => {
                let mut sql = Sql::new();
                sql.raw("update auth.refresh_tokens set (counter, tag_key, token_hash, chain) = (");
                bind_stored(&mut sql, &stored)
                    .raw("), refreshed_at = now() where session_id = ")
                    .bind(Kind::UUID, Some(shown.session.to_string()));
                tx.query(&sql).await.map_err(DbError::into_error)?;
                tx.commit().await.map_err(DbError::into_error)?;
                next
            }
            Verdict::Again(current) => {
                tx.rollback().await.map_err(DbError::into_error)?;
                current
            }
            Verdict::Reused | Verdict::Unknown => return Err(AuthCode::RefreshTokenNotFound.into()),
        };
        let Kept { aal, amr, created, .. } = kept;
        self.grant(Opened { id: shown.session, aal, amr, created, refresh_token: token.text() }, user)
    }

    /// Raises a session to the second level of assurance: its tokens so far can be refreshed no more, and the user's
    /// sessions of the first level end. To be committed by [`Visit::commit_known`], and the caller holds the user's lock.
    ///
    /// # Errors
    /// `user_banned`; `session_not_found` if it ended meanwhile.
    pub(super) async fn raise(
        &self,
        tx: &Tx,
        user: &User,
        session: Uuid,
        method: Method,
    ) -> Result<Opened, Error> {
        if user.is_banned {
            return Err(AuthCode::UserBanned.into());
        }
        // The first factor shuts out whoever knows the password alone, and what he may have begun.
        if !user.has_verified_factor() {
            forget_moves(tx, user.id).await?;
        }
        let (kept, stored) = find(tx, session).await?.ok_or(AuthCode::SessionNotFound)?;
        let (token, stored) = refresh::anew(session, &stored).map_err(Error::internal)?;
        let mut amr = vec![json!({ "method": method.as_str(), "timestamp": self.now })];
        amr.extend(
            proofs(&kept.amr).filter(|(known, _)| *known != Some(method)).map(|(_, proof)| proof.clone()),
        );
        let amr = Value::Array(amr);
        let mut sql = Sql::new();
        sql.raw("with raised as (update auth.sessions set aal = 2, amr = ")
            .bind(Kind::JSON, Some(amr.to_string()))
            .raw(" where id = ")
            .bind(Kind::UUID, Some(session.to_string()))
            .raw("), below as (delete from auth.sessions where aal < 2 and user_id = ")
            .bind(Kind::UUID, Some(user.id.to_string()))
            .raw(" and id <> ")
            .bind(Kind::UUID, Some(session.to_string()))
            .raw(") update auth.refresh_tokens set (counter, tag_key, token_hash, chain) = (");
        bind_stored(&mut sql, &stored)
            .raw("), refreshed_at = now() where session_id = ")
            .bind(Kind::UUID, Some(session.to_string()));
        tx.query(&sql).await.map_err(DbError::into_error)?;
        Ok(Opened { id: session, aal: 2, amr, created: kept.created, refresh_token: token.text() })
    }

    /// Ends sessions of whoever shows this session's token.
    pub async fn sign_out(&self, scope: Scope) -> Result<(), Error> {
        let (id, session) = self.session_shown()?;
        let tx = self.begin().await?;
        // Whoever is turning a code into a session at this moment has the lock, and is waited for.
        user::lock(&tx, id).await?;
        match scope {
            Scope::Global => end_all(&tx, id, None).await?,
            Scope::Others => end_all(&tx, id, Some(session)).await?,
            Scope::Local => end_one(&tx, session).await?,
        }
        let word = match scope {
            Scope::Global => "global",
            Scope::Local => "local",
            Scope::Others => "others",
        };
        let mut entry = self.entry(Event::SignedOut, Some(id), json!({ "scope": word }));
        entry.session = Some(session);
        self.note(&tx, entry).await?;
        self.commit_known(tx).await
    }

    /// The user and the session of the token that was shown.
    ///
    /// # Errors
    /// `no_authorization` without one, `bad_jwt` for a token of another kind.
    pub fn session_shown(&self) -> Result<(Uuid, Uuid), Error> {
        match self.visitor.token.as_deref().map(|verified| &verified.holder) {
            Some(Holder::Session { id, session, .. }) => Ok((*id, *session)),
            Some(Holder::Operator { .. } | Holder::Key { .. } | Holder::Foreign { .. }) => {
                Err(Error::with(AuthCode::BadJwt, "The token is not one of a session"))
            }
            None => Err(AuthCode::NoAuthorization.into()),
        }
    }

    /// The assurance level of the token that was shown.
    pub fn aal_shown(&self) -> u8 {
        let aal = self.visitor.token.as_deref().and_then(|verified| verified.claims.get("aal"));
        if aal.and_then(Value::as_str) == Some("aal2") { 2 } else { 1 }
    }

    /// The user of the token that was shown, as he is now.
    ///
    /// # Errors
    /// As [`Visit::session_shown`]; `user_not_found` if he is gone.
    pub async fn user_shown(&self) -> Result<User, Error> {
        let (id, _) = self.session_shown()?;
        user::first(&self.read(&user::select_by_id(id)).await?)?
            .ok_or_else(|| Error::new(Code::Auth(AuthCode::TokenUserNotFound)))
    }
}

fn bind_stored<'s>(sql: &'s mut Sql, stored: &Stored) -> &'s mut Sql {
    let hex = |bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("\\x{digits}"))
    };
    let chain = serde_json::to_string(&stored.chain).unwrap_or_else(|_| "[]".to_owned());
    sql.bind(Kind::one(Scalar::Integer), Some(stored.counter.to_string()))
        .raw(", ")
        .bind(Kind::one(Scalar::Bytes), hex(&stored.tag_key))
        .raw(", ")
        .bind(Kind::one(Scalar::Bytes), hex(&stored.token_hash))
        .raw(", ")
        .bind(Kind::JSON, Some(chain))
}

/// The proofs of `amr`, with their methods.
fn proofs(amr: &Value) -> impl Iterator<Item = (Option<Method>, &Value)> {
    let method = |proof: &Value| proof.get("method").and_then(Value::as_str).and_then(Method::parse);
    amr.as_array().into_iter().flatten().map(move |proof| (method(proof), proof))
}

/// The level of assurance of a session, as the database has it: a token may say what was so when it was made. The caller
/// holds the user's lock, under which alone it changes.
pub(super) async fn level(tx: &Tx, session: Uuid) -> Result<u8, Error> {
    let mut sql = Sql::new();
    sql.raw("select aal::integer from auth.sessions where id = ").bind(Kind::UUID, Some(session.to_string()));
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    let level = rows.first().and_then(|row| row.integer(0)).ok_or(AuthCode::SessionNotFound)?;
    u8::try_from(level).map_err(Error::internal)
}

/// Takes the second level from a session whose user has no second factor any more. The access token in use says what it
/// says until it expires.
pub(super) async fn lower(tx: &Tx, session: Uuid) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("select amr::text from auth.sessions where id = ").bind(Kind::UUID, Some(session.to_string()));
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    let Some(amr) = rows.first().and_then(|row| row.text(0)) else { return Ok(()) };
    let amr: Value = serde_json::from_str(amr).map_err(Error::internal)?;
    let first = |(method, _): &(Option<Method>, &Value)| !method.is_some_and(Method::is_second);
    let amr: Vec<&Value> = proofs(&amr).filter(first).map(|(_, proof)| proof).collect();
    let mut sql = Sql::new();
    sql.raw("update auth.sessions set aal = 1, amr = ")
        .bind(Kind::JSON, Some(json!(amr).to_string()))
        .raw(" where id = ")
        .bind(Kind::UUID, Some(session.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// A session and its tokens, locked: the session first, as whoever ends it does.
async fn find(tx: &Tx, session: Uuid) -> Result<Option<(Kept, Stored)>, Error> {
    let mut sql = Sql::new();
    sql.raw(
        "select s.user_id::text, s.aal::integer, s.amr::text, extract(epoch from s.created_at)::bigint, \
         extract(epoch from t.refreshed_at)::bigint, t.counter, encode(t.tag_key, 'hex'), encode(t.token_hash, 'hex'), t.chain::text \
         from auth.sessions s join auth.refresh_tokens t on t.session_id = s.id where s.id = ",
    )
    .bind(Kind::UUID, Some(session.to_string()))
    .raw(" for no key update of s, t");
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    let Some(row) = rows.first() else { return Ok(None) };
    read(row).map(Some).ok_or_else(|| Error::internal("a session cannot be read"))
}

fn read(row: &Row) -> Option<(Kept, Stored)> {
    let bytes = |column| -> Option<[u8; 32]> {
        let text = row.text(column)?;
        let digits: Option<Vec<u8>> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect();
        digits?.try_into().ok()
    };
    let chain: Vec<Link> = serde_json::from_str(row.text(8)?).ok()?;
    let kept = Kept {
        user: row.text(0)?.parse().ok()?,
        aal: u8::try_from(row.integer(1)?).ok()?,
        amr: serde_json::from_str(row.text(2)?).ok()?,
        created: row.integer(3)?,
        refreshed: row.integer(4)?,
    };
    let counter = u32::try_from(row.integer(5)?).ok()?;
    Some((kept, Stored { counter, tag_key: bytes(6)?, token_hash: bytes(7)?, chain }))
}

/// Ends a session.
pub(super) async fn end_one(tx: &Tx, session: Uuid) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("delete from auth.sessions where id = ").bind(Kind::UUID, Some(session.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// Ends a user's sessions of the second level of assurance. To be committed by [`Visit::commit_known`].
pub(super) async fn end_raised(tx: &Tx, user: Uuid) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("delete from auth.sessions where aal > 1 and user_id = ")
        .bind(Kind::UUID, Some(user.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// Ends all sessions of a user, or all but one, the codes that could still become one, and a change of address that one of
/// them may have begun: it would take the account away later. To be committed by [`Visit::commit_known`].
pub(super) async fn end_all(tx: &Tx, user: Uuid, except: Option<Uuid>) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("with codes as (delete from auth.flows where user_id = ")
        .bind(Kind::UUID, Some(user.to_string()))
        .raw(" or link_to = ")
        .bind(Kind::UUID, Some(user.to_string()))
        .raw(") delete from auth.sessions where user_id = ")
        .bind(Kind::UUID, Some(user.to_string()))
        .raw(" and id is distinct from ")
        .bind(Kind::UUID, except.map(|id| id.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    forget_moves(tx, user).await
}

/// Forgets a change of address that waits for its proof.
async fn forget_moves(tx: &Tx, user: Uuid) -> Result<(), Error> {
    one_time::forget(tx, user, &[Purpose::EmailChangeCurrent, Purpose::EmailChangeNew]).await?;
    let mut sql = Sql::new();
    sql.raw("update auth.users set new_email = null where new_email is not null and id = ")
        .bind(Kind::UUID, Some(user.to_string()));
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}
