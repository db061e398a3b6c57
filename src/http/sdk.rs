//! `/sdk/`: the client for pages, as one module, and where this server is.

use std::io::{self, Write as _};
use std::rc::Rc;

use actix_web::http::header::{self, ContentEncoding, Encoding, Header as _, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::conditional;
use super::pages::content_tag;
use super::principal::verify;
use super::reply::Failure;
use super::routes::reading;
use super::server::Options;
use crate::app::{App, Worker};
use crate::error::{Code, Error};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The routes.
pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(reading("/sdk/index.js", module))
        .service(reading("/sdk/index.js.map", map))
        .service(reading("/sdk/here.js", here));
}

/// The client as it is served, made once.
pub(super) struct Sdk {
    module: Asset,
    map: Asset,
}

impl Sdk {
    pub(super) fn new() -> io::Result<Sdk> {
        Ok(Sdk {
            module: Asset::new(include_bytes!("../../sdk-ts/bundle/index.js"), SCRIPT)?,
            map: Asset::new(include_bytes!("../../sdk-ts/bundle/index.js.map"), "application/json")?,
        })
    }
}

/// A file of ours, plain and compressed, each with its entity tag.
struct Asset {
    kind: &'static str,
    plain: (Bytes, String),
    packed: (Bytes, String),
}

impl Asset {
    fn new(content: &'static [u8], kind: &'static str) -> io::Result<Asset> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(content)?;
        let tag = content_tag(content);
        let packed = (packed.finish()?.into(), format!("{tag}-gzip"));
        Ok(Asset { kind, plain: (Bytes::from_static(content), tag), packed })
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let packs = takes_gzip(request);
        let (bytes, tag) = if packs { &self.packed } else { &self.plain };
        let mut response = HttpResponse::Ok();
        open_to_all(&mut response)
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .insert_header((header::ETAG, format!("\"{tag}\"")))
            .insert_header((header::VARY, "accept-encoding"));
        if conditional::is_known(request.headers(), tag) {
            return response.status(actix_web::http::StatusCode::NOT_MODIFIED).finish();
        }
        if packs {
            response.insert_header((header::CONTENT_ENCODING, "gzip"));
        }
        response.insert_header((header::CONTENT_TYPE, self.kind)).body(bytes.clone())
    }
}

/// Pages of every origin may take it, also those that let nothing else in.
fn open_to_all(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response.insert_header((RESOURCE_POLICY, HeaderValue::from_static("cross-origin")))
}

fn takes_gzip(request: &HttpRequest) -> bool {
    let gzip = Encoding::Known(ContentEncoding::Gzip);
    let asked = header::AcceptEncoding::parse(request).ok();
    asked.and_then(|asked| asked.negotiate([gzip.clone(), Encoding::identity()].iter())) == Some(gzip)
}

/// `GET /sdk/index.js`
async fn module(request: HttpRequest, sdk: web::Data<Sdk>) -> HttpResponse {
    sdk.module.answer(&request)
}

/// `GET /sdk/index.js.map`
async fn map(request: HttpRequest, sdk: web::Data<Sdk>) -> HttpResponse {
    sdk.map.answer(&request)
}

/// `GET /sdk/here.js`: the address of this server, as the browser found it, and the key that may stand in a page.
///
/// Only for projects with pages: whoever else wants the key has to be told it.
async fn here(
    request: HttpRequest,
    app: web::Data<App>,
    options: web::Data<Options>,
) -> Result<HttpResponse, Failure> {
    if !options.public.is_dir() {
        return Err(Failure(
            Error::new(Code::Path).hint("It is there for the pages of projects that have a folder `public`"),
        ));
    }
    let keys = app.keys();
    let key = keys.publishable();
    let Some(worker) = request.app_data::<Rc<Worker>>() else {
        return Err(Failure(Error::internal("the server was built without its Worker")));
    };
    if verify(&app, worker, key).is_err() {
        return Err(Failure(
            Error::with(Code::Path, "The publishable key is revoked")
                .hint("`basewright keys PROJECT rotate` makes another"),
        ));
    }
    let key = serde_json::to_string(key).map_err(Error::internal)?;
    let text = format!(
        "export const url = new URL('..', import.meta.url).href.replace(/\\/$/, '')\nexport const key = {key}\n"
    );
    let mut response = HttpResponse::Ok();
    Ok(open_to_all(&mut response).insert_header((header::CONTENT_TYPE, SCRIPT)).body(text))
}
