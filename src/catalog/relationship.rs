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
    /// A junction refers to both: an array.
    ManyToMany,
}

impl Cardinality {
    /// The dialect's word for it in an ambiguity's details.
    pub fn as_str(self) -> &'static str {
        match self {
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToMany => "many-to-many",
        }
    }

    pub fn to_one(self) -> bool {
        match self {
            Cardinality::ManyToOne | Cardinality::OneToOne => true,
            Cardinality::OneToMany | Cardinality::ManyToMany => false,
        }
    }
}

/// One way from a collection to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relationship {
    pub cardinality: Cardinality,
    /// The collection that embeds.
    pub source: CollectionId,
    /// Its field: `local = foreign` joins the two, unless a junction stands between them.
    pub local: FieldId,
    /// The collection that is embedded.
    pub target: CollectionId,
    pub foreign: FieldId,
    /// The foreign key's name; with a junction, of its key that refers to the target.
    pub constraint: Name,
    /// The name by which the target of the foreign key knows the referring records.
    pub inverse: Name,
    /// What stands between the two: there if and only if it is many-to-many.
    pub junction: Option<Junction>,
}

/// A collection whose primary key includes a relation to either side: each of its records joins one pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Junction {
    pub collection: CollectionId,
    /// Its field that holds the source's `local`.
    pub near: FieldId,
    /// Its field that holds the target's `foreign`.
    pub far: FieldId,
    /// The name of the foreign key behind `near`; the other one's is the relationship's own.
    pub near_constraint: Name,
}

impl Relationship {
    /// The collection and the field that hold the foreign key; with a junction, the one that refers to the target.
    pub fn referring(&self) -> (CollectionId, FieldId) {
        match (&self.junction, self.cardinality) {
            (Some(junction), _) => (junction.collection, junction.far),
            (None, Cardinality::ManyToOne) => (self.source, self.local),
            (None, Cardinality::OneToMany | Cardinality::OneToOne | Cardinality::ManyToMany) => {
                (self.target, self.foreign)
            }
        }
    }
}

/// Every relationship by source collection.
pub(super) fn of(collections: &Collections) -> Vec<Vec<Relationship>> {
    let mut by_source: Vec<Vec<Relationship>> = vec![Vec::new(); collections.with_objects().count()];
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
                junction: None,
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
    let through = through_junctions(collections, &by_source);
    for inverse in inverses.into_iter().chain(through) {
        by_source[usize::from(inverse.source.0)].push(inverse);
    }
    by_source
}

/// The many-to-many relationships: every two relations of a collection that are part of its primary key, both ways.
fn through_junctions(collections: &Collections, own: &[Vec<Relationship>]) -> Vec<Relationship> {
    let mut found = Vec::new();
    for ((id, collection), relations) in collections.iter().zip(own) {
        let keyed = || relations.iter().filter(|relation| collection.primary_key.contains(&relation.local));
        for near in keyed() {
            for far in keyed().filter(|far| far.local != near.local) {
                found.push(Relationship {
                    cardinality: Cardinality::ManyToMany,
                    source: near.target,
                    local: near.foreign,
                    target: far.target,
                    foreign: far.foreign,
                    constraint: far.constraint.clone(),
                    inverse: far.inverse.clone(),
                    junction: Some(Junction {
                        collection: id,
                        near: near.local,
                        far: far.local,
                        near_constraint: near.constraint.clone(),
                    }),
                });
            }
        }
    }
    found
}
