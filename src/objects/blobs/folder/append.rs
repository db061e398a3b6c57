//! Content that comes in pieces: one file that grows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::super::digest::{self, Digest};
use super::super::{BLOCK, BlobFault, HEAD, Progress, Received};
use super::sink::{Keep, Pump, Sink};
use super::{Folder, PIECES, Version, blocking, sync_folder};

/// Bytes that are read at once of a block that is hashed again.
const CHUNK: usize = 128 << 10;

impl Folder {
    pub(in super::super) async fn resume(
        self: Arc<Self>,
        version: Version,
        state: Progress,
    ) -> Result<Appending, BlobFault> {
        let path = self.pieces(version);
        let begins = state.offset == 0;
        let sink = blocking(move || {
            let fault = |error: io::Error| BlobFault::of_file(&error, &path);
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(begins)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(fault)?;
            let digest = hash_again(&file, &path, &state)?;
            file.set_len(state.offset).map_err(fault)?;
            file.seek(SeekFrom::Start(state.offset)).map_err(fault)?;
            Ok(Sink::resumed(path, file, digest, state.offset))
        })
        .await?;
        Ok(Appending { folder: self, version, begins, pump: Pump::of(sink) })
    }
}

/// The digest of what is there, from the digests of its whole blocks and the bytes after them.
fn hash_again(file: &File, path: &Path, state: &Progress) -> Result<Digest, BlobFault> {
    let fault = |error: io::Error| BlobFault::of_file(&error, path);
    let corrupt = |why: &str| BlobFault::Corrupt(path.display().to_string(), why.to_owned());
    if file.metadata().map_err(fault)?.len() < state.offset {
        return Err(corrupt("it is shorter than what was acknowledged"));
    }
    let done = digest::kept(&state.blocks, state.offset);
    let mut digest = Digest::blocks(done.ok_or_else(|| corrupt("its digests are not those of its length"))?);
    let mut at = state.offset - state.offset % BLOCK as u64;
    let mut buffer = vec![0; CHUNK];
    while at < state.offset {
        let length = usize::try_from(state.offset - at).unwrap_or(CHUNK).min(CHUNK);
        file.read_exact_at(&mut buffer[..length], at).map_err(fault)?;
        digest.update(&buffer[..length]);
        at += length as u64;
    }
    Ok(digest)
}

/// A file under `u`, and what is being added to it.
pub(in super::super) struct Appending {
    folder: Arc<Folder>,
    version: Version,
    begins: bool,
    pump: Pump,
}

impl Appending {
    pub(in super::super) async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobFault> {
        self.pump.write(bytes).await
    }

    pub(in super::super) async fn pause(self) -> Result<Progress, BlobFault> {
        let Appending { folder, begins, pump, .. } = self;
        pump.end(move |mut sink| {
            sink.sync()?;
            if begins {
                let pieces = folder.root.join(PIECES);
                sync_folder(&pieces).map_err(|error| BlobFault::of_file(&error, &pieces))?;
            }
            sink.keep(Keep::Until(sink.size()));
            Ok(Progress { offset: sink.size(), blocks: sink.blocks(), parts: None })
        })
        .await
    }

    pub(in super::super) async fn finish(self) -> Result<Received, BlobFault> {
        let Appending { folder, version, pump, .. } = self;
        pump.end(move |mut sink| {
            sink.sync()?;
            let path = sink.path().to_owned();
            let fault = |error: io::Error| BlobFault::of_file(&error, &path);
            let mut head = vec![0; usize::try_from(sink.size()).unwrap_or(HEAD).min(HEAD)];
            File::open(&path).and_then(|file| file.read_exact_at(&mut head, 0)).map_err(fault)?;
            folder.publish(version, |to| fs::rename(&path, to)).map_err(fault)?;
            sink.keep(Keep::Renamed);
            Ok(Received { head: Bytes::from(head), ..sink.received() })
        })
        .await
    }
}
