//! Who comes for objects, and with what.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Payload;
use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;

use crate::app::{App, Worker};
use crate::catalog::Catalog;
use crate::error::{Error, StorageCode};
use crate::http::body;
use crate::http::principal::{self, Caller};
use crate::model::Principal;
use crate::objects::Objects;
use crate::query::plan::Context;
use crate::read::Database;

/// Longest JSON, in bytes.
pub(super) const MAX_BODY: usize = 64 << 10;
/// Longest list of keys, in bytes: a thousand of the longest, each of whose characters may be escaped.
const MAX_KEYS: usize = 8 << 20;
/// Longest time in which it must have come.
const WITHIN: Duration = Duration::from_secs(60);

/// What a request for objects is judged with. It holds one version of the project from its first look-up to its answer.
pub(super) struct Door {
    app: web::Data<App>,
    worker: Rc<Worker>,
    catalog: Arc<Catalog>,
    caller: Caller,
    /// What is answered depends on who asks.
    judges: bool,
}

impl Door {
    /// Whoever shows a credential that holds, or nothing where that is allowed.
    ///
    /// # Errors
    /// `InvalidJWT`, `AccessDenied` without any credential; 503 while the server is starting.
    pub(super) async fn open(request: &HttpRequest) -> Result<Door, Error> {
        let caller = principal::caller(request).await?;
        principal::admit(request, &caller)?;
        Door::of(request, caller, true)
    }

    /// Anybody at all: what is public, and what a signature opens.
    ///
    /// # Errors
    /// 503 while the server is starting.
    pub(super) fn open_to_all(request: &HttpRequest) -> Result<Door, Error> {
        Door::of(request, Caller(Arc::new(Principal::anonymous())), false)
    }

    /// Somebody whose credential was noted before, and holds.
    ///
    /// # Errors
    /// 503 while the server is starting.
    pub(super) fn open_for(request: &HttpRequest, caller: Caller) -> Result<Door, Error> {
        Door::of(request, caller, true)
    }

    fn of(request: &HttpRequest, caller: Caller, judges: bool) -> Result<Door, Error> {
        let (Some(app), Some(worker)) =
            (request.app_data::<web::Data<App>>(), request.app_data::<Rc<Worker>>())
        else {
            return Err(Error::internal("the server was built without its App or its Worker"));
        };
        let catalog = app.catalog()?;
        Ok(Door { app: app.clone(), worker: Rc::clone(worker), catalog, caller, judges })
    }

    /// Whoever shows a credential that holds, and the JSON that he sends, which may be empty. He is judged as he is when it
    /// has come.
    ///
    /// # Errors
    /// As [`Door::open`]; `InvalidRequest` for what is no such JSON, `EntityTooLarge`.
    pub(super) async fn with_json<T: DeserializeOwned>(
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<(Door, T), Error> {
        Door::open(request).await?.and_json(request, payload, MAX_BODY).await
    }

    /// The same for a list of keys, which may be long.
    ///
    /// # Errors
    /// As [`Door::with_json`].
    pub(super) async fn with_keys<T: DeserializeOwned>(
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<(Door, T), Error> {
        Door::open(request).await?.and_json(request, payload, MAX_KEYS).await
    }

    /// The JSON that whoever stands at this door sends.
    ///
    /// # Errors
    /// As [`Door::with_json`].
    pub(super) async fn and_json<T: DeserializeOwned>(
        self,
        request: &HttpRequest,
        payload: Payload,
        limit: usize,
    ) -> Result<(Door, T), Error> {
        let bytes = body::read_within(request, payload, limit, WITHIN).await?;
        let door = self.again(request).await?;
        let text: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
        let read = serde_json::from_slice(text).map_err(|fault| {
            Error::with(StorageCode::InvalidRequest, format!("The body does not fit: {fault}"))
        })?;
        Ok((door, read))
    }

    /// The same door for the caller as he is judged now, by the project of now: a body may have been long in coming.
    ///
    /// # Errors
    /// As [`Door::open`].
    pub(super) async fn again(self, request: &HttpRequest) -> Result<Door, Error> {
        let caller = principal::caller_now(request).await?;
        Door::of(request, caller, self.judges)
    }

    /// Another caller may get another answer.
    pub(super) fn looks_at_credentials(&self) -> bool {
        self.judges
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    /// The use cases, for this caller.
    pub(super) fn objects(&self) -> Objects<'_> {
        self.objects_for(&self.caller)
    }

    /// The use cases, for somebody whose rights were noted before.
    pub(super) fn objects_for<'a>(&'a self, principal: &'a Principal) -> Objects<'a> {
        Objects {
            context: Context { catalog: &self.catalog, principal },
            database: Database { lanes: self.worker.lanes(), pool: self.app.pool() },
            blobs: &self.app.store().blobs,
            traffic: &self.app.store().traffic,
        }
    }
}
