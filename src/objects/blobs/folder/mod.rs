//! A folder of this machine as the place of content.
//!
//! What is written becomes durable in this order: the bytes (`fdatasync`), then the name (`rename` into the folder of
//! the hour, then `fsync` of that folder). A folder that is new is itself made durable first.

mod append;
mod read;
mod sink;
mod sweep;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{Access, access};

pub(super) use self::append::Appending;
pub(super) use self::read::Reading;
use self::sink::{Keep, Pump};
use super::{BlobFault, PlaceFault, Received, Version, blocking};
use crate::objects::version::{FINISHED, Hour};

/// What lies unfinished and will be gone on with, and what is under way.
const PIECES: &str = "u";
const UNDER_WAY: &str = "t";
/// How many hours are remembered as durable. More are only ever looked at by uploads that last for days.
const HOURS: usize = 64;
/// How often a name is tried whose folder somebody sweeps away at the same moment.
const ATTEMPTS: usize = 5;

pub(super) struct Folder {
    root: PathBuf,
    /// The folders of hours that are known to be durable.
    durable: Mutex<BTreeSet<Hour>>,
}

impl Folder {
    /// Makes what is missing of it.
    pub(super) fn open(root: &Path) -> Result<Folder, PlaceFault> {
        let folder = Folder { root: root.to_owned(), durable: Mutex::default() };
        let prepare = || -> io::Result<()> {
            let above = root.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned);
            for name in [FINISHED, PIECES, UNDER_WAY] {
                private().recursive(true).create(root.join(name))?;
                access(root.join(name), Access::WRITE_OK | Access::EXEC_OK)?;
            }
            // From the new folders up to the one that was there already.
            for made in root.ancestors() {
                sync_folder(made)?;
                if Some(made) == above.as_deref() {
                    break;
                }
            }
            Ok(())
        };
        prepare().map_err(|error| PlaceFault::Folder(root.display().to_string(), error.to_string()))?;
        Ok(folder)
    }

    fn path(&self, version: Version) -> PathBuf {
        self.root.join(version.key().as_ref())
    }

    fn hour(&self, hour: &Hour) -> PathBuf {
        self.root.join(FINISHED).join(hour.as_str())
    }

    fn under_way(&self, version: Version) -> PathBuf {
        self.root.join(UNDER_WAY).join(version.to_string())
    }

    fn pieces(&self, version: Version) -> PathBuf {
        self.root.join(PIECES).join(version.to_string())
    }

    /// Gives a content its name, by an operation that does so at once, and makes the name durable.
    fn publish(&self, version: Version, name: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let hour = version.hour();
        let folder = self.hour(&hour);
        for _ in 1..ATTEMPTS {
            self.make_hour(&hour, &folder)?;
            match name(&self.path(version)) {
                // Another process has swept away the folder, which was empty.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_dir() => {
                    self.durable.lock().remove(&hour);
                }
                Err(error) => return Err(error),
                Ok(()) => return sync_folder(&folder),
            }
        }
        Err(io::Error::other("its folder is taken away again and again"))
    }

    fn make_hour(&self, hour: &Hour, folder: &Path) -> io::Result<()> {
        if self.durable.lock().contains(hour) {
            return Ok(());
        }
        match private().create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // One that is there was made by somebody who may not have come as far as this.
            _ => sync_folder(&self.root.join(FINISHED))?,
        }
        let mut durable = self.durable.lock();
        if durable.len() >= HOURS {
            durable.clear();
        }
        durable.insert(hour.clone());
        Ok(())
    }

    pub(super) async fn copy(self: &Arc<Self>, from: Version, to: Version) -> Result<(), BlobFault> {
        let folder = self.clone();
        blocking(move || {
            let source = folder.path(from);
            // Content is never changed, so that two names can have the same.
            match folder.publish(to, |path| fs::hard_link(&source, path)) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(BlobFault::of_file(&error, &source));
                }
                // Not every file system has links, and a file not any number of them.
                Err(_) => {}
            }
            let staged = folder.under_way(to);
            let done = fs::copy(&source, &staged)
                .and_then(|_| File::open(&staged)?.sync_data())
                .and_then(|()| folder.publish(to, |path| fs::rename(&staged, path)));
            done.map_err(|error| {
                let _ = fs::remove_file(&staged);
                BlobFault::of_file(&error, &staged)
            })
        })
        .await
    }

    pub(super) async fn remove(self: &Arc<Self>, version: Version) -> Result<(), BlobFault> {
        let path = self.path(version);
        blocking(move || remove(&path)).await
    }

    pub(super) async fn discard(self: &Arc<Self>, version: Version) -> Result<(), BlobFault> {
        let path = self.pieces(version);
        blocking(move || remove(&path)).await
    }
}

/// Content that is written in one go.
pub(super) struct Incoming {
    folder: Arc<Folder>,
    version: Version,
    pump: Pump,
}

impl Incoming {
    pub(super) fn new(folder: Arc<Folder>, version: Version) -> Incoming {
        // The file is made with the first bytes: what is small goes to another thread once.
        let pump = Pump::new(folder.under_way(version));
        Incoming { folder, version, pump }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobFault> {
        self.pump.write(bytes).await
    }

    pub(super) async fn finish(self) -> Result<Received, BlobFault> {
        let Incoming { folder, version, pump } = self;
        pump.end(move |mut sink| {
            sink.sync()?;
            let path = sink.path().to_owned();
            let named = folder.publish(version, |to| fs::rename(&path, to));
            if let Err(error) = named {
                // It may have its name already, which may not be durable.
                let _ = fs::remove_file(folder.path(version));
                return Err(BlobFault::of_file(&error, &path));
            }
            sink.keep(Keep::Renamed);
            Ok(sink.received())
        })
        .await
    }
}

fn remove(path: &Path) -> Result<(), BlobFault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BlobFault::of_file(&error, path)),
        _ => Ok(()),
    }
}

/// Folders and files are nobody else's.
fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Makes durable which names a folder has.
fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        // Some file systems have no such thing for folders: their names are durable by themselves, or never.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => Ok(()),
        outcome => outcome,
    }
}
