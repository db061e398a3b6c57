//! The handshake: who may have a socket.

use std::rc::Rc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{self, HandshakeError};

use super::upgrade::TakeOver;
use super::{Sockets, refusal, refused};
use crate::auth::resolve::{self, Credentials};
use crate::auth::token::{Holder, KeyRole};
use crate::error::{Code, Error};
use crate::http::peer;
use crate::http::principal::{one, verify};
use crate::http::server::Options;
use crate::realtime::protocol::Version;

/// The headers in which a key may come.
const KEY_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("apikey")];
/// What is spoken here. Browsers can set no header but the one that offers this, and may offer the key beside it.
const PROTOCOL: &str = "phoenix";
const KEY_OFFERED: &str = "apikey.";

/// `GET /realtime/v1/websocket?apikey=…&vsn=…`
pub(super) async fn open(
    request: HttpRequest,
    query: web::Query<Vec<(String, String)>>,
    options: web::Data<Options>,
) -> HttpResponse {
    let Some(sockets) = request.app_data::<Rc<Sockets>>().cloned() else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the server was built without its sockets");
    };
    let mut response = match ws::handshake_with_protocols(&request, &[PROTOCOL]) {
        Ok(response) => response,
        Err(error) => return no_handshake(error),
    };
    let (Ok(vsn), Ok(key_given)) = (once(&query, "vsn"), once(&query, "apikey")) else {
        return refusal(StatusCode::BAD_REQUEST, "apikey or vsn is given twice");
    };
    let Some(version) = Version::parse(vsn) else {
        return refusal(StatusCode::BAD_REQUEST, "vsn is neither 1.0.0 nor 2.0.0");
    };
    if sockets.app.is_draining() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down");
    }
    let key = match key(&request, key_given) {
        Ok(key) => key,
        Err(error) => return refused(&error),
    };
    let credentials = Credentials { bearer: None, api_key: key };
    let found =
        resolve::identify(credentials, options.keyless, |token| verify(&sockets.app, &sockets.worker, token));
    let key = match found {
        // Addresses are kept in logs and histories.
        Ok(Some(key)) if key_given.is_some() && key.holder == (Holder::Key { role: KeyRole::Service }) => {
            return refused(&secret_in_address());
        }
        Ok(key) => key,
        Err(error) => return refused(&error),
    };
    let Some(seat) = sockets.hub.admit(request.peer_addr().map(|_| peer::address(&request))) else {
        return refusal(
            StatusCode::TOO_MANY_REQUESTS,
            "ConnectionRateLimitReached: Too many connected users",
        );
    };
    let mut response = response.finish();
    let take_over = TakeOver(Box::new(move |stream, rest| sockets.admit(stream, rest, version, key, seat)));
    response.extensions_mut().insert(take_over);
    response
}

/// The API key: in the query, in a header, or offered beside the protocol.
fn key<'a>(request: &'a HttpRequest, given: Option<&'a str>) -> Result<Option<&'a str>, Error> {
    if given.is_some() {
        return Ok(given);
    }
    for name in &KEY_HEADERS {
        if let Some(key) = one(request.headers(), name)? {
            return Ok(Some(key));
        }
    }
    let offered = one(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL)?;
    Ok(offered.and_then(|offered| offered.split(',').find_map(|one| one.trim().strip_prefix(KEY_OFFERED))))
}

fn secret_in_address() -> Error {
    Error::with(
        Code::Token,
        "The secret key may not stand in an address: send it in the apikey header, or open the socket with the \
         publishable key and send the secret key as the access_token of a join",
    )
}

/// A parameter that may be given once: a proxy before us may have judged the other one.
fn once<'a>(query: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let value = values.next();
    if values.next().is_some() { Err(()) } else { Ok(value) }
}

fn no_handshake(error: HandshakeError) -> HttpResponse {
    match error {
        HandshakeError::NoWebsocketUpgrade | HandshakeError::NoConnectionUpgrade => {
            let mut response = refusal(StatusCode::UPGRADE_REQUIRED, "this path speaks WebSocket");
            response.headers_mut().insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
            response
        }
        error => refusal(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}
