//! A bucket of an S3 store as the place of content.
//!
//! Content goes there in parts of 5 MiB, one of them on its way while the next one is filled; what is shorter than a
//! part goes in one request. The store makes it visible at once when it is complete.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::path::Path;
use object_store::{ClientOptions, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, RetryConfig};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::digest::{self, Digest};
use super::{
    BLOCK, BlobFault, HEAD, Lying, PlaceFault, Progress, Received, Remote, Unfinished, Version, blocking,
};
use crate::objects::version::{FINISHED, Hour};

/// What lies unfinished and will be gone on with.
const PIECES: &str = "u";
/// How often a request is tried that found nobody or a store in trouble, and for how long.
const RETRIES: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(20);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a store may take to answer, and then to go on: a part of 5 MiB has to arrive within it.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct Bucket {
    store: AmazonS3,
    prefix: Path,
}

/// What the store knows of a content that comes in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    /// Its name for the parts, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<String>,
    /// Its names of the parts, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// Where the bytes after the parts lay before: to be removed, now that nobody needs them any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale: Option<u64>,
}

impl Bucket {
    pub(super) fn open(remote: &Remote) -> Result<Bucket, PlaceFault> {
        let refuse = |error: String| PlaceFault::Bucket(remote.to_string(), error);
        // A download takes as long as its reader does.
        let options = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_WITHIN)
            .with_read_timeout(ANSWER_WITHIN);
        let retry =
            RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_WITHIN, ..RetryConfig::default() };
        let options = if remote.is_plain() { options.with_allow_http(true) } else { options };
        let builder = remote.builder.clone().with_client_options(options).with_retry(retry);
        let store = builder.build().map_err(|error| refuse(error.to_string()))?;
        let prefix = Path::parse(&remote.prefix).map_err(|error| refuse(error.to_string()))?;
        Ok(Bucket { store, prefix })
    }

    fn key(&self, key: &Path) -> Path {
        self.prefix.parts().chain(key.parts()).collect()
    }

    fn path(&self, version: Version) -> Path {
        self.key(&version.key())
    }

    fn pieces(&self, version: Version) -> Path {
        self.key(&Path::from_iter([PIECES, &version.to_string()]))
    }

    /// The bytes after the parts of a content that had come so far.
    fn tail(&self, version: Version, offset: u64) -> Path {
        self.pieces(version).join(offset.to_string())
    }

    pub(super) async fn read(
        &self,
        version: Version,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, BlobFault>>, BlobFault> {
        let path = self.path(version);
        if range.start >= range.end {
            self.store.head(&path).await.map_err(|error| BlobFault::of_store(&error))?;
            return Ok(futures_util::stream::empty().boxed());
        }
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let got = self.store.get_opts(&path, options).await.map_err(|error| BlobFault::of_store(&error))?;
        if got.range != range {
            return Err(BlobFault::Corrupt(path.to_string(), "it ends too early".to_owned()));
        }
        Ok(got.into_stream().map_err(|error| BlobFault::of_store(&error)).boxed())
    }

    pub(super) async fn copy(&self, from: Version, to: Version) -> Result<(), BlobFault> {
        let copied = self.store.copy(&self.path(from), &self.path(to)).await;
        copied.map_err(|error| BlobFault::of_store(&error))
    }

    pub(super) async fn remove(&self, version: Version) -> Result<(), BlobFault> {
        self.delete(&self.path(version)).await
    }

    async fn delete(&self, path: &Path) -> Result<(), BlobFault> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobFault::of_store(&error)),
        }
    }

    async fn put(&self, path: &Path, bytes: Bytes) -> Result<(), BlobFault> {
        let put = self.store.put(path, bytes.into()).await;
        put.map(drop).map_err(|error| BlobFault::of_store(&error))
    }

    async fn abort(&self, path: &Path, upload: &str) -> Result<(), BlobFault> {
        match self.store.abort_multipart(path, &upload.to_owned()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobFault::of_store(&error)),
        }
    }

    pub(super) async fn discard(&self, version: Version, state: &Progress) -> Result<(), BlobFault> {
        if let Some(upload) = state.parts.as_ref().and_then(|parts| parts.upload.as_deref()) {
            self.abort(&self.path(version), upload).await?;
        }
        let mut tails = self.store.list(Some(&self.pieces(version)));
        while let Some(tail) = tails.try_next().await.map_err(|error| BlobFault::of_store(&error))? {
            self.delete(&tail.location).await?;
        }
        Ok(())
    }

    pub(super) async fn hours(&self) -> Result<Vec<Hour>, BlobFault> {
        let finished = self.key(&Path::from(FINISHED));
        let found = self.store.list_with_delimiter(Some(&finished)).await;
        let found = found.map_err(|error| BlobFault::of_store(&error))?;
        Ok(found.common_prefixes.iter().filter_map(|path| Hour::parse(path.filename()?)).collect())
    }

    pub(super) fn list(&self, hour: &Hour) -> BoxStream<'static, Result<Lying, BlobFault>> {
        let folder = self.key(&Path::from_iter([FINISHED, hour.as_str()]));
        let found = self.store.list(Some(&folder)).map_err(|error| BlobFault::of_store(&error));
        found
            .try_filter_map(|found| async move {
                let version = found.location.filename().and_then(Version::parse);
                Ok(version.map(|version| Lying { version, size: found.size }))
            })
            .boxed()
    }

    pub(super) fn unfinished(&self) -> BoxStream<'static, Result<Unfinished, BlobFault>> {
        let folder = self.key(&Path::from(PIECES));
        let above = folder.parts_count();
        let found = self.store.list(Some(&folder)).map_err(|error| BlobFault::of_store(&error));
        found
            .try_filter_map(move |found| async move {
                let name = found.location.parts().nth(above);
                let version = name.as_ref().and_then(|name| Version::parse(name.as_ref()));
                let at = SystemTime::from(found.last_modified);
                Ok(version.map(|version| Unfinished { version, at }))
            })
            .boxed()
    }

    pub(super) async fn resume(
        self: Arc<Self>,
        version: Version,
        state: Progress,
    ) -> Result<Appending, BlobFault> {
        let path = self.path(version);
        let corrupt = |why: &str| BlobFault::Corrupt(path.to_string(), why.to_owned());
        let parts = state.parts.unwrap_or_default();
        let done = digest::kept(&state.blocks, state.offset);
        let done = done.ok_or_else(|| corrupt("its digests are not those of its length"))?;
        let (blocks, rest) = (state.offset / BLOCK as u64, state.offset % BLOCK as u64);
        if parts.tags.len() as u64 != blocks || (blocks > 0 && parts.upload.is_none()) {
            return Err(corrupt("its parts are not those of its length"));
        }
        let mut tail = Vec::new();
        if rest > 0 {
            let got = self.store.get(&self.tail(version, state.offset)).await;
            let got = got.map_err(|error| BlobFault::of_store(&error))?;
            tail = got.bytes().await.map_err(|error| BlobFault::of_store(&error))?.to_vec();
            if tail.len() as u64 != rest {
                return Err(corrupt("its last bytes are not there"));
            }
        }
        if let Some(stale) = parts.stale {
            self.delete(&self.tail(version, stale)).await?;
        }
        let is_alone = parts.upload.is_none();
        let sent = Sent {
            upload: parts.upload,
            tags: parts.tags,
            digest: Digest::blocks(done),
            size: state.offset - rest,
        };
        let sender = Sender { bucket: self, path, buffer: tail, at: At::Here(sent), is_alone };
        Ok(Appending { version, from: state.offset, sender })
    }
}

/// What has gone to the store of a content.
struct Sent {
    upload: Option<String>,
    tags: Vec<String>,
    digest: Digest,
    size: u64,
}

impl Sent {
    /// Hashes a part and sends it.
    async fn send(&mut self, bucket: &Bucket, path: &Path, part: Bytes) -> Result<(), BlobFault> {
        self.hash(&part).await?;
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let made = bucket.store.create_multipart(path).await;
                self.upload.insert(made.map_err(|error| BlobFault::of_store(&error))?).clone()
            }
        };
        let put = bucket.store.put_part(path, &upload, self.tags.len(), part.into()).await;
        self.tags.push(put.map_err(|error| BlobFault::of_store(&error))?.content_id);
        Ok(())
    }

    async fn hash(&mut self, bytes: &Bytes) -> Result<(), BlobFault> {
        let mut digest = mem::replace(&mut self.digest, Digest::whole());
        let part = bytes.clone();
        self.digest = blocking(move || {
            digest.update(&part);
            Ok(digest)
        })
        .await?;
        self.size += bytes.len() as u64;
        Ok(())
    }
}

/// Fills parts, and sends one while the next is filled.
struct Sender {
    bucket: Arc<Bucket>,
    path: Path,
    buffer: Vec<u8>,
    at: At,
    /// Nobody else knows of the parts.
    is_alone: bool,
}

enum At {
    Here(Sent),
    Sending(JoinHandle<(Sent, Result<(), BlobFault>)>),
    /// Somebody else has it, or it is lost.
    Over,
}

impl Sender {
    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobFault> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.buffer.len()));
            if self.buffer.len() + now.len() > BLOCK / 4 && self.buffer.capacity() < BLOCK {
                // Growing by doubling would end beyond the length of a part.
                self.buffer.reserve_exact(BLOCK - self.buffer.len());
            }
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == BLOCK {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Begins to send what is in the buffer.
    async fn send(&mut self) -> Result<(), BlobFault> {
        let mut sent = self.idle().await?;
        let part = Bytes::from(mem::take(&mut self.buffer));
        let (bucket, path) = (self.bucket.clone(), self.path.clone());
        self.at = At::Sending(tokio::spawn(async move {
            let outcome = sent.send(&bucket, &path, part).await;
            (sent, outcome)
        }));
        Ok(())
    }

    /// Waits until nothing is on its way.
    async fn idle(&mut self) -> Result<Sent, BlobFault> {
        match mem::replace(&mut self.at, At::Over) {
            At::Here(sent) => Ok(sent),
            At::Sending(job) => {
                let (sent, outcome) = job.await.map_err(|error| BlobFault::of_task(&error))?;
                match outcome {
                    Ok(()) => Ok(sent),
                    Err(fault) => {
                        // Whoever clears away needs to know what it was called.
                        self.at = At::Here(sent);
                        Err(fault)
                    }
                }
            }
            At::Over => Err(BlobFault::Failed("sending has failed before".to_owned())),
        }
    }

    /// Sends the rest and makes the content visible.
    async fn complete(&mut self) -> Result<Received, BlobFault> {
        let mut sent = self.idle().await?;
        let rest = Bytes::from(mem::take(&mut self.buffer));
        let mut head = rest.slice(..rest.len().min(HEAD));
        let outcome = match sent.tags.len() {
            0 => match sent.hash(&rest).await {
                Ok(()) => self.bucket.put(&self.path, rest).await,
                Err(fault) => Err(fault),
            },
            _ => {
                head = Bytes::new();
                let last =
                    if rest.is_empty() { Ok(()) } else { sent.send(&self.bucket, &self.path, rest).await };
                match last {
                    Ok(()) => self.join(&sent).await,
                    Err(fault) => Err(fault),
                }
            }
        };
        if let Err(fault) = outcome {
            self.at = At::Here(sent);
            return Err(fault);
        }
        Ok(Received { size: sent.size, etag: sent.digest.etag(), head })
    }

    /// Makes one content of the parts.
    async fn join(&self, sent: &Sent) -> Result<(), BlobFault> {
        let Some(upload) = &sent.upload else { return Ok(()) };
        let parts = sent.tags.iter().map(|tag| PartId { content_id: tag.clone() }).collect();
        let joined = self.bucket.store.complete_multipart(&self.path, upload, parts).await;
        joined.map(drop).map_err(|error| BlobFault::of_store(&error))
    }
}

/// Tells the store to forget the parts of a content that did not become one.
impl Drop for Sender {
    fn drop(&mut self) {
        let at = mem::replace(&mut self.at, At::Over);
        match &at {
            At::Over => return,
            At::Here(sent) if sent.upload.is_none() => return,
            // Whoever goes on sends the same part again. One that comes late is no other one, or does not fit the name that
            // the store gave to the second.
            At::Sending(job) if !self.is_alone => return job.abort(),
            At::Here(_) if !self.is_alone => return,
            At::Here(_) | At::Sending(_) => {}
        }
        let (bucket, path) = (self.bucket.clone(), self.path.clone());
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let sent = match at {
                At::Here(sent) => sent,
                At::Sending(job) => match job.await {
                    Ok((sent, _)) => sent,
                    Err(_) => return,
                },
                At::Over => return,
            };
            if let Some(upload) = &sent.upload
                && let Err(fault) = bucket.abort(&path, upload).await
            {
                tracing::warn!("what was sent of an upload stays in the object store: {fault}");
            }
        });
    }
}

/// Content that is written in one go.
pub(super) struct Incoming {
    sender: Sender,
    head: Vec<u8>,
}

impl Incoming {
    pub(super) fn new(bucket: Arc<Bucket>, version: Version) -> Incoming {
        let path = bucket.path(version);
        let sent = Sent { upload: None, tags: Vec::new(), digest: Digest::whole(), size: 0 };
        let sender = Sender { bucket, path, buffer: Vec::new(), at: At::Here(sent), is_alone: true };
        Incoming { sender, head: Vec::new() }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobFault> {
        if self.head.len() < HEAD {
            let wanted = HEAD - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(wanted)]);
        }
        self.sender.write(bytes).await
    }

    pub(super) async fn finish(mut self) -> Result<Received, BlobFault> {
        let received = self.sender.complete().await?;
        Ok(Received { head: Bytes::from(mem::take(&mut self.head)), ..received })
    }
}

/// Content that comes in pieces: whole parts, and what comes after them as an object of its own until it is a part.
pub(super) struct Appending {
    version: Version,
    /// Where it was when this began.
    from: u64,
    sender: Sender,
}

impl Appending {
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobFault> {
        self.sender.write(bytes).await
    }

    pub(super) async fn pause(mut self) -> Result<Progress, BlobFault> {
        let sent = self.sender.idle().await?;
        let bucket = &self.sender.bucket;
        let tail = Bytes::from(mem::take(&mut self.sender.buffer));
        let offset = sent.size + tail.len() as u64;
        if !tail.is_empty() && offset != self.from {
            bucket.put(&bucket.tail(self.version, offset), tail).await?;
        }
        let stale = (!self.from.is_multiple_of(BLOCK as u64) && offset != self.from).then_some(self.from);
        let blocks = sent.digest.kept();
        let parts = Parts { upload: sent.upload, tags: sent.tags, stale };
        Ok(Progress { offset, blocks, parts: Some(parts) })
    }

    pub(super) async fn finish(mut self) -> Result<Received, BlobFault> {
        let received = self.sender.complete().await?;
        let bucket = &self.sender.bucket;
        if !self.from.is_multiple_of(BLOCK as u64) {
            let tail = bucket.tail(self.version, self.from);
            // The content is there: what is left over beside it is no fault of it.
            if let Err(fault) = bucket.delete(&tail).await {
                tracing::warn!("what is left of an upload stays in the object store: {fault}");
            }
        }
        if !received.head.is_empty() || received.size == 0 {
            return Ok(received);
        }
        let beginning = 0..received.size.min(HEAD as u64);
        let head = bucket.store.get_range(&self.sender.path, beginning).await;
        Ok(Received { head: head.map_err(|error| BlobFault::of_store(&error))?, ..received })
    }
}
