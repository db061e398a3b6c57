//! What answers look like.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::model::text::time::{Style, write_timestamp};
use crate::objects::bucket::Found;
use crate::objects::find::Object;

/// Seconds between 1970 and 2000, where Postgres begins to count.
const EPOCH: i64 = 946_684_800;

/// The answer to an upload.
pub(super) fn uploaded(object: &Object) -> Value {
    json!({ "Id": object.id, "Key": format!("{}/{}", object.bucket, object.name) })
}

/// What is known of one object.
pub(super) fn info(object: &Object) -> Value {
    json!({
        "id": object.id, "name": object.name, "version": object.version.to_string(), "bucket_id": object.bucket,
        "size": object.size, "content_type": object.mime, "cache_control": object.cache_control,
        "etag": quoted(&object.etag), "metadata": object.metadata,
        "last_modified": iso(object.updated), "created_at": iso(object.created),
    })
}

/// An object as its row: what was copied.
pub(super) fn copied(object: &Object) -> Value {
    let mut shape = deleted(object);
    if let Some(members) = shape.as_object_mut() {
        members.insert("user_metadata".to_owned(), Value::Object(object.metadata.clone()));
    }
    shape
}

/// An object as its row: what was deleted, which may be much.
pub(super) fn deleted(object: &Object) -> Value {
    let mut shape = json!(listed(object, &object.name));
    if let Some(members) = shape.as_object_mut() {
        members.insert("bucket_id".to_owned(), object.bucket.as_str().into());
        members.insert("owner".to_owned(), json!(object.owner));
        members.insert("owner_id".to_owned(), json!(object.owner));
        members.insert("version".to_owned(), object.version.to_string().into());
    }
    shape
}

/// An entry of a list. It is written as it is, since a list has many. A folder has a name: objects lie below, and nothing
/// else is known of it.
#[derive(Serialize)]
pub(super) struct Listed<'o> {
    name: &'o str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'o str>,
    id: Option<Uuid>,
    updated_at: Option<String>,
    created_at: Option<String>,
    /// Reading leaves no trace.
    last_accessed_at: Option<String>,
    metadata: Option<Content<'o>>,
}

/// What a list says of content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'o> {
    e_tag: String,
    size: u64,
    mimetype: &'o str,
    cache_control: &'o str,
    last_modified: String,
    content_length: u64,
    http_status_code: u16,
}

/// An object in a list, under the name that it has there.
pub(super) fn listed<'o>(object: &'o Object, name: &'o str) -> Listed<'o> {
    let updated = iso(object.updated);
    let metadata = Content {
        e_tag: quoted(&object.etag),
        size: object.size,
        mimetype: &object.mime,
        cache_control: &object.cache_control,
        last_modified: updated.clone(),
        content_length: object.size,
        http_status_code: 200,
    };
    Listed {
        name,
        key: None,
        id: Some(object.id),
        updated_at: Some(updated.clone()),
        created_at: Some(iso(object.created)),
        last_accessed_at: Some(updated),
        metadata: Some(metadata),
    }
}

/// An object in a list that says whole keys.
pub(super) fn keyed(object: &Object) -> Listed<'_> {
    Listed { key: Some(&object.name), ..listed(object, &object.name) }
}

/// A folder in a list.
pub(super) fn folder(name: &str) -> Listed<'_> {
    Listed {
        name,
        key: None,
        id: None,
        updated_at: None,
        created_at: None,
        last_accessed_at: None,
        metadata: None,
    }
}

/// A bucket.
pub(super) fn bucket(found: &Found) -> Value {
    let bucket = &found.bucket;
    let accept = Some(&bucket.accept).filter(|accept| !accept.is_empty());
    json!({
        "id": bucket.id, "name": bucket.id, "owner": found.owner.map_or_else(String::new, |id| id.to_string()),
        "public": bucket.public, "type": "STANDARD", "file_size_limit": bucket.max_size,
        "allowed_mime_types": accept, "created_at": iso(found.created), "updated_at": iso(found.updated),
    })
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// `2026-01-02T03:04:05.678Z`
fn iso(millis: i64) -> String {
    let seconds = millis.div_euclid(1_000) - EPOCH;
    let mut text = Vec::with_capacity(32);
    write_timestamp(&mut text, seconds.saturating_mul(1_000_000), Style::Json);
    let text = String::from_utf8_lossy(&text);
    format!("{}.{:03}Z", text.trim_end_matches("+00:00"), millis.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_after_the_second() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (946_684_800_000, "2000-01-01T00:00:00.000Z"),
            (1_767_323_045_678, "2026-01-02T03:04:05.678Z"),
            (1_767_323_045_070, "2026-01-02T03:04:05.070Z"),
        ] {
            assert_eq!(iso(millis), text);
        }
    }
}
