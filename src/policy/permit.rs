//! [`Permit`]: the proof that a principal may do an action on a collection, and under which conditions.
//!
//! Its constructors are private to `policy`, and a plan cannot be built without one: an unauthorised
//! statement cannot be expressed. A bypass must be written [`Permit::unrestricted`] with its reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Rule;
use crate::condition::Condition;
use crate::model::{Action, Collection, CollectionId, DefaultValue, FieldId, FieldSet};

/// What the policies say to (principal, action, collection).
#[derive(Clone, Debug)]
pub enum Decision {
    Permit(Permit),
    /// Some rule of the caller speaks of the collection, but none of this action.
    Denied,
    /// No rule of any action speaks of it: the collection is as if undeclared.
    Unknown,
}

/// The proof. Read plans take one per collection they touch, write plans one per action.
#[derive(Clone, Debug)]
pub struct Permit {
    collection: CollectionId,
    action: Action,
    terms: Terms,
}

#[derive(Clone, Debug)]
enum Terms {
    Granted(Arc<Grant>),
    Unrestricted(&'static str),
}

/// What the rules of one role set allow for one action on one collection: compiled once, shared by every request.
#[derive(Debug, PartialEq)]
pub struct Grant {
    pub(super) rules: Vec<Arc<Rule>>,
    /// OR of every rule's `when`.
    pub(super) when: Condition,
    /// Union of every rule's fields.
    pub(super) fields: FieldSet,
    /// Fields that only some of the rules show, with OR of those rules' `when`.
    pub(super) masks: BTreeMap<FieldId, Condition>,
}

impl Grant {
    pub(super) fn of(rules: Vec<Arc<Rule>>) -> Grant {
        let when = Condition::any(rules.iter().map(|rule| rule.when.clone()));
        let fields = rules.iter().fold(FieldSet::EMPTY, |fields, rule| fields.union(rule.fields));
        let mut masks = BTreeMap::new();
        for field in fields.iter() {
            let showing = || rules.iter().filter(|rule| rule.fields.contains(field));
            // Shown by every rule: whoever sees the row sees the field.
            if showing().count() < rules.len() {
                let mask = Condition::any(showing().map(|rule| rule.when.clone()));
                if !mask.is_always() {
                    masks.insert(field, mask);
                }
            }
        }
        Grant { rules, when, fields, masks }
    }
}

/// One way to be allowed a write: a rule whose `fields` cover what is written. The rule's `when`, `set`
/// and `check` must all hold; two rules are never mixed into a third.
#[derive(Clone, Debug)]
pub struct WriteRule<'a> {
    /// Its place in [`Permit::rules`].
    pub place: usize,
    /// `posts.update[1]`, or why there is no rule.
    pub id: &'a str,
    pub when: Option<&'a Condition>,
    pub check: Option<&'a Condition>,
    pub set: &'a [(FieldId, DefaultValue)],
}

impl Permit {
    pub(super) fn granted(collection: CollectionId, action: Action, grant: Arc<Grant>) -> Permit {
        Permit { collection, action, terms: Terms::Granted(grant) }
    }

    /// A permit that no rule gave: for the secret key, system jobs and the operator's own commands. The reason is logged.
    pub fn unrestricted(collection: CollectionId, action: Action, reason: &'static str) -> Permit {
        Permit { collection, action, terms: Terms::Unrestricted(reason) }
    }

    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    pub fn action(&self) -> Action {
        self.action
    }

    /// Why this permit is not bound by rules.
    pub fn bypass(&self) -> Option<&'static str> {
        match self.terms {
            Terms::Granted(_) => None,
            Terms::Unrestricted(reason) => Some(reason),
        }
    }

    /// Permits of one version of the project with the same identity, while both exist, have the same terms.
    pub fn identity(&self) -> usize {
        match &self.terms {
            Terms::Granted(grant) => Arc::as_ptr(grant) as usize,
            Terms::Unrestricted(_) => 0,
        }
    }

    /// The condition on the stored record; `None` when every record qualifies.
    pub fn when(&self) -> Option<&Condition> {
        match &self.terms {
            Terms::Granted(grant) => Some(&grant.when).filter(|when| !when.is_always()),
            Terms::Unrestricted(_) => None,
        }
    }

    /// The field is shown or may be written by at least one rule.
    pub fn covers(&self, field: FieldId) -> bool {
        match &self.terms {
            Terms::Granted(grant) => grant.fields.contains(field),
            Terms::Unrestricted(_) => true,
        }
    }

    /// The collection has a full-text column, and every field that it digests is one that this permit covers: a digest
    /// tells of each of them.
    pub fn covers_search(&self, collection: &Collection) -> bool {
        collection.search.is_some() && collection.searched().iter().all(|field| self.covers(*field))
    }

    /// For a field that only some rules show: the condition under which this record's field is visible.
    pub fn mask(&self, field: FieldId) -> Option<&Condition> {
        match &self.terms {
            Terms::Granted(grant) => grant.masks.get(&field),
            Terms::Unrestricted(_) => None,
        }
    }

    /// Every rule in declared order, for `explain` and for judging old rows; none for a bypass.
    pub fn rules(&self) -> &[Arc<Rule>] {
        match &self.terms {
            Terms::Granted(grant) => &grant.rules,
            Terms::Unrestricted(_) => &[],
        }
    }

    /// The rules under which these fields may be written, in declared order. Empty: no rule covers them.
    /// A field that a rule sets counts as covered: what the caller sends must then equal what the rule sets.
    pub fn write_rules(&self, written: &FieldSet) -> Vec<WriteRule<'_>> {
        match &self.terms {
            Terms::Granted(grant) => grant
                .rules
                .iter()
                .enumerate()
                .filter(|(_, rule)| {
                    let set: FieldSet = rule.set.iter().map(|(field, _)| *field).collect();
                    rule.fields.union(set).covers(written)
                })
                .map(|(place, rule)| WriteRule {
                    place,
                    id: &rule.id,
                    when: Some(&rule.when).filter(|when| !when.is_always()),
                    check: Some(&rule.check).filter(|check| !check.is_always()),
                    set: &rule.set,
                })
                .collect(),
            Terms::Unrestricted(reason) => {
                vec![WriteRule { place: 0, id: reason, when: None, check: None, set: &[] }]
            }
        }
    }
}
