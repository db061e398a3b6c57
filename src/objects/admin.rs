//! Making, changing and removing buckets: for whoever holds the secret key. What a project declares is changed there alone.

use std::time::{Duration, Instant};

use super::Objects;
use crate::error::{Code, Error, StorageCode};
use crate::model::{Bucket, Kind, Scalar};
use crate::sql::{Sql, array_literal};

/// Objects that one statement deletes while a bucket is emptied.
const BATCH: i64 = 2_000;
/// How long a request goes on with that.
const AT_ONCE: Duration = Duration::from_secs(20);

/// What a bucket is to become, as far as something is said of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub public: Option<bool>,
    pub max_size: Option<Option<u64>>,
    pub accept: Option<Vec<String>>,
}

impl Objects<'_> {
    /// Makes a bucket. No rule speaks of it.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidBucketName`, `BucketAlreadyExists`; as [`Objects::change_bucket`] for its terms.
    pub async fn make_bucket(&self, bucket: &Bucket) -> Result<(), Error> {
        self.admin()?;
        Bucket::check_name(&bucket.id).map_err(|fault| {
            Error::with(StorageCode::InvalidBucketName, format!("Bucket name invalid: {fault}"))
        })?;
        self.possible(bucket.max_size, &bucket.accept)?;
        let mut sql = Sql::new();
        sql.raw(
            "insert into storage.buckets (id, public, file_size_limit, allowed_mime_types, owner) values (",
        );
        sql.bind_text(&bucket.id).raw(", ").bind(Kind::BOOLEAN, Some(bucket.public.to_string())).raw(", ");
        sql.bind(Kind::BIGINT, bucket.max_size.map(|size| size.to_string())).raw(", ");
        accepted(&mut sql, &bucket.accept);
        sql.raw(", ")
            .bind(Kind::UUID, self.context.principal.id.map(|id| id.to_string()))
            .raw(") returning id");
        self.write(&sql).await.map(drop)
    }

    /// Changes a bucket that the project does not declare.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`, `BucketDeclared`; `EntityTooLarge` for a size beyond the server's own limit,
    /// `InvalidMimeType` for what is no media type.
    pub async fn change_bucket(&self, id: &str, changes: &Changes) -> Result<(), Error> {
        self.admin()?;
        self.possible(changes.max_size.flatten(), changes.accept.as_deref().unwrap_or_default())?;
        let mut sql = Sql::new();
        sql.raw("update storage.buckets set id = id");
        if let Some(public) = changes.public {
            sql.raw(", public = ").bind(Kind::BOOLEAN, Some(public.to_string()));
        }
        if let Some(size) = changes.max_size {
            sql.raw(", file_size_limit = ").bind(Kind::BIGINT, size.map(|size| size.to_string()));
        }
        if let Some(accept) = &changes.accept {
            sql.raw(", allowed_mime_types = ");
            accepted(&mut sql, accept);
        }
        sql.raw(" where id = ").bind_text(id).raw(" and not declared returning id");
        if self.write(&sql).await?.is_empty() { Err(self.unchangeable(id).await) } else { Ok(()) }
    }

    /// Removes an empty bucket that the project does not declare.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`, `BucketDeclared`, `ResourceNotEmpty`.
    pub async fn remove_bucket(&self, id: &str) -> Result<(), Error> {
        self.admin()?;
        let mut sql = Sql::new();
        sql.raw("delete from storage.buckets as b where b.id = ").bind_text(id);
        sql.raw(
            " and not b.declared and not exists (select 1 from storage.objects as o where o.bucket = b.id) ",
        );
        sql.raw("returning b.id");
        match self.write(&sql).await {
            Ok(rows) if rows.is_empty() => Err(self.unchangeable(id).await),
            Ok(_) => Ok(()),
            // One was stored at this moment, and the row of its bucket may not go.
            Err(error) if error.code == StorageCode::NoSuchBucket.into() => {
                Err(StorageCode::ResourceNotEmpty.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes all objects of a bucket.
    ///
    /// # Errors
    /// `AccessDenied`, `NoSuchBucket`; 503 where there are so many that it has to be asked for again.
    pub async fn empty_bucket(&self, id: &str) -> Result<(), Error> {
        self.admin()?;
        if self.bucket_row(id).await?.is_none() {
            return Err(StorageCode::NoSuchBucket.into());
        }
        let started = Instant::now();
        loop {
            let mut sql = Sql::new();
            sql.raw("with d as (delete from storage.objects where id = any(array(select id from storage.objects where bucket = ");
            sql.bind_text(id).raw(" order by name limit ").number(BATCH);
            sql.raw(")) returning 1) select count(*) from d");
            let rows = self.write(&sql).await?;
            match rows.first().and_then(|row| row.integer(0)) {
                Some(BATCH) if started.elapsed() < AT_ONCE => {}
                Some(BATCH) => {
                    let sentence = "The bucket has more objects than can be deleted at once: ask again";
                    return Err(Error::with(Code::Unavailable, sentence).retry_after(1));
                }
                Some(_) | None => return Ok(()),
            }
        }
    }

    /// Why a bucket was neither changed nor removed.
    async fn unchangeable(&self, id: &str) -> Error {
        match self.bucket_row(id).await {
            Ok(Some(found)) if found.declared => StorageCode::BucketDeclared.into(),
            Ok(Some(_)) => StorageCode::ResourceNotEmpty.into(),
            Ok(None) => StorageCode::NoSuchBucket.into(),
            Err(error) => error,
        }
    }

    fn possible(&self, max_size: Option<u64>, accept: &[String]) -> Result<(), Error> {
        let most = self.context.catalog.limits.upload;
        if max_size.is_some_and(|size| size > most) {
            let sentence = format!("No object may have more than {most} bytes, whatever its bucket");
            return Err(Error::with(StorageCode::EntityTooLarge, sentence));
        }
        match accept.iter().find(|range| !Bucket::is_media_range(range)) {
            Some(range) => {
                let shown: String = range.chars().filter(|c| !c.is_control()).take(128).collect();
                Err(Error::with(StorageCode::InvalidMimeType, format!("mime type {shown} is not supported")))
            }
            None => Ok(()),
        }
    }
}

fn accepted(sql: &mut Sql, accept: &[String]) {
    let ranges = array_literal(accept.iter().map(|range| Some(range.as_str())));
    sql.bind(Kind::many(Scalar::Text), Some(ranges));
}
