//! Buckets, as the database has them: those that the project declares, and those made by the admin API.

use uuid::Uuid;

use super::Objects;
use crate::db::{DbError, Pool, Row};
use crate::error::{Error, StorageCode};
use crate::model::{Action, Bucket, Kind, Scalar};
use crate::policy::Decision;
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

/// A page of buckets.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What stands somewhere in their names, in capitals or not.
    pub search: String,
    pub order: Order,
    pub descending: bool,
    pub limit: u32,
    pub offset: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Name,
    Created,
    Updated,
}

impl Objects<'_> {
    /// The buckets that the caller may know of: a rule of his speaks of them, or whoever likes may read them. The secret
    /// key knows all.
    ///
    /// # Errors
    /// 503 where the database cannot be reached.
    pub async fn buckets(&self, wish: &Wish) -> Result<Vec<Found>, Error> {
        let mut sql = Sql::new();
        sql.raw("select ").raw(COLUMNS).raw(" from storage.buckets where ");
        if self.context.principal.is_service() {
            sql.raw("true");
        } else {
            let declared = self.context.catalog.buckets.keys().filter(|name| self.knows(name));
            let known = array_literal(declared.map(|name| Some(name.as_str())));
            sql.raw("(public or id = any(").bind(Kind::many(Scalar::Text), Some(known)).raw("))");
        }
        if !wish.search.is_empty() {
            sql.raw(" and position(lower(").bind_text(&wish.search).raw(") in lower(id)) > 0");
        }
        sql.raw(match (wish.order, wish.descending) {
            (Order::Name, false) => " order by id collate \"C\"",
            (Order::Name, true) => " order by id collate \"C\" desc",
            (Order::Created, false) => " order by created_at, id collate \"C\"",
            (Order::Created, true) => " order by created_at desc, id collate \"C\" desc",
            (Order::Updated, false) => " order by updated_at, id collate \"C\"",
            (Order::Updated, true) => " order by updated_at desc, id collate \"C\" desc",
        });
        sql.raw(" limit ").bind(Kind::BIGINT, Some(wish.limit.to_string()));
        sql.raw(" offset ").bind(Kind::BIGINT, Some(wish.offset.to_string()));
        self.read(&sql).await?.iter().map(Found::of).collect()
    }

    /// A bucket, if the caller may know of it.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn bucket(&self, id: &str) -> Result<Found, Error> {
        match self.bucket_row(id).await? {
            Some(found) if found.bucket.public || self.knows(id) => Ok(found),
            Some(_) | None => Err(StorageCode::NoSuchBucket.into()),
        }
    }

    /// Some rule of the caller speaks of the bucket.
    pub(crate) fn knows(&self, bucket: &str) -> bool {
        Action::ALL.iter().any(|action| !matches!(self.decide(*action, bucket), Decision::Unknown))
    }

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
