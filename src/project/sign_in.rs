//! `auth:` → [`SignIn`], `mail:` → [`MailSettings`].
//!
//! What is a flag, a number, a span or a rate stands in one table, [`SETTINGS`], by which the loader reads and the
//! editor's schema is made. Providers and issuers are read by `providers`, addresses by `address`.

use std::time::Duration;

use super::address;
use super::fault::Faults;
use super::gather::Definition;
use super::later::Place;
use super::providers;
use super::yaml::{Broken, Node, Plain, Tree};
use crate::model::sign_in::{MailSettings, Rate, Setting, SignIn};
use crate::policy::Role;

pub(super) const MAIL_KEYS: [&str; 2] = ["from", "smtp"];

/// The keys of `auth` that are not in [`SETTINGS`].
const AUTH_KEYS: [&str; 10] = [
    "email",
    "issuers",
    "mfa",
    "oauth",
    "password",
    "rate_limits",
    "redirect_urls",
    "sessions",
    "signup",
    "site_url",
];

/// What a setting may be, and where it goes.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Flag(fn(&mut SignIn) -> &mut bool),
    /// A whole number between these two.
    Number(u64, u64, fn(&mut SignIn, usize)),
    /// A span between these two, in seconds.
    Span(u64, u64, fn(&mut SignIn) -> &mut Duration),
    Rate(fn(&mut SignIn) -> &mut Option<Rate>),
    /// A name that an authenticator shows.
    Label(fn(&mut SignIn) -> &mut Option<String>),
}

/// A row of [`SETTINGS`].
pub(super) struct Known {
    pub(super) place: Place,
    pub(super) key: &'static str,
    pub(super) form: Form,
    /// For whoever writes the key in an editor.
    pub(super) says: &'static str,
}

const fn known(place: Place, key: &'static str, form: Form, says: &'static str) -> Known {
    Known { place, key, form, says }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

pub(super) const SETTINGS: &[Known] = &[
    known(
        Place::Auth,
        "manual_linking",
        Form::Flag(|auth| &mut auth.manual_linking),
        "Whether users may link and unlink identities themselves; `false` unless said.",
    ),
    known(
        Place::AuthPassword,
        "min_length",
        Form::Number(6, 128, |auth, number| auth.password_min_length = number),
        "Characters that a password has at least; 10 unless said.",
    ),
    known(
        Place::AuthSignUp,
        "enabled",
        Form::Flag(|auth| &mut auth.signup.enabled),
        "Whether anybody may sign up; `true` unless said. Who is invited always may.",
    ),
    known(
        Place::AuthSignUp,
        "confirm_email",
        Form::Flag(|auth| &mut auth.signup.confirm_email),
        "Whether an address must be proven by mail before it counts; `true` unless said.",
    ),
    known(
        Place::AuthSignUp,
        "anonymous",
        Form::Flag(|auth| &mut auth.signup.anonymous),
        "Whether somebody may sign in as nobody in particular; `false` unless said.",
    ),
    known(
        Place::AuthEmail,
        "enabled",
        Form::Flag(|auth| &mut auth.email.enabled),
        "Whether users sign in by address: by password, link or code; `true` unless said.",
    ),
    known(
        Place::AuthEmail,
        "code_length",
        Form::Number(6, 10, |auth, number| {
            auth.email.code_length = u32::try_from(number).unwrap_or(u32::MAX);
        }),
        "Digits of a mailed code; 6 unless said.",
    ),
    known(
        Place::AuthEmail,
        "expiry",
        Form::Span(MINUTE, DAY, |auth| &mut auth.email.expiry),
        "How long a mailed link or code is good; 15m unless said.",
    ),
    known(
        Place::AuthEmail,
        "invite_expiry",
        Form::Span(MINUTE, 30 * DAY, |auth| &mut auth.email.invite_expiry),
        "How long an invitation is good; 1d unless said.",
    ),
    known(
        Place::AuthEmail,
        "confirm_both",
        Form::Flag(|auth| &mut auth.email.confirm_both),
        "Whether the old and the new address have to confirm a change; `true` unless said.",
    ),
    known(
        Place::AuthEmail,
        "reauthenticate",
        Form::Flag(|auth| &mut auth.email.reauthenticate),
        "Whether a session older than a day needs a mailed code to change the password; `false` unless said.",
    ),
    known(
        Place::AuthSessions,
        "access_token",
        Form::Span(1, HOUR, |auth| &mut auth.sessions.access_token),
        "How long an access token lives; 15m unless said, 1h at most.",
    ),
    known(
        Place::AuthSessions,
        "reuse_interval",
        Form::Span(0, 5 * MINUTE, |auth| &mut auth.sessions.reuse_interval),
        "How long after its use a refresh token may be shown again; 10s unless said.",
    ),
    known(
        Place::AuthSessions,
        "inactivity",
        Form::Span(MINUTE, 3_650 * DAY, |auth| &mut auth.sessions.inactivity),
        "A session that is not refreshed for so long ends; 30d unless said.",
    ),
    known(
        Place::AuthSessions,
        "time_box",
        Form::Span(MINUTE, 3_650 * DAY, |auth| &mut auth.sessions.time_box),
        "A session ends after so long; 90d unless said.",
    ),
    known(
        Place::AuthSessions,
        "single",
        Form::Flag(|auth| &mut auth.sessions.single),
        "Whether a new session ends the user's others; `false` unless said.",
    ),
    known(
        Place::AuthMfa,
        "totp",
        Form::Flag(|auth| &mut auth.mfa.totp),
        "Whether users may add an authenticator; `true` unless said.",
    ),
    known(
        Place::AuthMfa,
        "max_factors",
        Form::Number(1, 100, |auth, number| auth.mfa.max_factors = number),
        "Factors that a user may have; 10 unless said.",
    ),
    known(
        Place::AuthMfa,
        "issuer",
        Form::Label(|auth| &mut auth.mfa.issuer),
        "What an authenticator shows beside the user's address; the host of `site_url` unless said.",
    ),
    known(
        Place::AuthRates,
        "sign_in",
        Form::Rate(|auth| &mut auth.rate_limits.sign_in),
        "Attempts to sign in, of an address of the network and of an account; 10/1m unless said.",
    ),
    known(
        Place::AuthRates,
        "sign_up",
        Form::Rate(|auth| &mut auth.rate_limits.sign_up),
        "Sign-ups of an address of the network; 30/1h unless said.",
    ),
    known(
        Place::AuthRates,
        "anonymous",
        Form::Rate(|auth| &mut auth.rate_limits.anonymous),
        "Anonymous sign-ins of an address of the network; 30/1h unless said.",
    ),
    known(
        Place::AuthRates,
        "mail",
        Form::Rate(|auth| &mut auth.rate_limits.mail),
        "Mails that an address of the network may cause; 30/1h unless said.",
    ),
    known(
        Place::AuthRates,
        "mail_to",
        Form::Rate(|auth| &mut auth.rate_limits.mail_to),
        "Mails to one address; 1/1m unless said.",
    ),
    known(
        Place::AuthRates,
        "verify",
        Form::Rate(|auth| &mut auth.rate_limits.verify),
        "Codes and links that an address of the network shows; 30/5m unless said.",
    ),
    known(
        Place::AuthRates,
        "refresh",
        Form::Rate(|auth| &mut auth.rate_limits.refresh),
        "Refreshes of an address of the network; 150/5m unless said.",
    ),
    known(
        Place::AuthRates,
        "rest_anonymous",
        Form::Rate(|auth| &mut auth.rate_limits.rest_anonymous),
        "Requests for records by callers without a user's token and the secret key, from an address of the network; 300/10s unless said.",
    ),
];

/// The keys that a place takes.
pub(super) fn keys(place: Place) -> Vec<&'static str> {
    let settings = SETTINGS.iter().filter(|known| known.place == place).map(|known| known.key);
    let others: &[&'static str] = if place == Place::Auth { &AUTH_KEYS } else { &[] };
    let mut keys: Vec<&str> = others.iter().copied().chain(settings).collect();
    keys.sort_unstable();
    keys
}

/// Reads `auth:`.
pub(super) fn read(
    definitions: &[Definition<'_>],
    roles: &[Role],
    broken: &Broken,
    faults: &mut Faults<'_>,
) -> SignIn {
    let mut auth = SignIn::default();
    for (key, node) in definitions {
        let place = match key.text.as_str() {
            "site_url" => {
                if let Some(url) = address::site(node, faults) {
                    auth.site_url = Some(url);
                }
                continue;
            }
            "redirect_urls" => {
                auth.redirect_urls = address::redirects(node, faults);
                continue;
            }
            "oauth" => {
                auth.oauth = providers::oauth(node, faults);
                continue;
            }
            "issuers" => {
                auth.issuers = providers::issuers(node, roles, broken, faults);
                continue;
            }
            "password" => Place::AuthPassword,
            "signup" => Place::AuthSignUp,
            "email" => Place::AuthEmail,
            "sessions" => Place::AuthSessions,
            "mfa" => Place::AuthMfa,
            "rate_limits" => Place::AuthRates,
            other => {
                match SETTINGS.iter().find(|known| known.place == Place::Auth && known.key == other) {
                    Some(known) => set(&mut auth, known, node, faults),
                    None => faults.unknown(key.at, Place::Auth.word(), other, keys(Place::Auth)),
                }
                continue;
            }
        };
        let Some(entries) = faults.map_or_nothing(node, &format!("`{}`", key.text)) else { continue };
        faults.keys(place, entries, &keys(place));
        for (key, node) in entries {
            if let Some(known) = SETTINGS.iter().find(|known| known.place == place && known.key == key.text) {
                set(&mut auth, known, node, faults);
            }
        }
    }
    auth
}

/// Reads one setting of the table.
fn set(auth: &mut SignIn, known: &Known, node: &Node, faults: &mut Faults<'_>) {
    let what = format!("`{}`", known.key);
    match known.form {
        Form::Flag(place) => {
            if let Some(flag) = faults.flag(node, &what) {
                *place(auth) = flag;
            }
        }
        Form::Number(least, most, put) => {
            if let Some(number) = faults.number(node, &what, least, most) {
                put(auth, usize::try_from(number).unwrap_or(usize::MAX));
            }
        }
        Form::Span(least, most, place) => match scalar(node).and_then(span) {
            Some(seconds) if (least..=most).contains(&seconds) => {
                *place(auth) = Duration::from_secs(seconds);
            }
            _ => {
                let (least, most) = (in_words(least), in_words(most));
                refuse(node, format!("{what} is a duration from {least} to {most}, as in `15m`"), faults);
            }
        },
        Form::Rate(place) => match rate(node) {
            Some(rate) => *place(auth) = rate,
            None => {
                let form = "so many in so long, as in `10/1m`, or `false` for no limit";
                refuse(node, format!("{what} is {form}"), faults);
            }
        },
        Form::Label(place) => {
            let Some(word) = faults.word(node, &what) else { return };
            let fits = !word.text.trim().is_empty()
                && word.text.chars().count() <= 60
                && !word.text.contains(|c: char| c == ':' || c.is_control());
            if fits {
                *place(auth) = Some(word.text.to_owned());
            } else {
                faults.add(word.at, format!("{what} is a name of up to 60 characters without `:`"));
            }
        }
    }
}

/// Reads `mail:`.
pub(super) fn mail(definitions: &[Definition<'_>], faults: &mut Faults<'_>) -> MailSettings {
    let mut mail = MailSettings::default();
    let mut smtp = None;
    for (key, node) in definitions {
        match key.text.as_str() {
            "smtp" => {
                smtp = Some(key.at);
                mail.smtp = secret(node, "`smtp`", "SMTP_URL", faults);
            }
            "from" => {
                let Some(word) = faults.word(node, "`from`") else { continue };
                let mailbox: Result<lettre::message::Mailbox, _> = word.text.parse();
                let sound = mailbox.is_ok() && !word.text.contains(char::is_control);
                if sound {
                    mail.from = Some(word.text.to_owned());
                } else {
                    faults.add(word.at, "`from` is an address, as in `'Acme <hello@acme.test>'`");
                }
            }
            other => faults.unknown(key.at, Place::Mail.word(), other, MAIL_KEYS),
        }
    }
    if let Some(at) = smtp
        && !definitions.iter().any(|(key, _)| key.text == "from")
    {
        faults.hint(
            at,
            "`smtp` without `from`: mails need a sender",
            "`from: 'Acme <hello@acme.test>'` beside it",
        );
    }
    mail
}

/// A text of the project, or the name of a variable.
pub(super) fn setting(node: &Node, what: &str, faults: &mut Faults<'_>) -> Option<Setting> {
    let word = faults.word(node, what)?;
    let Some(inner) = word.text.trim().strip_prefix("env(") else {
        if word.text.trim().is_empty() {
            faults.add(word.at, format!("{what} is empty"));
            return None;
        }
        return Some(Setting::Text(word.text.to_owned()));
    };
    match inner.strip_suffix(')').map(str::trim) {
        Some(name) if is_variable(name) => Some(Setting::Env(name.to_owned())),
        _ => {
            faults.hint(
                word.at,
                format!("{what} names no variable"),
                "`env(NAME)`: letters, digits and `_`, and no digit first",
            );
            None
        }
    }
}

/// The name of the variable that holds a secret. What is written instead is not shown again.
pub(super) fn secret(node: &Node, what: &str, example: &str, faults: &mut Faults<'_>) -> Option<Setting> {
    match setting(node, what, faults)? {
        Setting::Text(_) => {
            faults.hide(node.at);
            faults.hint(
                node.at,
                format!("{what} is a secret, and secrets do not stand in a project's files"),
                format!("write `env({example})` and set the variable {example} where the server runs"),
            );
            None
        }
        variable @ Setting::Env(_) => Some(variable),
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn refuse(node: &Node, message: String, faults: &mut Faults<'_>) {
    if !matches!(node.tree, Tree::Bad) {
        faults.add(node.at, message);
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match (&node.tree, node.plain()) {
        (Tree::Scalar(text, _), Some(Plain::Text)) => Some(text),
        _ => None,
    }
}

/// `90s`, `15m`, `1h`, `30d`, in seconds. A number without a unit would be a guess.
fn span(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match &text[digits..] {
        "s" => 1,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

/// As [`span`] reads it, in the largest unit that fits.
fn in_words(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(DAY) => format!("{}d", seconds / DAY),
        _ if seconds.is_multiple_of(HOUR) => format!("{}h", seconds / HOUR),
        _ if seconds.is_multiple_of(MINUTE) => format!("{}m", seconds / MINUTE),
        _ => format!("{seconds}s"),
    }
}

/// `10/1m`; `false` is no limit, and so is `'off'`. The outer `None` is neither.
#[allow(clippy::option_option)]
fn rate(node: &Node) -> Option<Option<Rate>> {
    if node.plain() == Some(Plain::Boolean(false)) {
        return Some(None);
    }
    let text = scalar(node)?;
    if text == "off" {
        return Some(None);
    }
    let (count, per) = text.split_once('/')?;
    let (count, per) = (count.trim().parse::<u32>().ok()?, span(per.trim())?);
    let fits = (1..=1_000_000).contains(&count) && (1..=DAY).contains(&per);
    fits.then(|| Some(Rate::new(count, Duration::from_secs(per))))
}
