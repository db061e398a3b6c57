//! Objects in a project's tests: what they are given with, and what whoever stores or changes one may say.

use super::cases::Words;
use super::fault::{At, Faults, listed};
use super::read::{Entries, get};
use super::tests::Caller;
use crate::model::{Action, Bucket, CollectionId, Field, FieldId, Schema, Value};

/// What comes with an upload. Who stores it and when is the server's to say.
const SENT: [&str; 6] = ["bucket", "name", "size", "mime", "cache_control", "metadata"];
/// What becomes another one when an object is replaced or moved within its bucket.
const CHANGED: [&str; 5] = ["name", "size", "mime", "cache_control", "metadata"];

/// What an object has that the tests say nothing of, where a field's kind alone would not tell.
pub(super) fn made_up(field: &Field) -> Option<Value> {
    match field.name.as_str() {
        "size" => Some(Value::Integer(0)),
        "mime" => Some(Value::text("application/octet-stream")),
        "etag" => Some(Value::text("0".repeat(64))),
        _ => None,
    }
}

/// The same for one that a case stores: its key is none that is given.
pub(super) fn made_up_anew(field: &Field) -> Option<Value> {
    match field.name.as_str() {
        "name" => Some(Value::text("stored by a case")),
        _ => made_up(field),
    }
}

impl Words<'_> {
    pub(super) fn is_stored(&self, id: CollectionId) -> bool {
        self.collections.get(id).schema == Schema::Storage
    }

    fn stored_field(&self, name: &str) -> Option<FieldId> {
        self.collections.get(self.collections.objects()).field_id(name)
    }

    /// Sees to it that an object is in a bucket that there is, and is one that it takes. Where there is one bucket alone,
    /// it need not be said.
    pub(super) fn in_a_bucket(
        &self,
        values: &mut Vec<(FieldId, Value)>,
        entries: &Entries,
        at: At,
        faults: &mut Faults<'_>,
    ) {
        let Some(field) = self.stored_field("bucket") else { return };
        let said = values.iter().find(|(known, _)| *known == field).map(|(_, value)| value.clone());
        let names = || self.buckets.iter().map(|bucket| bucket.id.as_str());
        let at = get(entries, "bucket").map_or(at, |node| node.at);
        match (said, self.buckets) {
            (Some(Value::Text(name)), buckets) => match buckets.iter().find(|bucket| bucket.id == name) {
                Some(bucket) => self.taken(bucket, values, entries, faults),
                None if self.broken.contains(&name) => {}
                None => faults.unknown(at, "bucket", &name, names()),
            },
            (None, [bucket]) => {
                values.push((field, Value::text(&bucket.id)));
                self.taken(bucket, values, entries, faults);
            }
            (None, _) if get(entries, "bucket").is_none() => {
                let names: Vec<&str> = names().collect();
                faults.hint(
                    at,
                    "an object is in a bucket",
                    format!("say which: `bucket` is one of {}", listed(&names)),
                );
            }
            (Some(_) | None, _) => {}
        }
    }

    /// What a bucket does not take is refused before any rule is asked: it would prove nothing.
    fn taken(
        &self,
        bucket: &Bucket,
        values: &[(FieldId, Value)],
        entries: &Entries,
        faults: &mut Faults<'_>,
    ) {
        for (field, value) in values {
            let fault = match value {
                Value::Integer(size) if Some(*field) == self.stored_field("size") => {
                    let most =
                        bucket.max_size.filter(|most| u64::try_from(*size).is_ok_and(|size| size > *most));
                    most.map(|most| {
                        ("size", format!("`{}` takes objects of at most {most} bytes", bucket.id))
                    })
                }
                Value::Text(mime) if Some(*field) == self.stored_field("mime") && !bucket.accepts(mime) => {
                    let accept: Vec<&str> = bucket.accept.iter().map(String::as_str).collect();
                    Some(("mime", format!("`{}` takes {}", bucket.id, listed(&accept))))
                }
                _ => None,
            };
            if let Some((key, message)) = fault
                && let Some(node) = get(entries, key)
            {
                faults.hint(node.at, message, "the bucket refuses others whatever the rules say");
            }
        }
    }

    /// What an upload or a change says, completed by what the server says.
    pub(super) fn sent_with_object(
        &self,
        action: Action,
        caller: Option<&Caller>,
        values: &mut Vec<(FieldId, Value)>,
        entries: &Entries,
        at: At,
        faults: &mut Faults<'_>,
    ) {
        let allowed: &[&str] = match action {
            Action::Create => &SENT,
            Action::Update => &CHANGED,
            Action::Read | Action::Delete => return,
        };
        for (key, _) in entries {
            let known = self.stored_field(&key.text).is_some();
            if !known || allowed.contains(&key.text.as_str()) {
                continue;
            }
            let (message, hint) = match (action, key.text.as_str()) {
                (Action::Update, "bucket") => (
                    "an object is not changed into one of another bucket".to_owned(),
                    "moving it there asks for a `delete` here and a `create` there".to_owned(),
                ),
                (_, "owner") => {
                    ("whoever stores an object is its owner".to_owned(), "`as` says who that is".to_owned())
                }
                (_, key) => (format!("nobody sends `{key}`"), format!("it takes {}", listed(allowed))),
            };
            faults.hint(key.at, message, hint);
        }
        if action == Action::Create {
            self.in_a_bucket(values, entries, at, faults);
            if let (Some(Caller::User { id, .. }), Some(owner)) = (caller, self.stored_field("owner"))
                && !values.iter().any(|(known, _)| *known == owner)
            {
                values.push((owner, Value::Uuid(*id)));
            }
        }
    }
}
