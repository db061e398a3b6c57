//! `tests:` → cases that can be judged, in memory and against a database alike.
//!
//! ```yaml
//! tests:
//!   given:
//!     users: [ada, bob]                     # bare names stand for fixed uuids
//!     posts: [{ id: p1, author: ada }]      # what is required and missing is generated
//!   cases:
//!     - { as: anon, read: posts/p1, is: denied }
//!     - { as: anon, read: posts, sees: [p2] }
//!     - { as: user:ada, read: posts/p1, is: allowed, hidden: [notes] }
//!     - { as: user:bob+editor, update: posts/p1, with: { title: hi }, is: denied, because: mine }
//!     - { as: service, delete: posts/p1, is: allowed }
//!     - { as: user:bob, subscribe: posts, when_updated: { p1: { status: published } }, sees: insert }
//! ```
//! A caller is `anon`, `service` or `user:NAME`, and `user:NAME+ROLE+ROLE` with granted roles. A record is
//! `COLLECTION/KEY`, and `COLLECTION/KEY,KEY` where the key is several fields.

use std::collections::HashMap;

use uuid::Uuid;

use crate::model::{Action, Collection, CollectionId, FieldId, Name, Principal, Record, Value};

/// Under which bare names become uuids. Fixed for ever: a project's seeds and notes may quote the uuids.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b1d_8e0c_27f4_5c0e_9a63_b6a5_e1f7_0d42);

/// The uuid that a bare name stands for in a project's tests.
pub fn named_uuid(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// The tests of one file: what is given, and what is then asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Tests {
    /// The file, relative to the project's folder.
    pub file: String,
    pub given: Given,
    pub cases: Vec<Case>,
    /// What the file calls the uuids that its bare names stand for. A text that is no name may be among them.
    pub names: HashMap<Uuid, String>,
}

/// What stands in the database before each case. A case's writes are not seen by the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Every user that `users`, a record or a case names.
    pub users: Vec<User>,
    /// Each stands after the records that it refers to, except where records refer to each other in a circle.
    pub records: Vec<GivenRecord>,
}

/// A user of the tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub id: Uuid,
}

/// A record that is there, complete: what the file leaves out was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenRecord {
    pub collection: CollectionId,
    /// One for each field, in the collection's order.
    pub values: Vec<GivenValue>,
}

/// A value of a given record.
#[derive(Clone, Debug, PartialEq)]
pub enum GivenValue {
    Is(Value),
    /// The time at which the tests run (`created_at`, `updated_at` and other defaults of `now()`).
    Now,
}

impl GivenRecord {
    /// The record at a time, in microseconds since 2000-01-01 UTC.
    pub fn record(&self, now: i64) -> Record {
        Record(
            self.values
                .iter()
                .map(|value| match value {
                    GivenValue::Is(value) => value.clone(),
                    GivenValue::Now => Value::Timestamp(now),
                })
                .collect(),
        )
    }

    /// The values of the primary key; `None` if one is the time of the run.
    pub fn key(&self, collection: &Collection) -> Option<Vec<Value>> {
        collection
            .primary_key
            .iter()
            .map(|id| match self.values.get(usize::from(id.0)) {
                Some(GivenValue::Is(value)) => Some(value.clone()),
                Some(GivenValue::Now) | None => None,
            })
            .collect()
    }
}

/// One question and the answer that is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Where it stands in its file, from 1.
    pub line: usize,
    /// `user:bob update posts/p1`: how people name it.
    pub title: String,
    pub caller: Caller,
    pub act: Act,
    pub expect: Expect,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// `anon`: the publishable key.
    Anonymous,
    /// `service`: the secret key.
    Service,
    /// `user:NAME` and `user:NAME+ROLE`: a signed-in person, with the roles granted beyond `authenticated`.
    User {
        name: String,
        id: Uuid,
        roles: Vec<Name>,
        /// What the token says besides. The cases of a project have none of it.
        claims: serde_json::Map<String, serde_json::Value>,
    },
}

impl Caller {
    pub fn principal(&self) -> Principal {
        match self {
            Caller::Anonymous => Principal::anonymous(),
            Caller::Service => Principal::service(),
            Caller::User { id, roles, claims, .. } => {
                let roles: Vec<&str> = roles.iter().map(Name::as_str).collect();
                Principal::user(*id, &roles).with_claims(claims.clone())
            }
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// `read: posts`: all records.
    List { collection: CollectionId },
    /// `read: posts/p1`.
    Read { collection: CollectionId, key: Vec<Value> },
    /// `create: posts, with: {…}`.
    Create {
        collection: CollectionId,
        /// What the caller sends.
        values: Vec<(FieldId, Value)>,
        /// Generated for required fields that have no default and that the case leaves out. Not sent by the
        /// caller: they only make the record complete where a rule's `set` does not.
        filled: Vec<(FieldId, Value)>,
    },
    /// `update: posts/p1, with: {…}`.
    Update { collection: CollectionId, key: Vec<Value>, values: Vec<(FieldId, Value)> },
    /// `delete: posts/p1`.
    Delete { collection: CollectionId, key: Vec<Value> },
    /// `subscribe: posts, when_updated: { p1: {…} }`: somebody else changes a record while the caller listens.
    Subscribe { collection: CollectionId, change: Change },
}

/// What becomes of a record while a caller listens. No policy judges it: the secret key makes the change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `when_created: { p3: {…} }`
    Created {
        /// The key among them.
        values: Vec<(FieldId, Value)>,
        /// Generated for what is required and left out.
        filled: Vec<(FieldId, Value)>,
    },
    /// `when_updated: { p1: {…} }`
    Updated { key: Vec<Value>, values: Vec<(FieldId, Value)> },
    /// `when_deleted: p1`
    Deleted { key: Vec<Value> },
}

/// What a listener is told of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Insert,
    Update,
    Delete,
    Nothing,
}

impl Told {
    pub const ALL: [Told; 4] = [Told::Insert, Told::Update, Told::Delete, Told::Nothing];

    /// The word in YAML.
    pub fn as_str(self) -> &'static str {
        match self {
            Told::Insert => "insert",
            Told::Update => "update",
            Told::Delete => "delete",
            Told::Nothing => "nothing",
        }
    }
}

impl Act {
    pub fn action(&self) -> Action {
        match self {
            Act::List { .. } | Act::Read { .. } | Act::Subscribe { .. } => Action::Read,
            Act::Create { .. } => Action::Create,
            Act::Update { .. } => Action::Update,
            Act::Delete { .. } => Action::Delete,
        }
    }

    pub fn collection(&self) -> CollectionId {
        match self {
            Act::List { collection }
            | Act::Read { collection, .. }
            | Act::Create { collection, .. }
            | Act::Update { collection, .. }
            | Act::Delete { collection, .. }
            | Act::Subscribe { collection, .. } => *collection,
        }
    }
}

/// The answer that is expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// Done; of a read, these fields of the record are not shown.
    Allowed { hidden: Vec<FieldId> },
    /// Refused, or as if the record were not there. `because` names a condition or a rule (`mine`,
    /// `posts.update[0]`) that must be among the reasons.
    Denied { because: Option<String> },
    /// Of a list: exactly the records with these keys, in any order.
    Sees(Vec<Vec<Value>>),
    /// Of a subscription.
    Told(Told),
}
