//! [`SetupError`]: why the database cannot be used at all, as a sentence for the person who starts the server.

use std::fmt;

/// A start that cannot go on. The sentence says what is wrong and what to do about it.
#[derive(Debug)]
pub struct SetupError {
    sentence: String,
    /// Trying again later may succeed without anybody changing anything.
    temporary: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SetupError {
    pub(super) fn new(sentence: impl Into<String>) -> SetupError {
        SetupError { sentence: sentence.into(), temporary: false, source: None }
    }

    pub(super) fn source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> SetupError {
        self.source = Some(source.into());
        self
    }

    pub(super) fn temporary(mut self) -> SetupError {
        self.temporary = true;
        self
    }

    /// The database was not reachable or not ready, as opposed to wrong: waiting may help.
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        let mut source = self.source.as_deref().map(|source| source as &dyn std::error::Error);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

/// The causes are part of the sentence already.
impl std::error::Error for SetupError {}
