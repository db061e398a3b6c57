//! Deleting objects. Their content goes with their rows: what no row has any more is swept away.

use super::Objects;
use super::find::Object;
use super::key::Key;
use crate::error::{Error, StorageCode};
use crate::model::{Action, Kind, Scalar};
use crate::policy::Decision;
use crate::sql::{Sql, array_literal};

/// Most objects in one request.
pub const MOST: usize = 1_000;

impl Objects<'_> {
    /// Deletes the objects of these keys that the caller may read and delete; what else is asked for is passed over.
    ///
    /// # Errors
    /// `NoSuchBucket`; `AccessDenied` where no rule lets the caller delete; `InvalidRequest` for too many keys.
    pub async fn delete(&self, bucket: &str, keys: &[Key]) -> Result<Vec<Object>, Error> {
        if keys.len() > MOST {
            let sentence = format!("At most {MOST} objects are deleted at once");
            return Err(Error::with(StorageCode::InvalidRequest, sentence));
        }
        let delete = match self.decide(Action::Delete, bucket) {
            Decision::Permit(permit) => permit,
            Decision::Denied | Decision::Unknown => return Err(self.denied(bucket).await),
        };
        let read = self.permit(Action::Read, bucket);
        self.noted(Some(&delete));
        let mut sql = Sql::new();
        let row = sql.fresh();
        let names = array_literal(keys.iter().map(|key| Some(key.as_str())));
        sql.raw("delete from storage.objects ").alias(row).raw(" where ").alias(row).raw(".bucket = ");
        sql.bind_text(bucket).raw(" and ").alias(row).raw(".name = any(");
        sql.bind(Kind::many(Scalar::Text), Some(names)).raw(") and ");
        self.is_readable(&mut sql, read.as_ref(), row);
        sql.raw(" and ");
        self.when(&mut sql, &delete, row);
        sql.raw(" returning ");
        Object::columns_of_many(&mut sql, row);
        let rows = self.write(&sql).await?;
        if rows.is_empty() && self.bucket_row(bucket).await?.is_none() {
            return Err(StorageCode::NoSuchBucket.into());
        }
        rows.iter().filter_map(|row| Object::of(row, 0).transpose()).collect()
    }

    /// Deletes the object of a key.
    ///
    /// # Errors
    /// `NoSuchKey`, for one that is not there and one that the caller may not read alike; `NoSuchBucket`, `AccessDenied`.
    pub async fn delete_one(&self, bucket: &str, key: &Key) -> Result<Object, Error> {
        let mut deleted = self.delete(bucket, std::slice::from_ref(key)).await?;
        match deleted.pop() {
            Some(object) => Ok(object),
            None => {
                self.find(bucket, key).await?;
                Err(StorageCode::AccessDenied.into())
            }
        }
    }

    /// What no rule lets the caller do in a bucket: it is refused where he may know of it.
    pub(crate) async fn denied(&self, bucket: &str) -> Error {
        let missing = self.missing(bucket).await;
        if missing.code == StorageCode::NoSuchKey.into() { StorageCode::AccessDenied.into() } else { missing }
    }
}
