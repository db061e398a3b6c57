//! Content on its way out of a file.

use std::fs::File;
use std::future::Future as _;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use rustix::fs::{Advice, fadvise};
use tokio::task::{JoinHandle, spawn_blocking};

use super::super::BlobFault;
use super::{Folder, Version, blocking};

/// Bytes that are read at once. Two such pieces of a content are in memory: the one that is being sent and the next.
const CHUNK: u64 = 256 << 10;

impl Folder {
    /// Opens a content and reads the first piece of the range, all of it if it is short.
    pub(in super::super) async fn read(
        self: &Arc<Self>,
        version: Version,
        range: Range<u64>,
    ) -> Result<Reading, BlobFault> {
        let path: Arc<Path> = self.path(version).into();
        blocking(move || {
            let fault = |error: io::Error| BlobFault::of_file(&error, &path);
            let mut file = File::open(&path).map_err(fault)?;
            let mut left = range.end.saturating_sub(range.start);
            if range.start > 0 {
                file.seek(SeekFrom::Start(range.start)).map_err(fault)?;
            }
            if left > CHUNK {
                // Advice that is not taken harms nothing.
                let _ = fadvise(&file, range.start, None, Advice::Sequential);
            }
            // Before the first byte goes out: an answer whose length was promised can only be cut off later.
            if left > CHUNK && file.metadata().map_err(fault)?.len() < range.end {
                return Err(fault(io::ErrorKind::UnexpectedEof.into()));
            }
            let first = piece(&mut file, &mut left).map_err(fault)?;
            let next = if left == 0 { Next::End } else { Next::Idle(file) };
            Ok(Reading { path: path.clone(), ready: Some(first), next, left })
        })
        .await
    }
}

/// Reads the next piece.
fn piece(file: &mut File, left: &mut u64) -> io::Result<Bytes> {
    let length = (*left).min(CHUNK);
    let mut buffer = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.by_ref().take(length).read_to_end(&mut buffer)?;
    if buffer.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    *left -= length;
    Ok(Bytes::from(buffer))
}

pub(in super::super) struct Reading {
    path: Arc<Path>,
    ready: Option<Bytes>,
    next: Next,
    /// Bytes that were neither read nor are being read.
    left: u64,
}

enum Next {
    Idle(File),
    Coming(JoinHandle<io::Result<(File, Bytes)>>),
    End,
}

impl Reading {
    pub(in super::super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BlobFault>>> {
        let bytes = match self.ready.take() {
            Some(bytes) => bytes,
            None => match &mut self.next {
                Next::End | Next::Idle(_) => return Poll::Ready(None),
                Next::Coming(job) => {
                    let Poll::Ready(outcome) = Pin::new(job).poll(context) else { return Poll::Pending };
                    self.next = Next::End;
                    match outcome {
                        Ok(Ok((file, bytes))) => {
                            if self.left > 0 {
                                self.next = Next::Idle(file);
                            }
                            bytes
                        }
                        Ok(Err(error)) => {
                            return Poll::Ready(Some(Err(BlobFault::of_file(&error, &self.path))));
                        }
                        Err(error) => return Poll::Ready(Some(Err(BlobFault::of_task(&error)))),
                    }
                }
            },
        };
        self.read_ahead();
        if bytes.is_empty() { Poll::Ready(None) } else { Poll::Ready(Some(Ok(bytes))) }
    }

    /// Begins to read the next piece, while the last one is being sent.
    fn read_ahead(&mut self) {
        self.next = match std::mem::replace(&mut self.next, Next::End) {
            Next::Idle(mut file) => {
                let mut left = self.left;
                self.left -= left.min(CHUNK);
                Next::Coming(spawn_blocking(move || {
                    let bytes = piece(&mut file, &mut left)?;
                    Ok((file, bytes))
                }))
            }
            other => other,
        };
    }
}
