//! What is allowed in a project and tells more than its author may think: warnings, each at its place.
//!
//! A declared check over a field that a role may write and one that is hidden from it answers questions: the role
//! writes the one until it is refused, and so learns what stands in the other. No rule of ours can tell such a check
//! from one that is meant, so the project loads, and says so.
//!
//! So does one whose channels nobody can join, and one that gives a name to related records which is no name for whoever
//! embeds them.

use super::fault::listed;
use super::{Fault, Project};
use crate::catalog::Catalog;
use crate::condition::Condition;
use crate::model::{
    ANON, AUTHENTICATED, Action, CollectionId, FieldId, Principal, RelationTarget, SERVICE_ROLE,
};
use crate::policy::{Decision, Permit, TOPIC_PREFIX};

impl Project {
    /// The warnings of a project; `catalog` is made of it.
    pub fn advice(&self, catalog: &Catalog) -> Vec<Fault> {
        let mut advice = Vec::new();
        for (id, collection) in self.collections.iter() {
            let checks = self.checks.get(&id).into_iter().flatten();
            for (check, place) in checks.zip(self.check_places.get(&id).into_iter().flatten()) {
                let told = self.roles.iter().find_map(|role| {
                    let role = role.name.as_str();
                    told(catalog, role, id, check).map(|found| (role, found))
                });
                let Some((role, (written, hidden))) = told else { continue };
                let names = |fields: &[FieldId]| {
                    listed(
                        &fields
                            .iter()
                            .map(|field| collection.field(*field).name.as_str())
                            .collect::<Vec<_>>(),
                    )
                };
                let (written, hidden) = (names(&written), names(&hidden));
                advice.push(Fault {
                    message: format!(
                        "warning: `{role}` may update {written} and learns by what this check refuses what stands in {hidden}, which is hidden from it"
                    ),
                    hint: Some(format!("let `{role}` read {hidden} where it updates {written}, or not update {written}")),
                    ..place.clone()
                });
            }
        }
        advice.extend(self.inverse_advice());
        advice.extend(self.channel_advice());
        advice
    }

    /// The relations whose target calls their records as their collection is called, although other relations lead from there
    /// to the same target: an embed by that name could mean any of them, and is refused.
    fn inverse_advice(&self) -> Vec<Fault> {
        let mut advice = Vec::new();
        for (id, collection) in self.collections.iter() {
            let relations = || {
                collection.field_ids().filter_map(|id| {
                    let field = collection.field(id);
                    let relation = field.relation.as_ref()?;
                    let RelationTarget::Collection(target) = relation.target else { return None };
                    Some((id, &field.name, target, &relation.inverse))
                })
            };
            for (field, name, target, inverse) in relations() {
                let others: Vec<&str> = relations()
                    .filter(|(other, _, to, _)| *other != field && *to == target)
                    .map(|(_, name, ..)| name.as_str())
                    .collect();
                let Some(place) = self.field_places.get(&(id, field)) else { continue };
                if *inverse != collection.name || others.is_empty() {
                    continue;
                }
                let to = &self.collections.get(target).name;
                advice.push(Fault {
                    message: format!(
                        "warning: `{to}` cannot embed `{inverse}` without saying by which relation: {} leads there too",
                        listed(&others)
                    ),
                    hint: Some(format!("say how `{to}` names these, as in `inverse: {name}_{inverse}`")),
                    ..place.clone()
                });
            }
        }
        advice
    }

    /// The channels that nobody can ever join, and the rules that never hold.
    fn channel_advice(&self) -> Vec<Fault> {
        let mut advice = Vec::new();
        for (channel, place) in self.channels.declared.iter().zip(&self.channel_places) {
            let mut warn = |message: String, hint: &str| {
                let message = format!("warning: {message}");
                advice.push(Fault { message, hint: Some(hint.to_owned()), ..place.clone() });
            };
            let form = channel.topic.to_string();
            if let Some(rest) = form.strip_prefix(TOPIC_PREFIX) {
                warn(
                    format!("clients put `{TOPIC_PREFIX}` before the name of every channel by themselves"),
                    &format!("`{rest}` would do"),
                );
            }
            let never = Condition::never();
            if channel.rules.iter().all(|rule| rule.when == never) {
                warn(
                    "only the secret key may join this channel".to_owned(),
                    "give it a rule under `read` or `write`",
                );
            } else {
                for rule in channel.rules.iter().filter(|rule| rule.when == never) {
                    warn(format!("the rule {} never holds", rule.id), "leave it out");
                }
            }
        }
        advice
    }
}

/// The fields of a check that a role may update, and those that are then hidden from it; `None` unless there are both.
fn told(
    catalog: &Catalog,
    role: &str,
    collection: CollectionId,
    check: &Condition,
) -> Option<(Vec<FieldId>, Vec<FieldId>)> {
    let nobody = uuid::Uuid::nil();
    let principal = match role {
        SERVICE_ROLE => return None,
        ANON => Principal::anonymous(),
        AUTHENTICATED => Principal::user(nobody, &[]),
        _ => Principal::user(nobody, &[role]),
    };
    let permit = |action| match catalog.policies.decide(&principal, action, collection) {
        Decision::Permit(permit) => Some(permit),
        Decision::Denied | Decision::Unknown => None,
    };
    // Records that he may not read he cannot update.
    let (read, update) = (permit(Action::Read)?, permit(Action::Update)?);
    let fields: Vec<FieldId> = check.fields().iter().collect();
    update.rules().iter().find_map(|rule| {
        let written: Vec<FieldId> =
            fields.iter().copied().filter(|field| rule.fields.contains(*field)).collect();
        let hidden: Vec<FieldId> =
            fields.iter().copied().filter(|field| !shown(&read, *field, &rule.when)).collect();
        (!written.is_empty() && !hidden.is_empty()).then_some((written, hidden))
    })
}

/// The field is shown on every record of which `when` holds, as far as the rules say so by themselves.
fn shown(read: &Permit, field: FieldId, when: &Condition) -> bool {
    read.rules().iter().any(|rule| rule.fields.contains(field) && when.implies(&rule.when))
        || read.bypass().is_some()
}
