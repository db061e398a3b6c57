//! Addresses in `auth:` that browsers are sent to, and those that are asked for keys.
//!
//! An address that links may lead to decides who gets a session, so nothing is left to interpretation: scheme, host
//! and port are fixed, and `*` stands in the last parts of the path only.

use url::{Host, Url};

use super::fault::Faults;
use super::yaml::Node;

/// Schemes that run what they carry, or show a file of the machine.
const REFUSED: [&str; 12] = [
    "about",
    "blob",
    "chrome",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "mailto",
    "vbscript",
    "view-source",
    "ws",
];

const EXAMPLE: &str = "`https://app.acme.test/welcome`, or `com.acme.app://welcome` for an app";

/// `site_url`.
pub(super) fn site(node: &Node, faults: &mut Faults<'_>) -> Option<String> {
    let word = faults.word(node, "`site_url`")?;
    let fault = if word.text.contains('*') {
        Some("`*` has no meaning in it".to_owned())
    } else {
        target(word.text).err()
    };
    match fault {
        None => Some(word.text.to_owned()),
        Some(fault) => {
            faults.hint(word.at, format!("`site_url` is the app's address: {fault}"), EXAMPLE);
            None
        }
    }
}

/// `redirect_urls`.
pub(super) fn redirects(node: &Node, faults: &mut Faults<'_>) -> Vec<String> {
    let Some(words) = faults.words(node, "`redirect_urls`") else { return Vec::new() };
    let mut urls = Vec::new();
    for word in words {
        match target(word.text) {
            Ok(()) => urls.push(word.text.to_owned()),
            Err(fault) => faults.hint(word.at, format!("links cannot lead there: {fault}"), EXAMPLE),
        }
    }
    urls
}

/// Whether links may lead to an address, and what is wrong with it otherwise.
fn target(text: &str) -> Result<(), String> {
    if text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("it holds a space, a backslash or a control character".to_owned());
    }
    let Some((scheme, rest)) = text.split_once(':') else { return Err("it has no scheme".to_owned()) };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme {
        return Err("it has no scheme".to_owned());
    }
    let scheme = scheme.to_ascii_lowercase();
    if REFUSED.contains(&scheme.as_str()) || scheme == "wss" {
        return Err(format!("`{scheme}:` is no place for a session"));
    }
    if text.contains(['?', '#']) {
        return Err("a query or a fragment has no place in it".to_owned());
    }
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if authority.contains('%') {
                return Err("its host is encoded".to_owned());
            }
            if authority.contains('@') {
                return Err("a user or a password has no place in it".to_owned());
            }
            if authority.contains('*') {
                return Err(
                    "`*` stands in the path only: whoever gets a name of that form would be sent the session"
                        .to_owned(),
                );
            }
            path
        }
        None if rest.starts_with('/') && scheme != "http" && scheme != "https" => rest,
        None => return Err("it is not absolute".to_owned()),
    };
    stars(path)?;
    if path.split('/').any(|part| matches!(part, "." | "..") || part.to_ascii_lowercase().contains("%2e")) {
        return Err("`.` and `..` have no place in its path".to_owned());
    }
    let url = Url::parse(text).map_err(|fault| fault.to_string())?;
    if matches!(scheme.as_str(), "http" | "https") && url.host().is_none() {
        return Err("it has no host".to_owned());
    }
    Ok(())
}

/// `*` and `**` are parts of a path by themselves, and the last ones.
fn stars(path: &str) -> Result<(), String> {
    let mut begun = false;
    for part in path.trim_start_matches('/').split('/') {
        match part {
            "*" | "**" => begun = true,
            _ if part.contains('*') => {
                return Err("`*` and `**` are parts of the path by themselves".to_owned());
            }
            _ if begun => return Err("`*` stands in the last parts of the path only".to_owned()),
            _ => {}
        }
    }
    Ok(())
}

/// An issuer: `https`, or `http` on this machine; nothing besides a path. Its text is compared as it stands
/// (OpenID Connect Discovery 1.0, 4.3), so it is kept as it stands.
pub(super) fn issuer(node: &Node, faults: &mut Faults<'_>) -> Option<String> {
    let word = faults.word(node, "`issuer`")?;
    let fault = match Url::parse(word.text) {
        Err(fault) => Some(fault.to_string()),
        Ok(url) => {
            let plain = url.scheme() == "http" && !is_loopback(&url);
            if !matches!(url.scheme(), "http" | "https") || plain {
                Some("it begins with `https://`".to_owned())
            } else if !url.username().is_empty() || url.password().is_some() {
                Some("a user or a password has no place in it".to_owned())
            } else if url.query().is_some() || url.fragment().is_some() {
                Some("a query or a fragment has no place in it".to_owned())
            } else if word.text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                Some("it holds a space".to_owned())
            } else {
                None
            }
        }
    };
    match fault {
        None => Some(word.text.to_owned()),
        Some(fault) => {
            faults.hint(
                word.at,
                format!("`issuer` is the address of a provider: {fault}"),
                "`https://id.acme.test`, as the provider writes it in `iss`; `http` only on this machine",
            );
            None
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_only_to_what_is_plainly_one_place() {
        for good in [
            "http://localhost:3000",
            "https://app.acme.test/",
            "https://app.acme.test/a/b",
            "http://localhost:5173/**",
            "https://app.acme.test/teams/*/*",
            "https://app.acme.test/teams/*/**",
            "http://127.0.0.1:3000/**",
            "com.acme.app://welcome",
            "com.acme.app:/welcome/*",
            "myapp://",
        ] {
            assert_eq!(target(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/welcome",
            "app.acme.test",
            "//app.acme.test",
            "https:app.acme.test",
            "https://",
            "https://*.acme.test/",
            "https://app.acme.test:*/",
            "https://app.acme.test@evil.test/",
            "https://ada:pw@app.acme.test/",
            "https://app.acme.test\\@evil.test/",
            "https://app.acme.test/*/settings",
            "https://app.acme.test/a**",
            "https://app.acme.test/done-*",
            "https://app%2eacme.test/",
            "https://app.acme.test/a/../b",
            "https://app.acme.test/%2E%2e/b",
            "https://app.acme.test/?next=*",
            "https://app.acme.test/#a",
            "https://app acme.test/",
            "javascript:alert(1)",
            "javascript://app.acme.test/%0aalert(1)",
            "JavaScript://a/b",
            "data:text/html,x",
            "file:///etc/passwd",
            "mailto:ada@acme.test",
            "1app://x",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
