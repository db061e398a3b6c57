//! What a project says of signing in, with the variables that it names looked up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Failure;
use crate::auth::mail::Relay;
use crate::auth::provider::github;
use crate::auth::settings::Settings;
use crate::auth::token::{ISSUER_PATH, is_grantable};
use crate::model::sign_in::Setting;
use crate::model::{ANON, AUTHENTICATED};
use crate::project::Project;

/// Where users find the server: what the operator says, or else where it listens.
pub(super) fn public_url(said: Option<&str>, address: SocketAddr) -> String {
    match said {
        Some(said) => said.trim_end_matches('/').to_owned(),
        None => {
            let host =
                if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
            format!("http://{}", SocketAddr::new(host, address.port()))
        }
    }
}

/// The `iss` of access tokens.
pub(super) fn issuer(public_url: &str) -> String {
    format!("{public_url}{ISSUER_PATH}")
}

/// What the variables hold that a project names.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    secrets: HashMap<String, String>,
    /// The providers that lack one.
    without: Vec<String>,
    relay: Option<Relay>,
    /// What does not work for it, each in a sentence.
    pub(super) warnings: Vec<String>,
}

/// A variable of this process.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Looks up every variable that a project names.
///
/// # Errors
/// In production, all that are missing: a provider that is silently off is found by a user. In either case a server of
/// mail whose address is none.
pub(super) fn look_up(
    project: &Project,
    is_dev: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<LookedUp, Failure> {
    let mut secrets = HashMap::new();
    let mut missing = Vec::new();
    let mut find = |key: &str, setting: &Setting| -> bool {
        let Setting::Env(name) = setting else { return true };
        match variable(name).filter(|text| !text.trim().is_empty()) {
            Some(text) => {
                secrets.insert(name.clone(), text.trim().to_owned());
                true
            }
            None => {
                missing.push(format!("`{key}` needs the variable {name}, which is not set"));
                false
            }
        }
    };
    let mut without = Vec::new();
    for (name, provider) in &project.sign_in.oauth {
        let key = format!("auth.oauth.{name}");
        let id = find(&format!("{key}.client_id"), &provider.client_id);
        let secret = provider.client_secret.as_ref();
        let secret = secret.is_none_or(|secret| find(&format!("{key}.client_secret"), secret));
        if !(id && secret) {
            without.push(name.clone());
        }
    }
    let smtp = project.mail.smtp.as_ref().filter(|smtp| find("mail.smtp", smtp));
    let mut warnings = Vec::new();
    if !missing.is_empty() {
        if !is_dev {
            return Err(Failure::Fault(missing.join("\n")));
        }
        warnings.extend(missing.into_iter().map(|missing| {
            let off = if missing.starts_with("`mail") { "mails are kept at /_/mail" } else { "it stays off" };
            format!("{missing}: {off}")
        }));
    }
    let relay = match (smtp, &project.mail.from) {
        (Some(Setting::Env(name)), Some(from)) => {
            let url = secrets.get(name).map_or("", String::as_str);
            let relay = Relay::parse(url, from).map_err(|fault| {
                Failure::Fault(format!(
                    "`mail.smtp`: the variable {name} holds no address of a mail server: {fault}"
                ))
            })?;
            Some(relay)
        }
        _ => None,
    };
    if !is_dev && relay.is_none() && project.sign_in.email.enabled {
        let signing_up = if project.sign_in.signup.enabled && project.sign_in.signup.confirm_email {
            "signing up with an address, "
        } else {
            ""
        };
        warnings.push(format!(
            "no mail is sent: without `mail.smtp` {signing_up}mailed links and codes, invitations, lost passwords and changes of address are refused"
        ));
    }
    Ok(LookedUp { secrets, without, relay, warnings })
}

/// Where a project's app is developed that neither says its address nor has pages here: where most tools of frontends serve.
const ELSEWHERE: &str = "http://localhost:3000";

/// Where users find a server, and whether the app is there too.
#[derive(Clone, Copy)]
pub(super) struct Whereabouts<'a> {
    /// Without a slash at the end.
    pub(super) public_url: &'a str,
    /// The project has pages, which are served there.
    pub(super) serves_pages: bool,
}

/// The settings of a project. A provider that lacks a variable is none.
pub(super) fn of(project: &Project, looked_up: LookedUp, place: Whereabouts<'_>, is_dev: bool) -> Settings {
    let roles = project
        .roles
        .iter()
        .map(|role| role.name.as_str())
        .filter(|role| is_grantable(role) && ![ANON, AUTHENTICATED].contains(role));
    let mut sign_in = project.sign_in.clone();
    sign_in.oauth.retain(|name, _| !looked_up.without.contains(name));
    let site_url = sign_in.site_url.clone().unwrap_or_else(|| {
        // Where a project has pages, they are the app.
        if place.serves_pages { place.public_url } else { ELSEWHERE }.to_owned()
    });
    Settings {
        project: sign_in,
        site_url,
        mail: project.mail.clone(),
        letters: project.letters.clone(),
        relay: looked_up.relay,
        public_url: place.public_url.to_owned(),
        roles: roles.map(str::to_owned).collect(),
        secrets: looked_up.secrets,
        is_dev,
        private_hosts: private_hosts(),
        github_url: github_url(),
    }
}

/// Hosts that sign-in may ask though they are not on the public network (BASEWRIGHT_ALLOW_PRIVATE_HOSTS, between commas).
fn private_hosts() -> Vec<String> {
    let said = std::env::var("BASEWRIGHT_ALLOW_PRIVATE_HOSTS").unwrap_or_default();
    said.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

/// The GitHub that signs users in: an installation of one's own (BASEWRIGHT_GITHUB_URL), or the one everybody knows.
fn github_url() -> String {
    let said = std::env::var("BASEWRIGHT_GITHUB_URL").ok().filter(|said| !said.is_empty());
    said.map_or_else(|| github::PUBLIC.to_owned(), |said| said.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{Sources, load};

    fn project(text: &str) -> Project {
        load(&Sources([("a.yaml".to_owned(), text.to_owned())].into())).unwrap()
    }

    const HERE: Whereabouts<'_> = Whereabouts { public_url: "http://localhost", serves_pages: false };

    const WHOLE: &str = "
auth:
  oauth:
    github: { client_id: env(GITHUB_ID), client_secret: env(GITHUB_SECRET) }
    acme: { issuer: 'https://id.acme.test', client_id: web }
mail: { smtp: env(SMTP_URL), from: a@acme.test }
";

    fn looked_up(text: &str, is_dev: bool, set: &[(&str, &str)]) -> Result<LookedUp, String> {
        let variable =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        look_up(&project(text), is_dev, variable).map_err(|failure| failure.to_string())
    }

    #[test]
    fn production_wants_every_variable_and_names_all_that_are_missing() {
        let told = looked_up(WHOLE, false, &[("GITHUB_ID", "a"), ("GITHUB_SECRET", " ")]).unwrap_err();
        assert_eq!(
            told,
            "`auth.oauth.github.client_secret` needs the variable GITHUB_SECRET, which is not set\n\
             `mail.smtp` needs the variable SMTP_URL, which is not set"
        );
        let all = [("GITHUB_ID", "a"), ("GITHUB_SECRET", "b\n"), ("SMTP_URL", "smtp://localhost:1025")];
        let found = looked_up(WHOLE, false, &all).unwrap();
        assert_eq!(found.warnings, Vec::<String>::new());
        let settings = of(&project(WHOLE), found, HERE, false);
        assert_eq!(settings.text(&Setting::Env("GITHUB_SECRET".to_owned())), Some("b"));
        assert!(settings.relay.is_some() && settings.project.oauth.len() == 2);
    }

    #[test]
    fn dev_does_without_and_says_so() {
        let found = looked_up(WHOLE, true, &[("GITHUB_ID", "a")]).unwrap();
        assert_eq!(
            found.warnings,
            [
                "`auth.oauth.github.client_secret` needs the variable GITHUB_SECRET, which is not set: it stays off",
                "`mail.smtp` needs the variable SMTP_URL, which is not set: mails are kept at /_/mail",
            ]
        );
        let settings = of(&project(WHOLE), found, HERE, true);
        assert_eq!(settings.project.oauth.keys().collect::<Vec<_>>(), ["acme"]);
        assert!(settings.relay.is_none());
    }

    #[test]
    fn a_mail_server_that_is_none_is_told_without_its_password() {
        let set = [("GITHUB_ID", "a"), ("GITHUB_SECRET", "b"), ("SMTP_URL", "http://u:hunter22@acme.test")];
        for is_dev in [true, false] {
            let told = looked_up(WHOLE, is_dev, &set).unwrap_err();
            assert!(told.starts_with("`mail.smtp`: the variable SMTP_URL holds no address"), "{told}");
            assert!(!told.contains("hunter22"), "{told}");
        }
    }

    #[test]
    fn production_without_mail_is_warned_of_what_will_not_work() {
        let warned = looked_up("roles:\n", false, &[]).unwrap().warnings;
        assert!(warned[0].contains("signing up with an address, mailed links"), "{warned:?}");
        let warned = looked_up("auth: { signup: { confirm_email: false } }\n", false, &[]).unwrap().warnings;
        assert!(warned[0].contains("without `mail.smtp` mailed links"), "{warned:?}");
        let quiet = looked_up("auth: { email: { enabled: false } }\n", false, &[]).unwrap();
        assert!(quiet.warnings.is_empty());
        assert!(looked_up("roles:\n", true, &[]).unwrap().warnings.is_empty());
    }
}
