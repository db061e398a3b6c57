//! What decides who may do what, by its fingerprint: a change of policies or keys is noted by whichever server puts it in
//! force first.

use serde_json::{Value, json};

use super::audit::{Actor, Entry, Event};
use super::desk::Desk;
use super::keys::Keyring;
use super::refresh::sha256;
use crate::db::DbError;
use crate::error::Error;
use crate::sql::Sql;

/// The fingerprint of a keyring: the ids of its keys and of what it refuses, and which key signs.
pub(super) fn of_keys(ring: &Keyring) -> String {
    let mut ids: Vec<&str> = ring.signing().iter().map(super::keys::SigningKey::kid).collect();
    ids.sort_unstable();
    of(&json!({ "active": ring.active().kid(), "keys": ids, "revoked": ring.revoked() }).to_string())
}

fn of(text: &str) -> String {
    sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Desk {
    /// Notes that the policies are not those that were noted last. True if they are not.
    ///
    /// # Errors
    /// 503 where the database cannot be reached.
    pub async fn note_policies(&self, text: &str) -> Result<bool, Error> {
        let rules = text.lines().filter(|line| line.starts_with("rule ")).count();
        self.note_change(Event::PoliciesChanged, &of(text), json!({ "rules": rules })).await
    }

    /// Notes that the keys are not those that were noted last. True if they are not.
    ///
    /// # Errors
    /// As above.
    pub async fn note_keys(&self, ring: &Keyring) -> Result<bool, Error> {
        let keys: Vec<&str> = ring.signing().iter().map(super::keys::SigningKey::kid).collect();
        let details = json!({ "active": ring.active().kid(), "keys": keys, "revoked": ring.revoked().len() });
        self.note_change(Event::KeysChanged, &of_keys(ring), details).await
    }

    /// Adds an entry unless the last one of its kind has the same fingerprint. Servers do so one after the other.
    async fn note_change(&self, event: Event, fingerprint: &str, mut details: Value) -> Result<bool, Error> {
        if let Value::Object(members) = &mut details {
            members.insert("fingerprint".to_owned(), fingerprint.into());
        }
        let tx = self.pool().begin().await.map_err(DbError::into_error)?;
        let mut sql = Sql::new();
        sql.raw("select pg_advisory_xact_lock(hashtextextended('basewright.audit', 0))::text");
        tx.query(&sql).await.map_err(DbError::into_error)?;
        // A statement of its own: it sees what the one before has waited for.
        let mut sql = Sql::new();
        sql.raw("select details ->> 'fingerprint' from auth.audit_log where event = ")
            .bind_text(event.as_str())
            .raw(" and details ->> 'fingerprint' is not null order by id desc limit 1");
        let rows = tx.query(&sql).await.map_err(DbError::into_error)?;
        let differs = rows.first().and_then(|row| row.text(0)) != Some(fingerprint);
        if differs {
            let actor = Actor { role: "server", user: None };
            let entry = Entry {
                event,
                actor,
                subject: None,
                session: None,
                address: None,
                user_agent: None,
                details,
            };
            tx.query(&entry.insert()).await.map_err(DbError::into_error)?;
        }
        tx.commit().await.map_err(DbError::into_error)?;
        Ok(differs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::Algorithm;

    #[test]
    fn a_ring_has_another_fingerprint_with_every_key_and_every_revocation() {
        let mut ring = Keyring::generate(Algorithm::EdDsa, 1_800_000_000).unwrap();
        let mut seen = vec![of_keys(&ring)];
        ring.revoke("6f0c1d52");
        seen.push(of_keys(&ring));
        ring.rotate(Algorithm::EdDsa, 1_800_000_001).unwrap();
        seen.push(of_keys(&ring));
        ring.drop_inactive();
        seen.push(of_keys(&ring));
        assert!((1..seen.len()).all(|at| !seen[..at].contains(&seen[at])), "{seen:?}");
        assert_eq!(of_keys(&ring.clone()), seen[3]);
        assert!(seen.iter().all(|text| text.len() == 64));
    }
}
