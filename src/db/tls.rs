//! TLS to a remote database: whom to trust, and the connector that does.

use std::fs;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::SetupError;

/// What a URL's `sslmode` and `sslrootcert` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// No TLS.
    Never,
    /// TLS where the server offers it. Whoever could present a false certificate could as well refuse TLS,
    /// so none is checked.
    Prefer,
    /// TLS, with any certificate.
    Anybody,
    /// TLS with a certificate for the host's name, from the machine's trust store or this file.
    Verified { root: Option<String> },
}

impl Trust {
    /// Takes `sslmode` and `sslrootcert` out of a URL: the driver knows fewer modes than libpq.
    pub(super) fn take_from(url: &str) -> Result<(String, Trust), SetupError> {
        let mut mode = None;
        let mut root = None;
        // Whether a part of the URL stays; the two that are ours are noted instead.
        let mut keep = |part: &&str| {
            match part.trim().split_once('=') {
                Some(("sslmode", value)) => mode = Some(unquoted(value)),
                Some(("sslrootcert", value)) => root = Some(unquoted(value)),
                _ => return true,
            }
            false
        };
        let rest = if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            match url.split_once('?') {
                None => url.to_owned(),
                Some((head, query)) => {
                    let kept: Vec<&str> = query.split('&').filter(&mut keep).collect();
                    if kept.is_empty() { head.to_owned() } else { format!("{head}?{}", kept.join("&")) }
                }
            }
        } else {
            let kept: Vec<&str> = url.split_whitespace().filter(&mut keep).collect();
            kept.join(" ")
        };
        let root = root.filter(|root| root != "system");
        let trust = match mode.as_deref() {
            Some("disable") => Trust::Never,
            None | Some("allow" | "prefer") if root.is_none() => Trust::Prefer,
            None | Some("allow" | "prefer" | "require" | "verify-ca" | "verify-full") => {
                Trust::Verified { root }
            }
            Some("no-verify") => Trust::Anybody,
            Some(other) => {
                return Err(SetupError::new(format!(
                    "the database URL says sslmode={other}; known are disable, prefer, require, verify-full and no-verify"
                )));
            }
        };
        Ok((rest, trust))
    }
}

fn unquoted(value: &str) -> String {
    value.trim_matches('\'').replace("%2F", "/").replace("%2f", "/")
}

/// A connector; the certificates are read once.
#[derive(Clone)]
pub(super) struct Tls {
    connector: MakeRustlsConnect,
}

impl Tls {
    /// `None` if there is to be no TLS.
    pub(super) fn new(trust: &Trust) -> Result<Option<Tls>, SetupError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| SetupError::new("TLS to the database cannot be set up").source(e))?;
        let config = match trust {
            Trust::Never => return Ok(None),
            Trust::Prefer | Trust::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
                .with_no_client_auth(),
            Trust::Verified { root } => {
                builder.with_root_certificates(roots(root.as_deref())?).with_no_client_auth()
            }
        };
        Ok(Some(Tls { connector: MakeRustlsConnect::new(config) }))
    }

    pub(super) fn connector(&self) -> MakeRustlsConnect {
        self.connector.clone()
    }
}

fn roots(file: Option<&str>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let cannot = |e: rustls::pki_types::pem::Error| {
                SetupError::new(format!("sslrootcert={path} cannot be read as PEM: {e:?}"))
            };
            let pem = fs::read(path)
                .map_err(|e| SetupError::new(format!("sslrootcert={path} cannot be read")).source(e))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate.map_err(cannot)?).map_err(|e| {
                    SetupError::new(format!("sslrootcert={path} holds no usable certificate")).source(e)
                })?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err(SetupError::new(
            "the database URL asks for a checked certificate, and there is none to check it by: install \
             ca-certificates, or name a file with sslrootcert",
        ));
    }
    Ok(roots)
}

/// Takes any certificate, but makes sure that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, rest: &str, trust: Trust) {
        assert_eq!(Trust::take_from(url).unwrap(), (rest.to_owned(), trust), "{url}");
    }

    #[test]
    fn the_mode_is_taken_out_of_urls_and_of_key_value_strings() {
        check("postgresql://u@h/d", "postgresql://u@h/d", Trust::Prefer);
        check("postgresql://u@h/d?sslmode=require", "postgresql://u@h/d", Trust::Verified { root: None });
        check(
            "postgresql://u@h/d?a=b&sslmode=verify-full&sslrootcert=%2Fca.pem&c=d",
            "postgresql://u@h/d?a=b&c=d",
            Trust::Verified { root: Some("/ca.pem".into()) },
        );
        check("host=h user=u sslmode=no-verify", "host=h user=u", Trust::Anybody);
        check("host=h sslmode=disable", "host=h", Trust::Never);
        check("host=h sslrootcert=/ca.pem", "host=h", Trust::Verified { root: Some("/ca.pem".into()) });
        assert!(Trust::take_from("host=h sslmode=maybe").is_err());
    }

    #[test]
    fn a_root_file_that_is_missing_or_empty_is_refused() {
        assert!(roots(Some("/nonexistent/ca.pem")).is_err());
        assert!(roots(Some("/dev/null")).is_err());
    }
}
