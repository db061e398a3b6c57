//! [`BlobFault`]: why content could not be stored or read.

use std::io;
use std::path::Path;

use object_store::client::{HttpError, HttpErrorKind};

/// Characters that are kept of what a store says.
const LONGEST: usize = 400;

/// What went wrong. The texts are for the log: they name places, which no caller is told.
#[derive(Debug, thiserror::Error)]
pub enum BlobFault {
    /// There is nothing under this key.
    #[error("no content lies at {0}")]
    NotFound(String),
    /// There is no room, or no more than a quota allows. What was begun is gone again; reading goes on.
    #[error("the disk of {0} is full: {1}")]
    Full(String, String),
    /// The store cannot be reached or is overloaded: the same may work later.
    #[error("the object store does not answer: {0}")]
    Unreachable(String),
    /// What lies there is not what was stored.
    #[error("the content at {0} is damaged: {1}")]
    Corrupt(String, String),
    /// The store refused, or the operating system did.
    #[error("{0}")]
    Failed(String),
}

impl BlobFault {
    /// What the operating system said about a file.
    pub(super) fn of_file(error: &io::Error, path: &Path) -> BlobFault {
        let place = path.display().to_string();
        match error.kind() {
            io::ErrorKind::NotFound => BlobFault::NotFound(place),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                BlobFault::Full(place, error.to_string())
            }
            io::ErrorKind::UnexpectedEof => BlobFault::Corrupt(place, "it ends too early".to_owned()),
            _ => BlobFault::Failed(format!("{place}: {error}")),
        }
    }

    /// What an object store said.
    pub(super) fn of_store(error: &object_store::Error) -> BlobFault {
        if let object_store::Error::NotFound { path, .. } = error {
            return BlobFault::NotFound(path.clone());
        }
        let told = chain(error);
        let says = |words: &[&str]| words.iter().any(|word| told.contains(word));
        // The library keeps the status of an answer to itself, but for its words.
        let is_full = says(&["status code: 507", "StorageFull", "QuotaExceeded"]);
        let is_away = no_answer(error) || says(&["status code: 5", "status code: 429", "status code: 408"]);
        let told = short(told);
        if is_full {
            BlobFault::Full("the object store".to_owned(), told)
        } else if is_away {
            BlobFault::Unreachable(told)
        } else {
            BlobFault::Failed(told)
        }
    }

    /// Work on another thread that did not come to an end: it panicked, or the server is stopping.
    pub(super) fn of_task(error: &tokio::task::JoinError) -> BlobFault {
        BlobFault::Failed(format!("work on content did not end: {error}"))
    }
}

/// Whether the way to the store is what failed.
fn no_answer(error: &object_store::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<HttpError>() {
            return error.kind() != HttpErrorKind::Decode;
        }
        source = cause.source();
    }
    false
}

fn chain(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let more = cause.to_string();
        // Most errors of this library tell their source themselves.
        if !text.contains(&more) {
            text += ": ";
            text += &more;
        }
        source = cause.source();
    }
    text
}

/// What is kept of what a store says: one that refuses a signature may repeat the whole request, its token among the rest.
fn short(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
