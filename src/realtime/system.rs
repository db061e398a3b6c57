//! [`SystemChange`]: what the stream tells a node about the server's own tables, so that it forgets what is no longer so.

use uuid::Uuid;

use super::change::{Change, Row, What};

/// A change that a node's caches follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SystemChange {
    /// A user was granted a role, has lost one or is gone.
    RoleChanged { user: Uuid, xid: u32 },
    /// A session is over: whoever signed out, or was signed out.
    SessionEnded { session: Uuid, user: Uuid, xid: u32 },
    /// An API key or a token is refused from now on.
    KeyRevoked { jti: String },
    /// Anything may have changed: what is remembered is worth nothing.
    Lost,
}

impl SystemChange {
    /// What a change of transaction `xid` says about the server's own tables; `None` if it is about others.
    pub fn of(change: &Change, xid: u32) -> Option<SystemChange> {
        if change.relation.schema != "auth" {
            return None;
        }
        let column = |row: &Row, name: &str| {
            let at = change.relation.columns.iter().position(|column| column.name == name)?;
            row.0.get(at).cloned().flatten()
        };
        let user = |row: &Row, name: &str| column(row, name).and_then(|bytes| Uuid::from_slice(&bytes).ok());
        let changed = |user: Option<Uuid>| match user {
            Some(user) => SystemChange::RoleChanged { user, xid },
            None => SystemChange::Lost,
        };
        Some(match (change.relation.table.as_str(), &change.what) {
            ("user_roles", What::Insert { new }) => changed(user(new, "user_id")),
            ("user_roles", What::Delete { old: Some(old) }) => changed(user(old, "user_id")),
            ("user_roles", What::Update { old: Some(old), new })
                if column(old, "user_id") == column(new, "user_id") =>
            {
                changed(user(new, "user_id"))
            }
            ("users", What::Delete { old: Some(old) }) => changed(user(old, "id")),
            ("users", What::Insert { .. }) => return None,
            ("users", What::Update { old: Some(old), new }) if column(old, "id") == column(new, "id") => {
                let same = |name| column(old, name) == column(new, name);
                if same("banned_until") && same("deleted_at") {
                    return None;
                }
                changed(user(new, "id"))
            }
            ("sessions", What::Delete { old: Some(old) }) => match (user(old, "id"), user(old, "user_id")) {
                (Some(session), Some(user)) => SystemChange::SessionEnded { session, user, xid },
                _ => SystemChange::Lost,
            },
            ("sessions", What::Insert { .. }) => return None,
            ("sessions", What::Update { old: Some(old), new })
                if column(old, "id") == column(new, "id")
                    && column(old, "user_id") == column(new, "user_id") =>
            {
                return None;
            }
            ("revoked_keys", What::Insert { new }) => {
                match column(new, "jti").and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()) {
                    Some(jti) => SystemChange::KeyRevoked { jti },
                    None => SystemChange::Lost,
                }
            }
            ("user_roles" | "users" | "sessions" | "revoked_keys", _) => SystemChange::Lost,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::realtime::change::{Column, Relation};

    fn change(schema: &str, table: &str, columns: &[&str], what: What) -> Change {
        let column = |name: &&str| Column { name: (*name).to_owned(), kind: 0, key: false };
        let columns = columns.iter().map(column).collect();
        let relation = Relation { oid: 1, schema: schema.to_owned(), table: table.to_owned(), columns };
        Change { relation: Arc::new(relation), what }
    }

    fn row(columns: &[&[u8]]) -> Row {
        Row(columns.iter().map(|bytes| Some(Bytes::copy_from_slice(bytes))).collect())
    }

    #[test]
    fn what_happens_to_roles_users_and_keys_is_told() {
        let (ada, bob) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let granted = |user: &Uuid| row(&[b"editor", user.as_bytes()]);
        let roles = |what| SystemChange::of(&change("auth", "user_roles", &["role", "user_id"], what), 7);
        let changed = Some(SystemChange::RoleChanged { user: ada, xid: 7 });
        assert_eq!(roles(What::Insert { new: granted(&ada) }), changed);
        assert_eq!(roles(What::Delete { old: Some(granted(&ada)) }), changed);
        let update = |old| What::Update { old, new: granted(&ada) };
        assert_eq!(roles(update(Some(granted(&ada)))), changed);
        // Two users at once, or who knows whom.
        for what in [update(Some(granted(&bob))), update(None), What::Delete { old: None }, What::Truncate] {
            assert_eq!(roles(what), Some(SystemChange::Lost));
        }
        let users = |what| SystemChange::of(&change("auth", "users", &["id"], what), 7);
        let user = || row(&[ada.as_bytes()]);
        assert_eq!(users(What::Delete { old: Some(user()) }), changed);
        assert_eq!(users(What::Insert { new: user() }), None);
        assert_eq!(users(What::Update { old: Some(user()), new: user() }), None);
        let columns = ["id", "banned_until", "deleted_at"];
        let banned = |what| SystemChange::of(&change("auth", "users", &columns, what), 7);
        let user = |until: &[u8]| row(&[ada.as_bytes(), until, b"never"]);
        assert_eq!(banned(What::Update { old: Some(user(b"1")), new: user(b"1") }), None);
        assert_eq!(banned(What::Update { old: Some(user(b"1")), new: user(b"2") }), changed);

        let sessions =
            |what| SystemChange::of(&change("auth", "sessions", &["id", "user_id", "aal"], what), 7);
        let session = |aal: &[u8]| row(&[Uuid::max().as_bytes(), ada.as_bytes(), aal]);
        assert_eq!(sessions(What::Insert { new: session(b"1") }), None);
        assert_eq!(sessions(What::Update { old: Some(session(b"1")), new: session(b"2") }), None);
        let ended = SystemChange::SessionEnded { session: Uuid::max(), user: ada, xid: 7 };
        assert_eq!(sessions(What::Delete { old: Some(session(b"1")) }), Some(ended));
        for what in [What::Truncate, What::Delete { old: None }] {
            assert_eq!(sessions(what), Some(SystemChange::Lost));
        }

        let keys = |what| SystemChange::of(&change("auth", "revoked_keys", &["jti"], what), 7);
        let revoked = Some(SystemChange::KeyRevoked { jti: "k1".to_owned() });
        assert_eq!(keys(What::Insert { new: row(&[b"k1"]) }), revoked);
        assert_eq!(keys(What::Delete { old: Some(row(&[b"k1"])) }), Some(SystemChange::Lost));
    }

    #[test]
    fn other_tables_are_none_of_a_caches_business() {
        let new = || What::Insert { new: row(&[b"x"]) };
        assert_eq!(SystemChange::of(&change("public", "user_roles", &["user_id"], new()), 7), None);
        assert_eq!(SystemChange::of(&change("auth", "posts", &["id"], new()), 7), None);
    }
}
