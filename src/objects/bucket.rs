//! Buckets, as the database has them: those that the project declares, and those made by the admin API.

use uuid::Uuid;

use super::Objects;
use crate::db::{DbError, Pool, Row};
use crate::error::Error;
use crate::model::Bucket;
use crate::model::{Kind, Scalar};
use crate::sql::{Sql, array_literal};

/// A bucket and what is known of it besides its terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub bucket: Bucket,
    pub owner: Option<Uuid>,
    /// The project declares it.
    pub declared: bool,
    /// Milliseconds since the epoch.
    pub created: i64,
    pub updated: i64,
}

/// What [`Found::of`] reads.
pub(crate) const COLUMNS: &str = "id, public, file_size_limit, to_json(allowed_mime_types)::text, quota, owner::text, declared, \
     (extract(epoch from created_at) * 1000)::bigint, (extract(epoch from updated_at) * 1000)::bigint";

impl Found {
    /// # Errors
    /// 500 for a row that is none of ours.
    pub(crate) fn of(row: &Row) -> Result<Found, Error> {
        let size = |at: usize| row.integer(at).and_then(|size| u64::try_from(size).ok());
        let read = || -> Option<Found> {
            Some(Found {
                bucket: Bucket {
                    id: row.text(0)?.to_owned(),
                    public: row.boolean(1)?,
                    max_size: size(2),
                    accept: serde_json::from_str(row.text(3)?).ok()?,
                    quota: size(4),
                },
                owner: row.text(5).and_then(|id| id.parse().ok()),
                declared: row.boolean(6)?,
                created: row.integer(7)?,
                updated: row.integer(8)?,
            })
        };
        read().ok_or_else(|| Error::internal("a row of storage.buckets cannot be read"))
    }
}

impl Objects<'_> {
    /// A bucket, whoever asks.
    pub(crate) async fn bucket_row(&self, id: &str) -> Result<Option<Found>, Error> {
        let mut sql = Sql::new();
        sql.raw("select ").raw(COLUMNS).raw(" from storage.buckets where id = ").bind_text(id);
        self.read_by_key(&sql).await?.first().map(Found::of).transpose()
    }
}

/// Makes the buckets of the database those of the project. One that it no longer declares keeps its objects and is closed:
/// no rule speaks of it, and it is not public.
///
/// # Errors
/// 503 where the database cannot be reached.
pub async fn declare(pool: &Pool, buckets: &[Bucket]) -> Result<(), DbError> {
    let texts = Kind::many(Scalar::Text);
    let mut statements = Vec::with_capacity(buckets.len() + 1);
    let mut closed = Sql::new();
    let names = array_literal(buckets.iter().map(|bucket| Some(bucket.id.as_str())));
    closed
        .raw("update storage.buckets set declared = false, public = false where declared and id <> all(")
        .bind(texts, Some(names))
        .raw(")");
    statements.push(closed);
    for bucket in buckets {
        let number = |size: Option<u64>| size.map(|size| size.to_string());
        let mut sql = Sql::new();
        sql.raw("insert into storage.buckets as b (id, public, file_size_limit, allowed_mime_types, quota, declared) values (")
            .bind_text(&bucket.id)
            .raw(", ")
            .bind(Kind::BOOLEAN, Some(bucket.public.to_string()))
            .raw(", ")
            .bind(Kind::BIGINT, number(bucket.max_size))
            .raw(", ")
            .bind(texts, Some(array_literal(bucket.accept.iter().map(|accept| Some(accept.as_str())))))
            .raw(", ")
            .bind(Kind::BIGINT, number(bucket.quota))
            .raw(
                ", true) on conflict (id) do update set public = excluded.public, \
                 file_size_limit = excluded.file_size_limit, allowed_mime_types = excluded.allowed_mime_types, \
                 quota = excluded.quota, declared = true \
                 where (b.public, b.file_size_limit, b.allowed_mime_types, b.quota, b.declared) is distinct from \
                 (excluded.public, excluded.file_size_limit, excluded.allowed_mime_types, excluded.quota, true)",
            );
        statements.push(sql);
    }
    pool.transact(&statements).await.map(drop)
}
