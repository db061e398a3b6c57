//! Rules in words: the same wherever it is told which of them decide.

use std::collections::BTreeMap;

use serde::Serialize;

use super::trial::Names;
use crate::catalog::Catalog;
use crate::model::{Action, Collection, DefaultValue, FieldId, Principal};
use crate::policy::{Permit, Rule};
use crate::query::plan::Touched;

/// Why no rule is named.
pub(super) const UNBOUND: &str = "the secret key may do everything";

/// `posts.update[0] (authenticated)`
pub(super) fn named(rule: &Rule) -> String {
    format!("{} ({})", rule.id, rule.role)
}

/// Why a rule says nothing to this caller.
pub(super) fn needs_role(rule: &Rule, principal: &Principal) -> String {
    format!("needs role {}; the caller has {}", rule.role, principal.roles.join(", "))
}

/// The fields among these that a rule neither lets a caller write nor sets itself.
pub(super) fn uncovered(rule: &Rule, written: impl IntoIterator<Item = FieldId>) -> Vec<FieldId> {
    let covered =
        |field: &FieldId| rule.fields.contains(*field) || rule.set.iter().any(|(known, _)| known == field);
    written.into_iter().filter(|field| !covered(field)).collect()
}

/// What [`uncovered`] means.
pub(super) fn does_not_cover(collection: &Collection, fields: &[FieldId]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|field| format!("`{}`", collection.field(*field).name)).collect();
    format!("does not cover {}", fields.join(" and "))
}

/// The fields that a caller is not shown.
pub(super) fn hidden(names: &[String]) -> String {
    format!("hidden: {}", names.join(", "))
}

/// The rules of a permit's action that speak for roles which the caller has not.
pub(super) fn others(catalog: &Catalog, principal: &Principal, permit: &Permit) -> Vec<String> {
    if permit.bypass().is_some() {
        return Vec::new();
    }
    let rules = catalog.policies.rules().iter();
    rules
        .filter(|rule| (rule.collection, rule.action) == (permit.collection(), permit.action()))
        .filter(|rule| !permit.rules().iter().any(|own| own.id == rule.id))
        .map(|rule| format!("{} {}", rule.id, needs_role(rule, principal)))
        .collect()
}

pub(super) fn names(collection: &Collection, fields: impl Iterator<Item = FieldId>) -> Vec<String> {
    fields.map(|field| collection.field(field).name.to_string()).collect()
}

/// What the policies say to one action on one collection.
#[derive(Debug, Serialize)]
pub struct Deciding {
    collection: String,
    action: &'static str,
    /// Why no rule is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    unbound: Option<&'static str>,
    /// The rules of the caller: one of them must admit.
    rules: Vec<DecidingRule>,
    /// Fields that are null where the condition does not hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    masked: BTreeMap<String, String>,
    /// Fields that do not exist for the caller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<String>,
    /// What the named conditions say.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    conditions: BTreeMap<String, String>,
    /// Rules that speak for others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    others: Vec<String>,
}

/// One rule of the caller.
#[derive(Debug, Serialize)]
struct DecidingRule {
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    fields: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
    /// Why it cannot admit this write.
    #[serde(skip_serializing_if = "Option::is_none")]
    fails: Option<String>,
}

impl Deciding {
    pub(super) fn of(catalog: &Catalog, principal: &Principal, touched: &Touched<'_>) -> Deciding {
        let permit = touched.permit;
        let collection = catalog.collection(permit.collection());
        let reads = permit.action() == Action::Read;
        let masked = collection.field_ids().filter(|_| reads).filter_map(|field| {
            permit.mask(field).map(|mask| (collection.field(field).name.to_string(), mask.to_string()))
        });
        let unknown = collection.field_ids().filter(|field| reads && !permit.covers(*field));
        let conditions = permit.rules().iter().flat_map(|rule| [rule.when.named(), rule.check.named()]);
        Deciding {
            collection: collection.title(),
            action: permit.action().as_str(),
            unbound: permit.bypass().map(|_| UNBOUND),
            rules: permit.rules().iter().map(|rule| DecidingRule::of(collection, rule, touched)).collect(),
            masked: masked.collect(),
            hidden: names(collection, unknown),
            conditions: conditions.flatten().map(|(name, text)| (name.to_string(), text)).collect(),
            others: others(catalog, principal, permit),
        }
    }

    /// The same as lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let place = format!("{}.{}", self.collection, self.action);
        let mut lines: Vec<String> = self.rules.iter().map(DecidingRule::line).collect();
        lines.extend(self.unbound.map(|why| format!("{place}: {why}")));
        lines.extend(
            self.masked.iter().map(|(field, mask)| format!("{place}: {field} is null unless {mask}")),
        );
        if !self.hidden.is_empty() {
            lines.push(format!("{place}: {}", hidden(&self.hidden)));
        }
        lines.extend(self.conditions.iter().map(|(name, text)| format!("{place}: {name} is {text}")));
        lines.extend(self.others.iter().cloned());
        lines
    }
}

impl DecidingRule {
    fn of(collection: &Collection, rule: &Rule, touched: &Touched<'_>) -> DecidingRule {
        let all = rule.fields.covers(&collection.all_fields());
        let fields = collection.field_ids().filter(|field| rule.fields.contains(*field));
        let set =
            rule.set.iter().map(|(field, value)| (collection.field(*field).name.to_string(), written(value)));
        let lacking = uncovered(rule, touched.written.iter().copied());
        DecidingRule {
            rule: named(rule),
            when: (!rule.when.is_always()).then(|| rule.when.to_string()),
            check: (!rule.check.is_always()).then(|| rule.check.to_string()),
            fields: if all { vec!["*".to_owned()] } else { names(collection, fields) },
            set: set.collect(),
            fails: (!lacking.is_empty()).then(|| does_not_cover(collection, &lacking)),
        }
    }

    fn line(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.fails.clone());
        parts.extend(self.when.iter().map(|when| format!("when {when}")));
        parts.extend(self.check.iter().map(|check| format!("check {check}")));
        parts.push(format!("fields {}", self.fields.join(", ")));
        parts.extend(self.set.iter().map(|(field, value)| format!("sets {field}: {value}")));
        format!("{}: {}", self.rule, parts.join("; "))
    }
}

/// A `set` as the project writes it.
fn written(value: &DefaultValue) -> String {
    match value {
        DefaultValue::Literal(value) => Names::default().value(value),
        DefaultValue::Now => "now()".to_owned(),
        DefaultValue::UuidV7 => "a new uuid".to_owned(),
        DefaultValue::Attribute(attribute) => attribute.to_string(),
    }
}
