//! [`User`]: somebody who can sign in, with identities and factors, as the database has him.

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::db::{DbError, Row, Tx};
use crate::error::{AuthCode, Error};
use crate::model::Kind;
use crate::sql::Sql;

/// A user. Times are RFC 3339.
#[derive(Clone, Debug, Deserialize)]
pub struct User {
    pub id: Uuid,
    pub email: Option<String>,
    pub new_email: Option<String>,
    pub email_confirmed_at: Option<String>,
    pub invited_at: Option<String>,
    pub confirmation_sent_at: Option<String>,
    pub recovery_sent_at: Option<String>,
    pub email_change_sent_at: Option<String>,
    pub reauthentication_sent_at: Option<String>,
    pub last_sign_in_at: Option<String>,
    pub app_metadata: Map<String, Value>,
    pub user_metadata: Map<String, Value>,
    pub is_anonymous: bool,
    pub banned_until: Option<String>,
    /// Banned at this moment.
    pub is_banned: bool,
    pub deleted_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
    pub has_password: bool,
    pub roles: Vec<String>,
    pub identities: Vec<Identity>,
    pub factors: Vec<Factor>,
}

/// By what a user can be recognised.
#[derive(Clone, Debug, Deserialize)]
pub struct Identity {
    pub id: Uuid,
    pub user_id: Uuid,
    pub provider: String,
    pub provider_id: String,
    pub identity_data: Map<String, Value>,
    pub last_sign_in_at: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

/// A second factor, without its secret.
#[derive(Clone, Debug, Deserialize)]
pub struct Factor {
    pub id: Uuid,
    pub factor_type: String,
    pub friendly_name: Option<String>,
    pub status: String,
    pub created_at: String,
    pub updated_at: String,
    pub last_challenged_at: Option<String>,
}

impl Factor {
    pub fn is_verified(&self) -> bool {
        self.status == "verified"
    }
}

/// The provider of identities that are proven addresses.
pub const EMAIL: &str = "email";

impl User {
    /// What the operator knows, and the providers by which the user is recognised.
    pub fn app_metadata(&self) -> Map<String, Value> {
        let mut metadata = self.app_metadata.clone();
        let mut providers: Vec<&str> = Vec::new();
        for identity in &self.identities {
            if !providers.contains(&identity.provider.as_str()) {
                providers.push(&identity.provider);
            }
        }
        // Somebody who has proven nothing yet, or was created with an address by the operator.
        if providers.is_empty() && self.email.is_some() {
            providers.push(EMAIL);
        }
        if let Some(first) = providers.first() {
            metadata.insert("provider".to_owned(), (*first).into());
            metadata.insert("providers".to_owned(), providers.into());
        }
        metadata
    }

    pub fn has_verified_factor(&self) -> bool {
        self.factors.iter().any(Factor::is_verified)
    }

    pub fn is_confirmed(&self) -> bool {
        self.email_confirmed_at.is_some()
    }
}

/// Selects users as JSON, up to a condition that follows.
const SELECT: &str = "select jsonb_build_object(
    'id', u.id, 'email', u.email, 'new_email', u.new_email,
    'email_confirmed_at', basewright.rfc3339(u.email_confirmed_at), 'invited_at', basewright.rfc3339(u.invited_at),
    'confirmation_sent_at', basewright.rfc3339(u.confirmation_sent_at),
    'recovery_sent_at', basewright.rfc3339(u.recovery_sent_at),
    'email_change_sent_at', basewright.rfc3339(u.email_change_sent_at),
    'reauthentication_sent_at', basewright.rfc3339(u.reauthentication_sent_at),
    'last_sign_in_at', basewright.rfc3339(u.last_sign_in_at),
    'app_metadata', u.app_metadata, 'user_metadata', u.user_metadata, 'is_anonymous', u.is_anonymous,
    'banned_until', basewright.rfc3339(u.banned_until), 'is_banned', coalesce(u.banned_until > now(), false),
    'deleted_at', basewright.rfc3339(u.deleted_at),
    'created_at', basewright.rfc3339(u.created_at), 'updated_at', basewright.rfc3339(u.updated_at),
    'has_password', exists (select from auth.passwords p where p.user_id = u.id),
    'roles', coalesce((select jsonb_agg(r.role order by r.role) from auth.user_roles r where r.user_id = u.id), '[]'),
    'identities', coalesce((select jsonb_agg(jsonb_build_object(
        'id', i.id, 'user_id', i.user_id, 'provider', i.provider, 'provider_id', i.provider_id,
        'identity_data', i.identity_data, 'last_sign_in_at', basewright.rfc3339(i.last_sign_in_at),
        'created_at', basewright.rfc3339(i.created_at), 'updated_at', basewright.rfc3339(i.updated_at)
    ) order by i.created_at, i.id) from auth.identities i where i.user_id = u.id), '[]'),
    'factors', coalesce((select jsonb_agg(jsonb_build_object(
        'id', f.id, 'factor_type', f.factor_type, 'friendly_name', f.friendly_name, 'status', f.status,
        'created_at', basewright.rfc3339(f.created_at), 'updated_at', basewright.rfc3339(f.updated_at),
        'last_challenged_at', basewright.rfc3339(f.last_challenged_at)
    ) order by f.created_at, f.id) from auth.factors f where f.user_id = u.id), '[]')
)::text from auth.users u where ";

/// A statement that selects users, to be ended by a condition on `u`. Read its rows with [`read`].
pub fn select() -> Sql {
    let mut sql = Sql::new();
    sql.raw(SELECT);
    sql
}

/// A statement that selects one user who was not deleted.
pub fn select_by_id(id: Uuid) -> Sql {
    let mut sql = select();
    sql.raw("u.deleted_at is null and u.id = ").bind(Kind::UUID, Some(id.to_string()));
    sql
}

/// A statement that selects the user who has an address. It must be a [normal](super::email::normal) one.
pub fn select_by_email(email: &str) -> Sql {
    let mut sql = select();
    sql.raw("u.deleted_at is null and lower(u.email) = ").bind_text(email);
    sql
}

/// The users in the rows of a [`select`].
///
/// # Errors
/// A defect of ours: rows of another statement.
pub fn read(rows: &[Row]) -> Result<Vec<User>, Error> {
    rows.iter()
        .map(|row| serde_json::from_slice(row.raw(0).unwrap_or_default()).map_err(Error::internal))
        .collect()
}

/// The first of them.
pub fn first(rows: &[Row]) -> Result<Option<User>, Error> {
    Ok(read(rows.get(..1).unwrap_or_default())?.pop())
}

/// A user in a transaction, locked against changes by others until its end.
pub async fn lock(tx: &Tx, id: Uuid) -> Result<Option<User>, Error> {
    let mut sql = Sql::new();
    sql.raw("select from auth.users where id = ").bind(Kind::UUID, Some(id.to_string())).raw(" for update");
    tx.query(&sql).await.map_err(DbError::into_error)?;
    // Only after the lock: what another transaction did meanwhile is then seen.
    let rows = tx.query(&select_by_id(id)).await.map_err(DbError::into_error)?;
    first(&rows)
}

/// The user who has an address, locked as by [`lock`]. Takes as long where nobody has it. It must be a
/// [normal](super::email::normal) one.
pub(super) async fn lock_by_email(tx: &Tx, email: &str) -> Result<Option<User>, Error> {
    let mut sql = Sql::new();
    sql.raw("select id::text from auth.users where deleted_at is null and lower(email) = ").bind_text(email);
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    let id = rows.first().and_then(|row| row.text(0)?.parse().ok());
    // Whoever locked it before may have given the address to somebody else, or away.
    let user = lock(tx, id.unwrap_or_default()).await?;
    Ok(user.filter(|user| user.email.as_deref() == Some(email)))
}

/// A user who is to be made.
#[derive(Default)]
pub(super) struct New<'a> {
    /// Else one is made.
    pub id: Option<Uuid>,
    pub email: Option<&'a str>,
    pub is_confirmed: bool,
    pub is_anonymous: bool,
    pub user_metadata: Map<String, Value>,
    pub app_metadata: Map<String, Value>,
}

/// Makes a user: his id. `None` if somebody has the address or the id already.
pub(super) async fn add(tx: &Tx, new: New<'_>) -> Result<Option<Uuid>, Error> {
    let mut sql = Sql::new();
    sql.raw(
        "insert into auth.users (id, email, email_confirmed_at, is_anonymous, user_metadata, app_metadata) \
         values (coalesce(",
    )
    .bind(Kind::UUID, new.id.map(|id| id.to_string()))
    .raw(", basewright.uuid_v7()), ")
    .bind(Kind::TEXT, new.email.map(str::to_owned))
    .raw(if new.is_confirmed { ", now(), " } else { ", null, " })
    .raw(if new.is_anonymous { "true, " } else { "false, " })
    .bind(Kind::JSON, Some(Value::Object(new.user_metadata).to_string()))
    .raw(", ")
    .bind(Kind::JSON, Some(Value::Object(new.app_metadata).to_string()))
    .raw(") on conflict do nothing returning id::text");
    let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
    let id = rows.first().and_then(|row| row.text(0)?.parse().ok());
    if let (Some(id), Some(email), true) = (id, new.email, new.is_confirmed) {
        prove(tx, id, email).await?;
    }
    Ok(id)
}

/// Makes a proven address what its user can be recognised by.
pub(super) async fn prove(tx: &Tx, id: Uuid, email: &str) -> Result<(), Error> {
    let mut sql = Sql::new();
    sql.raw("insert into auth.identities (user_id, provider, provider_id, identity_data) select u.id, ")
        .bind_text(EMAIL)
        .raw(", u.id::text, jsonb_build_object('sub', u.id, 'email', ")
        .bind_text(email)
        .raw(", 'email_verified', true, 'phone_verified', false) from auth.users u where u.id = ")
        .bind(Kind::UUID, Some(id.to_string()))
        .raw(
            " on conflict (provider, provider_id) do update \
             set identity_data = auth.identities.identity_data || excluded.identity_data",
        );
    tx.query(&sql).await.map_err(DbError::into_error)?;
    Ok(())
}

/// The longest metadata of a user, as JSON.
const METADATA_BYTES: usize = 16 << 10;

/// Metadata that somebody sends.
///
/// # Errors
/// `validation_failed` for what is no object, and for more than 16 KiB.
pub(super) fn metadata(sent: Option<Value>) -> Result<Map<String, Value>, Error> {
    match sent {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(members)) => {
            bounded(&members)?;
            Ok(members)
        }
        Some(_) => Err(Error::with(AuthCode::ValidationFailed, "The metadata of a user is an object")),
    }
}

/// Metadata with changes: what is null in them is gone (the members of members are not merged).
///
/// # Errors
/// `validation_failed` for more than 16 KiB.
pub(super) fn merged(
    before: &Map<String, Value>,
    changes: Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let mut after = before.clone();
    for (name, value) in changes {
        if value.is_null() {
            after.remove(&name);
        } else {
            after.insert(name, value);
        }
    }
    bounded(&after)?;
    Ok(after)
}

fn bounded(members: &Map<String, Value>) -> Result<(), Error> {
    let text = serde_json::to_string(members).map_err(Error::internal)?;
    let problem = if text.len() > METADATA_BYTES {
        "The metadata of a user has at most 16 KiB"
    } else if text.contains("\\u0000") {
        "The metadata of a user cannot hold the character NUL"
    } else {
        return Ok(());
    };
    Err(Error::with(AuthCode::ValidationFailed, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn metadata_is_merged_by_member_and_null_takes_one_away() {
        let before = object(json!({ "name": "Ada", "deep": { "a": 1 }, "old": true }));
        let changes = object(json!({ "name": "Ada L.", "deep": { "b": 2 }, "old": null, "never": null }));
        let after = merged(&before, changes).unwrap();
        assert_eq!(Value::Object(after), json!({ "name": "Ada L.", "deep": { "b": 2 } }));
    }

    #[test]
    fn metadata_is_an_object_of_bounded_size() {
        assert!(metadata(None).unwrap().is_empty());
        assert!(metadata(Some(Value::Null)).unwrap().is_empty());
        for bad in
            [json!([]), json!("x"), json!(1), json!({ "x": "y".repeat(17 << 10) }), json!({ "x": "\0" })]
        {
            assert!(metadata(Some(bad)).is_err());
        }
        let half = object(json!({ "a": "x".repeat(9 << 10) }));
        let other = object(json!({ "b": "x".repeat(9 << 10) }));
        assert!(merged(&half, other).is_err());
    }
}
