//! `/_/mail`: the letters that `dev` keeps instead of sending them, for a look and for tests.
//!
//! Whoever reads it can sign in as anybody. So it is there in `dev` only, for this machine only, and not for pages of
//! other origins that a browser on this machine has open: neither under a name of theirs that leads here, nor by fetching.

use std::sync::Arc;

use actix_web::http::Uri;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use minijinja::Environment;
use serde::{Deserialize, Serialize};

use super::reply::Failure;
use super::routes::{no_such_method, reading};
use crate::app::App;
use crate::auth::mail::Kept;
use crate::auth::settings::Settings;
use crate::error::{Code, Error};

/// Where the page is.
pub const PATH: &str = "/_/mail";

/// The page runs nothing and loads nothing from elsewhere.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A letter may be anybody's HTML: it is shown as a mail program would, in an origin of its own.
const LETTER_POLICY: &str = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; frame-ancestors 'self'";

/// The routes.
pub(super) fn configure(cfg: &mut web::ServiceConfig) {
    cfg.service(
        web::resource(PATH)
            .route(web::get().to(page))
            .route(web::head().to(page))
            .route(web::delete().to(clear))
            .default_service(web::to(no_such_method)),
    )
    .service(reading("/_/mail.json", list))
    .service(reading("/_/mail.css", style))
    .service(
        web::resource("/_/mail/clear")
            .route(web::post().to(clear_and_look))
            .default_service(web::to(no_such_method)),
    )
    .service(reading("/_/mail/{id}.html", letter));
}

/// What is asked of the page and the list.
#[derive(Deserialize)]
struct Asked {
    /// Letters to this address only.
    to: Option<String>,
    /// The letter that is read.
    letter: Option<u64>,
}

/// What the page shows.
#[derive(Serialize)]
struct Shown {
    letters: Vec<Kept>,
    read: Option<Kept>,
    to: Option<String>,
    sends: bool,
}

/// The settings, for whoever may look. To everybody else there is no such path.
fn let_in(request: &HttpRequest, app: &App) -> Result<Arc<Settings>, Error> {
    let settings = app.desk().settings().map_err(|_| Error::new(Code::Path))?;
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let at_home = host.is_some_and(|host| is_local(&format!("http://{host}")));
    let invited = headers.get(header::ORIGIN).is_none_or(|origin| origin.to_str().is_ok_and(is_local));
    let near = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    // What a proxy on this machine passes on comes from anywhere.
    let itself = !headers.contains_key(header::X_FORWARDED_FOR) && !headers.contains_key(header::FORWARDED);
    if settings.is_dev && near && itself && at_home && invited {
        Ok(settings)
    } else {
        Err(Error::new(Code::Path))
    }
}

/// Whether an address is one of this machine by its name alone.
fn is_local(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// An answer that tells nobody where it came from: it holds what signs somebody in.
fn answer(policy: &'static str) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)))
        .insert_header((header::REFERRER_POLICY, "no-referrer"));
    answer
}

fn asked(request: &HttpRequest) -> Asked {
    // Whatever else the query says is nothing to the mailbox.
    web::Query::<Asked>::from_query(request.query_string())
        .map_or(Asked { to: None, letter: None }, web::Query::into_inner)
}

/// `GET /_/mail`.
async fn page(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let settings = let_in(&request, &app)?;
    let Asked { to, letter } = asked(&request);
    let to = to.filter(|to| !to.trim().is_empty());
    let caught = app.desk().mailer().caught();
    let shown = Shown {
        letters: caught.letters(to.as_deref()),
        read: letter.and_then(|id| caught.letter(id)),
        to,
        sends: settings.relay.is_some(),
    };
    // The name's end is what makes the engine escape.
    let html = Environment::new()
        .render_named_str("page.html", include_str!("page.html"), shown)
        .map_err(Error::internal)?;
    Ok(answer(PAGE_POLICY).content_type("text/html; charset=utf-8").body(html))
}

/// `GET /_/mail.json?to=ADDRESS`: newest first.
async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let_in(&request, &app)?;
    Ok(answer(PAGE_POLICY).json(app.desk().mailer().caught().letters(asked(&request).to.as_deref())))
}

/// `GET /_/mail/ID.html`: the letter itself.
async fn letter(
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    let_in(&request, &app)?;
    let letter = id.parse().ok().and_then(|id| app.desk().mailer().caught().letter(id));
    let letter = letter.ok_or_else(|| Error::new(Code::Path))?;
    // Links lead out of the frame.
    let html = letter.html.replacen("<head>", "<head><base target=\"_blank\">", 1);
    Ok(answer(LETTER_POLICY).content_type("text/html; charset=utf-8").body(html))
}

/// `DELETE /_/mail`.
async fn clear(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let_in(&request, &app)?;
    app.desk().mailer().caught().clear();
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /_/mail/clear`: the page's button.
async fn clear_and_look(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let_in(&request, &app)?;
    app.desk().mailer().caught().clear();
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, PATH)).finish())
}

/// `GET /_/mail.css`.
async fn style(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Failure> {
    let_in(&request, &app)?;
    Ok(answer(PAGE_POLICY).content_type("text/css; charset=utf-8").body(include_str!("mail.css")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_at_home() {
        for home in
            ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000", "http://LOCALHOST"]
        {
            assert!(is_local(home), "{home}");
        }
        for away in [
            "http://localhost.evil.test",
            "http://evil.test",
            "http://127.0.0.1.evil.test:8000",
            "http://10.0.0.1",
            "http://localhost@evil.test",
            "null",
            "",
            "http://",
        ] {
            assert!(!is_local(away), "{away}");
        }
    }
}
