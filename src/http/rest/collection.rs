//! GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS on `/rest/v1/{collection}`.

use std::rc::Rc;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};

use super::headers::{self, Accepted, Media};
use super::{answer, explain};
use crate::app::{App, Worker};
use crate::catalog::{Catalog, Limits};
use crate::error::{Code, Error};
use crate::http::principal::{Caller, caller_now, holds_secret_key};
use crate::http::reply::Failure;
use crate::http::{body, reply};
use crate::model::Action;
use crate::policy::Permit;
use crate::query::body::{Body, Format};
use crate::query::parse::{self, Bounds};
use crate::query::plan::{Context, DeletePlan, InsertOptions, InsertPlan, ReadPlan, UpdatePlan, WritePlan};
use crate::query::preferences::{Preferences, Return};
use crate::query::request::Node;
use crate::read::{self, Database};
use crate::records::explain::Wanted;
use crate::records::{self, Written};

/// `GET` and `HEAD`.
pub(super) async fn read(
    request: HttpRequest,
    caller: Caller,
    app: web::Data<App>,
    collection: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let catalog = app.catalog()?;
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let mut asked = Asked::of(&request, &catalog.limits)?;
    if *request.method() == Method::GET
        && let Some(window) = headers::range(&request).map(parse::range).transpose()?.flatten()
    {
        window.narrow(&mut asked.node)?;
    }
    let plan = ReadPlan::new(context, &collection, &asked.node)?;
    if let Some(wanted) = asked.explain {
        let explained =
            records::explain::read(app.pool(), context, &plan, asked.preferences.count, wanted).await?;
        return Ok(explain::answer(&explained, wanted, asked.media, asked.start(StatusCode::OK))?);
    }
    let worker = worker(&request)?;
    let database = Database { lanes: worker.lanes(), pool: app.pool() };
    let page = read::page(database, context, &plan, asked.preferences.count).await?;
    let offset = plan.node.offset();
    let status = match answer::page_status(&page, offset) {
        Ok(status) => status,
        Err(error) => {
            let mut refusal =
                reply::render(&error, crate::http::request_id::of(&request), reply::Dialect::Rest);
            let range = format!("*/{}", page.total.unwrap_or(0));
            if let Ok(value) = header::HeaderValue::from_str(&range) {
                refusal.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return Ok(refusal);
        }
    };
    // HEAD answers with the same headers; actix leaves its body out.
    let bytes = answer::body(&plan.node, &page.rows, asked.media)?;
    let range = answer::content_range(offset, page.rows.len() as u64, page.total);
    Ok(asked
        .start(status)
        .insert_header((header::CONTENT_TYPE, asked.media.content_type()))
        .insert_header((header::CONTENT_RANGE, range))
        .insert_header((header::CONTENT_LOCATION, answer::content_location(&collection, asked.parameters)))
        .body(bytes))
}

/// `POST`: one record or many, or an upsert.
pub(super) async fn create(
    request: HttpRequest,
    caller: Caller,
    app: web::Data<App>,
    collection: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let catalog = app.catalog()?;
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let asked = Asked::of(&request, &catalog.limits)?;
    // Who may not create at all is told before his body is read.
    context.permit(&collection, Action::Create)?;
    let sent = Asked::sent(&request, payload, &catalog.limits).await?;
    let (caller, catalog) = (caller_now(&request).await?, app.catalog()?);
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let permit = context.permit(&collection, Action::Create)?;
    let body = sent.parse(context, &permit)?;
    let represented = asked.represented();
    let options = asked.insert_options()?;
    let node = represented.then_some(&asked.node);
    let keys_only = Node { select: key_items(&catalog, permit.collection()), ..Node::default() };
    let located = asked.preferences.returning == Some(Return::HeadersOnly)
        && body.single
        && !context.hides_key(permit.collection());
    let node = if located { Some(&keys_only) } else { node };
    let plan = WritePlan::Insert(InsertPlan::new(
        context,
        &collection,
        &body,
        &options,
        (node, asked.media.singular()),
    )?);
    if let Some(explained) = asked.explained(&app, context, &plan).await? {
        return Ok(explained);
    }
    let written = asked.write(&request, &app, context, &plan).await?;
    let status = match written.inserted {
        Some(0) if written.affected > 0 => StatusCode::OK,
        Some(_) | None => StatusCode::CREATED,
    };
    let mut response = asked.start_written(status, &app, &written);
    let total = asked.preferences.count.map(|_| written.affected);
    response.insert_header((header::CONTENT_RANGE, answer::content_range(0, 0, total)));
    match plan.represented() {
        Some(node) if located => {
            if let [row] = &written.rows[..] {
                let key = read::Layout::of(node).object(row)?;
                if let Some(place) = answer::location(&collection, &key) {
                    response.insert_header((header::LOCATION, place));
                }
            }
            Ok(response.finish())
        }
        Some(node) => {
            let bytes = answer::body(node, &written.rows, asked.media)?;
            Ok(response.insert_header((header::CONTENT_TYPE, asked.media.content_type())).body(bytes))
        }
        None => Ok(response.finish()),
    }
}

/// `PUT`: one whole record under its key.
pub(super) async fn put(
    request: HttpRequest,
    caller: Caller,
    app: web::Data<App>,
    collection: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let catalog = app.catalog()?;
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let asked = Asked::of(&request, &catalog.limits)?;
    context.permit(&collection, Action::Create)?;
    let sent = Asked::sent(&request, payload, &catalog.limits).await?;
    let (caller, catalog) = (caller_now(&request).await?, app.catalog()?);
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let permit = context.permit(&collection, Action::Create)?;
    let body = sent.parse(context, &permit)?;
    let answer = (asked.represented(), asked.media.singular());
    let options = asked.insert_options()?;
    let plan =
        WritePlan::Insert(InsertPlan::put(context, &collection, &asked.node, &body, &options, answer)?);
    if let Some(explained) = asked.explained(&app, context, &plan).await? {
        return Ok(explained);
    }
    let written = asked.write(&request, &app, context, &plan).await?;
    let status = match (written.inserted, plan.represented()) {
        (Some(inserted), _) if inserted > 0 => StatusCode::CREATED,
        (Some(_) | None, Some(_)) => StatusCode::OK,
        (Some(_) | None, None) => StatusCode::NO_CONTENT,
    };
    let mut response = asked.start_written(status, &app, &written);
    match plan.represented() {
        Some(node) => {
            let bytes = answer::body(node, &written.rows, asked.media)?;
            Ok(response.insert_header((header::CONTENT_TYPE, asked.media.content_type())).body(bytes))
        }
        None => Ok(response.finish()),
    }
}

/// `PATCH`: the records that the filter names.
pub(super) async fn update(
    request: HttpRequest,
    caller: Caller,
    app: web::Data<App>,
    collection: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Failure> {
    let catalog = app.catalog()?;
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let asked = Asked::of(&request, &catalog.limits)?;
    context.permit(&collection, Action::Update)?;
    let sent = Asked::sent(&request, payload, &catalog.limits).await?;
    let (caller, catalog) = (caller_now(&request).await?, app.catalog()?);
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let permit = context.permit(&collection, Action::Update)?;
    let body = sent.parse(context, &permit)?;
    let options = InsertOptions { columns: asked.columns.clone(), ..InsertOptions::default() };
    let answer = (asked.represented(), asked.media.singular());
    let plan =
        WritePlan::Update(UpdatePlan::new(context, &collection, &asked.node, &body, &options, answer)?);
    changed(&request, &app, context, plan, &asked, true).await
}

/// `DELETE`: the records that the filter names.
pub(super) async fn delete(
    request: HttpRequest,
    caller: Caller,
    app: web::Data<App>,
    collection: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let catalog = app.catalog()?;
    let context = Context { catalog: &catalog, principal: &caller.0 };
    let asked = Asked::of(&request, &catalog.limits)?;
    let answer = (asked.represented(), asked.media.singular());
    let plan = WritePlan::Delete(DeletePlan::new(context, &collection, &asked.node, answer)?);
    changed(&request, &app, context, plan, &asked, false).await
}

/// Runs an update or a delete and answers: 200 with the representation, else 204.
async fn changed(
    request: &HttpRequest,
    app: &App,
    context: Context<'_>,
    plan: WritePlan,
    asked: &Asked,
    ranged: bool,
) -> Result<HttpResponse, Failure> {
    let plan = plan.with_max_affected(asked.preferences.max_affected);
    if let Some(explained) = asked.explained(app, context, &plan).await? {
        return Ok(explained);
    }
    let written = asked.write(request, app, context, &plan).await?;
    let total = asked.preferences.count.map(|_| written.affected);
    let range = answer::content_range(0, if ranged { written.affected } else { 0 }, total);
    let Some(node) = plan.represented() else {
        return Ok(asked
            .start_written(StatusCode::NO_CONTENT, app, &written)
            .insert_header((header::CONTENT_RANGE, range))
            .finish());
    };
    let bytes = answer::body(node, &written.rows, asked.media)?;
    Ok(asked
        .start_written(StatusCode::OK, app, &written)
        .insert_header((header::CONTENT_RANGE, range))
        .insert_header((header::CONTENT_TYPE, asked.media.content_type()))
        .body(bytes))
}

/// `OPTIONS` that is no preflight: what may be done here, whoever asks.
pub(super) async fn options() -> HttpResponse {
    super::allowed("OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE")
}

/// Methods that are none of the dialect's.
pub(super) async fn other(request: HttpRequest) -> Result<HttpResponse, Failure> {
    Err(Failure(Error::with(Code::Method, format!("Unsupported HTTP method: {}", request.method()))))
}

/// A body as it came.
struct Sent {
    format: Format,
    bytes: web::Bytes,
}

impl Sent {
    fn parse(&self, context: Context<'_>, permit: &Permit) -> Result<Body, Error> {
        let limits = &context.catalog.limits;
        match self.format {
            Format::Json => Body::parse(&self.bytes, limits),
            format @ (Format::Csv | Format::Form) => {
                Body::of_texts(format, &self.bytes, limits, &context.kinds(permit))
            }
        }
    }
}

/// What a request asks for apart from its body.
struct Asked {
    node: Node,
    media: Media,
    explain: Option<Wanted>,
    preferences: Preferences,
    /// The schema was named.
    profile: bool,
    columns: Option<Vec<String>>,
    on_conflict: Option<Vec<String>>,
    /// The decoded query string.
    parameters: Vec<(String, String)>,
}

impl Asked {
    fn of(request: &HttpRequest, limits: &Limits) -> Result<Asked, Error> {
        let profile = headers::schema(request)?;
        let Accepted { media, explain } = headers::accepted(request, || holds_secret_key(request))?;
        let preferences = headers::preferences(request)?;
        let parameters = parse::parameters(request.query_string())?;
        let node = parse::read(&parameters, &Bounds::from(limits))?;
        let parameter =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let columns = parameter("columns").map(parse::columns).transpose()?;
        let on_conflict = parameter("on_conflict").map(parse::on_conflict).transpose()?;
        Ok(Asked { node, media, explain, preferences, profile, columns, on_conflict, parameters })
    }

    fn start(&self, status: StatusCode) -> HttpResponseBuilder {
        answer::start(status, &self.preferences, self.profile)
    }

    /// Runs a write, and holds its answer against the number of records that was asked for.
    async fn write(
        &self,
        request: &HttpRequest,
        app: &App,
        context: Context<'_>,
        plan: &WritePlan,
    ) -> Result<Written, Error> {
        let worker = worker(request)?;
        let database = Database { lanes: worker.lanes(), pool: app.pool() };
        // Without a stream there is nothing that a position would be of.
        let positioned = self.preferences.cursor && app.feed().position().is_some();
        let written = records::write(database, context, plan, positioned).await?;
        self.count_is_right(&written)?;
        Ok(written)
    }

    /// As [`Asked::start`], with the place in the stream of changes by which the write is told, if that was asked.
    fn start_written(&self, status: StatusCode, app: &App, written: &Written) -> HttpResponseBuilder {
        let cursor = written.position.and_then(|position| app.feed().expect(position));
        let Some(cursor) = cursor else { return self.start(status) };
        let mut preferences = self.preferences.clone();
        preferences.applied.push("cursor".to_owned());
        let mut response = answer::start(status, &preferences, self.profile);
        response.insert_header((answer::CURSOR, cursor.to_string()));
        response
    }

    /// What a write would do, if that is asked for instead of the write.
    async fn explained(
        &self,
        app: &App,
        context: Context<'_>,
        plan: &WritePlan,
    ) -> Result<Option<HttpResponse>, Error> {
        let Some(wanted) = self.explain else { return Ok(None) };
        let explained = records::explain::write(app.pool(), context, plan, wanted).await?;
        explain::answer(&explained, wanted, self.media, self.start(StatusCode::OK)).map(Some)
    }

    /// Reads the body, within the limits. Credentials, roles and the project may have changed when it has come: whoever
    /// acts on it judges them anew.
    async fn sent(request: &HttpRequest, payload: web::Payload, limits: &Limits) -> Result<Sent, Error> {
        let format = headers::format(request)?;
        Ok(Sent { format, bytes: body::read(request, payload, limits.body).await? })
    }

    fn represented(&self) -> bool {
        self.preferences.returning == Some(Return::Representation)
    }

    /// One record was asked for, so one must have been written: more than one were not written at all.
    fn count_is_right(&self, written: &Written) -> Result<(), Error> {
        match usize::try_from(written.affected) {
            Ok(found) if self.media.singular() && found != 1 => Err(answer::not_singular(found)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn insert_options(&self) -> Result<InsertOptions, Error> {
        Ok(InsertOptions {
            columns: self.columns.clone(),
            missing_default: self.preferences.missing_default,
            resolution: self.preferences.resolution,
            on_conflict: self.on_conflict.clone(),
        })
    }
}

fn worker(request: &HttpRequest) -> Result<Rc<Worker>, Error> {
    request
        .app_data::<Rc<Worker>>()
        .cloned()
        .ok_or_else(|| Error::internal("the server was built without its Worker"))
}

/// The primary key as `select` items, for `Location`.
fn key_items(catalog: &Catalog, id: crate::model::CollectionId) -> Vec<crate::query::request::Item> {
    let collection = catalog.collection(id);
    collection
        .primary_key
        .iter()
        .map(|field| crate::query::request::Item::Field {
            path: crate::query::request::Path::field(collection.field(*field).name.as_str()),
            alias: None,
            cast: None,
        })
        .collect()
}
