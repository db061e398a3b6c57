//! [`Settings`]: what a project says of signing in, with the secrets it names looked up, as a server uses it.

use std::collections::HashMap;
use std::time::Duration;

use super::mail::Relay;
use crate::model::sign_in::{MailSettings, Setting, SignIn};
use crate::project::Letters;

/// The settings in force. One request is judged by one of these.
#[derive(Clone)]
pub struct Settings {
    pub project: SignIn,
    /// The app's own address: where links lead that name no other, and what `redirect_to` is always allowed to be.
    pub site_url: String,
    pub mail: MailSettings,
    /// The words of mails.
    pub letters: Letters,
    /// The server that takes mails; none where none is named, or where `dev` lacks its address.
    pub relay: Option<Relay>,
    /// Where this server is found, without a slash at the end. From the operator, never from a request.
    pub public_url: String,
    /// The project's roles that can be granted.
    pub roles: Vec<String>,
    /// What `env(NAME)` stands for, by name.
    pub secrets: HashMap<String, String>,
    /// For somebody who writes a project: mails are kept for a look at them, private addresses are asked too.
    pub is_dev: bool,
    /// Hosts that are asked though they are not on the public network.
    pub private_hosts: Vec<String>,
    /// Where GitHub is, without a slash at the end.
    pub github_url: String,
}

impl Settings {
    /// The text of a setting; `None` where its variable is not set.
    pub fn text<'a>(&'a self, setting: &'a Setting) -> Option<&'a str> {
        match setting {
            Setting::Text(text) => Some(text),
            Setting::Env(name) => self.secrets.get(name).map(String::as_str),
        }
    }

    /// The `iss` of access tokens, and the address below which discovery is found.
    pub fn issuer(&self) -> String {
        format!("{}{}", self.public_url, super::token::ISSUER_PATH)
    }
}

/// Whole seconds.
pub fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
