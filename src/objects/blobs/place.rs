//! [`Place`]: where an operator wants content to lie.

use std::fmt;
use std::path::{Path, PathBuf};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use url::Url;

/// The variables that say how an S3 store is reached and who we are there: those that the AWS command line knows.
/// Where no key is given, a role of the machine or of the container counts.
const VARIABLES: [(&str, AmazonS3ConfigKey); 12] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion),
    ("AWS_REGION", AmazonS3ConfigKey::Region),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
];
/// Where the store is, if it is not the one that invented the protocol. The first that is set counts.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Why content cannot lie somewhere.
#[derive(Debug, thiserror::Error)]
pub enum PlaceFault {
    #[error("`{0}` is no place for objects: say file:///FOLDER or s3://BUCKET/PREFIX")]
    Address(String),
    #[error("objects cannot lie in {0}: {1}")]
    Folder(String, String),
    #[error("objects cannot lie in {0}: {1}")]
    Bucket(String, String),
}

/// A folder of this machine, or a bucket of a store that speaks S3.
pub enum Place {
    Folder(PathBuf),
    Bucket(Box<Remote>),
}

/// A bucket, and how it is reached.
pub struct Remote {
    pub(super) bucket: String,
    /// What stands before every key; empty, or without slashes around it.
    pub(super) prefix: String,
    endpoint: Option<String>,
    pub(super) builder: AmazonS3Builder,
}

impl Place {
    /// Reads `file:///FOLDER` or `s3://BUCKET/PREFIX`; how the store is reached stands in variables (`AWS_REGION`,
    /// `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and others that its own tools know).
    ///
    /// # Errors
    /// An address of another form.
    pub fn parse(address: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Place, PlaceFault> {
        let refuse = || PlaceFault::Address(without_credentials(address));
        let url = Url::parse(address).map_err(|_| refuse())?;
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(refuse());
        }
        match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| refuse())?;
                if folder == Path::new("/") { Err(refuse()) } else { Ok(Place::Folder(folder)) }
            }
            "s3" => {
                let bucket = url.host_str().filter(|bucket| !bucket.is_empty()).ok_or_else(refuse)?;
                let prefix = url.path().trim_matches('/');
                // A key has to be the same in every spelling of the address.
                if prefix.split('/').any(|part| part.is_empty() != prefix.is_empty()) || prefix.contains('%')
                {
                    return Err(refuse());
                }
                Ok(Place::Bucket(Box::new(Remote::new(bucket, prefix, variable))))
            }
            _ => Err(refuse()),
        }
    }
}

impl Remote {
    /// The way to the store is not encrypted: whoever writes `http://` has decided that it is his own.
    pub(super) fn is_plain(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }

    fn new(bucket: &str, prefix: &str, variable: impl Fn(&str) -> Option<String>) -> Remote {
        let set = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let mut builder = AmazonS3Builder::new().with_bucket_name(bucket);
        for (name, key) in VARIABLES {
            if let Some(text) = set(name) {
                builder = builder.with_config(key, text.trim());
            }
        }
        let endpoint = ENDPOINTS.iter().find_map(|name| set(name)).map(|text| text.trim().to_owned());
        if let Some(endpoint) = &endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Remote { bucket: bucket.to_owned(), prefix: prefix.to_owned(), endpoint, builder }
    }
}

/// How it is told to people.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Folder(folder) => write!(f, "{}", folder.display()),
            Place::Bucket(remote) => write!(f, "{remote}"),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {}", without_credentials(endpoint)),
            None => Ok(()),
        }
    }
}

/// The builder holds secrets.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn without_credentials(address: &str) -> String {
    match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://…{}", &address[..scheme], &address[at..])
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        };
        Place::parse(address, variable).map(|place| place.to_string()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn an_address_is_a_folder_or_a_bucket() {
        for (address, place) in [
            ("file:///var/lib/objects", "/var/lib/objects"),
            ("file:///var/lib/my%20objects/", "/var/lib/my objects/"),
            ("file://localhost/srv/objects", "/srv/objects"),
            ("s3://things", "s3://things"),
            ("s3://things/", "s3://things"),
            ("s3://things/some/where/", "s3://things/some/where"),
        ] {
            assert_eq!(read(address, &[]), Ok(place.to_owned()), "{address}");
        }
        let elsewhere = [("AWS_ENDPOINT_URL", "https://user:secret@s3.example.org")];
        assert_eq!(read("s3://things", &elsewhere), Ok("s3://things at https://…@s3.example.org".to_owned()));
        let both = [("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "http://b")];
        assert_eq!(read("s3://things", &both), Ok("s3://things at http://b".to_owned()));
    }

    #[test]
    fn every_other_address_is_refused_without_its_secrets() {
        for address in [
            "",
            "/var/lib/objects",
            "objects",
            "file:///",
            "file://elsewhere.example.org/objects",
            "file:///objects?fsync=off",
            "s3:///things",
            "s3://things/a//b",
            "s3://things/a%2Fb",
            "s3://things?region=eu",
            "s3://things#x",
            "s3://things:9000/x",
            "s3://key:secret@things",
            "https://things.example.org/",
            "gs://things",
        ] {
            let fault = read(address, &[]).unwrap_err();
            assert!(
                fault.contains("is no place for objects") && !fault.contains("secret"),
                "{address}: {fault}"
            );
        }
    }

    #[test]
    fn nothing_that_is_told_of_a_place_holds_its_secret() {
        let variables =
            |name: &str| (name == "AWS_SECRET_ACCESS_KEY").then(|| "do not tell anybody".to_owned());
        let place = Place::parse("s3://things", variables).unwrap();
        assert!(!format!("{place} {place:?}").contains("anybody"));
    }
}
