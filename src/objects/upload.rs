//! Storing an object, by whichever door it comes: judged before its content is taken, gathered under a version of its own,
//! and put in force by one statement that judges it whole.

use std::fmt;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use uuid::Uuid;

use super::blobs::{BlobFault, Blobs, Received};
use super::find::{Object, keyed};
use super::key::Key;
use super::version::Version;
use super::{Objects, sniff};
use crate::error::{Code, Error, StorageCode};
use crate::model::Bucket;
use crate::model::{Action, FieldSet, Kind};
use crate::policy::{Decision, Permit};
use crate::sql::{Alias, Sql};

/// What becomes of an object that has the key already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It stays, and the upload is refused.
    Create,
    /// It is replaced, if the rules of updates allow that.
    Upsert,
    /// It is replaced, and there must be one.
    Replace,
}

/// An upload, as its dialect says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    pub bucket: String,
    pub key: Key,
    /// The media type that was declared.
    pub mime: Option<String>,
    /// The header of that name, for whoever reads the object.
    pub cache_control: String,
    pub metadata: Map<String, Value>,
    pub manner: Manner,
    /// Bytes, where they are announced.
    pub length: Option<u64>,
}

/// What a bucket asks of content.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Bytes at most.
    pub limit: u64,
    bucket: Bucket,
}

/// Content that has arrived whole and lasts; no object has it yet.
#[derive(Debug)]
pub struct Stored {
    pub version: Version,
    pub size: u64,
    etag: String,
    mime: String,
    inline: bool,
    /// Of content that nobody comes back for.
    unclaimed: Option<Unclaimed>,
}

/// Content of a version that is one request's own. Dropped, it is removed, unless it was kept.
struct Unclaimed {
    version: Version,
    blobs: Option<Blobs>,
}

impl Unclaimed {
    fn keep(mut self) {
        self.blobs = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let version = self.version;
        // Without a runtime the process is ending; the sweeper of another one finds it.
        if let (Some(blobs), Ok(runtime)) = (self.blobs.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(fault) = blobs.remove(version).await {
                    tracing::debug!(%fault, "content without an object stays until it is swept away");
                }
            });
        }
    }
}

impl fmt::Debug for Unclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)
    }
}

/// How often an upload that another one came before is judged anew.
const ATTEMPTS: usize = 3;

impl Terms {
    /// # Errors
    /// `EntityTooLarge`.
    pub fn fits(&self, size: u64) -> Result<(), Error> {
        if size <= self.limit { Ok(()) } else { Err(StorageCode::EntityTooLarge.into()) }
    }

    /// What arrived whole, if the bucket takes such content.
    ///
    /// # Errors
    /// `InvalidMimeType`, for what is declared and for what is found in its first bytes; `EntityTooLarge`.
    pub fn take(&self, upload: &Upload, version: Version, received: Received) -> Result<Stored, Error> {
        let judged = sniff::judge(upload.mime.as_deref(), &received.head);
        self.suit(received.size, &judged.mime)?;
        let (mime, inline) = (judged.mime, judged.inline);
        Ok(Stored { version, size: received.size, etag: received.etag, mime, inline, unclaimed: None })
    }
}

impl Terms {
    /// The content of another object, copied to a version of its own.
    ///
    /// # Errors
    /// As [`Terms::suits`].
    pub(crate) fn take_again(
        &self,
        object: &Object,
        mime: Option<&str>,
        version: Version,
    ) -> Result<Stored, Error> {
        // What is called something else was not looked into under that name.
        let judged = mime.map(|mime| sniff::judge(Some(mime), &[]));
        let (mime, inline) = judged
            .map_or_else(|| (object.mime.clone(), object.inline), |judged| (judged.mime, judged.inline));
        self.suit(object.size, &mime)?;
        Ok(Stored { version, size: object.size, etag: object.etag.clone(), mime, inline, unclaimed: None })
    }

    /// Whether an object as it is may be in the bucket.
    ///
    /// # Errors
    /// `EntityTooLarge`, `InvalidMimeType`.
    pub(crate) fn suits(&self, object: &Object) -> Result<(), Error> {
        self.suit(object.size, &object.mime)
    }

    fn suit(&self, size: u64, mime: &str) -> Result<(), Error> {
        self.fits(size)?;
        if !self.bucket.accepts(mime) {
            let message = format!("mime type {mime} is not supported");
            return Err(Error::with(StorageCode::InvalidMimeType, message));
        }
        Ok(())
    }
}

impl Objects<'_> {
    /// What a bucket asks of the content of a key.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub(crate) async fn terms(&self, bucket: &str, key: &Key) -> Result<Terms, Error> {
        match self.bucket_row(bucket).await? {
            Some(found) => Ok(self.terms_of(found.bucket, key)),
            None => Err(StorageCode::NoSuchBucket.into()),
        }
    }

    fn terms_of(&self, mut bucket: Bucket, key: &Key) -> Terms {
        let most = self.context.catalog.limits.upload;
        let mut limit = bucket.max_size.unwrap_or(most).min(most);
        if key.is_placeholder() {
            limit = 0;
            bucket.accept.clear();
        }
        Terms { limit, bucket }
    }

    /// Judges an upload as far as it is known before its content: whoever may not store it need not send it.
    ///
    /// # Errors
    /// `NoSuchBucket`, `AccessDenied`, `EntityTooLarge` where the length is announced, `KeyAlreadyExists`, `NoSuchKey` where
    /// one is to be replaced.
    pub async fn admit(&self, upload: &Upload) -> Result<Terms, Error> {
        let rules = Rules::of(self, upload);
        let Some(found) = self.bucket_row(&upload.bucket).await? else {
            return Err(StorageCode::NoSuchBucket.into());
        };
        if rules.is_empty() {
            return Err(match self.decide(Action::Create, &upload.bucket) {
                Decision::Unknown if !found.bucket.public => StorageCode::NoSuchBucket.into(),
                Decision::Permit(_) | Decision::Denied | Decision::Unknown => {
                    StorageCode::AccessDenied.into()
                }
            });
        }
        let terms = self.terms_of(found.bucket, &upload.key);
        if let Some(length) = upload.length {
            terms.fits(length)?;
        }
        self.foresee(upload, &rules).await?;
        Ok(terms)
    }

    /// What can be said of an upload when its content is not known.
    async fn foresee(&self, upload: &Upload, rules: &Rules) -> Result<(), Error> {
        let mut sql = Sql::new();
        let (new, old) = (sql.fresh(), sql.fresh());
        sql.raw("with ").alias(new).raw(" as materialized (");
        self.new_row(&mut sql, upload, None);
        sql.raw(") select ");
        match &rules.create {
            Some(create) if !self.needs_content(create) => self.admits(&mut sql, create, new, None),
            Some(_) => drop(sql.raw("true")),
            None => drop(sql.raw("false")),
        }
        sql.raw(", exists (select 1 from storage.objects ").alias(old).raw(" where ");
        keyed(&mut sql, old, &upload.bucket, &upload.key);
        if upload.manner != Manner::Create {
            sql.raw(" and ");
            self.replaceable(&mut sql, rules, old);
        }
        sql.raw(") from ").alias(new);
        let rows = self.read_by_key(&sql).await?;
        let said = |at| rows.first().and_then(|row| row.boolean(at)) == Some(true);
        let (may_create, is_there) = (said(0), said(1));
        // Whoever may not create it is not told that it is there, and some rules say only when they see the content.
        let is_certain = rules.create.as_ref().is_some_and(|create| !self.needs_content(create));
        match upload.manner {
            Manner::Create if may_create && is_certain && is_there => {
                Err(StorageCode::KeyAlreadyExists.into())
            }
            Manner::Create | Manner::Upsert if may_create => Ok(()),
            Manner::Upsert | Manner::Replace if is_there => Ok(()),
            Manner::Create | Manner::Upsert => Err(StorageCode::AccessDenied.into()),
            Manner::Replace => Err(self.missing(&upload.bucket).await),
        }
    }

    /// Takes content as it comes and gathers it under a version of its own. Given up halfway, nothing of it stays.
    ///
    /// # Errors
    /// Those of the content itself; `EntityTooLarge`, `InvalidMimeType`, `StorageFull`, `StorageUnavailable`; 429
    /// where too many are under way.
    pub async fn receive(
        &self,
        upload: &Upload,
        terms: &Terms,
        content: impl Stream<Item = Result<Bytes, Error>>,
    ) -> Result<Stored, Error> {
        let _passage = self.traffic.come()?;
        let version = Version::new();
        let mut incoming = self.blobs.begin(version).await?;
        let mut content = std::pin::pin!(content);
        let mut size: u64 = 0;
        while let Some(piece) = content.next().await {
            let piece = piece?;
            size = size.saturating_add(piece.len() as u64);
            terms.fits(size)?;
            incoming.write(piece).await?;
        }
        let received = incoming.finish().await?;
        let unclaimed = Some(Unclaimed { version, blobs: Some(self.blobs.clone()) });
        let stored = terms.take(upload, version, received)?;
        Ok(Stored { unclaimed, ..stored })
    }

    /// Makes stored content an object: judges it whole, by the rights of the moment, and puts it in force, in one
    /// statement. `claim` is an upload that was granted before and is over with it.
    ///
    /// # Errors
    /// `AccessDenied`, `KeyAlreadyExists`, `NoSuchKey` where one is to be replaced, `NoSuchUpload` where the claim is no
    /// more, `QuotaExceeded`. The content is removed then, unless nobody can say whether the statement was committed.
    pub async fn settle(
        &self,
        upload: &Upload,
        mut stored: Stored,
        claim: Option<Uuid>,
    ) -> Result<Object, Error> {
        // From here on it may be an object's, whatever becomes of whoever waits for that.
        let is_own = stored.unclaimed.take().map(Unclaimed::keep).is_some();
        let mut outcome = self.put_in_force(upload, &stored, claim).await;
        for _ in 1..ATTEMPTS {
            // Somebody stored one of that key after this one had looked: it is there to be replaced now.
            match &outcome {
                Err(error)
                    if upload.manner == Manner::Upsert
                        && error.code == Code::Storage(StorageCode::KeyAlreadyExists) => {}
                _ => break,
            }
            outcome = self.put_in_force(upload, &stored, claim).await;
        }
        if let Err(error) = &outcome {
            // Where nobody can say whether it was committed, it stays. So it does where an upload that came in pieces is over:
            // it has one content, whoever finishes it, and somebody made an object of that.
            let is_refused = error.code.status() < 500;
            if is_refused && (is_own || error.code != StorageCode::NoSuchUpload.into()) {
                self.forget(stored.version).await;
            }
        }
        outcome
    }

    /// Removes content that no object has. What cannot be removed now is found by the sweeper.
    pub(crate) async fn forget(&self, version: Version) {
        if let Err(fault) = self.blobs.remove(version).await {
            tracing::debug!(%fault, "content without an object stays until it is swept away");
        }
    }

    async fn put_in_force(
        &self,
        upload: &Upload,
        stored: &Stored,
        claim: Option<Uuid>,
    ) -> Result<Object, Error> {
        let rules = Rules::of(self, upload);
        self.noted(rules.create.as_ref().or(rules.update.as_ref()));
        let mut sql = Sql::new();
        let [new, old, changed, claimed, done, made, replaced, row] = std::array::from_fn(|_| sql.fresh());
        sql.raw("with ").alias(new).raw(" as materialized (");
        self.new_row(&mut sql, upload, Some(stored));
        sql.raw(")");
        if let Some(claim) = claim {
            sql.raw(", ").alias(claimed).raw(" as (delete from storage.uploads where id = ");
            sql.bind(Kind::UUID, Some(claim.to_string())).raw(" and expires_at > now() returning 1)");
            // Of an upload that came in pieces and spends a signed one: its content is the object's from now on, and whoever
            // clears away what is over must not find it there.
            sql.raw(", ").alias(done).raw(" as (delete from storage.uploads where version = ");
            sql.bind(Kind::UUID, Some(stored.version.to_string())).raw(" and id <> ");
            sql.bind(Kind::UUID, Some(claim.to_string()));
            sql.raw(" and exists (select 1 from ").alias(claimed).raw("))");
        }
        let claims = |sql: &mut Sql| {
            if claim.is_some() {
                sql.raw(" and exists (select 1 from ").alias(claimed).raw(")");
            }
        };
        let replaces = upload.manner != Manner::Create;
        if replaces {
            sql.raw(", ").alias(old).raw(" as materialized (select ").alias(row).raw(".*, ");
            self.replaceable(&mut sql, &rules, row);
            sql.raw(" as is_replaceable from storage.objects ").alias(row).raw(" where ");
            keyed(&mut sql, row, &upload.bucket, &upload.key);
            sql.raw(" for no key update), ").alias(changed).raw(" as materialized (select ");
            for (at, (column, origin)) in CHANGED.into_iter().enumerate() {
                sql.raw(if at > 0 { ", " } else { "" });
                sql.alias(if origin == Origin::Old { old } else { new }).raw(".").raw(column);
            }
            sql.raw(" from ").alias(old).raw(", ").alias(new).raw("), ").alias(replaced);
            sql.raw(" as (update storage.objects ").alias(row).raw(" set ");
            for (at, (column, _)) in
                CHANGED.into_iter().filter(|(_, origin)| *origin == Origin::New).enumerate()
            {
                sql.raw(if at > 0 { ", " } else { "" })
                    .raw(column)
                    .raw(" = ")
                    .alias(changed)
                    .raw(".")
                    .raw(column);
            }
            sql.raw(" from ").alias(old).raw(", ").alias(changed);
            sql.raw(" where ").alias(row).raw(".id = ").alias(old).raw(".id and ");
            sql.alias(old).raw(".is_replaceable and ");
            match &rules.update {
                Some(update) => self.admits(&mut sql, update, changed, Some(old)),
                None => drop(sql.raw("false")),
            }
            claims(&mut sql);
            sql.raw(" returning ");
            Object::columns(&mut sql, row);
            sql.raw(")");
        }
        sql.raw(", ").alias(made).raw(" as (insert into storage.objects as ").alias(row).raw(" (");
        sql.raw(INSERTED).raw(") select ").raw(INSERTED).raw(" from ").alias(new).raw(" where ");
        match &rules.create {
            Some(create) if upload.manner != Manner::Replace => self.admits(&mut sql, create, new, None),
            Some(_) | None => drop(sql.raw("false")),
        }
        if replaces {
            sql.raw(" and not exists (select 1 from ").alias(old).raw(")");
        }
        claims(&mut sql);
        sql.raw(" returning ");
        Object::columns(&mut sql, row);
        sql.raw(") select ");
        if claim.is_some() {
            sql.raw("exists (select 1 from ").alias(claimed).raw("), ");
        } else {
            sql.raw("true, ");
        }
        if replaces {
            sql.raw("exists (select 1 from ").alias(old).raw(" where is_replaceable)");
        } else {
            sql.raw("false");
        }
        sql.raw(", ").alias(row).raw(".* from (select) as one left join (select * from ").alias(made);
        if replaces {
            sql.raw(" union all select * from ").alias(replaced);
        }
        sql.raw(") as ").alias(row).raw(" on true");

        let rows = self.write(&sql).await?;
        let answer = rows.first().ok_or_else(|| Error::internal("an upload was answered with nothing"))?;
        match Object::of(answer, 2)? {
            Some(object) => Ok(object),
            None if answer.boolean(0) != Some(true) => Err(StorageCode::NoSuchUpload.into()),
            None if upload.manner == Manner::Replace && answer.boolean(1) != Some(true) => {
                Err(self.missing(&upload.bucket).await)
            }
            None => Err(StorageCode::AccessDenied.into()),
        }
    }

    /// Writes a select of the row that an upload makes, as far as it is known.
    fn new_row(&self, sql: &mut Sql, upload: &Upload, stored: Option<&Stored>) {
        let owner = self.context.principal.id;
        sql.raw("select ").bind(Kind::UUID, Some(Uuid::now_v7().to_string())).raw(" as id, ");
        sql.bind_text(&upload.bucket).raw(" as bucket, ");
        sql.bind_text(upload.key.as_str()).raw(" collate \"C\" as name, ");
        sql.bind(Kind::UUID, owner.map(|id| id.to_string())).raw(" as owner, ");
        let size = stored.map(|stored| stored.size).or(upload.length);
        sql.bind(Kind::BIGINT, size.map(|size| size.to_string())).raw(" as size, ");
        sql.bind(Kind::TEXT, stored.map(|stored| stored.mime.clone())).raw(" as mime, ");
        sql.bind(Kind::TEXT, stored.map(|stored| stored.etag.clone())).raw(" as etag, ");
        sql.bind_text(&upload.cache_control).raw(" as cache_control, ");
        let metadata = Value::Object(upload.metadata.clone());
        sql.bind(Kind::JSON, Some(metadata.to_string())).raw(" as metadata, ");
        sql.raw("now() as created_at, now() as updated_at, ");
        sql.bind(Kind::UUID, stored.map(|stored| stored.version.to_string())).raw(" as version, ");
        sql.bind(Kind::BOOLEAN, stored.map(|stored| stored.inline.to_string())).raw(" as inline");
    }

    /// Writes whether the caller may read a stored row and replace it at all.
    fn replaceable(&self, sql: &mut Sql, rules: &Rules, row: Alias) {
        sql.raw("(");
        self.is_readable(sql, rules.read.as_ref(), row);
        sql.raw(" and ");
        match &rules.update {
            Some(update) => self.when(sql, update, row),
            None => drop(sql.raw("false")),
        }
        sql.raw(") is true");
    }

    /// Some rule asks what only the content can tell.
    fn needs_content(&self, permit: &Permit) -> bool {
        let collection = self.context.catalog.collection(self.collection());
        let told: FieldSet =
            ["size", "mime", "etag"].into_iter().filter_map(|name| collection.field_id(name)).collect();
        permit.rules().iter().any(|rule| rule.check.fields().iter().any(|field| told.contains(field)))
    }
}

/// What the caller's rules of a bucket give him for an upload.
struct Rules {
    read: Option<Permit>,
    create: Option<Permit>,
    update: Option<Permit>,
}

impl Rules {
    fn of(objects: &Objects<'_>, upload: &Upload) -> Rules {
        let permit = |action, wanted: bool| {
            if wanted { objects.permit(action, &upload.bucket) } else { None }
        };
        let replaces = upload.manner != Manner::Create;
        Rules {
            read: permit(Action::Read, replaces),
            create: permit(Action::Create, upload.manner != Manner::Replace),
            update: permit(Action::Update, replaces),
        }
    }

    fn is_empty(&self) -> bool {
        self.create.is_none() && self.update.is_none()
    }
}

/// Where a column of a replaced object comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The object stays what it is and whose it is.
    Old,
    New,
}

/// The columns of an object that is replaced.
const CHANGED: [(&str, Origin); 13] = [
    ("id", Origin::Old),
    ("bucket", Origin::Old),
    ("name", Origin::Old),
    ("owner", Origin::Old),
    ("created_at", Origin::Old),
    ("size", Origin::New),
    ("mime", Origin::New),
    ("etag", Origin::New),
    ("cache_control", Origin::New),
    ("metadata", Origin::New),
    ("updated_at", Origin::New),
    ("version", Origin::New),
    ("inline", Origin::New),
];

const INSERTED: &str = "id, bucket, name, owner, size, mime, etag, cache_control, metadata, created_at, updated_at, version, inline";

impl From<BlobFault> for Error {
    fn from(fault: BlobFault) -> Error {
        let code = match &fault {
            BlobFault::Full(..) => StorageCode::StorageFull.into(),
            BlobFault::Unreachable(_) => StorageCode::StorageUnavailable.into(),
            _ => Code::Internal,
        };
        Error::new(code).source(fault)
    }
}
