//! Calling an object something else, in its bucket or in another one. It stays what it is and whose it is: the same id, the
//! same content.

use super::find::{Object, keyed};
use super::key::Key;
use super::version::Version;
use super::{ATTEMPTS, Objects};
use crate::error::{Error, StorageCode};
use crate::model::{Action, Kind};
use crate::policy::Permit;
use crate::sql::Sql;

/// From where to where.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub bucket: String,
    pub key: Key,
    pub to_bucket: String,
    pub to: Key,
}

/// Which rules judge a move, and which content they are to judge.
enum Judged {
    /// In its bucket: one rule of updates admits the old name and the new one.
    Renamed(Permit),
    /// To another one: it may be deleted here and created there, which takes this content.
    Removed { delete: Permit, create: Permit, version: Version },
}

impl Objects<'_> {
    /// Moves an object that the caller may read.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchBucket`, `AccessDenied`; `KeyAlreadyExists`, where the move would be admitted; what another bucket
    /// does not take: `EntityTooLarge`, `InvalidMimeType`, `QuotaExceeded`.
    pub async fn relocate(&self, wish: &Move) -> Result<Object, Error> {
        for _ in 0..ATTEMPTS {
            let judged = self.judged(wish).await?;
            let (found, moved) = self.moved(wish, &judged).await?;
            match (moved, found) {
                (Some(object), _) => return Ok(object),
                (None, None) => return Err(self.missing(&wish.bucket).await),
                (None, Some(found)) => match judged {
                    // Other content than the one that was looked at: that one may not be taken.
                    Judged::Removed { version, .. } if version != found => {}
                    Judged::Removed { .. } | Judged::Renamed(_) => {
                        return Err(StorageCode::AccessDenied.into());
                    }
                },
            }
        }
        Err(StorageCode::ResourceLocked.into())
    }

    async fn judged(&self, wish: &Move) -> Result<Judged, Error> {
        if wish.bucket == wish.to_bucket {
            return match self.permit(Action::Update, &wish.bucket) {
                Some(update) => Ok(Judged::Renamed(update)),
                None => Err(self.unmovable(wish).await),
            };
        }
        let Some(delete) = self.permit(Action::Delete, &wish.bucket) else {
            return Err(self.unmovable(wish).await);
        };
        let object = self.find(&wish.bucket, &wish.key).await?;
        let Some(create) = self.permit(Action::Create, &wish.to_bucket) else {
            return Err(self.denied(&wish.to_bucket).await);
        };
        self.terms(&wish.to_bucket, &wish.to).await?.suits(&object)?;
        Ok(Judged::Removed { delete, create, version: object.version })
    }

    /// What is said where no rule lets the caller move anything: first whether there is what he may read.
    async fn unmovable(&self, wish: &Move) -> Error {
        match self.find(&wish.bucket, &wish.key).await {
            Ok(_) => StorageCode::AccessDenied.into(),
            Err(error) => error,
        }
    }

    /// Which content the caller may read under the old key, and what became of it.
    async fn moved(&self, wish: &Move, judged: &Judged) -> Result<(Option<Version>, Option<Object>), Error> {
        let read = self.permit(Action::Read, &wish.bucket);
        let mut sql = Sql::new();
        let [old, new, moved, row] = std::array::from_fn(|_| sql.fresh());
        sql.raw("with ").alias(old).raw(" as materialized (select ").alias(row).raw(".*, ");
        self.is_readable(&mut sql, read.as_ref(), row);
        sql.raw(" is true as is_readable from storage.objects ").alias(row).raw(" where ");
        keyed(&mut sql, row, &wish.bucket, &wish.key);
        sql.raw(" for update), ").alias(new).raw(" as materialized (select ").alias(old).raw(".id, ");
        sql.bind_text(&wish.to_bucket)
            .raw(" as bucket, ")
            .bind_text(wish.to.as_str())
            .raw(" collate \"C\" as name, ");
        for column in
            [".owner, ", ".size, ", ".mime, ", ".etag, ", ".cache_control, ", ".metadata, ", ".created_at, "]
        {
            sql.alias(old).raw(column);
        }
        sql.raw("now() as updated_at from ").alias(old).raw("), ").alias(moved);
        sql.raw(" as (update storage.objects ")
            .alias(row)
            .raw(" set bucket = ")
            .alias(new)
            .raw(".bucket, name = ");
        sql.alias(new)
            .raw(".name, updated_at = ")
            .alias(new)
            .raw(".updated_at from ")
            .alias(old)
            .raw(", ")
            .alias(new);
        sql.raw(" where ")
            .alias(row)
            .raw(".id = ")
            .alias(old)
            .raw(".id and ")
            .alias(old)
            .raw(".is_readable and ");
        match judged {
            Judged::Renamed(update) => {
                self.noted(Some(update));
                self.admits(&mut sql, update, new, Some(old));
            }
            Judged::Removed { delete, create, version } => {
                self.noted(Some(delete));
                self.when(&mut sql, delete, old);
                sql.raw(" and ");
                self.admits(&mut sql, create, new, None);
                sql.raw(" and ").alias(old).raw(".version = ").bind(Kind::UUID, Some(version.to_string()));
            }
        }
        sql.raw(" returning ");
        Object::columns(&mut sql, row);
        sql.raw(") select (select version::text from ").alias(old).raw(" where is_readable), ").alias(row);
        sql.raw(".* from (select) as one left join ").alias(moved).raw(" as ").alias(row).raw(" on true");
        let rows = self.write(&sql).await?;
        let answer = rows.first().ok_or_else(|| Error::internal("a move was answered with nothing"))?;
        Ok((answer.text(0).and_then(Version::parse), Object::of(answer, 1)?))
    }
}
