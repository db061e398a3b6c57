//! [`Sink`]: a file that is written to and hashed on the way. [`Pump`]: what fills it from the server's threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::mem;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::super::digest::Digest;
use super::super::{BlobFault, HEAD, Received};

/// Bytes that go to another thread together. An upload has two such buffers: one is filled while the other is written.
const CHUNK: usize = 512 << 10;

/// Bytes of one write. For larger ones Linux takes larger pieces of memory, which are less often at hand: a write of 128 KiB
/// takes three times as long as two of 64 (6.18, ext4).
const WRITE: usize = 64 << 10;

/// What becomes of the file when the sink is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It goes.
    Nothing,
    /// It has another name by now.
    Renamed,
    /// So many bytes of it are kept.
    Until(u64),
}

/// A file that is being written. Every method blocks.
pub(super) struct Sink {
    path: PathBuf,
    file: Option<File>,
    digest: Digest,
    size: u64,
    head: Vec<u8>,
    keep: Keep,
}

impl Sink {
    /// A file that is made when there is something to write.
    fn new(path: PathBuf) -> Sink {
        Sink { path, file: None, digest: Digest::whole(), size: 0, head: Vec::new(), keep: Keep::Nothing }
    }

    /// Goes on with a file at its end.
    pub(super) fn resumed(path: PathBuf, file: File, digest: Digest, size: u64) -> Sink {
        Sink { path, file: Some(file), digest, size, head: Vec::new(), keep: Keep::Until(size) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    fn fault(&self, error: &io::Error) -> BlobFault {
        BlobFault::of_file(error, &self.path)
    }

    fn file(&mut self) -> Result<&mut File, BlobFault> {
        if self.file.is_none() {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
            self.file = Some(made.map_err(|error| self.fault(&error))?);
        }
        self.file.as_mut().ok_or_else(|| BlobFault::Failed("a file is not open".to_owned()))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BlobFault> {
        let file = self.file()?;
        let outcome = bytes.chunks(WRITE).try_for_each(|piece| file.write_all(piece));
        outcome.map_err(|error| self.fault(&error))?;
        if self.size < HEAD as u64 {
            let wanted = HEAD - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(wanted)]);
        }
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Makes durable what was written.
    pub(super) fn sync(&mut self) -> Result<(), BlobFault> {
        let outcome = self.file()?.sync_data();
        outcome.map_err(|error| self.fault(&error))
    }

    /// The digests of the blocks that are complete.
    pub(super) fn blocks(&self) -> String {
        self.digest.kept()
    }

    /// What was received. Of a resumed file the head is not known here.
    pub(super) fn received(mut self) -> Received {
        let digest = mem::replace(&mut self.digest, Digest::whole());
        Received { size: self.size, etag: digest.etag(), head: Bytes::from(mem::take(&mut self.head)) }
    }
}

/// Blocks as well: whoever drops one on a thread of the server passes it to another.
impl Drop for Sink {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        // Nobody is left who could be told of a fault here; a sweeper finds what stays.
        let _ = match self.keep {
            Keep::Nothing => fs::remove_file(&self.path),
            Keep::Until(durable) if durable < self.size => file.set_len(durable),
            Keep::Until(_) | Keep::Renamed => Ok(()),
        };
    }
}

/// A sink, the buffer that is being filled for it and the one that is being written.
pub(super) struct Pump {
    buffer: Vec<u8>,
    at: At,
}

/// What comes back from the thread that writes: the sink and the buffer that it has written.
type Written = Result<(Box<Sink>, Vec<u8>), BlobFault>;

enum At {
    Here(Box<Sink>, Vec<u8>),
    Writing(JoinHandle<Written>),
    /// It has failed, and the sink is gone.
    Over,
}

impl Pump {
    pub(super) fn new(path: PathBuf) -> Pump {
        Pump::of(Sink::new(path))
    }

    pub(super) fn of(sink: Sink) -> Pump {
        Pump { buffer: Vec::new(), at: At::Here(Box::new(sink), Vec::new()) }
    }

    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), BlobFault> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == CHUNK {
                let (sink, empty) = self.idle().await?;
                let full = mem::replace(&mut self.buffer, empty);
                self.at = At::Writing(spawn_blocking(move || filled(sink, full)));
            }
        }
        Ok(())
    }

    /// Writes the rest, and then does something with the sink on the same thread.
    pub(super) async fn end<T: Send + 'static>(
        mut self,
        then: impl FnOnce(Sink) -> Result<T, BlobFault> + Send + 'static,
    ) -> Result<T, BlobFault> {
        let (sink, _) = self.idle().await?;
        let rest = mem::take(&mut self.buffer);
        super::blocking(move || {
            let (sink, _) = filled(sink, rest)?;
            then(*sink)
        })
        .await
    }

    /// Waits until nothing is being written.
    async fn idle(&mut self) -> Written {
        match mem::replace(&mut self.at, At::Over) {
            At::Here(sink, empty) => Ok((sink, empty)),
            At::Writing(mut job) => {
                let outcome = (&mut job).await;
                outcome.map_err(|error| BlobFault::of_task(&error))?
            }
            At::Over => Err(BlobFault::Failed("writing has failed before".to_owned())),
        }
    }
}

/// Writes a buffer, and empties it. If that fails, the sink goes with what it has written.
fn filled(mut sink: Box<Sink>, mut buffer: Vec<u8>) -> Written {
    sink.write(&buffer)?;
    buffer.clear();
    Ok((sink, buffer))
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let (At::Here(sink, _), Ok(runtime)) =
            (mem::replace(&mut self.at, At::Over), Handle::try_current())
        {
            runtime.spawn_blocking(move || drop(sink));
        }
    }
}
