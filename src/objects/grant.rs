//! [`Grant`]: an upload that somebody may make later, or somebody else for him. It is judged by his rights when it is granted,
//! and once more when it is made.

use serde_json::Value;
use uuid::Uuid;

use super::Objects;
use super::key::Key;
use super::upload::{Manner, Upload};
use super::version::Version;
use crate::error::{Error, StorageCode};
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// What was granted, as its row has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub id: Uuid,
    pub bucket: String,
    pub key: Key,
    /// It may replace an object, and may be used until it expires. Any other is over with its first use.
    pub upserts: bool,
    /// The credential of whoever granted it.
    pub credential: Value,
}

impl Grant {
    pub fn manner(&self) -> Manner {
        if self.upserts { Manner::Upsert } else { Manner::Create }
    }

    /// What the upload that it is used for has to delete, to be the only one.
    pub fn claim(&self) -> Option<Uuid> {
        (!self.upserts).then_some(self.id)
    }
}

impl Objects<'_> {
    /// Grants an upload that [`Objects::admit`] found nothing against, for so many seconds.
    ///
    /// # Errors
    /// `NoSuchBucket`; 503 where the database cannot be reached.
    pub async fn grant(&self, upload: &Upload, credential: &Value, seconds: i64) -> Result<Uuid, Error> {
        let id = Uuid::new_v4();
        let mut sql = Sql::new();
        sql.raw("insert into storage.uploads (id, kind, bucket, name, principal, upsert, version, expires_at) values (");
        sql.bind(Kind::UUID, Some(id.to_string())).raw(", 'signed', ").bind_text(&upload.bucket);
        sql.raw(", ").bind_text(upload.key.as_str());
        sql.raw(", ").bind(Kind::JSON, Some(credential.to_string()));
        sql.raw(", ").bind(Kind::BOOLEAN, Some((upload.manner == Manner::Upsert).to_string()));
        // It has no content: that comes under a version of its own.
        sql.raw(", ").bind(Kind::UUID, Some(Version::new().to_string()));
        sql.raw(", now() + ")
            .bind(Kind::one(Scalar::Interval), Some(format!("{seconds} s")))
            .raw(") returning 1");
        self.write(&sql).await?;
        Ok(id)
    }

    /// What was granted, if it was for this key and is not over.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn granted(&self, id: Uuid, bucket: &str, key: &Key) -> Result<Grant, Error> {
        let mut sql = Sql::new();
        sql.raw("select upsert, principal::text from storage.uploads where kind = 'signed' and expires_at > now() and id = ");
        sql.bind(Kind::UUID, Some(id.to_string())).raw(" and bucket = ").bind_text(bucket);
        sql.raw(" and name = ").bind_text(key.as_str());
        let rows = self.read_by_key(&sql).await?;
        let Some(row) = rows.first() else { return Err(StorageCode::NoSuchUpload.into()) };
        let credential = row.text(1).and_then(|text| serde_json::from_str(text).ok());
        let (Some(upserts), Some(credential)) = (row.boolean(0), credential) else {
            return Err(Error::internal("a row of storage.uploads cannot be read"));
        };
        Ok(Grant { id, bucket: bucket.to_owned(), key: key.clone(), upserts, credential })
    }
}
