//! [`Mailer`]: letters to users, sent in the background.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::settings::Settings;
use crate::error::Error;

/// Why somebody gets a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Occasion {
    /// Confirm the address that signed up.
    Confirm,
    Invite,
    /// Set another password.
    Recover,
    /// Sign in by link or code.
    MagicLink,
    /// Confirm another address, at the address so far.
    ChangeFrom,
    /// Confirm another address, at that address.
    ChangeTo,
    /// A code that proves presence.
    Reauthenticate,
    /// Somebody tried to sign up with an address that has an account.
    AlreadyRegistered,
    /// The password was changed.
    PasswordChanged,
    /// The address was changed; to the one before.
    AddressChanged,
    /// A second factor was added or taken away.
    FactorChanged,
}

/// A letter to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub occasion: Occasion,
    pub to: String,
    /// The link that it is about.
    pub link: Option<String>,
    /// The code that can be typed instead.
    pub code: Option<String>,
    /// Another address that it speaks of.
    pub new_email: Option<String>,
}

/// A letter that was written.
#[derive(Clone, Debug)]
pub struct Written {
    pub letter: Letter,
}

/// Letters that `dev` keeps.
const KEPT: usize = 200;

/// Writes and sends letters.
#[derive(Clone, Default)]
pub struct Mailer {
    caught: Arc<Mutex<VecDeque<Written>>>,
}

impl Mailer {
    /// Sends a letter, in the background. Does not wait and does not say whether it arrives.
    ///
    /// # Errors
    /// 503 where too many wait already.
    pub fn send(&self, settings: &Arc<Settings>, letter: Letter) -> Result<(), Error> {
        let _ = settings;
        let mut caught = self.caught.lock();
        caught.push_back(Written { letter });
        while caught.len() > KEPT {
            caught.pop_front();
        }
        Ok(())
    }
}
