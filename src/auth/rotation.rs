//! Changing the signing keys of a running server: after the answer, this server accepts nothing that they do not vouch for.

use std::sync::Arc;

use serde_json::json;

use super::audit::Event;
use super::desk::Visit;
use super::fingerprint;
use super::keyfile;
use super::keys::{Algorithm, KeyFault, Keyring};
use crate::db::DbError;
use crate::error::{AuthCode, Error};
use crate::sql::Sql;

impl Visit<'_> {
    /// Makes a new signing key and new API keys. What the older keys signed stays valid unless they are dropped.
    ///
    /// # Errors
    /// `conflict` where the keys come from the environment, which no process can change.
    pub async fn rotate_keys(&self, algorithm: Algorithm, drop_old: bool) -> Result<Keyring, Error> {
        let now = self.now;
        self.change_keys(json!({ "rotated": true, "dropped": drop_old }), move |ring| {
            ring.rotate(algorithm, now)?;
            if drop_old {
                ring.drop_inactive();
            }
            Ok(())
        })
        .await
    }

    /// Forgets a signing key that is not active: everything that it signed dies.
    ///
    /// # Errors
    /// As [`Visit::rotate_keys`]; `validation_failed` for the active one, or none.
    pub async fn drop_key(&self, kid: &str) -> Result<Keyring, Error> {
        let kid = kid.to_owned();
        self.change_keys(json!({ "dropped": kid }), move |ring| ring.drop_key(&kid)).await
    }

    /// Refuses an API key or an operator's token, on every node. This one is to be told.
    pub async fn revoke_key(&self, jti: &str) -> Result<(), Error> {
        if jti.is_empty() || jti.chars().count() > 255 {
            return Err(Error::with(AuthCode::ValidationFailed, "`jti` has 1 to 255 characters"));
        }
        let tx = self.begin().await?;
        let mut sql = Sql::new();
        sql.raw("insert into auth.revoked_keys (jti) values (")
            .bind_text(jti)
            .raw(") on conflict do nothing");
        tx.query(&sql).await.map_err(DbError::into_error)?;
        self.note(&tx, self.entry(Event::KeyRevoked, None, json!({ "jti": jti }))).await?;
        tx.commit().await.map_err(DbError::into_error)
    }

    /// The keys in force.
    pub fn keyring(&self) -> &Keyring {
        &self.keys
    }

    async fn change_keys(
        &self,
        mut what: serde_json::Value,
        change: impl FnOnce(&mut Keyring) -> Result<(), KeyFault> + Send + 'static,
    ) -> Result<Keyring, Error> {
        let Some(path) = self.desk.key_file().map(ToOwned::to_owned) else {
            let sentence = "The keys come from the environment: change them there and start the server again";
            return Err(Error::with(AuthCode::Conflict, sentence));
        };
        let (now, keys, issuer) = (self.now, self.desk.keys(), self.keys.issuer().to_owned());
        // What the older keys vouched for is verified anew.
        let put = move |ring: &Keyring| keys.store(Arc::new(ring.clone().issuing_as(&issuer)));
        let changed = tokio::task::spawn_blocking(move || keyfile::change(&path, now, change, put)).await;
        let (ring, ()) = changed.map_err(Error::internal)?.map_err(|fault| match fault {
            keyfile::KeyFileFault::Keys {
                fault: KeyFault::StillActive(_) | KeyFault::NoSuchKey(_), ..
            } => Error::with(AuthCode::ValidationFailed, fault.to_string()),
            fault => Error::internal(fault),
        })?;
        let ring = ring.issuing_as(self.keys.issuer());
        if let serde_json::Value::Object(members) = &mut what {
            // This server looks at the file too, and others do: none of them notes it again.
            members.insert("fingerprint".to_owned(), fingerprint::of_keys(&ring).into());
        }
        self.run(&self.entry(Event::KeysChanged, None, what).insert()).await?;
        Ok(ring)
    }
}
