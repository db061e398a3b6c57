//! Broadcasts over HTTP, for those who have no socket.

use std::collections::HashMap;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{PREFIX, refusal, refused};
use crate::app::App;
use crate::error::Error;
use crate::http::body;
use crate::http::principal::caller;
use crate::realtime::access;
use crate::realtime::hub::{Cast, TopicName, What};
use crate::realtime::limits;
use crate::realtime::protocol::quoted;

/// Several broadcasts in one request.
#[derive(Deserialize)]
struct Messages<'a> {
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    topic: String,
    event: String,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    private: bool,
}

/// `POST /realtime/v1/api/broadcast`: all of the messages, or none.
pub(super) async fn several(
    request: HttpRequest,
    app: web::Data<App>,
    payload: web::Payload,
) -> HttpResponse {
    let bytes = match body::read(&request, payload, limits::MESSAGE).await {
        Ok(bytes) => bytes,
        Err(error) => return refused(&error),
    };
    let Messages { messages } = match serde_json::from_slice(&bytes) {
        Ok(messages) => messages,
        Err(error) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, &format!("the body: {error}")),
    };
    let mut casts = Vec::with_capacity(messages.len());
    for message in messages {
        let given = message.payload.map_or("{}", RawValue::get);
        let what = What::Text(text(&message.event, given));
        match judge(&request, &app, &message.topic, message.private, &message.event, given.len(), what).await
        {
            Ok(cast) => casts.push(cast),
            Err(response) => return response,
        }
    }
    publish(&app, casts).await
}

/// `POST /realtime/v1/api/broadcast/{topic}/events/{event}`: the body is the payload, JSON or bytes.
pub(super) async fn one(
    request: HttpRequest,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    query: web::Query<HashMap<String, String>>,
    payload: web::Payload,
) -> HttpResponse {
    let (topic, event) = path.into_inner();
    let private = match query.get("private").map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, "private is neither true nor false"),
    };
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = match kind.as_str() {
        "application/json" => true,
        "application/octet-stream" => false,
        _ => {
            let sentence = "the body is neither application/json nor application/octet-stream";
            return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence);
        }
    };
    let bytes = match body::read(&request, payload, limits::BROADCAST).await {
        Ok(bytes) => bytes,
        Err(error) => return refused(&error),
    };
    let size = bytes.len();
    let what = if json {
        match serde_json::from_slice::<&RawValue>(&bytes) {
            Ok(payload) => What::Text(text(&event, payload.get())),
            Err(error) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, &format!("the body: {error}")),
        }
    } else {
        What::Binary { event: event.clone(), meta: String::new(), payload: bytes }
    };
    match judge(&request, &app, &topic, private, &event, size, what).await {
        Ok(cast) => publish(&app, vec![cast]).await,
        Err(response) => response,
    }
}

fn text(event: &str, payload: &str) -> Bytes {
    Bytes::from(format!(r#"{{"type":"broadcast","event":{},"payload":{payload}}}"#, quoted(event)))
}

/// What is to be said, if the caller may say it there.
async fn judge(
    request: &HttpRequest,
    app: &App,
    topic: &str,
    private: bool,
    event: &str,
    size: usize,
    what: What,
) -> Result<Cast, HttpResponse> {
    let unprocessable = |sentence: &str| Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, sentence));
    if topic.is_empty() || PREFIX.len() + topic.len() > limits::TOPIC {
        return unprocessable("a topic has between 1 and 246 bytes");
    }
    if event.is_empty() || event.len() > limits::TOPIC {
        return unprocessable("an event has between 1 and 255 bytes");
    }
    if size > limits::BROADCAST {
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "a payload is longer than 256 KiB"));
    }
    let who = async {
        let caller = caller(request).await?;
        Ok::<_, Error>((caller, app.catalog()?))
    };
    let (caller, catalog) = who.await.map_err(|error| refused(&error))?;
    let rights = match access::join(app.pool(), &catalog, &caller, topic, private).await {
        Ok(rights) if rights.write => rights,
        Ok(_) => {
            let sentence =
                format!("Unauthorized: You do not have permissions to write to this Channel topic: {topic}");
            return Err(refusal(StatusCode::FORBIDDEN, &sentence));
        }
        Err(access::Refusal::Failed(error)) => return Err(refused(&error)),
        Err(reason) => return Err(refusal(StatusCode::FORBIDDEN, &reason.to_string())),
    };
    let name = TopicName { private: rights.private, name: format!("{PREFIX}{topic}").into() };
    Ok(Cast::new(name, None, what))
}

async fn publish(app: &App, casts: Vec<Cast>) -> HttpResponse {
    for cast in casts {
        app.hub().room().await;
        app.hub().publish(cast);
    }
    HttpResponse::Accepted().finish()
}
