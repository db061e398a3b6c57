//! Uploads that come in pieces and may be gone on with after anything. What is acknowledged is durable, and no object is
//! seen before all of it is there and was judged by the rights of that moment.
//!
//! The row of an upload tells how far it is, and is written after the content is: it may tell of less than lies there and
//! never of more. An upload whose content is complete and of which this process or another died before it became an
//! object is finished by whoever asks for it next.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Objects;
use super::blobs::{BlobFault, Progress, Received, Rehash};
use super::key::Key;
use super::upload::{Manner, Terms, Upload};
use super::version::Version;
use crate::db::Row;
use crate::error::{Code, Error, StorageCode};
use crate::model::Kind;
use crate::sql::Sql;

/// How long an upload may be gone on with.
const LIFE: &str = "interval '24 h'";
/// So many bytes of one request are made durable together: what comes later and is lost has to be sent again.
const STRETCH: u64 = 64 << 20;
/// Uploads that somebody may have unfinished in a bucket.
const UNFINISHED: i64 = 100;
/// Bytes at the beginning of content that tell what it is.
const HEAD: usize = 4 << 10;

/// By what right somebody comes with an upload: he who began it, and nobody else, goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// The signed upload that he has the token of.
    pub granted_by: Option<Uuid>,
    /// It is over with this upload.
    pub is_spent: bool,
}

/// An upload that is under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumable {
    pub id: Uuid,
    /// Its length is known where the sender has told it.
    pub upload: Upload,
    progress: Progress,
    /// What the sender said of it, as he wrote it.
    pub told: Option<String>,
    /// Seconds since the epoch.
    pub expires: i64,
    right: Right,
}

impl Resumable {
    /// How many bytes are durable.
    pub fn offset(&self) -> u64 {
        self.progress.offset
    }

    /// All of its content is there.
    pub fn is_whole(&self) -> bool {
        self.upload.length == Some(self.progress.offset)
    }

    /// Under which its content lies, and will.
    fn version(&self) -> Version {
        Version::from(self.id)
    }
}

/// What there is of an upload.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    UnderWay(Box<Resumable>),
    /// It is an object of so many bytes.
    Done(u64),
}

impl Objects<'_> {
    /// Begins an upload that [`Objects::admit`] found nothing against.
    ///
    /// # Errors
    /// `NoSuchBucket`; 429 where the caller has too many; 503 where the database cannot be reached.
    pub async fn begin(
        &self,
        upload: Upload,
        told: Option<String>,
        right: Right,
    ) -> Result<Resumable, Error> {
        let id = Uuid::from(Version::new());
        let text = |text: &Option<String>| text.clone();
        let mut sql = Sql::new();
        sql.raw(
            "insert into storage.uploads (id, version, kind, bucket, name, principal, upsert, mime, cache_control, metadata, \
             size, told, granted_by, expires_at) select u.id, u.id, 'resumable', ",
        );
        sql.bind_text(&upload.bucket).raw(", ").bind_text(upload.key.as_str());
        sql.raw(", ").bind(Kind::JSON, Some(self.opener().to_string()));
        sql.raw(", ").bind(Kind::BOOLEAN, Some((upload.manner == Manner::Upsert).to_string()));
        sql.raw(", ").bind(Kind::TEXT, text(&upload.mime));
        sql.raw(", ").bind_text(&upload.cache_control);
        sql.raw(", ").bind(Kind::JSON, Some(Value::Object(upload.metadata.clone()).to_string()));
        sql.raw(", ").bind(Kind::BIGINT, upload.length.map(|length| length.to_string()));
        sql.raw(", ").bind(Kind::TEXT, text(&told));
        sql.raw(", ").bind(Kind::UUID, right.granted_by.map(|id| id.to_string()));
        sql.raw(", now() + ").raw(LIFE).raw(" from (select ").bind(Kind::UUID, Some(id.to_string()));
        sql.raw(" as id) as u join storage.buckets b on b.id = ").bind_text(&upload.bucket);
        // So many that nobody needs them at once, and so few that nobody fills the disk with what is never finished.
        sql.raw(" where (select count(*) from storage.uploads o where o.principal = ");
        sql.bind(Kind::JSON, Some(self.opener().to_string()));
        sql.raw(" and o.kind = 'resumable' and o.bucket = b.id and o.expires_at > now()) < ")
            .number(UNFINISHED);
        sql.raw(" returning extract(epoch from expires_at)::bigint");
        let rows = self.write(&sql).await?;
        let Some(expires) = rows.first().and_then(|row| row.integer(0)) else {
            return Err(match self.bucket_row(&upload.bucket).await? {
                None => StorageCode::NoSuchBucket.into(),
                Some(_) => {
                    let sentence = format!("At most {UNFINISHED} uploads of a bucket can be unfinished");
                    Error::with(Code::TooManyRequests, sentence).retry_after(60)
                }
            });
        };
        Ok(Resumable { id, upload, progress: Progress::default(), told, expires, right })
    }

    /// An upload that the caller began by this right.
    ///
    /// # Errors
    /// `NoSuchUpload`: of somebody else's, and of one that is over, too.
    pub async fn under_way(&self, id: Uuid, right: Right) -> Result<Resumable, Error> {
        let mut sql = Sql::new();
        sql.raw(
            "select bucket, name, upsert, mime, cache_control, metadata::text, size, coalesce(progress, '{\"offset\": 0}')::text, \
             told, extract(epoch from expires_at)::bigint from storage.uploads \
             where kind = 'resumable' and expires_at > now() and id = ",
        );
        sql.bind(Kind::UUID, Some(id.to_string()));
        sql.raw(" and principal = ").bind(Kind::JSON, Some(self.opener().to_string()));
        sql.raw(" and granted_by is not distinct from ");
        sql.bind(Kind::UUID, right.granted_by.map(|id| id.to_string()));
        let rows = self.read_by_key(&sql).await?;
        let row = rows.first().ok_or(StorageCode::NoSuchUpload)?;
        read(id, right, row).ok_or_else(|| Error::internal("a row of storage.uploads cannot be read"))
    }

    /// What there is of an upload, be it an object by now.
    ///
    /// # Errors
    /// As [`Objects::under_way`].
    pub async fn standing(&self, id: Uuid, right: Right) -> Result<Standing, Error> {
        match self.under_way(id, right).await {
            Err(error) if error.code == StorageCode::NoSuchUpload.into() => {}
            outcome => return outcome.map(|found| Standing::UnderWay(Box::new(found))),
        }
        // Whoever lost the last answer asks for it. Nobody's objects are told of to nobody, and to whoever has the token of
        // one signed upload not what its granter stores otherwise.
        let owner = self.context.principal.id.filter(|_| right.granted_by.is_none());
        let Some(owner) = owner else { return Err(StorageCode::NoSuchUpload.into()) };
        let mut sql = became(id);
        sql.raw(" and owner = ").bind(Kind::UUID, Some(owner.to_string()));
        self.size(&sql).await.map(Standing::Done)
    }

    /// How many bytes the object has that an upload of this key became, for whoever has shown that it was his: by the token
    /// of a signed upload, which that has used up, so that nobody can be judged by it any more.
    ///
    /// # Errors
    /// As [`Objects::under_way`].
    pub async fn stored(&self, id: Uuid, bucket: &str, key: &Key) -> Result<u64, Error> {
        let mut sql = became(id);
        sql.raw(" and bucket = ").bind_text(bucket).raw(" and name = ").bind_text(key.as_str());
        self.size(&sql).await
    }

    async fn size(&self, sql: &Sql) -> Result<u64, Error> {
        let size = self.read_by_key(sql).await?.first().and_then(|row| row.integer(0));
        size.and_then(|size| u64::try_from(size).ok()).ok_or(StorageCode::NoSuchUpload.into())
    }

    /// Notes how long an upload is that was begun without saying so.
    ///
    /// # Errors
    /// `InvalidRequest` where another length was told before, or more is there; `EntityTooLarge`; `NoSuchUpload`.
    pub async fn tell_length(&self, found: &mut Resumable, length: u64, terms: &Terms) -> Result<(), Error> {
        match found.upload.length {
            Some(known) if known == length => return Ok(()),
            Some(_) => {
                let message = "Upload-Length was told before, and is another one";
                return Err(Error::with(StorageCode::InvalidRequest, message));
            }
            None if length < found.offset() => {
                let message = "Upload-Length is less than what is there";
                return Err(Error::with(StorageCode::InvalidRequest, message));
            }
            None => terms.fits(length)?,
        }
        let mut sql = Sql::new();
        sql.raw("update storage.uploads set size = ").bind(Kind::BIGINT, Some(length.to_string()));
        sql.raw(" where size is null and id = ").bind(Kind::UUID, Some(found.id.to_string()));
        sql.raw(" returning 1");
        if self.write(&sql).await?.is_empty() {
            return Err(StorageCode::NoSuchUpload.into());
        }
        found.upload.length = Some(length);
        Ok(())
    }

    /// Takes more of an upload's content, for whoever has its turn. What came before `content` failed stays.
    ///
    /// # Errors
    /// Those of the content itself; `EntityTooLarge`, `StorageFull`, `StorageUnavailable`; `NoSuchUpload` where it was given
    /// up meanwhile.
    pub async fn append(
        &self,
        found: &mut Resumable,
        terms: &Terms,
        content: impl Stream<Item = Result<Bytes, Error>>,
    ) -> Result<(), Error> {
        let _passage = self.traffic.come()?;
        let most = found.upload.length.unwrap_or(terms.limit);
        let mut content = std::pin::pin!(content);
        let mut ended = Ok(false);
        while let Ok(false) = ended {
            let mut offset = found.offset();
            let until = offset.saturating_add(STRETCH);
            let mut appending = self.blobs.resume(found.version(), found.progress.clone()).await?;
            while offset < until {
                match content.next().await {
                    Some(Ok(piece)) => {
                        offset = offset.saturating_add(piece.len() as u64);
                        if offset > most {
                            ended = Err(StorageCode::EntityTooLarge.into());
                            break;
                        }
                        appending.write(piece).await?;
                    }
                    Some(Err(error)) => {
                        ended = Err(error);
                        break;
                    }
                    None => {
                        ended = Ok(true);
                        break;
                    }
                }
            }
            let progress = appending.pause().await?;
            self.note(found, progress).await?;
        }
        ended.map(drop)
    }

    /// Writes down how far an upload is.
    async fn note(&self, found: &mut Resumable, progress: Progress) -> Result<(), Error> {
        let written = serde_json::to_value(&progress).map_err(Error::internal)?;
        let mut sql = Sql::new();
        sql.raw("update storage.uploads set progress = ").bind(Kind::JSON, Some(written.to_string()));
        sql.raw(" where id = ").bind(Kind::UUID, Some(found.id.to_string()));
        // Whoever lost his turn must not write over what came after him. What is over is being cleared away.
        sql.raw(" and expires_at > now() and coalesce((progress ->> 'offset')::bigint, 0) = ");
        sql.bind(Kind::BIGINT, Some(found.offset().to_string())).raw(" returning 1");
        if self.write(&sql).await?.is_empty() {
            return Err(StorageCode::NoSuchUpload.into());
        }
        found.progress = progress;
        Ok(())
    }

    /// Makes an object of an upload whose content is all there, for whoever has its turn. Where it is refused for good, the
    /// upload is over too.
    ///
    /// # Errors
    /// As [`Objects::settle`] and [`Terms::take`].
    pub async fn complete(&self, found: Resumable, terms: &Terms) -> Result<(), Error> {
        let finished = match self.blobs.resume(found.version(), found.progress.clone()).await {
            Ok(appending) => appending.finish().await,
            Err(fault) => Err(fault),
        };
        let received = match finished {
            Ok(received) => received,
            // It was finished by somebody who came no further.
            Err(BlobFault::NotFound(_)) => self.finished(&found).await?,
            Err(fault) => return Err(fault.into()),
        };
        let claim = found.right.granted_by.filter(|_| found.right.is_spent).unwrap_or(found.id);
        let (version, id) = (found.version(), found.id);
        let settled = match terms.take(&found.upload, version, received) {
            Ok(stored) => self.settle(&found.upload, stored, Some(claim)).await.map(drop),
            Err(error) => Err(error),
        };
        match settled {
            Err(error) if error.code.status() < 500 => {
                // The answer to whoever made an object of it was lost, or nobody knew whether it was committed.
                if self.has_object(version).await? {
                    return Ok(());
                }
                self.delete_upload(id).await?;
                self.forget(version).await;
                Err(error)
            }
            settled => settled,
        }
    }

    /// Some object has this content.
    async fn has_object(&self, version: Version) -> Result<bool, Error> {
        let mut sql = Sql::new();
        sql.raw("select 1 from storage.objects where version = ");
        sql.bind(Kind::UUID, Some(version.to_string()));
        Ok(!self.read_by_key(&sql).await?.is_empty())
    }

    /// What is known of content that is finished, read once more.
    async fn finished(&self, found: &Resumable) -> Result<Received, Error> {
        let mut content = self.blobs.read(found.version(), 0..found.offset()).await?;
        let (mut digest, mut head) = (Rehash::like("-"), Vec::new());
        while let Some(piece) = content.next().await {
            let piece = piece?;
            let wanted = piece.len().min(HEAD - head.len());
            head.extend_from_slice(&piece[..wanted]);
            digest.update(&piece);
        }
        Ok(Received { size: found.offset(), etag: digest.etag(), head: Bytes::from(head) })
    }

    /// Ends an upload for good, for whoever has its turn.
    ///
    /// # Errors
    /// 503 where the database cannot be reached.
    pub async fn give_up(&self, found: Resumable) -> Result<(), Error> {
        // The row first: without it nobody goes on, and content without a row is swept away.
        self.delete_upload(found.id).await?;
        if let Err(fault) = self.blobs.discard(found.version(), &found.progress).await {
            tracing::debug!(%fault, "content of an upload that was given up stays until it is swept away");
        }
        Ok(())
    }

    async fn delete_upload(&self, id: Uuid) -> Result<(), Error> {
        let mut sql = Sql::new();
        sql.raw("delete from storage.uploads where id = ").bind(Kind::UUID, Some(id.to_string()));
        self.write(&sql).await.map(drop)
    }

    /// Who began an upload, as its row has it.
    fn opener(&self) -> Value {
        json!({ "id": self.context.principal.id, "role": self.context.principal.role })
    }
}

/// Selects the size of the object that an upload became, up to a further condition that follows.
fn became(id: Uuid) -> Sql {
    let mut sql = Sql::new();
    sql.raw("select size from storage.objects where version = ").bind(Kind::UUID, Some(id.to_string()));
    sql
}

fn read(id: Uuid, right: Right, row: &Row) -> Option<Resumable> {
    let text = |at| row.text(at).map(str::to_owned);
    Some(Resumable {
        id,
        upload: Upload {
            bucket: text(0)?,
            key: Key::parse(row.text(1)?).ok()?,
            mime: text(3),
            cache_control: text(4)?,
            metadata: serde_json::from_str(row.text(5)?).ok()?,
            manner: if row.boolean(2)? { Manner::Upsert } else { Manner::Create },
            length: row.integer(6).and_then(|size| u64::try_from(size).ok()),
        },
        progress: serde_json::from_str(row.text(7)?).ok()?,
        told: text(8),
        expires: row.integer(9)?,
        right,
    })
}
