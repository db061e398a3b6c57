//! Buckets, and the collection of the objects that are stored in them.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Bound, Collection, DefaultValue, Field, FieldId, Kind, Name, Schema, Value};

/// A declared place for objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name, which stands in URLs.
    pub id: String,
    /// Whoever knows an object's key may read it.
    pub public: bool,
    /// Bytes that one object may have. `None`: as many as the server takes.
    pub max_size: Option<u64>,
    /// Media types that objects may have: `image/png`, `image/*`. Empty: all.
    pub accept: Vec<String>,
    /// Bytes that all objects together may have. `None`: as many as there is room for.
    pub quota: Option<u64>,
}

/// The declared buckets by their names.
pub type Buckets = BTreeMap<String, Bucket>;

/// Why a text is no name of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BucketFault {
    #[error("the name of a bucket has from 1 to 100 characters")]
    Size,
    #[error(
        "the name of a bucket has letters and digits of ASCII, `_`, `-`, `.` and spaces; `.` and spaces stand between others"
    )]
    Characters,
    #[error("the name of a declared bucket has from 3 to 63 characters")]
    DeclaredSize,
    #[error(
        "the name of a declared bucket has lower-case letters, digits, `-` and `.`, and starts and ends with a letter or a digit"
    )]
    DeclaredCharacters,
    #[error("the name of a declared bucket has no two `.` side by side and is no address")]
    DeclaredForm,
}

impl Bucket {
    /// The bucket takes objects of this media type, which is written without parameters and in lower case.
    pub fn accepts(&self, mime: &str) -> bool {
        self.accept.is_empty()
            || self.accept.iter().any(|one| {
                let family = one.strip_suffix('*').filter(|family| family.ends_with('/'));
                one == "*/*" || one == mime || family.is_some_and(|family| mime.starts_with(family))
            })
    }

    /// A name that the admin API may give. Existing clients make buckets with capital letters and `_`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_name(name: &str) -> Result<(), BucketFault> {
        if name.is_empty() || name.len() > 100 {
            return Err(BucketFault::Size);
        }
        let known = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
        if !name.chars().all(known) || name.starts_with(['.', ' ']) || name.ends_with(['.', ' ']) {
            return Err(BucketFault::Characters);
        }
        Ok(())
    }

    /// A name that a project may give: one that every S3 client takes (Amazon S3 User Guide, "General purpose bucket
    /// naming rules").
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_declared(name: &str) -> Result<(), BucketFault> {
        if !(3..=63).contains(&name.len()) {
            return Err(BucketFault::DeclaredSize);
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let known = name.chars().all(|c| plain(c) || c == '-' || c == '.');
        if !known || !name.starts_with(plain) || !name.ends_with(plain) {
            return Err(BucketFault::DeclaredCharacters);
        }
        if name.contains("..") || name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(BucketFault::DeclaredForm);
        }
        Ok(())
    }

    /// A media type or a family of them, as an `accept` writes it: `image/png`, `image/*`, `*/*`; in lower case and
    /// without parameters (RFC 9110, 8.3.1).
    pub fn is_media_range(text: &str) -> bool {
        let token = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&-^_.+".contains(&b))
        };
        match text.split_once('/') {
            Some(("*", "*")) => true,
            Some((kind, "*")) => token(kind),
            Some((kind, rest)) => token(kind) && token(rest),
            None => false,
        }
    }
}

/// The collection `storage.objects`: what rules of buckets speak of. The table has further columns, which say where the
/// content lies and are nobody's business.
pub(super) fn objects() -> Collection {
    let field = |name: &str, kind: Kind, default: Option<DefaultValue>| Field {
        name: Name::joined(&[name]),
        kind,
        required: true,
        default,
        min: None,
        max: None,
        pattern: None,
        values: None,
        relation: None,
        schema: None,
        renamed_from: None,
    };
    let literal = |value: Value| Some(DefaultValue::Literal(value));
    let fields = vec![
        field("id", Kind::UUID, Some(DefaultValue::UuidV7)),
        field("bucket", Kind::TEXT, None),
        Field { min: Some(Bound::Size(1)), max: Some(Bound::Size(1_024)), ..field("name", Kind::TEXT, None) },
        // No relation: an object outlives whoever stored it.
        Field { required: false, ..field("owner", Kind::UUID, None) },
        Field { min: Some(Bound::Value(Value::Integer(0))), ..field("size", Kind::BIGINT, None) },
        field("mime", Kind::TEXT, None),
        field("etag", Kind::TEXT, None),
        field("cache_control", Kind::TEXT, literal(Value::text("no-cache"))),
        field("metadata", Kind::JSON, literal(Value::Json(json!({})))),
        field("created_at", Kind::TIMESTAMP, Some(DefaultValue::Now)),
        field("updated_at", Kind::TIMESTAMP, Some(DefaultValue::Now)),
    ];
    Collection {
        name: Name::joined(&["objects"]),
        schema: Schema::Storage,
        fields,
        primary_key: vec![FieldId(0)],
        unique: vec![vec![FieldId(1), FieldId(2)]],
        indexes: Vec::new(),
        checks: Vec::new(),
        search: None,
        realtime: true,
        timestamps: true,
        renamed_from: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_accepts_types_and_families_of_them() {
        let bucket = |accept: &[&str]| Bucket {
            id: "files".to_owned(),
            public: false,
            max_size: None,
            accept: accept.iter().map(|word| (*word).to_owned()).collect(),
            quota: None,
        };
        for (accept, mime, yes) in [
            (&[][..], "text/html", true),
            (&["image/*"][..], "image/png", true),
            (&["image/*"][..], "imagery/png", false),
            (&["image/*"][..], "text/image/png", false),
            (&["image/png", "text/csv"][..], "text/csv", true),
            (&["image/png"][..], "image/png2", false),
            (&["image/png"][..], "image/pn", false),
            (&["*/*"][..], "application/octet-stream", true),
        ] {
            assert_eq!(bucket(accept).accepts(mime), yes, "{accept:?} {mime}");
        }
        for (text, yes) in [
            ("image/*", true),
            ("image/svg+xml", true),
            ("*/*", true),
            ("*/png", false),
            ("image", false),
            ("image/", false),
            ("image/p*", false),
            ("Image/png", false),
            ("text/plain;charset=utf-8", false),
            ("a/b/c", false),
        ] {
            assert_eq!(Bucket::is_media_range(text), yes, "{text}");
        }
    }

    #[test]
    fn names_of_buckets_are_safe_in_urls() {
        let long = "a".repeat(100);
        for (name, made, declared) in [
            ("avatars", true, true),
            ("a-b.c", true, true),
            ("ab", true, false),
            ("My Bucket_1", true, false),
            (long.as_str(), true, false),
            ("", false, false),
            (" avatars", false, false),
            ("avatars ", false, false),
            ("avatars.", false, false),
            (".avatars", false, false),
            ("..", false, false),
            ("-avatars", true, false),
            ("a..b", true, false),
            ("10.0.0.1", true, false),
            ("a/b", false, false),
            ("a\\b", false, false),
            ("a\0b", false, false),
            ("ünder", false, false),
            ("a'b", false, false),
        ] {
            assert_eq!(Bucket::check_name(name).is_ok(), made, "{name}");
            assert_eq!(Bucket::check_declared(name).is_ok(), declared, "{name}");
        }
    }
}
