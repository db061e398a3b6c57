//! Use cases over objects: stored files behind the policies of their buckets.
//!
//! A row of `storage.objects` is the truth about an object. Its content lies in a blob under an opaque [`version::Version`],
//! which no row shares and nobody writes twice: what is stored anew is a new version, and one statement makes the row
//! point at it. A reader sees the old content or the new one, nothing between; what loses its row is swept away.

pub mod admin;
pub mod blobs;
pub mod bucket;
pub mod change;
pub mod copy;
pub mod delete;
pub mod find;
pub mod grant;
pub mod judge;
pub mod key;
pub mod list;
pub mod resume;
pub mod sign;
pub mod sniff;
pub mod stocktaking;
pub mod sweep;
pub mod traffic;
pub mod turn;
pub mod upload;
pub mod version;

use std::sync::Arc;

use self::blobs::Blobs;
use self::traffic::Traffic;
use crate::db::{DbError, Row};
use crate::error::{Code, Error, StorageCode};
use crate::model::{Action, CollectionId};
use crate::policy::Decision;
use crate::query::plan::Context;
use crate::read::Database;
use crate::sql::Sql;

/// One request for objects: who asks, under which version of the project, and the ways to rows and content.
#[derive(Clone, Copy)]
pub struct Objects<'a> {
    pub context: Context<'a>,
    pub database: Database<'a>,
    pub blobs: &'a Blobs,
    pub traffic: &'a Traffic,
}

impl Objects<'_> {
    /// What the caller's rules of a bucket say of an action.
    pub(crate) fn decide(&self, action: Action, bucket: &str) -> Decision {
        self.context.catalog.policies.bucket(self.context.principal, action, bucket)
    }

    pub(crate) fn collection(&self) -> CollectionId {
        self.context.catalog.collections.objects()
    }

    /// Refuses whoever does not hold the secret key.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn admin(&self) -> Result<(), Error> {
        match self.context.principal.is_service() {
            true => Ok(()),
            false => Err(StorageCode::NotAdmin.into()),
        }
    }

    /// Runs a statement that reads at most a few rows by their key.
    pub(crate) async fn read_by_key(&self, sql: &Sql) -> Result<Vec<Row>, Error> {
        let outcome = match self.database.lanes.read(sql).await {
            Err(error) if error.waits_for_a_lock() => self.database.pool.read(sql).await,
            outcome => outcome,
        };
        outcome.map_err(refused)
    }

    /// Runs a statement of unknown cost that only reads.
    pub(crate) async fn read(&self, sql: &Sql) -> Result<Vec<Row>, Error> {
        self.database.pool.read(sql).await.map_err(refused)
    }

    /// Runs a statement that writes, again where another transaction came between.
    pub(crate) async fn write(&self, sql: &Sql) -> Result<Vec<Row>, Error> {
        for _ in 1..ATTEMPTS {
            match self.database.pool.query(sql).await {
                Err(error) if matches!(error.sqlstate(), Some("40001" | "40P01")) => {}
                outcome => return outcome.map_err(refused),
            }
        }
        self.database.pool.query(sql).await.map_err(refused)
    }

    /// What is not found: the object, for whoever may know of its bucket, else the bucket.
    pub(crate) async fn missing(&self, bucket: &str) -> Error {
        match self.bucket_row(bucket).await {
            Ok(Some(found)) if self.knows(bucket) || found.bucket.public => StorageCode::NoSuchKey.into(),
            Ok(_) => StorageCode::NoSuchBucket.into(),
            Err(error) => error,
        }
    }
}

/// How often a write that met another one at the same moment is tried.
const ATTEMPTS: usize = 4;

/// What Postgres refuses, in the words of storage.
pub(crate) fn refused(error: DbError) -> Error {
    match (error.sqlstate(), error.constraint()) {
        (Some("23505"), Some("objects_bucket_name_key")) => StorageCode::KeyAlreadyExists.into(),
        (Some("23505"), Some("buckets_pkey")) => StorageCode::BucketAlreadyExists.into(),
        (Some("23503"), Some("objects_bucket_fkey")) => StorageCode::NoSuchBucket.into(),
        (Some("23503"), Some("uploads_granted_by_fkey")) => StorageCode::NoSuchUpload.into(),
        (_, Some("buckets_quota")) => StorageCode::QuotaExceeded.into(),
        _ => {
            let error = error.into_error();
            match &error.code {
                // Nothing of ours raises these for what a caller sends: it is our defect.
                Code::Sqlstate(_) if error.code.status() < 500 => Error::internal(error),
                _ => error,
            }
        }
    }
}

/// Where content lies, for as long as the server runs.
#[derive(Clone)]
pub struct Store {
    pub blobs: Blobs,
    pub traffic: Traffic,
    /// How it is told to people: a folder or the address of a bucket, without credentials.
    pub place: Arc<str>,
}
