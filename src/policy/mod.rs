//! Who may do what: rules through casbin, compiled to a table, answered as a [`Permit`].
//!
//! casbin owns *who may do what through which role*: the model in `policies/model.conf`, role
//! inheritance as `g`, rules as `p` with their id. It runs when a project loads, never per request.
//! What a request meets is [`Policies::decide`], a table lookup. No I/O.

mod channel;
mod permit;
mod table;

use crate::condition::Condition;
use crate::model::{Action, CollectionId, DefaultValue, FieldId, FieldSet, Name};

pub use channel::{
    Channel, ChannelAction, ChannelDecision, ChannelPermit, ChannelRule, Channels, TOPIC_PREFIX, Topic,
    TopicFault,
};
pub use permit::{Decision, Grant, Permit, WriteRule};
pub use table::{Policies, PolicyFault};

/// What buckets are called among the objects of rules.
pub const BUCKET_PREFIX: &str = "storage:";

/// One rule of the project: role × action × collection, with its conditions and fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// How people name it: `posts.read[0]`, `buckets.avatars.read[0]`: its place in the project's YAML.
    pub id: String,
    pub role: Name,
    pub action: Action,
    pub collection: CollectionId,
    /// The bucket of whose objects it speaks, where the collection is that of the objects. Its conditions say so too.
    pub bucket: Option<String>,
    /// Judged on the stored record; always for a create.
    pub when: Condition,
    /// Judged on the record after the write; always for a read or a delete.
    pub check: Condition,
    /// What the rule lets a caller read or write.
    pub fields: FieldSet,
    /// Values that the rule forces on a create or an update.
    pub set: Vec<(FieldId, DefaultValue)>,
}

/// A role of the project. `anon`, `authenticated` and `service_role` exist without being declared;
/// `authenticated` inherits `anon`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: Name,
    pub inherits: Vec<Name>,
}
