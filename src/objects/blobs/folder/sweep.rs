//! What lies in a folder, for those who clear away or compare.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, BoxStream, StreamExt as _};

use super::super::{Lying, Unfinished};
use super::{BlobFault, Folder, Hour, PIECES, UNDER_WAY, Version, blocking};
use crate::objects::version::FINISHED;

/// Names that are read at once.
const BATCH: usize = 512;

type Names<T> = BoxStream<'static, Result<T, BlobFault>>;

impl Folder {
    pub(in super::super) async fn hours(self: &Arc<Self>) -> Result<Vec<Hour>, BlobFault> {
        let path = self.root.join(FINISHED);
        blocking(move || {
            let fault = |error: io::Error| BlobFault::of_file(&error, &path);
            let mut hours = Vec::new();
            for entry in fs::read_dir(&path).map_err(fault)? {
                hours.extend(entry.map_err(fault)?.file_name().to_str().and_then(Hour::parse));
            }
            Ok(hours)
        })
        .await
    }

    pub(in super::super) fn list(self: &Arc<Self>, hour: &Hour) -> Names<Lying> {
        names(self.hour(hour), |entry| {
            let Some(version) = version_of(&entry.file_name()) else { return Ok(None) };
            Ok(Some(Lying { version, size: entry.metadata()?.len() }))
        })
    }

    pub(in super::super) fn unfinished(self: &Arc<Self>) -> Names<Unfinished> {
        names(self.root.join(PIECES), |entry| {
            let Some(version) = version_of(&entry.file_name()) else { return Ok(None) };
            Ok(Some(Unfinished { version, at: entry.metadata()?.modified()? }))
        })
    }

    pub(in super::super) async fn sweep_under_way(
        self: &Arc<Self>,
        age: Duration,
    ) -> Result<usize, BlobFault> {
        let path = self.root.join(UNDER_WAY);
        blocking(move || {
            let fault = |error: io::Error| BlobFault::of_file(&error, &path);
            let now = SystemTime::now();
            let mut cleared = 0;
            for entry in fs::read_dir(&path).map_err(fault)? {
                let entry = entry.map_err(fault)?;
                let written = entry.metadata().and_then(|facts| facts.modified());
                // One that is gone by now is another's.
                let is_old = written.is_ok_and(|at| now.duration_since(at).unwrap_or_default() >= age);
                if is_old && version_of(&entry.file_name()).is_some() && fs::remove_file(entry.path()).is_ok()
                {
                    cleared += 1;
                }
            }
            Ok(cleared)
        })
        .await
    }

    pub(in super::super) async fn tidy(self: &Arc<Self>, hour: &Hour) -> Result<(), BlobFault> {
        let (folder, hour) = (self.clone(), hour.clone());
        blocking(move || {
            let path = folder.hour(&hour);
            folder.durable.lock().remove(&hour);
            match fs::remove_dir(&path) {
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty
                            | io::ErrorKind::NotFound
                            | io::ErrorKind::AlreadyExists
                    ) =>
                {
                    Err(BlobFault::of_file(&error, &path))
                }
                _ => Ok(()),
            }
        })
        .await
    }
}

fn version_of(name: &OsStr) -> Option<Version> {
    Version::parse(name.to_str()?)
}

/// The names of a folder, some at a time. A folder that is not there has none; what vanishes meanwhile is not told.
fn names<T: Send + 'static>(path: PathBuf, read: fn(&DirEntry) -> io::Result<Option<T>>) -> Names<T> {
    let begin = (Arc::<Path>::from(path), None::<ReadDir>, false);
    stream::unfold(begin, move |(path, folder, is_over)| async move {
        if is_over {
            return None;
        }
        let place = path.clone();
        let batch = blocking(move || next_batch(&place, folder, read)).await;
        match batch {
            Ok((found, folder)) => {
                let is_over = folder.is_none();
                let found: Vec<_> = found.into_iter().map(Ok).collect();
                Some((stream::iter(found), (path, folder, is_over)))
            }
            Err(fault) => Some((stream::iter(vec![Err(fault)]), (path, None, true))),
        }
    })
    .flatten()
    .boxed()
}

fn next_batch<T>(
    path: &Path,
    folder: Option<ReadDir>,
    read: fn(&DirEntry) -> io::Result<Option<T>>,
) -> Result<(Vec<T>, Option<ReadDir>), BlobFault> {
    let fault = |error: io::Error| BlobFault::of_file(&error, path);
    let mut folder = match folder.map_or_else(|| fs::read_dir(path), Ok) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), None)),
        outcome => outcome.map_err(fault)?,
    };
    let mut found = Vec::new();
    for _ in 0..BATCH {
        let Some(entry) = folder.next() else { return Ok((found, None)) };
        match read(&entry.map_err(fault)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => found.extend(outcome.map_err(fault)?),
        }
    }
    Ok((found, Some(folder)))
}
