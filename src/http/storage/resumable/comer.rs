//! Who comes with a resumable upload: a caller by his own right, or whoever has the token of a signed upload.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;
use uuid::Uuid;

use super::told::Told;
use crate::error::{Error, StorageCode};
use crate::http::storage::door::Door;
use crate::http::storage::{granted, said};
use crate::objects::Objects;
use crate::objects::grant::Grant;
use crate::objects::key::Key;
use crate::objects::resume::Right;
use crate::objects::upload::Manner;

/// Where the token of a signed upload stands.
const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// The token of a signed upload, on the paths of those who come with one.
///
/// # Errors
/// `MissingParameter`.
fn token(request: &HttpRequest) -> Result<Option<&str>, Error> {
    let is_granted = request.uri().path().strip_prefix("/storage/v1/upload/resumable/sign");
    if !is_granted.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Ok(None);
    }
    let token = said::text(request.headers(), &SIGNATURE);
    token.map(Some).ok_or_else(|| Error::with(StorageCode::MissingParameter, "x-signature is missing"))
}

pub(super) struct Comer {
    door: Door,
    grant: Option<Grant>,
}

impl Comer {
    /// Whoever sent a request, by its path.
    ///
    /// # Errors
    /// As [`Door::open`] and [`granted::by_token`].
    pub(super) async fn of(request: &HttpRequest) -> Result<Comer, Error> {
        let Some(token) = token(request)? else {
            return Ok(Comer { door: Door::open(request).await?, grant: None });
        };
        let (door, grant) = granted::by_token(request, token, None).await?;
        Ok(Comer { door, grant: Some(grant) })
    }

    /// How many bytes there are of the object that an upload became, where that used up the token with which somebody comes.
    ///
    /// # Errors
    /// `NoSuchUpload`, of whoever comes without a token too; as [`granted::stored`].
    pub(super) async fn came(request: &HttpRequest, id: Uuid) -> Result<u64, Error> {
        match token(request)? {
            Some(token) => granted::stored(request, token, id).await,
            None => Err(StorageCode::NoSuchUpload.into()),
        }
    }

    /// The same, as he is judged now.
    ///
    /// # Errors
    /// As for a credential that holds no more.
    pub(super) async fn again(self, request: &HttpRequest) -> Result<Comer, Error> {
        let Comer { door, grant } = self;
        let door = match &grant {
            None => door.again(request).await?,
            Some(grant) => granted::again(request, door, grant).await?,
        };
        Ok(Comer { door, grant })
    }

    pub(super) fn door(&self) -> &Door {
        &self.door
    }

    pub(super) fn objects(&self) -> Objects<'_> {
        self.door.objects()
    }

    pub(super) fn is_granted(&self) -> bool {
        self.grant.is_some()
    }

    pub(super) fn right(&self) -> Right {
        Right {
            granted_by: self.grant.as_ref().map(|grant| grant.id),
            is_spent: self.grant.as_ref().is_some_and(|grant| grant.claim().is_some()),
        }
    }

    /// What becomes of an object of the key: as he wishes, or as he was granted.
    pub(super) fn manner(&self, wished: Manner) -> Manner {
        self.grant.as_ref().map_or(wished, Grant::manner)
    }

    /// Where the object will be, as the metadata say. Whoever comes with a token need not say it, and says nothing else.
    ///
    /// # Errors
    /// `MissingParameter`, `InvalidBucketName`, `InvalidKey`; `InvalidUploadSignature` for another place than was granted.
    pub(super) fn place(&self, told: &Told) -> Result<(String, Key), Error> {
        let missing = |name| {
            Error::with(StorageCode::MissingParameter, format!("{name} is missing in Upload-Metadata"))
        };
        let key = told.key.as_deref().map(Key::parse).transpose()?;
        match &self.grant {
            None => {
                let bucket = told.bucket.clone().ok_or_else(|| missing("bucketName"))?;
                Ok((bucket, key.ok_or_else(|| missing("objectName"))?))
            }
            Some(grant) => {
                let others = told.bucket.as_ref().is_some_and(|bucket| *bucket != grant.bucket)
                    || key.is_some_and(|key| key != grant.key);
                if others {
                    return Err(StorageCode::InvalidUploadSignature.into());
                }
                Ok((grant.bucket.clone(), grant.key.clone()))
            }
        }
    }
}
