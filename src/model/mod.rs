//! The words of the product as types: names, kinds, fields, collections, buckets, values, records,
//! callers.
//!
//! Pure data. Nothing here knows YAML, SQL statements, HTTP or policies.

pub(crate) mod binary;
mod bucket;
mod collection;
mod json;
mod kind;
mod letter;
mod name;
mod principal;
pub mod sign_in;
pub(crate) mod text;
mod value;

pub use binary::Malformed;
pub use bucket::{Bucket, BucketFault, Buckets};

pub use collection::{
    Bound, Check, Collection, CollectionId, Collections, DefaultValue, Field, FieldId, FieldSet, Index,
    IndexColumn, IndexMethod, Inverse, Language, MAX_FIELDS, OnDelete, Relation, RelationTarget, Schema,
    Search,
};
pub use kind::{Kind, Scalar};
pub use letter::Occasion;
pub use name::{Name, NameFault};
pub use principal::{ANON, AUTHENTICATED, Attribute, Principal, SERVICE_ROLE};
pub use value::{Decimal, Interval, Record, Value};

/// What a caller may want to do with a record of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Read,
    Create,
    Update,
    Delete,
}

impl Action {
    pub const ALL: [Action; 4] = [Action::Read, Action::Create, Action::Update, Action::Delete];

    /// The word used in YAML, casbin policies, logs and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
        }
    }
}
