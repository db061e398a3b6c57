//! [`Relay`]: the SMTP server that takes our letters, as `smtp://user:password@host:587` or `smtps://…` names it.

use std::fmt;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// How the way there is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// TLS from the first byte (RFC 8314, 3.3).
    Wrapped,
    /// STARTTLS, without which nothing is said (RFC 3207).
    Upgraded,
    /// Nothing: it is on this machine.
    Loopback,
}

/// The SMTP server that takes our letters, and in whose name.
#[derive(Clone)]
pub struct Relay {
    /// As the operator wrote it: two that are written alike are one.
    url: String,
    pub(super) from: Mailbox,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    pub(super) credentials: Option<Credentials>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl PartialEq for Relay {
    fn eq(&self, other: &Relay) -> bool {
        self.url == other.url && self.from == other.from
    }
}

impl Relay {
    /// # Errors
    /// What is wrong with the address of the server or the sender's; never the address of the server itself, which
    /// holds a password.
    pub fn parse(url: &str, from: &str) -> Result<Relay, String> {
        let (parsed, guard) = read(url)?;
        let host = match parsed.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err("it names no host".to_owned()),
        };
        let parameters = || TlsParameters::new(host.clone()).map_err(|fault| fault.to_string());
        let (tls, usual) = match guard {
            Guard::Wrapped => (Tls::Wrapper(parameters()?), 465),
            Guard::Upgraded => (Tls::Required(parameters()?), 587),
            Guard::Loopback => (Tls::None, 25),
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let credentials = match (parsed.username(), parsed.password()) {
            ("", None) => None,
            (user, Some(password)) if !user.is_empty() => {
                let pair = (decoded(user), decoded(password));
                let (Ok(user), Ok(password)) = pair else {
                    return Err("user and password are not UTF-8".to_owned());
                };
                Some(Credentials::new(user, password))
            }
            _ => return Err("it names a user or a password without the other".to_owned()),
        };
        let from = from.parse().map_err(|_| "the sender is no address".to_owned())?;
        Ok(Relay { url: url.to_owned(), from, host, port: parsed.port().unwrap_or(usual), tls, credentials })
    }
}

fn read(text: &str) -> Result<(Url, Guard), String> {
    let url = Url::parse(text).map_err(|fault| fault.to_string())?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        // Also a password in which `/`, `?` or `#` was not encoded.
        return Err(
            "there is something behind the port; in a password `/`, `?` and `#` are `%2F`, `%3F` and `%23`"
                .to_owned(),
        );
    }
    let local = match url.host() {
        // Of a scheme that is not the web's every host is a name.
        Some(Host::Domain(name)) => {
            let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
            name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err("it names no host".to_owned()),
    };
    match url.scheme() {
        "smtps" => Ok((url, Guard::Wrapped)),
        "smtp" if local => Ok((url, Guard::Loopback)),
        "smtp" => Ok((url, Guard::Upgraded)),
        _ => Err("it begins with `smtp://` or `smtps://`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: &str = "Acme <hello@acme.test>";

    #[test]
    fn what_leaves_this_machine_is_encrypted() {
        for (url, guard, port) in [
            ("smtp://mail.acme.test", Guard::Upgraded, 587),
            ("smtp://mail.acme.test:25", Guard::Upgraded, 25),
            ("smtp://10.0.0.1", Guard::Upgraded, 587),
            ("smtp://localhost.evil.test", Guard::Upgraded, 587),
            ("smtp://127.0.0.1.evil.test", Guard::Upgraded, 587),
            ("smtps://u:p@mail.acme.test", Guard::Wrapped, 465),
            ("smtps://localhost", Guard::Wrapped, 465),
            ("smtp://localhost", Guard::Loopback, 25),
            ("smtp://127.0.0.1:1025/", Guard::Loopback, 1025),
            ("smtp://[::1]:1025", Guard::Loopback, 1025),
        ] {
            assert_eq!(read(url).map(|(_, guard)| guard), Ok(guard), "{url}");
            if guard == Guard::Loopback {
                let relay = Relay::parse(url, FROM).unwrap();
                assert!(matches!(relay.tls, Tls::None), "{url}");
                assert_eq!(relay.port, port, "{url}");
            }
        }
    }

    #[test]
    fn an_address_that_is_none_is_told_without_its_password() {
        for url in [
            "",
            "mail.acme.test",
            "http://u:hunter22@mail.acme.test",
            "smtp://",
            "smtp://u:hunter22@",
            "smtp://u@mail.acme.test",
            "smtp://:hunter22@mail.acme.test",
            "smtp://u:hunter/22@mail.acme.test",
            "smtp://u:hunter22@mail.acme.test/inbox",
            "smtp://u:hunter22@mail.acme.test?tls=none",
            "smtp://u:%ff@127.0.0.1",
        ] {
            let fault = Relay::parse(url, FROM).unwrap_err();
            assert!(!fault.contains("hunter22"), "{url}: {fault}");
        }
        assert!(Relay::parse("smtp://localhost", "nobody").is_err());
        let relay = Relay::parse("smtp://a%40b:p%2Fw@localhost", FROM).unwrap();
        assert_eq!(relay.credentials, Some(Credentials::new("a@b".to_owned(), "p/w".to_owned())));
        assert!(!format!("{relay:?}").contains("p/w"));
    }
}
