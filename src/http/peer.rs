//! Where a request comes from, by what this server itself can tell.
//!
//! What `X-Forwarded-For` and `Forwarded` (RFC 7239) say is believed of proxies that the operator names, and of nobody
//! else: whoever can write his own address has as many as he likes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpRequest, web};
use ipnet::IpNet;

use super::server::Options;

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    networks: Vec<IpNet>,
    /// Whether somebody else was seen to say where requests come from.
    told: Arc<AtomicBool>,
}

impl Proxies {
    /// Reads addresses and networks between commas: `10.0.0.0/8,192.0.2.7`.
    pub fn parse(text: &str) -> Result<Proxies, String> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let network = |word: &str| {
            let one = |_| word.parse::<IpAddr>().map(IpNet::from);
            word.parse::<IpNet>().or_else(one).map_err(|_| format!("{word:?} is no address and no network"))
        };
        Ok(Proxies { networks: words.map(network).collect::<Result<_, _>>()?, told: Arc::default() })
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Who sent a request that came from `peer` with these headers: the last one in the row that is no trusted proxy.
    fn sender(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let says = |name| headers.contains_key(name);
        if !says(header::X_FORWARDED_FOR) && !says(header::FORWARDED) {
            return peer;
        }
        if !self.trusts(peer) {
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    %peer,
                    "a peer says for whom it sends requests and is not believed: if it is a proxy of yours, name it in \
                     --trusted-proxies, or all its users share one limit"
                );
            }
            return peer;
        }
        // A proxy writes one of the two and may pass on what a client wrote into the other.
        match (self.row(headers, header::X_FORWARDED_FOR), self.row(headers, header::FORWARDED)) {
            (Row::Sender(sender), Row::Silent) | (Row::Silent, Row::Sender(sender)) => sender,
            (Row::Sender(one), Row::Sender(other)) if one == other => one,
            _ => peer,
        }
    }

    fn row(&self, headers: &HeaderMap, name: header::HeaderName) -> Row {
        let is_forwarded = name == header::FORWARDED;
        let mut sender = Row::Silent;
        // Each proxy adds itself at the end; several headers are one list (RFC 9110, 5.3).
        let values: Vec<_> = headers.get_all(name).collect();
        for value in values.into_iter().rev() {
            let Ok(value) = value.to_str() else { return Row::Garbage };
            for element in value.rsplit(',') {
                let hop = if is_forwarded { forwarded_for(element) } else { Some(element) };
                let Some(address) = hop.and_then(address_of) else { return Row::Garbage };
                sender = Row::Sender(address);
                if !self.trusts(address) {
                    return sender;
                }
            }
        }
        sender
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Silent,
    Garbage,
    Sender(IpAddr),
}

/// The `for` of an element of `Forwarded` (RFC 7239, 4).
fn forwarded_for(element: &str) -> Option<&str> {
    let mut named = element.split(';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let value = named.next()?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address, with a port or without: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address_of(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()))
        .map(|address| address.to_canonical())
}

/// The address of whoever sent the request.
pub(super) fn address(request: &HttpRequest) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    match request.app_data::<web::Data<Options>>() {
        Some(options) => options.proxies.sender(peer, request.headers()),
        None => peer,
    }
}

/// How whoever sent the request calls this server, without a slash at the end, if a trusted proxy says that. Nobody else is
/// believed: what is made of it is an address that the sender is sent to.
pub(super) fn origin(request: &HttpRequest) -> Option<String> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let options = request.app_data::<web::Data<Options>>()?;
    if options.proxies.trusts(peer) { forwarded_origin(request.headers()) } else { None }
}

/// Scheme, host and prefix of `X-Forwarded-Proto`, `-Host` and `-Prefix`. Each proxy adds itself at the end of a row: the
/// first is what the sender saw.
fn forwarded_origin(headers: &HeaderMap) -> Option<String> {
    let said = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value.split(',').next().map(str::trim).filter(|value| !value.is_empty())
    };
    let scheme = said("x-forwarded-proto").unwrap_or("https");
    let host = said("x-forwarded-host")?;
    let prefix = said("x-forwarded-prefix").unwrap_or("").trim_end_matches('/');
    let plain = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let sound = matches!(scheme, "http" | "https")
        && plain(host, ".-_:[]")
        && (prefix.is_empty() || prefix.starts_with('/'))
        && !prefix.starts_with("//")
        && plain(prefix, "/.-_~");
    sound.then(|| format!("{scheme}://{host}{prefix}"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn sender(proxies: &str, peer: &str, headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Proxies::parse(proxies).unwrap().sender(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn what_a_peer_says_counts_only_where_it_is_trusted() {
        const XFF: &str = "x-forwarded-for";
        for (proxies, peer, said, expected) in [
            ("", "192.0.2.1", "198.51.100.1", "192.0.2.1"),
            ("10.0.0.0/8", "192.0.2.1", "198.51.100.1", "192.0.2.1"),
            ("10.0.0.0/8", "10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "10.0.0.2", "198.51.100.1", "10.0.0.2"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
            // What the client wrote itself stands further left.
            ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.7", "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", "rubbish, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", "10.0.0.9, 10.0.0.8", "10.0.0.9"),
            ("10.0.0.0/8", "10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::/32", "2001:db8::1", "[2001:db9::1]:80", "2001:db9::1"),
            ("2001:db8::/32", "2001:db8::1", "2001:db9::1", "2001:db9::1"),
            ("10.0.0.0/8", "10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
            ("10.0.0.0/8", "10.0.0.1", "unknown", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", "198.51.100.1,", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", "198.51.100.1, rubbish", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", "198.51.100.1.example", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", "", "10.0.0.1"),
        ] {
            assert_eq!(sender(proxies, peer, &[(XFF, said)]), expected, "{proxies} {peer} {said:?}");
        }
        let two = [(XFF, "203.0.113.9"), (XFF, "198.51.100.1")];
        assert_eq!(sender("10.0.0.0/8", "10.0.0.1", &two), "198.51.100.1");
        assert_eq!(sender("10.0.0.0/8", "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_too_and_two_that_differ_are_not_believed() {
        let forwarded = |said| sender("10.0.0.0/8", "10.0.0.1", &[("forwarded", said)]);
        for (said, expected) in [
            ("for=198.51.100.1", "198.51.100.1"),
            ("For=198.51.100.1;proto=https;by=10.0.0.1", "198.51.100.1"),
            ("proto=https; for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=203.0.113.9, for=198.51.100.1, for=10.0.0.7", "198.51.100.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=\"198.51.100.1", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
        ] {
            assert_eq!(forwarded(said), expected, "{said}");
        }
        let both = |xff| {
            sender("10.0.0.0/8", "10.0.0.1", &[("forwarded", "for=198.51.100.1"), ("x-forwarded-for", xff)])
        };
        assert_eq!(both("198.51.100.1"), "198.51.100.1");
        assert_eq!(both("198.51.100.2"), "10.0.0.1");
        assert_eq!(both("rubbish"), "10.0.0.1");
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        for sound in ["", "10.0.0.1", "10.0.0.0/8, 2001:db8::/32,::1"] {
            assert!(Proxies::parse(sound).is_ok(), "{sound}");
        }
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0.1:80", "*"] {
            assert!(Proxies::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_a_proxy_says_that_the_server_is_must_be_an_address() {
        for (said, expected) in [
            (&[("x-forwarded-host", "a.example")][..], Some("https://a.example")),
            (
                &[("x-forwarded-host", "a.example:8443, b"), ("x-forwarded-proto", "http")],
                Some("http://a.example:8443"),
            ),
            (
                &[("x-forwarded-host", "a.example"), ("x-forwarded-prefix", "/api/")],
                Some("https://a.example/api"),
            ),
            (&[("x-forwarded-proto", "http")], None),
            (&[("x-forwarded-host", "a.example/x")], None),
            (&[("x-forwarded-host", "u@a.example")], None),
            (&[("x-forwarded-host", "a.example"), ("x-forwarded-proto", "javascript")], None),
            (&[("x-forwarded-host", "a.example"), ("x-forwarded-prefix", "//b")], None),
            (&[("x-forwarded-host", "a.example"), ("x-forwarded-prefix", "x")], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in said {
                map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(forwarded_origin(&map).as_deref(), expected, "{said:?}");
        }
    }
}
