//! [`Outbound`]: the one way in which sign-in asks others over the network.
//!
//! Names are resolved once, and only addresses that are public are connected to, by address: nobody can make this server
//! knock at the doors of the network it stands in. Answers are bounded in time and size.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Request, StatusCode};
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

/// How long an answer may take, from the first knock to the last byte.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer.
const MAX_BYTES: usize = 1 << 20;
/// How often somebody may send us further, on his own host.
const REDIRECTS: usize = 3;

/// Why somebody was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum OutboundFault {
    #[error("{0} is no address that may be asked: it has to begin with https://")]
    Address(String),
    #[error("{0} is not on the public network; name it in BASEWRIGHT_ALLOW_PRIVATE_HOSTS if it is meant")]
    Private(String),
    #[error("the request cannot be sent: {0}")]
    Client(String),
    #[error("no answer: {0}")]
    Network(#[from] reqwest::Error),
    #[error("the answer is longer than 1 MiB")]
    TooLong,
}

/// Which addresses may be asked though they are not public.
#[derive(Clone, Debug)]
struct Guard {
    /// All of them: whoever writes a project runs things beside it.
    is_dev: bool,
    /// Hosts that the operator names.
    hosts: Arc<[String]>,
}

impl Guard {
    /// Whether private addresses count for a host, and the connection may be in the clear.
    fn trusts(&self, host: &str) -> bool {
        self.is_dev || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Judges an address before anything is resolved. What is written as a number never meets the resolver.
    fn judge(&self, url: &Url) -> Result<(), OutboundFault> {
        let refuse = || Err(OutboundFault::Address(url.to_string()));
        let Some(host) = url.host() else { return refuse() };
        let trusted = self.trusts(url.host_str().unwrap_or_default());
        let is_plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return refuse(),
        };
        if (is_plain && !trusted) || !url.username().is_empty() || url.password().is_some() {
            return refuse();
        }
        let address: Option<IpAddr> = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
        };
        match address {
            Some(address) if !trusted && !is_public(address) => {
                Err(OutboundFault::Private(url.host_str().unwrap_or_default().to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let trusted = guard.trusts(host);
            let open: Vec<SocketAddr> = found.filter(|address| trusted || is_public(address.ip())).collect();
            if open.is_empty() {
                let refused = OutboundFault::Private(host.to_owned());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused.to_string()).into());
            }
            Ok(Box::new(open.into_iter()) as Addrs)
        })
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// Asks others.
#[derive(Clone, Debug)]
pub struct Outbound {
    guard: Guard,
    client: reqwest::Client,
}

impl Outbound {
    /// `hosts` may be private, and be asked in the clear.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(is_dev: bool, hosts: &[String]) -> Result<Outbound, OutboundFault> {
        let guard = Guard { is_dev, hosts: hosts.into() };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|fault| OutboundFault::Client(fault.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .referer(false)
            .timeout(WITHIN)
            .redirect(Policy::custom(|attempt| {
                let same =
                    attempt.previous().last().is_some_and(|last| last.origin() == attempt.url().origin());
                if same && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
            }))
            .dns_resolver(Arc::new(guard.clone()))
            .user_agent(concat!("basewright/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Outbound { guard, client })
    }

    /// Gets what is at an address.
    ///
    /// # Errors
    /// An address that may not be asked, no answer in time, or one that is too long. A status of failure is an answer.
    pub async fn get(&self, url: &str, bearer: Option<&str>) -> Result<Answer, OutboundFault> {
        let address = Url::parse(url).map_err(|_| OutboundFault::Address(url.to_owned()))?;
        let mut request = self.client.get(address).header("accept", "application/json");
        if let Some(token) = bearer {
            request = request.bearer_auth(token);
        }
        self.send(request.build()?).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As [`Outbound::get`].
    pub async fn send(&self, request: Request) -> Result<Answer, OutboundFault> {
        self.guard.judge(request.url())?;
        let mut response = self.client.execute(request).await?;
        if response.content_length().is_some_and(|length| length > MAX_BYTES as u64) {
            return Err(OutboundFault::TooLong);
        }
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        let (status, content_type) = (response.status(), content_type.map(str::to_owned));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(OutboundFault::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, content_type, body })
    }
}

/// Networks that are not public (IANA's registries of special-purpose addresses).
const NOT_PUBLIC: [([u8; 4], u8); 14] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 3),
];

/// Whether an address is one of a single host on the public network, also by the address of IPv4 that is inside it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC
            .iter()
            .any(|(net, bits)| Ipv4Net::new_assert(Ipv4Addr::from(*net), *bits).contains(&address)),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    let bytes = address.octets();
    let inside = |at: usize| {
        let four = bytes.get(at..at + 4).and_then(|four| <[u8; 4]>::try_from(four).ok());
        four.is_some_and(|four| is_public(Ipv4Addr::from(four).into()))
    };
    let within = |net: Ipv6Addr, bits: u8| Ipv6Net::new_assert(net, bits).contains(&address);
    // Mapped (RFC 4291), 6to4 (RFC 3056), the translators' prefix (RFC 6052).
    if address.to_ipv4_mapped().is_some() {
        return inside(12);
    }
    if a == 0x2002 {
        return inside(2);
    }
    if (a, b) == (0x64, 0xff9b) && c == 0 {
        return inside(12);
    }
    // Only what is handed out for the public, without what is set aside for protocols and for books.
    within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3)
        && !within(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23)
        && !within(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32)
        && !within(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for (address, expected) in [
            ("93.184.216.34", true),
            ("8.8.8.8", true),
            ("1.1.1.1", true),
            ("172.32.0.1", true),
            ("100.128.0.1", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("127.255.255.255", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.0.1", false),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:2800:220:1:248:1893:25c8:1946", true),
            ("2a00:1450::1", true),
            ("::", false),
            ("::1", false),
            ("::8.8.8.8", false),
            ("::ffff:8.8.8.8", true),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("2002:808:808::1", true),
            ("2002:7f00:1::1", false),
            ("2002:a00:1::1", false),
            ("64:ff9b::8.8.8.8", true),
            ("64:ff9b::127.0.0.1", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("64:ff9b:1::808:808", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("ff02::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("3fff::1", false),
            ("5f00::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn an_address_is_judged_before_it_is_asked() {
        let judge = |is_dev: bool, url: &str| {
            let guard = Guard { is_dev, hosts: Arc::new(["10.0.0.5".to_owned(), "idp.internal".to_owned()]) };
            Url::parse(url).is_ok_and(|url| guard.judge(&url).is_ok())
        };
        for (url, public, dev) in [
            ("https://id.example.com/x", true, true),
            ("https://8.8.8.8/", true, true),
            ("https://10.0.0.5/", true, true),
            ("http://10.0.0.5/", true, true),
            ("http://idp.internal:8080/", true, true),
            ("http://id.example.com/x", false, true),
            ("https://127.0.0.1/", false, true),
            ("https://2130706433/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://[::1]/", false, true),
            ("https://[::ffff:127.0.0.1]/", false, true),
            ("https://169.254.169.254/latest", false, true),
            ("https://user:pass@id.example.com/", false, false),
            ("ftp://id.example.com/", false, false),
            ("file:///etc/passwd", false, false),
        ] {
            assert_eq!(judge(false, url), public, "{url}");
            assert_eq!(judge(true, url), dev, "{url} in dev");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_connected_to() {
        let outbound = Outbound::new(false, &[]).unwrap();
        let fault = outbound.get("https://localhost:1/", None).await.unwrap_err();
        let mut text = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&fault);
        while let Some(error) = cause {
            text.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(text.contains("is not on the public network"), "{text}");
    }
}
