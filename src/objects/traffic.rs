//! [`Traffic`]: how much content comes and goes at the same time. Each upload holds a few pieces of it, each download a few
//! more and a file, for as long as the other side pleases: what a slow crowd can take has a bound.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Code, Error};

/// Uploads at the same time. One holds at most 1 MiB on its way to a folder, and 10 MiB on its way to an S3 store.
const COMING: usize = 200;
/// Downloads at the same time. One holds at most 512 KiB.
const GOING: usize = 1_000;

/// The content that is under way.
#[derive(Clone, Debug)]
pub struct Traffic {
    coming: Arc<Semaphore>,
    going: Arc<Semaphore>,
}

/// A place in the traffic. Dropped, it is free.
#[derive(Debug)]
pub struct Passage(#[expect(dead_code, reason = "it is there to be dropped")] OwnedSemaphorePermit);

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic { coming: Arc::new(Semaphore::new(COMING)), going: Arc::new(Semaphore::new(GOING)) }
    }
}

impl Traffic {
    /// A place for an upload.
    ///
    /// # Errors
    /// 429 where there is none.
    pub fn come(&self) -> Result<Passage, Error> {
        passage(&self.coming)
    }

    /// A place for a download.
    ///
    /// # Errors
    /// 429 where there is none.
    pub fn go(&self) -> Result<Passage, Error> {
        passage(&self.going)
    }
}

fn passage(places: &Arc<Semaphore>) -> Result<Passage, Error> {
    match Arc::clone(places).try_acquire_owned() {
        Ok(permit) => Ok(Passage(permit)),
        Err(_) => {
            let sentence = "Too much content is under way on this server";
            Err(Error::with(Code::TooManyRequests, sentence).retry_after(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let traffic = Traffic::default();
        let mut taken: Vec<Passage> = (0..COMING).map(|_| traffic.come().unwrap()).collect();
        let refused = traffic.come().unwrap_err();
        assert_eq!((refused.code.status(), refused.retry_after), (429, Some(1)));
        assert!(traffic.go().is_ok(), "downloads have places of their own");
        taken.pop();
        assert!(traffic.come().is_ok());
    }
}
