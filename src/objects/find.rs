//! [`Object`]: what is known of a stored file, and finding it for whoever may read it.

use serde_json::{Map, Value};
use uuid::Uuid;

use super::Objects;
use super::key::Key;
use super::version::Version;
use crate::db::Row;
use crate::error::{Error, StorageCode};
use crate::model::{Action, Kind};
use crate::policy::{Decision, Permit};
use crate::read::note_bypass;
use crate::sql::{Alias, Sql};

/// A stored object, as its row has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    pub id: Uuid,
    pub bucket: String,
    pub name: String,
    pub owner: Option<Uuid>,
    /// Bytes.
    pub size: u64,
    /// Media type without parameters.
    pub mime: String,
    /// Without quotes.
    pub etag: String,
    pub cache_control: String,
    pub metadata: Map<String, Value>,
    /// Milliseconds since the epoch.
    pub created: i64,
    pub updated: i64,
    pub version: Version,
    /// A browser may show it in place.
    pub inline: bool,
}

/// The columns that [`Object::of`] reads, each around the row's alias.
const COLUMNS: [(&str, &str); 13] = [
    ("", ".id::text"),
    ("", ".bucket"),
    ("", ".name"),
    ("", ".owner::text"),
    ("", ".size"),
    ("", ".mime"),
    ("", ".etag"),
    ("", ".cache_control"),
    ("", ".metadata::text"),
    ("(extract(epoch from ", ".created_at) * 1000)::bigint"),
    ("(extract(epoch from ", ".updated_at) * 1000)::bigint"),
    ("", ".version::text"),
    ("", ".inline"),
];

/// Which of them the metadata is.
const METADATA: usize = 8;

impl Object {
    /// How many columns it is read from, and which of them its name is.
    pub(crate) const WIDTH: usize = COLUMNS.len();
    pub(crate) const NAME: usize = 2;

    /// Writes what [`Object::of`] reads.
    pub(crate) fn columns(sql: &mut Sql, row: Alias) {
        Object::written(sql, row, true);
    }

    /// The same where there may be many, which are told without the metadata that others gave them: a thousand small
    /// requests make a thousand large ones.
    pub(crate) fn columns_of_many(sql: &mut Sql, row: Alias) {
        Object::written(sql, row, false);
    }

    fn written(sql: &mut Sql, row: Alias, with_metadata: bool) {
        for (at, (before, after)) in COLUMNS.into_iter().enumerate() {
            sql.raw(if at > 0 { ", " } else { "" });
            if at == METADATA && !with_metadata {
                sql.raw("'{}'::text as metadata");
            } else {
                sql.raw(before).alias(row).raw(after);
            }
        }
    }

    /// Reads an object from a row whose columns begin at `from`; `None` where they are null.
    ///
    /// # Errors
    /// 500 for a row that is none of ours.
    pub(crate) fn of(row: &Row, from: usize) -> Result<Option<Object>, Error> {
        let Some(id) = row.text(from) else { return Ok(None) };
        let text = |at: usize| row.text(from + at).map(str::to_owned);
        let read = || -> Option<Object> {
            Some(Object {
                id: id.parse().ok()?,
                bucket: text(1)?,
                name: text(2)?,
                owner: row.text(from + 3).and_then(|id| id.parse().ok()),
                size: row.integer(from + 4).and_then(|size| u64::try_from(size).ok())?,
                mime: text(5)?,
                etag: text(6)?,
                cache_control: text(7)?,
                metadata: serde_json::from_str(row.text(from + 8)?).ok()?,
                created: row.integer(from + 9)?,
                updated: row.integer(from + 10)?,
                version: Version::from(row.text(from + 11)?.parse::<Uuid>().ok()?),
                inline: row.boolean(from + 12)?,
            })
        };
        read().map(Some).ok_or_else(|| Error::internal("a row of storage.objects cannot be read"))
    }
}

impl Objects<'_> {
    /// The object of a key, for whoever may read it: by a rule, or because its bucket is public.
    ///
    /// # Errors
    /// `NoSuchKey`, for one that is not there and one that is not for him alike; `NoSuchBucket`.
    pub async fn find(&self, bucket: &str, key: &Key) -> Result<Object, Error> {
        let permit = self.permit(Action::Read, bucket);
        self.noted(permit.as_ref());
        let mut sql = Sql::new();
        let (row, place) = (sql.fresh(), sql.fresh());
        sql.raw("select ");
        Object::columns(&mut sql, row);
        sql.raw(" from storage.objects ").alias(row).raw(" join storage.buckets ").alias(place);
        sql.raw(" on ").alias(place).raw(".id = ").alias(row).raw(".bucket where ");
        keyed(&mut sql, row, bucket, key);
        sql.raw(" and (").alias(place).raw(".public");
        if let Some(permit) = &permit {
            sql.raw(" or ");
            self.when(&mut sql, permit, row);
        }
        sql.raw(")");
        self.one(&sql, bucket).await
    }

    /// The object of a key in a public bucket.
    ///
    /// # Errors
    /// `NoSuchBucket`, for one that is not public too; `NoSuchKey`.
    pub async fn find_public(&self, bucket: &str, key: &Key) -> Result<Object, Error> {
        match self.bucket_row(bucket).await? {
            Some(found) if found.bucket.public => self.find(bucket, key).await,
            Some(_) | None => Err(StorageCode::NoSuchBucket.into()),
        }
    }

    /// The object that a signed address names: whoever signed it has judged.
    ///
    /// # Errors
    /// `NoSuchKey`.
    pub(crate) async fn find_signed(&self, bucket: &str, key: &Key, id: Uuid) -> Result<Object, Error> {
        let mut sql = Sql::new();
        let row = sql.fresh();
        sql.raw("select ");
        Object::columns(&mut sql, row);
        sql.raw(" from storage.objects ").alias(row).raw(" where ");
        keyed(&mut sql, row, bucket, key);
        sql.raw(" and ").alias(row).raw(".id = ").bind(Kind::UUID, Some(id.to_string()));
        let rows = self.read_by_key(&sql).await?;
        match rows.first() {
            Some(row) => Object::of(row, 0)?.ok_or_else(|| Error::internal("an object without an id")),
            // Whoever has the address knows of the bucket.
            None => Err(StorageCode::NoSuchKey.into()),
        }
    }

    async fn one(&self, sql: &Sql, bucket: &str) -> Result<Object, Error> {
        let rows = self.read_by_key(sql).await?;
        match rows.first() {
            Some(row) => Object::of(row, 0)?.ok_or_else(|| Error::internal("an object without an id")),
            None => Err(self.missing(bucket).await),
        }
    }

    /// The permit that the caller's rules of a bucket give, if any does.
    pub(crate) fn permit(&self, action: Action, bucket: &str) -> Option<Permit> {
        match self.decide(action, bucket) {
            Decision::Permit(permit) => Some(permit),
            Decision::Denied | Decision::Unknown => None,
        }
    }

    /// Says in the log where no rule judges what follows.
    pub(crate) fn noted(&self, permit: Option<&Permit>) {
        if let Some(permit) = permit {
            note_bypass(self.context, permit);
        }
    }
}

/// `t0.bucket = $1 and t0.name = $2`
pub(crate) fn keyed(sql: &mut Sql, row: Alias, bucket: &str, key: &Key) {
    sql.alias(row).raw(".bucket = ").bind_text(bucket);
    sql.raw(" and ").alias(row).raw(".name = ").bind_text(key.as_str());
}
