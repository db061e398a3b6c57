//! [`Mailer`]: letters to users, sent in the background.
//!
//! A letter goes to the SMTP server that the operator names. Without one, somebody who writes a project finds it in the
//! mailbox of `dev`, and in production it is refused where it is asked for: nobody waits for what will not come.

mod caught;
mod relay;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lettre::Address;
use parking_lot::Mutex;

use super::settings::Settings;
use crate::error::{AuthCode, Error};
use crate::project::letters::{Rendered, Words};

pub use crate::model::Occasion;
pub use caught::{Caught, Kept};
pub use relay::Relay;

use transport::{Office, Post};

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

impl Letter {
    /// Puts it into words: the project's templates, or ours where one of those fails.
    fn write(&self, settings: &Settings) -> Result<Rendered, Error> {
        let app = app(settings);
        let valid = valid(self, settings);
        let words = Words {
            app: &app,
            site_url: &settings.site_url,
            to: &self.to,
            link: self.link.as_deref(),
            code: self.code.as_deref(),
            new_email: self.new_email.as_deref(),
            valid: valid.as_deref(),
        };
        settings.letters.render(self.occasion, &words).map_err(Error::internal)
    }
}

/// Writes and sends letters.
#[derive(Default)]
pub struct Mailer {
    caught: Caught,
    post: ArcSwapOption<Post>,
    /// Where letters wait; opened with the first server that is named.
    office: Mutex<Option<Arc<Office>>>,
}

impl Mailer {
    /// Sends from now on as the settings say. What waits goes where it was going.
    pub fn settle(&self, settings: &Settings) {
        let Some(relay) = &settings.relay else {
            self.post.store(None);
            return;
        };
        if self.post.load().as_ref().is_some_and(|post| post.is_to(relay)) {
            return;
        }
        let mut office = self.office.lock();
        let opened = match office.as_ref() {
            Some(office) => Ok(Arc::clone(office)),
            None => Office::open().map(Arc::new),
        };
        match opened {
            Ok(opened) => {
                self.post.store(Some(Arc::new(Post::new(relay.clone(), Arc::clone(&opened)))));
                *office = Some(opened);
            }
            Err(error) => {
                tracing::error!(%error, "mails cannot be sent: no thread could be started for them");
                self.post.store(None);
            }
        }
    }

    /// Whether a letter would be taken now. Asked before it is known to whom one goes, so that the answer does not tell
    /// whether there is somebody.
    ///
    /// # Errors
    /// 503 where the operator names no server, and where too many letters wait already.
    pub fn ready(&self, settings: &Settings) -> Result<(), Error> {
        match self.post.load().as_ref() {
            Some(post) => post.ready(),
            None if settings.is_dev => Ok(()),
            None => Err(AuthCode::MailUnavailable.into()),
        }
    }

    /// Sends a letter, in the background. Does not wait and does not say whether it arrives.
    ///
    /// # Errors
    /// As [`Mailer::ready`]; `email_address_invalid` for what is no address.
    pub fn send(&self, settings: &Arc<Settings>, letter: Letter) -> Result<(), Error> {
        let to: Address = letter.to.parse().map_err(|_| Error::new(AuthCode::EmailAddressInvalid))?;
        match self.post.load().as_ref() {
            Some(post) => post.take(Arc::clone(settings), letter, to),
            None if settings.is_dev => {
                let rendered = letter.write(settings)?;
                self.caught.keep(sender(settings), letter, rendered);
                Ok(())
            }
            None => Err(AuthCode::MailUnavailable.into()),
        }
    }

    /// The letters that `dev` keeps.
    pub fn caught(&self) -> &Caught {
        &self.caught
    }

    /// Takes no more letters, and waits so long for those under way. Those that wait for another attempt have it now.
    pub async fn close(&self, within: Duration) {
        self.post.store(None);
        let office = self.office.lock().take();
        if let Some(office) = office {
            office.close(within).await;
        }
    }
}

/// How the app is called: as its sender, or else by its address.
fn app(settings: &Settings) -> String {
    let named = settings.mail.from.as_ref().and_then(|from| from.parse::<lettre::message::Mailbox>().ok());
    match named.and_then(|mailbox| mailbox.name).filter(|name| !name.trim().is_empty()) {
        Some(name) => name,
        None => {
            let url = url::Url::parse(&settings.site_url).ok();
            let host = url.as_ref().and_then(url::Url::host_str);
            host.unwrap_or(&settings.site_url).to_owned()
        }
    }
}

/// Who writes. Where nobody is named only `dev` shows it.
fn sender(settings: &Settings) -> String {
    settings.mail.from.clone().unwrap_or_else(|| "dev <dev@localhost>".to_owned())
}

/// How long what a letter holds is good, in words.
fn valid(letter: &Letter, settings: &Settings) -> Option<String> {
    let email = &settings.project.email;
    let span = match letter.occasion {
        Occasion::Confirm
        | Occasion::Recover
        | Occasion::MagicLink
        | Occasion::ChangeFrom
        | Occasion::ChangeTo
        | Occasion::Reauthenticate => email.expiry,
        Occasion::Invite => email.invite_expiry,
        Occasion::AlreadyRegistered
        | Occasion::PasswordChanged
        | Occasion::AddressChanged
        | Occasion::FactorChanged => return None,
    };
    let seconds = span.as_secs();
    let (count, unit) = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .map_or((seconds, "second"), |(unit, word)| (seconds / unit, word));
    Some(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
}

#[cfg(test)]
mod tests;
