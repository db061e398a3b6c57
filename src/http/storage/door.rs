//! Who comes for objects, and with what.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::{HttpRequest, web};

use crate::app::{App, Worker};
use crate::catalog::Catalog;
use crate::error::Error;
use crate::http::principal::{self, Caller};
use crate::model::Principal;
use crate::objects::Objects;
use crate::query::plan::Context;
use crate::read::Database;

/// What a request for objects is judged with. It holds one version of the project from its first look-up to its answer.
pub(super) struct Door {
    app: web::Data<App>,
    worker: Rc<Worker>,
    catalog: Arc<Catalog>,
    caller: Caller,
}

impl Door {
    /// Whoever shows a credential that holds, or nothing where that is allowed.
    ///
    /// # Errors
    /// `InvalidJWT`, `AccessDenied` without any credential; 503 while the server is starting.
    pub(super) async fn open(request: &HttpRequest) -> Result<Door, Error> {
        let caller = principal::caller(request).await?;
        principal::admit(request, &caller)?;
        Door::of(request, caller)
    }

    /// Anybody at all: what is public, and what a signature opens.
    ///
    /// # Errors
    /// 503 while the server is starting.
    pub(super) fn open_to_all(request: &HttpRequest) -> Result<Door, Error> {
        Door::of(request, Caller(Arc::new(Principal::anonymous())))
    }

    fn of(request: &HttpRequest, caller: Caller) -> Result<Door, Error> {
        let (Some(app), Some(worker)) =
            (request.app_data::<web::Data<App>>(), request.app_data::<Rc<Worker>>())
        else {
            return Err(Error::internal("the server was built without its App or its Worker"));
        };
        let catalog = app.catalog()?;
        Ok(Door { app: app.clone(), worker: Rc::clone(worker), catalog, caller })
    }

    /// The same door for the caller as he is judged now: a body may have been long in coming.
    ///
    /// # Errors
    /// As [`Door::open`].
    pub(super) async fn again(self, request: &HttpRequest) -> Result<Door, Error> {
        let caller = principal::caller_now(request).await?;
        Ok(Door { caller, ..self })
    }

    pub(super) fn app(&self) -> &App {
        &self.app
    }

    pub(super) fn caller(&self) -> &Principal {
        &self.caller
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
        }
    }
}
