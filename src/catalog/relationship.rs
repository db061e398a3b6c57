//! How collections are related, seen from each side: what `select` can embed.

use crate::model::{CollectionId, Collections, FieldId, Name, Relation, RelationTarget};

/// Seen from the collection that embeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// Our relation field refers to their key: an object or null.
    ManyToOne,
    /// Their relation field refers to our key: an array.
    OneToMany,
    /// Their relation field refers to our key and is unique: an object or null.
    OneToOne,
}

impl Cardinality {
    /// The dialect's word for it in an ambiguity's details.
    pub fn as_str(self) -> &'static str {
        match self {
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::OneToOne => "one-to-one",
        }
    }

    pub fn to_one(self) -> bool {
        match self {
            Cardinality::ManyToOne | Cardinality::OneToOne => true,
            Cardinality::OneToMany => false,
        }
    }
}

/// One way from a collection to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relationship {
    pub cardinality: Cardinality,
    /// The collection that embeds.
    pub source: CollectionId,
    /// Its field: `local = foreign` joins the two.
    pub local: FieldId,
    /// The collection that is embedded.
    pub target: CollectionId,
    pub foreign: FieldId,
    /// The foreign key's name.
    pub constraint: Name,
    /// The name by which the target of the foreign key knows the referring records.
    pub inverse: Name,
}

impl Relationship {
    /// The collection and the field that hold the foreign key.
    pub fn referring(&self) -> (CollectionId, FieldId) {
        match self.cardinality {
            Cardinality::ManyToOne => (self.source, self.local),
            Cardinality::OneToMany | Cardinality::OneToOne => (self.target, self.foreign),
        }
    }
}

/// Every relationship by source collection.
pub(super) fn of(collections: &Collections) -> Vec<Vec<Relationship>> {
    let mut by_source: Vec<Vec<Relationship>> = vec![Vec::new(); collections.len()];
    for (source, collection) in collections.iter() {
        for local in collection.field_ids() {
            let Some(Relation { target: RelationTarget::Collection(target), constraint, inverse, .. }) =
                &collection.field(local).relation
            else {
                continue;
            };
            let Some(key) = collections.get(*target).primary_key.first().copied() else { continue };
            by_source[usize::from(source.0)].push(Relationship {
                cardinality: Cardinality::ManyToOne,
                source,
                local,
                target: *target,
                foreign: key,
                constraint: constraint.clone(),
                inverse: inverse.clone(),
            });
        }
    }
    let inverses: Vec<Relationship> = by_source
        .iter()
        .flatten()
        .map(|relationship| {
            let unique = collections.get(relationship.source).is_unique(&[relationship.local]);
            Relationship {
                cardinality: if unique { Cardinality::OneToOne } else { Cardinality::OneToMany },
                source: relationship.target,
                local: relationship.foreign,
                target: relationship.source,
                foreign: relationship.local,
                ..relationship.clone()
            }
        })
        .collect();
    for inverse in inverses {
        by_source[usize::from(inverse.source.0)].push(inverse);
    }
    by_source
}
