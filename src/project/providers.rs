//! `auth.oauth:` → providers that sign users in; `auth.issuers:` → others whose tokens are accepted.

use std::collections::BTreeMap;

use super::address;
use super::fault::{At, Faults, nearest};
use super::later::Place;
use super::policies::role;
use super::read::{Entries, get, key_at};
use super::sign_in::{secret, setting};
use super::yaml::{Broken, Key, Node};
use crate::model::SERVICE_ROLE;
use crate::model::sign_in::{Issuer, Provider};
use crate::policy::Role;

pub(super) const PROVIDER_KEYS: [&str; 5] = ["audiences", "client_id", "client_secret", "issuer", "scopes"];
pub(super) const ISSUER_KEYS: [&str; 4] = ["audience", "issuer", "roles", "roles_claim"];

/// Providers that are known by name: they do not speak OpenID Connect, so there is nothing to discover.
const PRESETS: [&str; 1] = ["github"];

/// Names that identities have already, or that a client of sign-in gives a meaning of its own.
pub(super) const TAKEN: [&str; 5] = ["anonymous", "email", "phone", "sso", "web3"];

/// Issuers that everybody knows: what is missing is then said as it stands.
const WELL_KNOWN: [(&str, &str); 4] = [
    ("apple", "https://appleid.apple.com"),
    ("gitlab", "https://gitlab.com"),
    ("google", "https://accounts.google.com"),
    ("twitch", "https://id.twitch.tv/oauth2"),
];

/// The mapping of a definition whose name is one.
fn entries<'n>(
    (key, node): &'n (Key, Node),
    what: &str,
    place: Place,
    keys: &[&str],
    faults: &mut Faults<'_>,
) -> Option<&'n Entries> {
    faults.name(&key.text, key.at)?;
    let entries = faults.map(node, what)?;
    faults.keys(place, entries, keys);
    Some(entries)
}

/// Reads `oauth:`.
pub(super) fn oauth(node: &Node, faults: &mut Faults<'_>) -> BTreeMap<String, Provider> {
    let mut providers = BTreeMap::new();
    let Some(all) = faults.map_or_nothing(node, "`oauth`") else { return providers };
    for definition in all {
        let key = &definition.0;
        if TAKEN.contains(&key.text.as_str()) {
            faults
                .add(key.at, format!("`{}` cannot be a provider: the name has a meaning already", key.text));
            continue;
        }
        let read = entries(definition, "a provider", Place::AuthProvider, &PROVIDER_KEYS, faults);
        let Some(entries) = read else { continue };
        if let Some(provider) = provider(key, entries, faults) {
            providers.insert(key.text.clone(), provider);
        }
    }
    providers
}

fn provider(key: &Key, entries: &Entries, faults: &mut Faults<'_>) -> Option<Provider> {
    let upper = key.text.to_ascii_uppercase();
    let preset = PRESETS.contains(&key.text.as_str());
    let issuer = get(entries, "issuer").map(|node| address::issuer(node, faults));
    if issuer.is_none() && !preset {
        let message = format!("the provider `{}` needs an `issuer`", key.text);
        let known = WELL_KNOWN.iter().find(|(name, _)| *name == key.text);
        match (known, nearest(&key.text, PRESETS)) {
            (Some((_, issuer)), _) => faults.hint(key.at, message, format!("`issuer: {issuer}`")),
            (None, Some(near)) => faults.hint(key.at, message, format!("did you mean `{near}`?")),
            (None, None) => faults.hint(
                key.at,
                message,
                "the address under which the provider publishes `/.well-known/openid-configuration`",
            ),
        }
    }
    let client_id = get(entries, "client_id").map(|node| setting(node, "`client_id`", faults));
    if client_id.is_none() {
        missing(key.at, &key.text, "client_id", &format!("env({upper}_ID)"), faults);
    }
    let client_secret = get(entries, "client_secret")
        .map(|node| secret(node, "`client_secret`", &format!("{upper}_SECRET"), faults));
    if client_secret.is_none() && preset {
        missing(key.at, &key.text, "client_secret", &format!("env({upper}_SECRET)"), faults);
    }
    let scopes = texts(entries, "scopes", faults);
    let audiences = texts(entries, "audiences", faults);
    Some(Provider {
        issuer: issuer.flatten(),
        client_id: client_id.flatten()?,
        client_secret: client_secret.flatten(),
        scopes,
        audiences,
    })
}

fn missing(at: At, name: &str, key: &str, example: &str, faults: &mut Faults<'_>) {
    faults.hint(
        at,
        format!("the provider `{name}` needs a `{key}`"),
        format!("`{key}: {example}`, as the provider has given it to you"),
    );
}

/// A list of words without spaces.
fn texts(entries: &Entries, key: &str, faults: &mut Faults<'_>) -> Vec<String> {
    let words = get(entries, key).and_then(|node| faults.words(node, &format!("`{key}`")));
    let mut texts = Vec::new();
    for word in words.unwrap_or_default() {
        if word.text.is_empty() || word.text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            faults.add(word.at, format!("an entry of `{key}` is a word without spaces"));
        } else {
            texts.push(word.text.to_owned());
        }
    }
    texts
}

/// Reads `issuers:`.
pub(super) fn issuers(
    node: &Node,
    roles: &[Role],
    broken: &Broken,
    faults: &mut Faults<'_>,
) -> BTreeMap<String, Issuer> {
    let mut issuers: BTreeMap<String, Issuer> = BTreeMap::new();
    let Some(all) = faults.map_or_nothing(node, "`issuers`") else { return issuers };
    for definition in all {
        let key = &definition.0;
        let read = entries(definition, "an issuer", Place::AuthIssuer, &ISSUER_KEYS, faults);
        let Some(entries) = read else { continue };
        let text = |key: &str, faults: &mut Faults<'_>| {
            let word = get(entries, key).and_then(|node| faults.word(node, &format!("`{key}`")))?;
            if word.text.trim().is_empty() {
                faults.add(word.at, format!("`{key}` is empty"));
                return None;
            }
            Some(word.text.to_owned())
        };
        for needed in ["issuer", "audience"] {
            if get(entries, needed).is_none() {
                faults.add(key.at, format!("`{}` needs an `{needed}`", key.text));
            }
        }
        let address = get(entries, "issuer").and_then(|node| address::issuer(node, faults));
        let audience = text("audience", faults);
        let roles_claim = text("roles_claim", faults);
        let granted = granted(entries, roles, broken, faults);
        for (given, lacking) in [("roles", "roles_claim"), ("roles_claim", "roles")] {
            if let (Some(at), None) = (key_at(entries, given), get(entries, lacking)) {
                let says = if given == "roles" {
                    "`roles` without `roles_claim`: no claim would name them"
                } else {
                    "`roles_claim` without `roles`: none that it names would count"
                };
                faults.add(at, says);
            }
        }
        let (Some(address), Some(audience)) = (address, audience) else { continue };
        if let Some((other, _)) = issuers.iter().find(|(_, other)| other.issuer == address) {
            faults.add(key.at, format!("`{other}` is the same issuer already"));
            continue;
        }
        issuers.insert(key.text.clone(), Issuer { issuer: address, audience, roles_claim, roles: granted });
    }
    issuers
}

/// The roles that somebody else's tokens may name.
fn granted(entries: &Entries, roles: &[Role], broken: &Broken, faults: &mut Faults<'_>) -> Vec<String> {
    let words = get(entries, "roles").and_then(|node| faults.words(node, "`roles`"));
    let mut granted: Vec<String> = Vec::new();
    for word in words.unwrap_or_default() {
        if word.text == SERVICE_ROLE {
            faults.add(word.at, "`service_role` is the secret key's and cannot be granted");
        } else if let Some(role) = role(word, roles, broken, faults) {
            let built_in = roles.iter().take(3).any(|known| known.name == role);
            if built_in {
                faults.add(word.at, format!("`{role}` is whoever is there anyway: it is not granted"));
            } else if granted.iter().any(|known| *known == role.as_str()) {
                faults.add(word.at, format!("`{role}` stands twice"));
            } else {
                granted.push(role.as_str().to_owned());
            }
        }
    }
    granted
}
