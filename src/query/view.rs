//! What a caller may see of a collection and write to it: what descriptions for him are made of.
//!
//! A collection that no rule of the caller speaks of, a field that no rule shows him or lets him write, and whatever is
//! named after one, are not in it.

use super::plan::{Context, ReadPlan};
use super::request::{Embed, Item, Node};
use crate::catalog::{Catalog, Relationship};
use crate::model::{Action, Attribute, Collection, CollectionId, DefaultValue, Field, FieldId, Name};
use crate::policy::{Decision, Permit, Rule};

/// One collection as the caller sees it.
pub(super) struct View<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) id: CollectionId,
    pub(super) collection: &'a Collection,
    pub(super) read: Option<Permit>,
    pub(super) create: Option<Permit>,
    /// Only beside `read`: who may not read a record cannot name it in a request.
    pub(super) update: Option<Permit>,
    pub(super) delete: Option<Permit>,
    pub(super) signed_in: bool,
    /// How others are embedded by it: those that lead to one record by our field, and the rest.
    pub(super) embeds: Vec<Embeds>,
}

/// One way from a collection to another that the caller may go.
pub(super) struct Embeds {
    /// Our field that holds the other's key; none where theirs holds ours.
    pub(super) by: Option<FieldId>,
    /// As `select` says it.
    pub(super) name: String,
    pub(super) target: String,
    pub(super) to_one: bool,
}

/// What a body does about a field that it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// It is refused.
    Refused,
    /// The field's default is taken, a rule decides, or it becomes null or stays as it is.
    Fine,
}

impl<'a> View<'a> {
    /// None where no rule of the caller speaks of the collection.
    pub(super) fn of(context: Context<'a>, id: CollectionId) -> Option<View<'a>> {
        let decide = |action| match context.catalog.policies.decide(context.principal, action, id) {
            Decision::Permit(permit) => Some(Some(permit)),
            Decision::Denied => Some(None),
            Decision::Unknown => None,
        };
        let read = decide(Action::Read)?;
        let create = decide(Action::Create)?;
        let update = decide(Action::Update)?.filter(|_| read.is_some());
        let delete = decide(Action::Delete)?.filter(|_| read.is_some());
        let embeds = read.as_ref().map(|read| embeds(context, read)).unwrap_or_default();
        let collection = context.catalog.collection(id);
        let (catalog, signed_in) = (context.catalog, !context.principal.is_anon());
        Some(View { catalog, id, collection, read, create, update, delete, signed_in, embeds })
    }

    pub(super) fn name(&self) -> &'a str {
        self.collection.name.as_str()
    }

    /// The fields that a read answers, each with whether it can be null there.
    pub(super) fn answered<'v>(&'v self, read: &'v Permit) -> impl Iterator<Item = (FieldId, bool)> + 'v {
        self.collection
            .field_ids()
            .filter(|field| read.covers(*field))
            .map(|field| (field, !self.collection.field(field).required || read.mask(field).is_some()))
    }

    /// The fields that a body may have, each with what comes of leaving it out. One rule must cover all that are sent;
    /// they are together here.
    pub(super) fn offered<'v>(&'v self, write: &'v Permit) -> impl Iterator<Item = (FieldId, Absent)> + 'v {
        self.collection.field_ids().filter(|field| offers(write, *field)).map(|id| {
            let field = self.collection.field(id);
            let must = write.action() == Action::Create
                && field.required
                && !self.fills(field)
                && !write.rules().iter().any(|rule| sets(rule, id));
            (id, if must { Absent::Refused } else { Absent::Fine })
        })
    }

    /// The field's default is something where this caller makes a record. To nobody in particular, what names a person is
    /// null; the secret key makes records for others and stands for the project here.
    fn fills(&self, field: &Field) -> bool {
        match &field.default {
            Some(DefaultValue::Attribute(
                Attribute::Id | Attribute::Email | Attribute::Aal | Attribute::Claim(_),
            )) => self.signed_in,
            Some(DefaultValue::Attribute(Attribute::Role | Attribute::Roles | Attribute::IsAnonymous))
            | Some(DefaultValue::Literal(_) | DefaultValue::Now | DefaultValue::UuidV7) => true,
            None => false,
        }
    }

    /// The caller may ask the full-text column: he knows all that is in it.
    pub(super) fn searches(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.covers_search(self.collection))
    }
}

/// A rule forces the field's value.
fn sets(rule: &Rule, field: FieldId) -> bool {
    rule.set.iter().any(|(known, _)| *known == field)
}

/// A body may have the field by some rule that does not decide it itself.
pub(super) fn offers(write: &Permit, field: FieldId) -> bool {
    let rules = write.rules();
    write.bypass().is_some() || rules.iter().any(|rule| rule.fields.contains(field) && !sets(rule, field))
}

/// What requests can embed, by the name that means it. The plan of a read is asked, so that whatever hides a
/// relationship there (an unknown field, a collection that may not be read, a name that means several) hides
/// it here.
fn embeds(context: Context<'_>, read: &Permit) -> Vec<Embeds> {
    let source = read.collection();
    let meant = |name: &Name, relationship: &Relationship| {
        let embed = Embed {
            alias: None,
            target: name.to_string(),
            hint: None,
            inner: false,
            spread: false,
            node: Node::default(),
        };
        let node = Node { select: vec![Item::Embed(embed)], ..Node::default() };
        let plan = ReadPlan::new(context, context.catalog.collection(source).name.as_str(), &node);
        plan.is_ok_and(|plan| plan.node.embeds.iter().any(|embed| embed.relationship == *relationship))
    };
    let mut found = Vec::new();
    for relationship in context.catalog.relationships(source) {
        let ours = relationship.referring() == (source, relationship.local);
        let target = &context.catalog.collection(relationship.target).name;
        let field = &context.catalog.collection(source).field(relationship.local).name;
        let names = [if ours { field } else { &relationship.inverse }, target];
        if let Some(name) = names.into_iter().find(|name| meant(name, relationship)) {
            found.push(Embeds {
                by: ours.then_some(relationship.local),
                name: name.to_string(),
                target: target.to_string(),
                to_one: relationship.cardinality.to_one(),
            });
        }
    }
    found
}
