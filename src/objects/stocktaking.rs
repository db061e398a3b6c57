//! Comparing rows with content: nothing may be missing, and nothing left over.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::TryStreamExt as _;

use super::blobs::{BlobFault, Blobs, Rehash};
use super::sweep::{array, version};
use super::version::{Hour, Version};
use crate::db::{DbError, Pool, Row};
use crate::error::Error;
use crate::model::{Kind, Scalar};
use crate::sql::Sql;

/// Rows that are read at once.
const PAGE: i64 = 1_000;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discrepancy {
    /// An object whose content is not there.
    Missing { object: String, version: Version },
    /// An object whose content has another length.
    Length { object: String, version: Version, told: u64, found: u64 },
    /// An object whose content is another one.
    Content { object: String, version: Version },
    /// An object whose content cannot be read.
    Unreadable { object: String, version: Version, why: String },
    /// Content that no row tells of.
    Orphan { version: Version, size: u64 },
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub objects: u64,
    pub bytes: u64,
    /// Content that waits to be cleared away.
    pub waiting: u64,
}

/// What is compared, and how.
pub struct Stocktaking<'a> {
    pub pool: &'a Pool,
    pub blobs: &'a Blobs,
    /// Whether all content is read and hashed.
    pub deep: bool,
    /// What is younger may be about to get its row.
    pub grace: Duration,
}

/// What a row says of an object.
struct Told {
    object: String,
    version: Version,
    size: u64,
    etag: String,
}

impl Stocktaking<'_> {
    /// Compares everything, hour by hour, and tells of what is not as it should be.
    ///
    /// # Errors
    /// 503 where the database or the store cannot be reached.
    pub async fn run(&self, mut tell: impl FnMut(Discrepancy)) -> Result<Counted, Error> {
        let mut counted = Counted::default();
        let mut hours = self.blobs.hours().await?.into_iter().peekable();
        let mut next = self.first_from(Version::before(Duration::MAX)).await?;
        loop {
            // Hours of which there is only content, and those of which there are rows.
            let with_rows = next.map(Version::hour);
            let hour = match (hours.peek(), &with_rows) {
                (None, None) => return Ok(counted),
                (Some(lying), Some(rows)) if lying <= rows => lying.clone(),
                (Some(lying), None) => lying.clone(),
                (_, Some(rows)) => rows.clone(),
            };
            if hours.peek() == Some(&hour) {
                hours.next();
            }
            let begin = next.filter(|version| version.hour() == hour);
            self.compare(&hour, begin, &mut counted, &mut tell).await?;
            if let Some(version) = begin {
                next = self.first_from(version.next_hour()).await?;
            }
        }
    }

    /// The first version that an object has, from one on.
    async fn first_from(&self, begin: Version) -> Result<Option<Version>, Error> {
        let mut sql = Sql::new();
        sql.raw("select version::text from storage.objects where version >= ");
        sql.bind(Kind::UUID, Some(begin.to_string())).raw(" order by version limit 1");
        Ok(self.rows(&sql).await?.first().and_then(|row| version(row, 0)))
    }

    async fn rows(&self, sql: &Sql) -> Result<Vec<Row>, Error> {
        self.pool.read(sql).await.map_err(DbError::into_error)
    }

    async fn compare(
        &self,
        hour: &Hour,
        begin: Option<Version>,
        counted: &mut Counted,
        tell: &mut impl FnMut(Discrepancy),
    ) -> Result<(), Error> {
        let mut lying: HashMap<Version, u64> = HashMap::new();
        let mut list = self.blobs.list(hour);
        while let Some(one) = list.try_next().await? {
            lying.insert(one.version, one.size);
        }
        let mut from = begin.map(Version::this_hour);
        while let Some(begin) = from {
            let page = self.page(begin).await?;
            from = if i64::try_from(page.len()).is_ok_and(|length| length >= PAGE) {
                page.last().map(|told| told.version.next())
            } else {
                None
            };
            for told in page {
                counted.objects += 1;
                counted.bytes += told.size;
                let found = lying.remove(&told.version);
                if let Some(discrepancy) = self.judge(told, found).await? {
                    tell(discrepancy);
                }
            }
        }
        let youngest = Version::before(self.grace);
        let left: Vec<Version> = lying.keys().copied().collect();
        for orphan in self.orphans(&left, counted).await? {
            if orphan.is_older(youngest) {
                let size = lying.get(&orphan).copied().unwrap_or_default();
                tell(Discrepancy::Orphan { version: orphan, size });
            }
        }
        Ok(())
    }

    /// Rows of one hour, by their versions.
    async fn page(&self, begin: Version) -> Result<Vec<Told>, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "select bucket || '/' || name, version::text, size, etag from storage.objects where version >= ",
        );
        sql.bind(Kind::UUID, Some(begin.to_string())).raw(" and version < ");
        sql.bind(Kind::UUID, Some(begin.next_hour().to_string()));
        sql.raw(" order by version limit ").number(PAGE);
        let rows = self.rows(&sql).await?;
        let read = |row: &Row| {
            Some(Told {
                object: row.text(0)?.to_owned(),
                version: version(row, 1)?,
                size: u64::try_from(row.integer(2)?).ok()?,
                etag: row.text(3)?.to_owned(),
            })
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    async fn judge(&self, told: Told, found: Option<u64>) -> Result<Option<Discrepancy>, Error> {
        let Told { object, version, size, etag } = told;
        let discrepancy = match found {
            Some(found) if found != size => Some(Discrepancy::Length { object, version, told: size, found }),
            Some(_) if self.deep => match self.rehash(version, size, &etag).await {
                Ok(same) => (!same).then_some(Discrepancy::Content { object, version }),
                Err(BlobFault::NotFound(_)) => Some(Discrepancy::Missing { object, version }),
                Err(fault @ BlobFault::Unreachable(_)) => return Err(fault.into()),
                Err(fault) => Some(Discrepancy::Unreadable { object, version, why: fault.to_string() }),
            },
            Some(_) => None,
            // It may have been stored after the list was made.
            None => match self.blobs.read(version, 0..size.min(1)).await {
                Ok(_) => None,
                Err(BlobFault::NotFound(_)) => Some(Discrepancy::Missing { object, version }),
                Err(fault) => return Err(fault.into()),
            },
        };
        // Or have been replaced meanwhile.
        match discrepancy {
            Some(discrepancy) if self.is_told(version).await? => Ok(Some(discrepancy)),
            _ => Ok(None),
        }
    }

    async fn is_told(&self, version: Version) -> Result<bool, Error> {
        let mut sql = Sql::new();
        sql.raw("select 1 from storage.objects where version = ").bind(Kind::UUID, Some(version.to_string()));
        Ok(!self.rows(&sql).await?.is_empty())
    }

    async fn rehash(&self, version: Version, size: u64, etag: &str) -> Result<bool, BlobFault> {
        let mut content = self.blobs.read(version, 0..size).await?;
        let mut hash = Rehash::like(etag);
        while let Some(piece) = content.try_next().await? {
            hash.update(&piece);
        }
        Ok(hash.etag() == etag)
    }

    /// Those of which no row tells: neither an object nor an upload, nor that they wait to be cleared away.
    async fn orphans(&self, versions: &[Version], counted: &mut Counted) -> Result<Vec<Version>, Error> {
        let mut orphans = Vec::new();
        for some in versions.chunks(usize::try_from(PAGE).unwrap_or(1)) {
            let mut sql = Sql::new();
            sql.raw("select v.version::text, exists (select 1 from storage.trash t where t.version = v.version) from unnest(");
            sql.bind(Kind::many(Scalar::Uuid), Some(array(some)));
            sql.raw(
                ") as v (version) where not exists (select 1 from storage.objects o where o.version = v.version) \
                 and not exists (select 1 from storage.uploads u where u.version = v.version)",
            );
            for row in self.rows(&sql).await? {
                match row.boolean(1) {
                    Some(true) => counted.waiting += 1,
                    _ => orphans.extend(version(&row, 0)),
                }
            }
        }
        Ok(orphans)
    }
}
