//! [`StorageCode`]: what storing and reading objects refuses, as the stable words that its clients read (`code`).

use super::Code;

/// One row a code: the word on the wire, the status, the short name (`error`), the sentence.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $status:literal, $short:literal, $sentence:literal;)*) => {
        /// Why storage refuses. A code is never reused for another meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum StorageCode {
            $($(#[$doc])* $name,)*
        }

        impl StorageCode {
            pub const ALL: &[StorageCode] = &[$(StorageCode::$name,)*];

            /// (word, status, sentence).
            pub(super) fn row(self) -> (&'static str, u16, &'static str) {
                match self {
                    $(StorageCode::$name => ($word, $status, $sentence),)*
                }
            }

            /// The short name that older clients look at.
            pub fn short(self) -> &'static str {
                match self {
                    $(StorageCode::$name => $short,)*
                }
            }
        }
    };
}

codes! {
    /// A bucket that does not exist or that no rule of the caller speaks of.
    NoSuchBucket = "NoSuchBucket", 404, "Bucket not found", "Bucket not found";
    /// An object that does not exist or that the caller may not read.
    NoSuchKey = "NoSuchKey", 404, "not_found", "Object not found";
    KeyAlreadyExists = "KeyAlreadyExists", 409, "Duplicate", "The resource already exists";
    BucketAlreadyExists = "BucketAlreadyExists", 409, "Duplicate", "The resource already exists";
    /// The project declares it, and the project alone changes it.
    BucketDeclared = "BucketDeclared", 409, "InvalidRequest", "The bucket is declared by the project and changed there";
    ResourceNotEmpty = "ResourceNotEmpty", 409, "InvalidRequest", "The bucket you tried to delete is not empty";
    AccessDenied = "AccessDenied", 403, "Unauthorized", "new row violates row-level security policy";
    /// What only the secret key may do.
    NotAdmin = "AccessDenied", 403, "Unauthorized", "This is for the secret key";
    EntityTooLarge = "EntityTooLarge", 413, "Payload too large", "The object exceeded the maximum allowed size";
    /// All objects of the bucket together would have more bytes than its quota.
    QuotaExceeded = "QuotaExceeded", 413, "Payload too large", "The bucket is full";
    InvalidMimeType = "InvalidMimeType", 415, "invalid_mime_type", "The media type is not supported";
    InvalidKey = "InvalidKey", 400, "InvalidKey", "Invalid key";
    InvalidBucketName = "InvalidBucketName", 400, "InvalidBucketName", "Bucket name invalid";
    MissingParameter = "MissingParameter", 400, "MissingParameter", "A parameter is missing";
    InvalidParameter = "InvalidParameter", 400, "InvalidParameter", "A parameter is not valid";
    InvalidRequest = "InvalidRequest", 400, "InvalidRequest", "The request is not valid";
    InvalidRange = "InvalidRange", 416, "InvalidRange", "Invalid range";
    InvalidSignature = "InvalidSignature", 400, "InvalidSignature", "The signature does not hold";
    ExpiredToken = "ExpiredToken", 400, "ExpiredToken", "The token has expired";
    InvalidUploadSignature = "InvalidUploadSignature", 400, "InvalidUploadSignature", "The token of the upload does not hold";
    InvalidUploadId = "InvalidUploadId", 400, "InvalidUploadId", "The upload's id is not valid";
    /// An upload that does not exist, is over, or is somebody else's.
    NoSuchUpload = "NoSuchUpload", 404, "NoSuchUpload", "Upload not found";
    /// A piece begins where the upload does not stand.
    OffsetMismatch = "InvalidUploadOffset", 409, "InvalidUploadOffset", "The upload does not stand at this offset";
    /// Another request goes on with the same upload.
    ResourceLocked = "ResourceLocked", 423, "ResourceLocked", "The resource is locked";
    /// A version of the resumable protocol that is not spoken.
    UploadVersion = "InvalidTusVersion", 412, "InvalidTusVersion", "Tus-Resumable must be 1.0.0";
    /// There is no room left where content lies.
    StorageFull = "StorageFull", 507, "StorageFull", "There is no room left to store this";
    /// Where content lies does not answer.
    StorageUnavailable = "StorageUnavailable", 503, "StorageUnavailable", "The store of objects does not answer";
}

impl Code {
    /// What storage calls it: word, status, short name. Its clients know words of their own for what befalls any request.
    pub fn in_storage(&self) -> (&str, u16, &str) {
        match self {
            Code::Storage(known) => (self.as_str(), self.status(), known.short()),
            Code::Token | Code::Claims | Code::UserGone | Code::UserBanned | Code::SessionEnded => {
                ("InvalidJWT", 403, "Unauthorized")
            }
            Code::CredentialRequired => ("AccessDenied", 401, "Unauthorized"),
            Code::Denied | Code::DeniedAnonymous => ("AccessDenied", 403, "Unauthorized"),
            Code::PayloadTooLarge => ("EntityTooLarge", 413, StorageCode::EntityTooLarge.short()),
            Code::Body | Code::QueryString | Code::Validation | Code::ContentType => {
                ("InvalidRequest", 400, "InvalidRequest")
            }
            Code::TooManyRequests => ("SlowDown", 429, "SlowDown"),
            Code::PoolTimeout => ("DatabaseTimeout", 544, "DatabaseTimeout"),
            Code::Path => ("NotFound", 404, "NotFound"),
            other => match other.status() {
                status @ 500.. => ("InternalError", status, "Internal"),
                status => (other.as_str(), status, "InvalidRequest"),
            },
        }
    }
}
