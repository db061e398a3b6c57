//! A file of the project's pages: found below their folder and nowhere else, and read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::{Stream, stream};
use rustix::fs::OFlags;
use tokio::task::spawn_blocking;

use super::address::is_shown;

/// Files up to this size are read as a whole, and known by their content; larger ones are read in pieces of it, and known by
/// their size and times.
const SMALL: u64 = 256 << 10;

const INDEX: &str = "index.html";

/// What a path leads to.
pub(super) enum Found {
    File(Opened),
    /// A folder with an index, whose path lacks the slash at its end.
    Folder,
    Nothing,
}

/// A file that is there.
pub(super) struct Opened {
    /// Its name, which says its type.
    pub(super) name: String,
    pub(super) size: u64,
    /// Milliseconds since the epoch.
    pub(super) modified: i64,
    /// Without quotes.
    pub(super) etag: String,
    content: Content,
}

enum Content {
    Read(Bytes),
    Unread(File),
}

/// Looks for a file by the names that lead to it: the file itself, else the one with `.html` behind the name, else the index
/// of the folder. To be called where waiting for a disk harms nobody.
///
/// # Errors
/// What keeps a file that is there from being read.
pub(super) fn find(root: &Path, names: &[String], is_folder: bool) -> io::Result<Found> {
    // It may be a link itself, and lead elsewhere tomorrow.
    let Some(root) = there(fs::canonicalize(root))? else { return Ok(Found::Nothing) };
    let path = root.join(names.iter().collect::<PathBuf>());
    if is_folder {
        return Ok(open(&root, &path.join(INDEX))?.map_or(Found::Nothing, Found::File));
    }
    if let Some(opened) = open(&root, &path)? {
        return Ok(Found::File(opened));
    }
    let mut page = path.clone().into_os_string();
    page.push(".html");
    if let Some(opened) = open(&root, Path::new(&page))? {
        return Ok(Found::File(opened));
    }
    Ok(if resolved(&root, &path.join(INDEX))?.is_some() { Found::Folder } else { Found::Nothing })
}

/// The one file behind a path, links followed, if that is an ordinary one below the root. What is hidden there stays so,
/// whatever leads to it.
fn resolved(root: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    let Some(real) = there(fs::canonicalize(path))? else { return Ok(None) };
    let Ok(below) = real.strip_prefix(root) else { return Ok(None) };
    if !below.iter().enumerate().all(|(depth, name)| is_shown(name.as_bytes(), depth)) {
        return Ok(None);
    }
    // Not opened before it is known to be a file: a pipe or a device could do something about it.
    Ok(there(fs::metadata(&real))?.filter(fs::Metadata::is_file).map(|_| real))
}

fn open(root: &Path, path: &Path) -> io::Result<Option<Opened>> {
    let Some(real) = resolved(root, path)? else { return Ok(None) };
    // What was exchanged for a link or a pipe meanwhile is neither followed nor waited for.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let Some(mut file) = there(OpenOptions::new().read(true).custom_flags(flags).open(real))? else {
        return Ok(None);
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let modified = metadata.mtime().saturating_mul(1_000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if metadata.len() > SMALL {
        let (written, changed) = (metadata.mtime_nsec(), metadata.ctime_nsec());
        let etag = format!(
            "{:x}-{:x}.{written:x}-{:x}.{changed:x}",
            metadata.len(),
            metadata.mtime(),
            metadata.ctime()
        );
        return Ok(Some(Opened {
            name,
            size: metadata.len(),
            modified,
            etag,
            content: Content::Unread(file),
        }));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    // It may be growing.
    file.by_ref().take(SMALL).read_to_end(&mut bytes)?;
    let etag = content_tag(&bytes);
    let size = bytes.len() as u64;
    Ok(Some(Opened { name, size, modified, etag, content: Content::Read(bytes.into()) }))
}

/// An entity tag, without quotes, that other content does not have.
pub(in crate::http) fn content_tag(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&digest::digest(&digest::SHA256, bytes).as_ref()[..16])
}

/// What is there. Whatever cannot be reached by its name is not, whether it is absent, too long or forbidden to us.
fn there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    const CIRCLE: i32 = rustix::io::Errno::LOOP.raw_os_error();
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(CIRCLE) => Ok(None),
        Err(error) => match error.kind() {
            NotFound | NotADirectory | PermissionDenied | InvalidFilename | InvalidInput => Ok(None),
            _ => Err(error),
        },
    }
}

impl Opened {
    /// Its bytes: all at once, or a stream of them.
    pub(super) fn content(
        self,
        range: Range<u64>,
    ) -> Result<Bytes, impl Stream<Item = io::Result<Bytes>> + use<>> {
        match self.content {
            Content::Read(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(place(range.start)..place(range.end)))
            }
            Content::Unread(file) => Err(stream::try_unfold((file, range), |(file, left)| async move {
                if left.is_empty() {
                    return Ok(None);
                }
                let Range { start, end } = left;
                let (file, bytes) = spawn_blocking(move || piece(file, start, end)).await??;
                let next = start + bytes.len() as u64;
                Ok(Some((bytes, (file, next..end))))
            })),
        }
    }
}

/// Reads the next piece. A file that became shorter ends the answer before its time, which the client notices.
fn piece(mut file: File, start: u64, end: u64) -> io::Result<(File, Bytes)> {
    let length = (end - start).min(SMALL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.by_ref().take(length).read_to_end(&mut bytes)?;
    if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok((file, bytes.into())) }
}
