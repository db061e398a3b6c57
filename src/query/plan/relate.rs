//! Which relationship an embed means.

use serde_json::json;

use super::Context;
use crate::catalog::{Cardinality, Relationship};
use crate::error::{Code, Error};
use crate::model::{Action, CollectionId, FieldId};
use crate::policy::{Decision, Permit};
use crate::query::request::Embed;

impl Context<'_> {
    /// Finds the one relationship from `source`'s collection that `embed` names, and the permit to read its target.
    ///
    /// Relationships whose fields, at either end, the caller does not know, or to a collection that no rule of
    /// his speaks of, do not exist for him.
    ///
    /// # Errors
    /// PGRST200 for none, PGRST201 (300) for several, 42501 where the target is known but not readable.
    pub(super) fn relate(&self, source: &Permit, embed: &Embed) -> Result<(Relationship, Permit), Error> {
        let mut found: Vec<(&Relationship, Option<Permit>)> = Vec::new();
        for relationship in self.catalog.relationships(source.collection()) {
            if !self.is_named(relationship, embed) {
                continue;
            }
            let reads_local = source.covers(relationship.local);
            match self.catalog.policies.decide(self.principal, Action::Read, relationship.target) {
                Decision::Unknown => {}
                Decision::Denied => {
                    let knows = match relationship.cardinality {
                        Cardinality::ManyToOne => true,
                        Cardinality::OneToMany | Cardinality::OneToOne => {
                            self.may_write(relationship.target, relationship.foreign)
                        }
                    };
                    if reads_local && knows {
                        found.push((relationship, None));
                    }
                }
                // Both ends: whoever sees which records meet knows what stands in the field that they meet by.
                Decision::Permit(permit) => {
                    if reads_local && permit.covers(relationship.foreign) {
                        found.push((relationship, Some(permit)));
                    }
                }
            }
        }
        match found.len() {
            0 => Err(self.no_relationship(source, embed)),
            1 => match found.remove(0) {
                (relationship, Some(permit)) => Ok((relationship.clone(), permit)),
                (relationship, None) => Err(self.denied(relationship.target)),
            },
            _ => Err(self.ambiguous(source, embed, found.iter().map(|(relationship, _)| *relationship))),
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
        };
        let by_constraint = relationship.constraint == *target
            && (!to_itself || relationship.cardinality == Cardinality::ManyToOne);
        let hinted = embed.hint.as_deref().is_none_or(|hint| {
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
                json!({
                    "cardinality": relationship.cardinality.as_str(),
                    "embedding": format!("{from} with {}", self.collection(relationship.target).name),
                    "relationship": format!(
                        "{} using {} and {}",
                        relationship.constraint,
                        column(relationship.source, relationship.local),
                        column(relationship.target, relationship.foreign),
                    ),
                })
            })
            .collect();
        let spellings: Vec<String> = found
            .map(|relationship| {
                format!("'{}!{}'", self.collection(relationship.target).name, relationship.constraint)
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
