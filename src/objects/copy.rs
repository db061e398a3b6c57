//! Copying an object: content of its own for an object of its own.

use serde_json::{Map, Value};

use super::Objects;
use super::blobs::BlobFault;
use super::find::Object;
use super::key::Key;
use super::upload::{Manner, Upload};
use super::version::Version;
use crate::error::Error;

/// From where to where, and what becomes another.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    pub bucket: String,
    pub key: Key,
    pub to_bucket: String,
    pub to: Key,
    /// It may replace an object.
    pub upserts: bool,
    /// What is said of the object goes with it, where nothing else is said here.
    pub keeps: bool,
    pub metadata: Option<Map<String, Value>>,
    pub cache_control: Option<String>,
    pub mime: Option<String>,
}

impl Objects<'_> {
    /// Copies an object that the caller may read to where he may store one.
    ///
    /// # Errors
    /// Those of [`Objects::find`] for the one, and of an upload for the other.
    pub async fn copy(&self, wish: &Copy) -> Result<Object, Error> {
        let mut object = self.find(&wish.bucket, &wish.key).await?;
        let (upload, stored) = loop {
            let upload = wish.upload(&object);
            let terms = self.admit(&upload).await?;
            let version = Version::new();
            let stored = terms.take_again(&object, wish.mime.as_deref(), version)?;
            match self.blobs.copy(object.version, version).await {
                Ok(()) => break (upload, stored),
                Err(fault @ BlobFault::NotFound(_)) => {
                    let now = self.find(&wish.bucket, &wish.key).await?;
                    if now.version == object.version {
                        return Err(fault.into());
                    }
                    // It was replaced since its row was read.
                    object = now;
                }
                Err(fault) => return Err(fault.into()),
            }
        };
        self.settle(&upload, stored, None).await
    }
}

impl Copy {
    fn upload(&self, object: &Object) -> Upload {
        let metadata = self.metadata.clone().or_else(|| self.keeps.then(|| object.metadata.clone()));
        Upload {
            bucket: self.to_bucket.clone(),
            key: self.to.clone(),
            mime: Some(self.mime.clone().unwrap_or_else(|| object.mime.clone())),
            cache_control: self.cache_control.clone().unwrap_or_else(|| object.cache_control.clone()),
            metadata: metadata.unwrap_or_default(),
            manner: if self.upserts { Manner::Upsert } else { Manner::Create },
            length: Some(object.size),
        }
    }
}
