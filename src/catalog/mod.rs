//! [`Catalog`]: the collections of one version of a project, with everything about them compiled.
//!
//! A request meets exactly one catalog from its first look-up to its answer; a reload swaps the whole.
//! No I/O, no YAML.

mod limits;
mod relationship;
mod validator;

use aws_lc_rs::digest::{SHA256, digest};

use crate::model::{Buckets, Collection, CollectionId, Collections};
use crate::policy::{Channels, Policies, PolicyFault, Role, Rule};

pub use limits::Limits;
pub use relationship::{Cardinality, Junction, Relationship};
pub use validator::{Validator, ValidatorFault};

/// One version of a project, compiled.
pub struct Catalog {
    /// Counts reloads; part of every statement's shape.
    pub version: u64,
    /// Of the collections and of who may do what with them: versions of which those are the same have the same, on any
    /// server and after any restart.
    pub digest: [u8; 3],
    pub collections: Collections,
    /// The declared buckets.
    pub buckets: Buckets,
    pub policies: Policies,
    pub limits: Limits,
    validators: Vec<Validator>,
    relationships: Vec<Vec<Relationship>>,
}

/// Why a project cannot be compiled: a defect of ours, since `project` has checked every part.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFault {
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    #[error(transparent)]
    Validator(#[from] ValidatorFault),
}

impl Catalog {
    /// Compiles validators, relationships and policies.
    pub fn compile(
        version: u64,
        collections: Collections,
        buckets: Buckets,
        roles: &[Role],
        rules: Vec<Rule>,
        channels: Channels,
        limits: Limits,
    ) -> Result<Catalog, CatalogFault> {
        let validators = collections
            .with_objects()
            .map(|(_, collection)| Validator::compile(collection))
            .collect::<Result<_, _>>()?;
        let relationships = relationship::of(&collections);
        let digest = digest_of(&collections, roles, &rules);
        let policies = Policies::compile(&collections, roles, rules, channels)?;
        Ok(Catalog { version, digest, collections, buckets, policies, limits, validators, relationships })
    }

    pub fn collection(&self, id: CollectionId) -> &Collection {
        self.collections.get(id)
    }

    /// Judges bodies of creates and updates of a collection.
    pub fn validator(&self, id: CollectionId) -> &Validator {
        &self.validators[usize::from(id.0)]
    }

    /// How a collection is related to others, its own relations first, in declared order.
    pub fn relationships(&self, id: CollectionId) -> &[Relationship] {
        &self.relationships[usize::from(id.0)]
    }
}

fn digest_of(collections: &Collections, roles: &[Role], rules: &[Rule]) -> [u8; 3] {
    let collections: Vec<&Collection> =
        collections.with_objects().map(|(_, collection)| collection).collect();
    let text = format!("{collections:?}{roles:?}{rules:?}");
    match *digest(&SHA256, text.as_bytes()).as_ref() {
        [a, b, c, ..] => [a, b, c],
        _ => [0; 3],
    }
}
