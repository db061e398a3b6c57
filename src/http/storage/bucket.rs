//! Buckets, for whoever makes them and whoever looks for them.

use actix_web::web::{self, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::door::{self, Door};
use super::{path, shape};
use crate::error::{Error, StorageCode};
use crate::http::reply::Failure;
use crate::model::Bucket;
use crate::objects::admin::Changes;
use crate::objects::bucket::{Order, Wish};

/// Most buckets of one answer.
const MOST: u32 = 10_000;
/// Most media types that a bucket names.
const MOST_TYPES: usize = 100;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    limit: Option<u32>,
    offset: Option<u32>,
    sort_column: Option<String>,
    sort_order: Option<String>,
    search: Option<String>,
}

/// `GET /bucket`
pub(super) async fn all(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let question = web::Query::<Question>::from_query(request.query_string());
    let question = question.map_err(|_| invalid("The query cannot be read"))?.into_inner();
    let order = match question.sort_column.as_deref() {
        None | Some("name" | "id") => Order::Name,
        Some("created_at") => Order::Created,
        Some("updated_at") => Order::Updated,
        Some(_) => return Err(invalid("sortColumn is id, name, created_at or updated_at").into()),
    };
    let descending = match question.sort_order.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(invalid("sortOrder is asc or desc").into()),
    };
    let search = question.search.unwrap_or_default();
    if search.len() > 400 || search.chars().any(char::is_control) {
        return Err(invalid("No bucket is called so").into());
    }
    let limit = match question.limit {
        Some(0) => return Err(invalid("limit is a number from 1 on").into()),
        Some(limit) => limit.min(MOST),
        None => MOST,
    };
    let wish = Wish { search, order, descending, limit, offset: question.offset.unwrap_or(0) };
    let door = Door::open(&request).await?;
    let found = door.objects().buckets(&wish).await?;
    Ok(HttpResponse::Ok().json(found.iter().map(shape::bucket).collect::<Vec<Value>>()))
}

/// `GET /bucket/{id}`
pub(super) async fn one(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let id = path::bucket_alone(&request, "/bucket/")?;
    let door = Door::open(&request).await?;
    let found = door.objects().bucket(&id).await?;
    Ok(HttpResponse::Ok().json(shape::bucket(&found)))
}

/// `POST /bucket`
pub(super) async fn make(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let door = Door::open(&request).await?;
    door.objects().admin()?;
    let (door, body): (Door, Map<String, Value>) = door.and_json(&request, payload, door::MAX_BODY).await?;
    door.objects().admin()?;
    let name = body.get("name").and_then(Value::as_str);
    let Some(id) = body.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).or(name) else {
        return Err(Error::with(StorageCode::MissingParameter, "A bucket needs a name").into());
    };
    match body.get("type").and_then(Value::as_str) {
        None | Some("STANDARD") => {}
        Some(_) => return Err(invalid("Buckets of this type are not supported").into()),
    }
    let changes = changes(&body)?;
    let bucket = Bucket {
        id: id.to_owned(),
        public: changes.public.unwrap_or(false),
        max_size: changes.max_size.flatten(),
        accept: changes.accept.unwrap_or_default(),
        quota: None,
    };
    door.objects().make_bucket(&bucket).await?;
    Ok(HttpResponse::Ok().json(json!({ "name": bucket.id })))
}

/// `PUT /bucket/{id}`
pub(super) async fn change(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Failure> {
    let id = path::bucket_alone(&request, "/bucket/")?;
    let door = Door::open(&request).await?;
    door.objects().admin()?;
    let (door, body): (Door, Map<String, Value>) = door.and_json(&request, payload, door::MAX_BODY).await?;
    door.objects().change_bucket(&id, &changes(&body)?).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Successfully updated" })))
}

/// `DELETE /bucket/{id}`
pub(super) async fn remove(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let id = path::bucket_alone(&request, "/bucket/")?;
    let door = Door::open(&request).await?;
    door.objects().remove_bucket(&id).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Successfully deleted" })))
}

/// `POST /bucket/{id}/empty`
pub(super) async fn empty(request: HttpRequest) -> Result<HttpResponse, Failure> {
    let id = path::bucket_between(&request, "/bucket/", "/empty")?;
    let door = Door::open(&request).await?;
    door.objects().empty_bucket(&id).await?;
    Ok(HttpResponse::Ok().json(json!({ "message": "Successfully emptied" })))
}

/// What a body says of a bucket. `null` takes a limit away, and what is not named stays.
fn changes(body: &Map<String, Value>) -> Result<Changes, Error> {
    let public = match body.get("public") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(public)) => Some(*public),
        Some(_) => return Err(invalid("public is true or false")),
    };
    let max_size = match body.get("file_size_limit") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(Value::Number(size)) => Some(Some(size.as_u64().ok_or_else(no_size)?)),
        Some(Value::String(size)) => Some(Some(bytes(size).ok_or_else(no_size)?)),
        Some(_) => return Err(no_size()),
    };
    let accept = match body.get("allowed_mime_types") {
        None => None,
        Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(types)) if types.len() <= MOST_TYPES => {
            let types = types.iter().map(|one| one.as_str().map(|one| one.trim().to_ascii_lowercase()));
            Some(
                types
                    .collect::<Option<_>>()
                    .ok_or_else(|| invalid("allowed_mime_types is a list of texts"))?,
            )
        }
        Some(_) => return Err(invalid("allowed_mime_types is a list of at most 100 texts")),
    };
    Ok(Changes { public, max_size, accept })
}

/// `20MB`: the units of clients are powers of a thousand, and stand without a space or behind one.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    count.parse::<u64>().ok()?.checked_mul(unit)
}

fn no_size() -> Error {
    invalid("file_size_limit is a number of bytes, or a text as 20MB")
}

fn invalid(sentence: &'static str) -> Error {
    Error::with(StorageCode::InvalidParameter, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_texts_with_a_unit() {
        for (text, size) in [
            ("20MB", Some(20_000_000)),
            ("20 mb", Some(20_000_000)),
            ("1GB", Some(1_000_000_000)),
            ("500KB", Some(500_000)),
            ("7", Some(7)),
            ("7B", Some(7)),
            ("0", Some(0)),
            ("", None),
            ("MB", None),
            ("1.5MB", None),
            ("-1", None),
            ("1TB", None),
            ("99999999999999999999", None),
            ("99999999999999GB", None),
        ] {
            assert_eq!(bytes(text), size, "{text:?}");
        }
    }

    #[test]
    fn null_takes_a_limit_away_and_what_is_not_named_stays() {
        let read = |text: &str| changes(&serde_json::from_str(text).unwrap());
        assert_eq!(read("{}").unwrap(), Changes::default());
        let cleared = read(r#"{"file_size_limit": null, "allowed_mime_types": null}"#).unwrap();
        assert_eq!(cleared, Changes { public: None, max_size: Some(None), accept: Some(Vec::new()) });
        for body in [
            r#"{"public": 1}"#,
            r#"{"file_size_limit": -1}"#,
            r#"{"file_size_limit": 1.5}"#,
            r#"{"file_size_limit": {}}"#,
            r#"{"allowed_mime_types": "image/png"}"#,
            r#"{"allowed_mime_types": [1]}"#,
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
