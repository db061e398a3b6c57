//! [`Blobs`]: where the content of objects lies, in a folder or in a bucket of an S3 store.
//!
//! A content is written once, under a [`Version`] that is its own, and never changed: it is all there or not there at
//! all. What is acknowledged is durable. Nothing here knows what an object is called or who may read it.
//!
//! | key | what lies there |
//! |---|---|
//! | `v/<hour>/<version>` | content |
//! | `u/<version>` | content that comes in pieces and is not all there (in a bucket `u/<version>/<offset>`: its last bytes) |
//! | `t/<version>` | content under way, in a folder only; what a killed server leaves is swept away by its age |
//!
//! A folder is written to by this module itself. The library for stores would do each piece of an upload as a task of
//! its own, in its size as it came from the network, and knows neither how to go on with a file nor how to hash beside
//! the server's threads; it reads 8 KiB at a time. A bucket is reached through that library. What a killed server was
//! sending to a bucket in parts is known to the store alone, and goes by its rule for incomplete multipart uploads.

mod bucket;
mod digest;
mod fault;
mod folder;
mod place;

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

pub use self::digest::Rehash;
pub use self::fault::BlobFault;
pub use self::place::{Place, PlaceFault, Remote};
use super::version::{Hour, Version};

/// Bytes of a part in a bucket, and of a block that is hashed for itself: the least that S3 takes for a part which is
/// not the last one ("Amazon S3 multipart upload limits"). All are equally long, which some stores ask for.
pub(crate) const BLOCK: usize = 5 << 20;
/// Bytes that are kept of the beginning.
const HEAD: usize = 4 << 10;

/// Where content lies. Cheap to clone.
#[derive(Clone)]
pub struct Blobs(Store);

#[derive(Clone)]
enum Store {
    Folder(Arc<folder::Folder>),
    Bucket(Arc<bucket::Bucket>),
}

/// What has been received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of the content in hexadecimal. Of content that came in pieces: the SHA-256 over the digests of its
    /// blocks of 5 MiB, `-` and their number.
    pub etag: String,
    /// Its first bytes, 4 KiB at most.
    pub head: Bytes,
}

/// How far content has come that comes in pieces: all that another process needs to go on with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Bytes that are durable.
    pub offset: u64,
    /// The digests of its whole blocks.
    #[serde(default)]
    blocks: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<bucket::Parts>,
}

/// A finished content, as it is found lying about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lying {
    pub version: Version,
    pub size: u64,
}

/// Something unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    pub version: Version,
    /// When it was last written to.
    pub at: SystemTime,
}

impl Blobs {
    /// Prepares a place. Has to be called where a runtime of tokio is.
    ///
    /// # Errors
    /// A folder that cannot be made or written to; settings of a bucket that make no sense. Whether a bucket can be
    /// reached is not asked: it may come back.
    pub fn connect(place: &Place) -> Result<Blobs, PlaceFault> {
        Ok(Blobs(match place {
            Place::Folder(root) => Store::Folder(Arc::new(folder::Folder::open(root)?)),
            Place::Bucket(remote) => Store::Bucket(Arc::new(bucket::Bucket::open(remote)?)),
        }))
    }

    /// Begins to store a content whose length may be unknown.
    ///
    /// # Errors
    /// What the store says.
    #[expect(clippy::unused_async, reason = "that nothing is waited for is the stores' business")]
    pub async fn begin(&self, version: Version) -> Result<Incoming, BlobFault> {
        Ok(Incoming(match &self.0 {
            Store::Folder(folder) => InWay::Folder(folder::Incoming::new(folder.clone(), version)),
            Store::Bucket(bucket) => InWay::Bucket(bucket::Incoming::new(bucket.clone(), version)),
        }))
    }

    /// Reads a part of a content.
    ///
    /// # Errors
    /// [`BlobFault::NotFound`]; [`BlobFault::Corrupt`] where it ends before the range does.
    pub async fn read(&self, version: Version, range: Range<u64>) -> Result<Outgoing, BlobFault> {
        let length = range.end.saturating_sub(range.start);
        let way = match &self.0 {
            Store::Folder(folder) => OutWay::Folder(folder.read(version, range).await?),
            Store::Bucket(bucket) => OutWay::Bucket(bucket.read(version, range).await?),
        };
        Ok(Outgoing { length, way })
    }

    /// Makes the content of one version that of another one as well.
    ///
    /// # Errors
    /// [`BlobFault::NotFound`], and what the store says.
    pub async fn copy(&self, from: Version, to: Version) -> Result<(), BlobFault> {
        match &self.0 {
            Store::Folder(folder) => folder.copy(from, to).await,
            Store::Bucket(bucket) => bucket.copy(from, to).await,
        }
    }

    /// Removes a content. One that is not there is fine.
    ///
    /// # Errors
    /// What the store says.
    pub async fn remove(&self, version: Version) -> Result<(), BlobFault> {
        match &self.0 {
            Store::Folder(folder) => folder.remove(version).await,
            Store::Bucket(bucket) => bucket.remove(version).await,
        }
    }

    /// Goes on with a content after the bytes that are known to be durable; what came later is forgotten.
    /// `Progress::default()` begins one. Two may not go on with one content at the same time.
    ///
    /// # Errors
    /// [`BlobFault::NotFound`] if nothing of it is there (any more), [`BlobFault::Corrupt`] if less of it is there than
    /// was said, and what the store says.
    pub async fn resume(&self, version: Version, state: Progress) -> Result<Appending, BlobFault> {
        Ok(Appending(match &self.0 {
            Store::Folder(folder) => AppendWay::Folder(folder.clone().resume(version, state).await?),
            Store::Bucket(bucket) => AppendWay::Bucket(bucket.clone().resume(version, state).await?),
        }))
    }

    /// Gives up a content that came in pieces. One of which nothing is there is fine.
    ///
    /// # Errors
    /// What the store says; it can be tried again.
    pub async fn discard(&self, version: Version, state: &Progress) -> Result<(), BlobFault> {
        match &self.0 {
            Store::Folder(folder) => folder.discard(version).await,
            Store::Bucket(bucket) => bucket.discard(version, state).await,
        }
    }

    /// The hours of which there is content, the oldest first.
    ///
    /// # Errors
    /// What the store says.
    pub async fn hours(&self) -> Result<Vec<Hour>, BlobFault> {
        let mut hours = match &self.0 {
            Store::Folder(folder) => folder.hours().await?,
            Store::Bucket(bucket) => bucket.hours().await?,
        };
        hours.sort_unstable();
        Ok(hours)
    }

    /// What lies under an hour, in no order.
    pub fn list(&self, hour: &Hour) -> BoxStream<'static, Result<Lying, BlobFault>> {
        match &self.0 {
            Store::Folder(folder) => folder.list(hour),
            Store::Bucket(bucket) => bucket.list(hour),
        }
    }

    /// The contents that come in pieces and are not all there. One may be told several times.
    pub fn unfinished(&self) -> BoxStream<'static, Result<Unfinished, BlobFault>> {
        match &self.0 {
            Store::Folder(folder) => folder.unfinished(),
            Store::Bucket(bucket) => bucket.unfinished(),
        }
    }

    /// Clears away what killed servers left under way: whatever nobody has written to for so long. Answers how many.
    ///
    /// # Errors
    /// What the store says.
    pub async fn sweep_under_way(&self, age: Duration) -> Result<usize, BlobFault> {
        match &self.0 {
            Store::Folder(folder) => folder.sweep_under_way(age).await,
            // The store has its own rule for these.
            Store::Bucket(_) => Ok(0),
        }
    }

    /// Clears away the place of an hour, if nothing is there any more.
    ///
    /// # Errors
    /// What the store says.
    pub async fn tidy(&self, hour: &Hour) -> Result<(), BlobFault> {
        match &self.0 {
            Store::Folder(folder) => folder.tidy(hour).await,
            Store::Bucket(_) => Ok(()),
        }
    }
}

/// Content on its way in. Dropped before it is finished, what was written goes away.
pub struct Incoming(InWay);

enum InWay {
    Folder(folder::Incoming),
    Bucket(bucket::Incoming),
}

impl Incoming {
    /// Takes bytes; waits while earlier ones are still on their way to the store.
    ///
    /// # Errors
    /// What the store says of these bytes or of earlier ones. Nothing more can be written then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobFault> {
        match &mut self.0 {
            InWay::Folder(incoming) => incoming.write(&bytes).await,
            InWay::Bucket(incoming) => incoming.write(&bytes).await,
        }
    }

    /// Ends it. When this returns, the content is durable and can be read.
    ///
    /// # Errors
    /// What the store says; then there is no such content.
    pub async fn finish(self) -> Result<Received, BlobFault> {
        match self.0 {
            InWay::Folder(incoming) => incoming.finish().await,
            InWay::Bucket(incoming) => incoming.finish().await,
        }
    }
}

/// Content that comes in pieces. Dropped, it is as it was when it was last paused.
pub struct Appending(AppendWay);

enum AppendWay {
    Folder(folder::Appending),
    Bucket(bucket::Appending),
}

impl Appending {
    /// Takes bytes; waits while earlier ones are still on their way to the store.
    ///
    /// # Errors
    /// What the store says of these bytes or of earlier ones. Nothing more can be written then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobFault> {
        match &mut self.0 {
            AppendWay::Folder(appending) => appending.write(&bytes).await,
            AppendWay::Bucket(appending) => appending.write(&bytes).await,
        }
    }

    /// Ends a piece. When this returns, all that was written is durable; the answer says how to go on.
    ///
    /// # Errors
    /// What the store says; then the state from before still counts.
    pub async fn pause(self) -> Result<Progress, BlobFault> {
        match self.0 {
            AppendWay::Folder(appending) => appending.pause().await,
            AppendWay::Bucket(appending) => appending.pause().await,
        }
    }

    /// Ends the content. When this returns, it is durable and can be read.
    ///
    /// # Errors
    /// What the store says.
    pub async fn finish(self) -> Result<Received, BlobFault> {
        match self.0 {
            AppendWay::Folder(appending) => appending.finish().await,
            AppendWay::Bucket(appending) => appending.finish().await,
        }
    }
}

/// Content on its way out, in pieces of up to 256 KiB. It reads one piece ahead, and no further.
pub struct Outgoing {
    /// Bytes that come if nothing fails.
    pub length: u64,
    way: OutWay,
}

enum OutWay {
    Folder(folder::Reading),
    Bucket(BoxStream<'static, Result<Bytes, BlobFault>>),
}

impl Stream for Outgoing {
    type Item = Result<Bytes, BlobFault>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.get_mut().way {
            OutWay::Folder(reading) => reading.poll(context),
            OutWay::Bucket(stream) => stream.as_mut().poll_next(context),
        }
    }
}

/// Does something that may block, away from the server's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobFault> + Send + 'static,
) -> Result<T, BlobFault> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(BlobFault::of_task(&error)),
    }
}
