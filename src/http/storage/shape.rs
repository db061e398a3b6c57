//! What answers look like.

use serde_json::{Value, json};

use crate::objects::find::Object;

/// The answer to an upload.
pub(super) fn uploaded(object: &Object) -> Value {
    json!({ "Id": object.id.to_string(), "Key": format!("{}/{}", object.bucket, object.name) })
}
