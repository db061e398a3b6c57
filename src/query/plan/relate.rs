//! Which relationship an embed means.

use serde_json::json;

use super::Context;
use crate::catalog::{Cardinality, Relationship};
use crate::error::{Code, Error};
use crate::model::{Action, CollectionId, FieldId};
use crate::policy::{Decision, Permit};
use crate::query::request::Embed;

/// The relationship that an embed means, and what it takes to follow it.
pub(super) struct Related {
    pub(super) relationship: Relationship,
    /// To read the target.
    pub(super) target: Permit,
    /// To read the junction, if there is one.
    pub(super) junction: Option<Permit>,
}

/// One relationship as the caller meets it.
enum Way {
    /// He may follow it: target and junction.
    Open(Permit, Option<Permit>),
    /// He knows of it, but may not read this collection.
    Closed(CollectionId),
    /// As if it did not exist.
    None,
}

impl Context<'_> {
    /// Finds the one relationship from `source`'s collection that `embed` names, and the permits to follow it.
    ///
    /// Relationships whose fields, at either end or in a junction, the caller does not know, or to a collection
    /// that no rule of his speaks of, do not exist for him.
    ///
    /// # Errors
    /// PGRST200 for none, PGRST201 (300) for several, 42501 where the target is known but not readable.
    pub(super) fn relate(&self, source: &Permit, embed: &Embed) -> Result<Related, Error> {
        let mut found: Vec<(&Relationship, Way)> = Vec::new();
        for relationship in self.catalog.relationships(source.collection()) {
            if !source.covers(relationship.local) || !self.is_named(relationship, embed) {
                continue;
            }
            match self.way(relationship) {
                Way::None => {}
                way @ (Way::Open(..) | Way::Closed(_)) => found.push((relationship, way)),
            }
        }
        let all = || found.iter().map(|(relationship, _)| *relationship);
        match &found[..] {
            [] | [(_, Way::None)] => Err(self.no_relationship(source, embed)),
            [(_, Way::Closed(collection))] => Err(self.denied(*collection)),
            [(relationship, Way::Open(target, junction))] => Ok(Related {
                relationship: (*relationship).clone(),
                target: target.clone(),
                junction: junction.clone(),
            }),
            [_, _, ..] => Err(self.ambiguous(source, embed, all())),
        }
    }

    /// What the caller may do with a relationship whose near end he knows.
    fn way(&self, relationship: &Relationship) -> Way {
        let decide = |collection| self.catalog.policies.decide(self.principal, Action::Read, collection);
        let junction = match &relationship.junction {
            None => None,
            Some(junction) => match decide(junction.collection) {
                Decision::Unknown => return Way::None,
                Decision::Denied => {
                    let knows = [junction.near, junction.far]
                        .into_iter()
                        .all(|field| self.may_write(junction.collection, field));
                    let target_is_known = !matches!(decide(relationship.target), Decision::Unknown);
                    return if knows && target_is_known {
                        Way::Closed(junction.collection)
                    } else {
                        Way::None
                    };
                }
                // Whoever sees the pairs knows what both of their fields hold.
                Decision::Permit(permit) if permit.covers(junction.near) && permit.covers(junction.far) => {
                    Some(permit)
                }
                Decision::Permit(_) => return Way::None,
            },
        };
        match decide(relationship.target) {
            Decision::Unknown => Way::None,
            Decision::Denied => {
                let knows = match relationship.cardinality {
                    Cardinality::ManyToOne | Cardinality::ManyToMany => true,
                    Cardinality::OneToMany | Cardinality::OneToOne => {
                        self.may_write(relationship.target, relationship.foreign)
                    }
                };
                if knows { Way::Closed(relationship.target) } else { Way::None }
            }
            // Both ends: whoever sees which records meet knows what stands in the field that they meet by.
            Decision::Permit(target) if target.covers(relationship.foreign) => Way::Open(target, junction),
            Decision::Permit(_) => Way::None,
        }
    }

    /// The field of a collection that the caller cannot read exists for him all the same: he may write it.
    fn may_write(&self, collection: CollectionId, field: FieldId) -> bool {
        [Action::Create, Action::Update].into_iter().any(|action| {
            match self.catalog.policies.decide(self.principal, action, collection) {
                Decision::Permit(permit) => permit.covers(field),
                Decision::Denied | Decision::Unknown => false,
            }
        })
    }

    /// The embed's target and hint fit this relationship.
    fn is_named(&self, relationship: &Relationship, embed: &Embed) -> bool {
        let (referring, field) = relationship.referring();
        let field_name = &self.collection(referring).field(field).name;
        let target_name = &self.collection(relationship.target).name;
        let target = embed.target.as_str();
        let to_itself = relationship.source == relationship.target;
        let by_target = match relationship.cardinality {
            // A collection that refers to itself: its own name means its children, unless a hint says the parent.
            Cardinality::ManyToOne => {
                *field_name == *target || (*target_name == *target && (!to_itself || embed.hint.is_some()))
            }
            Cardinality::OneToMany | Cardinality::OneToOne => {
                relationship.inverse == *target || *target_name == *target
            }
            Cardinality::ManyToMany => *target_name == *target,
        };
        let by_constraint = relationship.constraint == *target
            && relationship.junction.is_none()
            && (!to_itself || relationship.cardinality == Cardinality::ManyToOne);
        let hinted = embed.hint.as_deref().is_none_or(|hint| {
            if let Some(junction) = &relationship.junction {
                // Two ways may lead through one junction, as between people who follow each other: then its
                // relation to the target says which is meant.
                return self.collection(junction.collection).name == *hint
                    || *field_name == *hint
                    || relationship.constraint == *hint;
            }
            let own_field = match relationship.cardinality {
                // In a self reference the field's name means the parent.
                Cardinality::OneToMany | Cardinality::OneToOne if to_itself => false,
                _ => *field_name == *hint,
            };
            let key = &self.collection(relationship.source).field(relationship.local).name;
            let referenced = relationship.cardinality != Cardinality::ManyToOne && *key == *hint;
            let inverse = relationship.cardinality != Cardinality::ManyToOne && relationship.inverse == *hint;
            let constraint = relationship.constraint == *hint
                && (!to_itself || relationship.cardinality != Cardinality::ManyToOne);
            own_field || referenced || inverse || constraint
        });
        (by_target || by_constraint) && hinted
    }

    fn no_relationship(&self, source: &Permit, embed: &Embed) -> Error {
        let from = &self.collection(source.collection()).name;
        let target = &embed.target;
        let hint = embed.hint.as_deref().map(|hint| format!(" using the hint '{hint}'")).unwrap_or_default();
        Error::with(
            Code::NoRelationship,
            format!("Could not find a relationship between '{from}' and '{target}' in the schema cache"),
        )
        .details(format!(
            "Searched for a foreign key relationship between '{from}' and '{target}'{hint} in the schema 'public', but no matches were found."
        ))
    }

    fn ambiguous<'r>(
        &self,
        source: &Permit,
        embed: &Embed,
        found: impl Iterator<Item = &'r Relationship> + Clone,
    ) -> Error {
        let from = &self.collection(source.collection()).name;
        let target = &embed.target;
        let column = |collection, field| {
            let collection = self.collection(collection);
            format!("{}({})", collection.name, collection.field(field).name)
        };
        let details: Vec<_> = found
            .clone()
            .map(|relationship| {
                let means = match &relationship.junction {
                    None => format!(
                        "{} using {} and {}",
                        relationship.constraint,
                        column(relationship.source, relationship.local),
                        column(relationship.target, relationship.foreign),
                    ),
                    Some(junction) => {
                        let collection = self.collection(junction.collection);
                        format!(
                            "{} using {}({}) and {}({})",
                            collection.name,
                            junction.near_constraint,
                            collection.field(junction.near).name,
                            relationship.constraint,
                            collection.field(junction.far).name,
                        )
                    }
                };
                json!({
                    "cardinality": relationship.cardinality.as_str(),
                    "embedding": format!("{from} with {}", self.collection(relationship.target).name),
                    "relationship": means,
                })
            })
            .collect();
        let through = |relationship: &Relationship| relationship.junction.as_ref().map(|j| j.collection);
        let spellings: Vec<String> = found
            .clone()
            .map(|relationship| {
                let alone =
                    found.clone().filter(|other| through(other) == through(relationship)).count() == 1;
                let hint = match &relationship.junction {
                    Some(junction) if alone => &self.collection(junction.collection).name,
                    Some(_) | None => &relationship.constraint,
                };
                format!("'{}!{hint}'", self.collection(relationship.target).name)
            })
            .collect();
        Error::with(
            Code::AmbiguousRelationship,
            format!("Could not embed because more than one relationship was found for '{from}' and '{target}'"),
        )
        .details(serde_json::Value::Array(details))
        .hint(format!(
            "Try changing '{target}' to one of the following: {}. Find the desired relationship in the 'details' key.",
            spellings.join(", ")
        ))
    }
}
