//! A case judged from permits and conditions over the given records: no statement, no database.
//!
//! This is the meaning of the policies written a second time and in another way, for the statements of
//! requests to be held against. It must not use the plans.

mod subscribe;

use std::sync::Arc;

use super::why::{Names, Reason, blame};
use super::{Outcome, Seen, equal, sent};
use crate::catalog::Catalog;
use crate::condition::{Condition, Env, Rows, attribute};
use crate::model::{
    Action, Collection, CollectionId, DefaultValue, FieldId, FieldSet, Kind, Principal, Record, Value,
};
use crate::policy::{Decision, Permit, Rule, WriteRule};
use crate::project::tests::{Act, Case, named_uuid};
use crate::records::rules;

/// What a case comes to, and why.
pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    /// The keys of the records that a read answers.
    pub(super) keys: Vec<Vec<Value>>,
    /// Of a read: the fields that none of the answered records shows.
    pub(super) hidden: FieldSet,
    /// The rule that admitted a write, or the first that shows the record.
    pub(super) allowed_by: Option<String>,
    /// The rules that did not admit.
    reasons: Vec<Reason>,
    /// Of a list: the records left out, each with the rules that do not show it.
    left_out: Vec<(Vec<Value>, Vec<Reason>)>,
    pub(super) names: Names,
}

/// More lines would tell nobody anything.
const REASONS: usize = 4;

impl Judgement {
    /// The rules that came closest, a line each.
    pub(super) fn why(&self) -> Vec<String> {
        lines(&self.reasons)
    }

    /// Why the first of these records is not in the list.
    pub(super) fn why_not(&self, keys: &[Vec<Value>]) -> Vec<String> {
        let reasons = self.left_out.iter().find(|(key, _)| keys.contains(key)).map(|(_, reasons)| reasons);
        reasons.map(|reasons| lines(reasons)).unwrap_or_default()
    }

    /// Every rule of the act that did not admit, closest first, those that speak for others last.
    pub(super) fn all_reasons(&self) -> Vec<String> {
        let mut reasons: Vec<&Reason> = self.reasons.iter().collect();
        reasons.sort_by_key(|reason| reason.distance);
        reasons.iter().map(|reason| format!("{}: {}", reason.rule, reason.failed.join("; "))).collect()
    }

    /// The condition or the rule of this name is among what failed.
    pub(super) fn is_because(&self, name: &str) -> bool {
        self.reasons.iter().any(|reason| {
            reason.id == name || reason.conditions.iter().any(|condition| condition.as_str() == name)
        })
    }
}

fn lines(reasons: &[Reason]) -> Vec<String> {
    let mut reasons: Vec<&Reason> = reasons.iter().collect();
    reasons.sort_by_key(|reason| reason.distance);
    reasons
        .iter()
        .take(REASONS)
        .map(|reason| format!("{}: {}", reason.rule, reason.failed.join("; ")))
        .collect()
}

/// Judges a case.
pub(super) fn judge(catalog: &Catalog, rows: &Rows, now: i64, names: &Names, case: &Case) -> Judgement {
    let principal = case.caller.principal();
    let mut judge = Judge {
        catalog,
        rows,
        now,
        principal: &principal,
        id: case.act.collection(),
        collection: catalog.collection(case.act.collection()),
        judgement: Judgement {
            outcome: Outcome::Refused(String::new()),
            keys: Vec::new(),
            hidden: FieldSet::EMPTY,
            allowed_by: None,
            reasons: Vec::new(),
            left_out: Vec::new(),
            names: names.clone(),
        },
    };
    let done = match &case.act {
        Act::List { .. } => judge.list(None),
        Act::Read { key, .. } => judge.list(Some(key)),
        Act::Create { .. } => judge.create(&sent(catalog, case)),
        Act::Update { key, values, .. } => judge.update(key, values),
        Act::Delete { key, .. } => judge.delete(key),
        Act::Subscribe { change, .. } => Some(judge.subscribe(change)),
    };
    if let Some(outcome) = done {
        judge.judgement.outcome = outcome;
    }
    judge.judgement
}

struct Judge<'a> {
    catalog: &'a Catalog,
    rows: &'a Rows,
    now: i64,
    principal: &'a Principal,
    id: CollectionId,
    collection: &'a Collection,
    judgement: Judgement,
}

/// The records that conditions speak of.
#[derive(Clone, Copy)]
struct Scene<'a> {
    record: &'a Record,
    old: Option<&'a Record>,
    rows: &'a Rows,
}

impl<'a> Judge<'a> {
    fn holds(&self, condition: Option<&Condition>, scene: Scene<'_>) -> bool {
        condition.is_none_or(|condition| condition.evaluate(&self.env(scene)) == Some(true))
    }

    fn env<'e>(&'e self, scene: Scene<'e>) -> Env<'e> {
        Env {
            collections: &self.catalog.collections,
            record: scene.record,
            old: scene.old,
            principal: self.principal,
            now: self.now,
            captures: &[],
            rows: scene.rows,
        }
    }

    fn stored(&self, record: &'a Record) -> Scene<'a> {
        Scene { record, old: None, rows: self.rows }
    }

    /// The permit for an action; without one, the rules that would need another role are the reasons.
    fn permit(&mut self, action: Action) -> Option<Permit> {
        if let Decision::Permit(permit) = self.catalog.policies.decide(self.principal, action, self.id) {
            return Some(permit);
        }
        let rules: Vec<&Arc<Rule>> = self
            .catalog
            .policies
            .rules()
            .iter()
            .filter(|rule| rule.collection == self.id && rule.action == action)
            .collect();
        if rules.is_empty() {
            self.judgement.reasons.push(Reason {
                rule: format!("{}.{}", self.collection.title(), action.as_str()),
                id: String::new(),
                conditions: Vec::new(),
                failed: vec!["no rule allows it to anybody".to_owned()],
                distance: usize::MAX,
            });
        }
        for rule in rules {
            let mut reason = begin(rule);
            reason.distance = usize::MAX;
            reason.failed = vec![rules::needs_role(rule, self.principal)];
            self.judgement.reasons.push(reason);
        }
        None
    }

    /// Notes why none of a permit's rules admits the stored record.
    fn blame_when(&mut self, permit: &Permit, scene: Scene<'_>) {
        let reasons = self.reasons_of(permit, scene);
        self.judgement.reasons.extend(reasons);
    }

    fn reasons_of(&self, permit: &Permit, scene: Scene<'_>) -> Vec<Reason> {
        permit
            .rules()
            .iter()
            .map(|rule| {
                let mut reason = begin(rule);
                blame(&rule.when.explain(&self.env(scene)), &self.judgement.names, &mut reason);
                reason
            })
            .filter(|reason| reason.distance > 0)
            .collect()
    }

    fn record(&self, key: &[Value]) -> Option<&'a Record> {
        self.rows.0.get(&self.id)?.iter().find(|record| self.has_key(record, key))
    }

    fn has_key(&self, record: &Record, key: &[Value]) -> bool {
        has_key(self.collection, record, key)
    }

    fn key(&self, record: &Record) -> Vec<Value> {
        self.collection.primary_key.iter().map(|field| record.get(*field).clone()).collect()
    }

    /// The field is shown on this record.
    fn shows(&self, permit: &Permit, field: FieldId, scene: Scene<'_>) -> bool {
        permit.covers(field) && self.holds(permit.mask(field), scene)
    }

    /// The record can be asked for by its key, as requests do: visible, and its key not hidden.
    fn found(&mut self, read: &Permit, key: &[Value]) -> Option<&'a Record> {
        let record = self.record(key)?;
        let scene = self.stored(record);
        if !self.holds(read.when(), scene) {
            self.blame_when(read, scene);
            return None;
        }
        let hidden = self.collection.primary_key.iter().find(|field| !self.shows(read, **field, scene));
        if let Some(field) = hidden {
            let name = &self.collection.field(*field).name;
            self.judgement.reasons.push(Reason {
                rule: format!("{}.read", self.collection.title()),
                id: String::new(),
                conditions: Vec::new(),
                failed: vec![format!("`{name}` is hidden, and records are found by it")],
                distance: 1,
            });
            return None;
        }
        Some(record)
    }

    fn seen(&self, record: &Record, wanted: impl Fn(&FieldId) -> bool) -> Seen {
        let fields = self.collection.field_ids().filter(wanted);
        fields.map(|field| (field, record.get(field).clone())).collect()
    }

    fn list(&mut self, key: Option<&[Value]>) -> Option<Outcome> {
        let permit = self.permit(Action::Read)?;
        let records: Vec<&'a Record> = match key {
            Some(key) => vec![self.found(&permit, key)?],
            None => {
                let (shown, left_out): (Vec<&Record>, Vec<&Record>) = self
                    .rows
                    .0
                    .get(&self.id)
                    .into_iter()
                    .flatten()
                    .partition(|record| self.holds(permit.when(), self.stored(record)));
                for record in left_out {
                    let reasons = self.reasons_of(&permit, self.stored(record));
                    let key = self.key(record);
                    self.judgement.left_out.push((key, reasons));
                }
                shown
            }
        };
        let mut seen: Vec<Seen> = Vec::with_capacity(records.len());
        let mut hidden = self.collection.all_fields();
        for field in self.collection.field_ids().filter(|field| permit.covers(*field)) {
            if records.iter().any(|record| self.shows(&permit, field, self.stored(record))) {
                hidden.remove(field);
            }
        }
        for record in &records {
            let scene = self.stored(record);
            let fields = self.collection.field_ids().filter(|field| permit.covers(*field));
            let field = |field: FieldId| {
                let shown = self.shows(&permit, field, scene);
                (field, if shown { record.get(field).clone() } else { Value::Null })
            };
            seen.push(fields.map(field).collect());
        }
        self.judgement.keys = records.iter().map(|record| self.key(record)).collect();
        self.judgement.hidden = hidden;
        self.judgement.allowed_by = records.first().and_then(|record| {
            let scene = self.stored(record);
            permit
                .rules()
                .iter()
                .find(|rule| self.holds(Some(&rule.when), scene))
                .map(|rule| rules::named(rule))
        });
        Some(Outcome::Seen(seen))
    }

    /// The rules that cover what is written; notes why the others do not.
    fn covering<'p>(&mut self, permit: &'p Permit, values: &[(FieldId, Value)]) -> Vec<WriteRule<'p>> {
        let written: FieldSet = values.iter().map(|(field, _)| *field).collect();
        let rules = permit.write_rules(&written);
        for (place, rule) in permit.rules().iter().enumerate() {
            if rules.iter().any(|covering| covering.place == place) {
                continue;
            }
            let missing = rules::uncovered(rule, written.iter());
            let mut reason = begin(rule);
            reason.distance += missing.len();
            reason.failed.push(rules::does_not_cover(self.collection, &missing));
            self.judgement.reasons.push(reason);
        }
        rules
    }

    /// Whether one rule admits the record as written; notes why the others do not. The rules set the same values:
    /// what one sets never stands in what another admits.
    fn admits(&mut self, permit: &Permit, rules: &[&WriteRule<'_>], scene: Scene<'_>) -> bool {
        for rule in rules {
            let mut reason = match permit.rules().get(rule.place) {
                Some(declared) => begin(declared),
                None => {
                    self.judgement.allowed_by = Some(rule.id.to_owned());
                    return true;
                }
            };
            if let Some(check) = rule.check {
                blame(&check.explain(&self.env(scene)), &self.judgement.names, &mut reason);
            }
            for (field, value) in rule.set {
                let declared = self.collection.field(*field);
                let expected = self.resolved(value, declared.kind);
                if !equal(scene.record.get(*field), &expected) {
                    reason.distance += 1;
                    let expected = self.judgement.names.value(&expected);
                    reason.failed.push(format!("sets `{}` to {expected}", declared.name));
                }
            }
            if reason.distance == 0 {
                self.judgement.allowed_by = Some(reason.rule);
                return true;
            }
            self.judgement.reasons.push(reason);
        }
        false
    }

    fn resolved(&self, value: &DefaultValue, kind: Kind) -> Value {
        match value {
            DefaultValue::Literal(value) => value.clone(),
            DefaultValue::Attribute(name) => attribute(self.principal, name, kind),
            DefaultValue::Now => Value::Timestamp(self.now),
            DefaultValue::UuidV7 => Value::Uuid(named_uuid("a record that a case creates")),
        }
    }

    fn create(&mut self, values: &[(FieldId, Value)]) -> Option<Outcome> {
        let permit = self.permit(Action::Create)?;
        let rules = self.covering(&permit, values);
        // A rule admits only records that hold what itself sets, so each set is tried by itself; rules that
        // leave a required field open are none if another one fills it.
        let open = |rule: &&WriteRule<'_>| {
            self.collection.field_ids().any(|field| {
                let declared = self.collection.field(field);
                declared.required
                    && declared.default.is_none()
                    && !values.iter().any(|(known, _)| *known == field)
                    && !rule.set.iter().any(|(known, _)| *known == field)
            })
        };
        let (open, whole): (Vec<_>, Vec<_>) = rules.iter().partition(open);
        let rules = if whole.is_empty() { open } else { whole };
        for (at, rule) in rules.iter().enumerate() {
            if rules.iter().take(at).any(|earlier| earlier.set == rule.set) {
                continue;
            }
            let alike: Vec<&WriteRule<'_>> =
                rules.iter().copied().filter(|other| other.set == rule.set).collect();
            if let Some(record) = self.created(&permit, &alike, values) {
                // What Postgres makes up cannot be foretold.
                let foretold = |field: &FieldId| {
                    self.collection.field(*field).default != Some(DefaultValue::UuidV7)
                        || values.iter().any(|(known, _)| known == field)
                        || rule.set.iter().any(|(known, _)| known == field)
                };
                return Some(Outcome::Done(self.seen(&record, foretold)));
            }
        }
        None
    }

    /// The record that rules which set the same values would make, if one of them admits it.
    fn created(
        &mut self,
        permit: &Permit,
        rules: &[&WriteRule<'_>],
        values: &[(FieldId, Value)],
    ) -> Option<Record> {
        let set = rules.first()?.set;
        let mut record = Record(vec![Value::Null; self.collection.fields.len()]);
        for field in self.collection.field_ids() {
            let declared = self.collection.field(field);
            let forced = set.iter().find(|(known, _)| *known == field).map(|(_, value)| value);
            let value = match (values.iter().find(|(known, _)| *known == field), forced, &declared.default) {
                (Some((_, value)), _, _) => value.clone(),
                (None, Some(value), _) | (None, None, Some(value)) => self.resolved(value, declared.kind),
                (None, None, None) => Value::Null,
            };
            put(&mut record, field, value);
        }
        let mut after = self.rows.clone();
        after.0.entry(self.id).or_default().push(record.clone());
        let scene = Scene { record: &record, old: None, rows: &after };
        self.admits(permit, rules, scene).then_some(record)
    }

    fn update(&mut self, key: &[Value], values: &[(FieldId, Value)]) -> Option<Outcome> {
        let permit = self.permit(Action::Update)?;
        let read = self.permit(Action::Read)?;
        let rules = self.covering(&permit, values);
        if rules.is_empty() {
            return None;
        }
        let old = self.record(key)?;
        let before = self.stored(old);
        if self.found(&read, key).is_none() || !self.holds(permit.when(), before) {
            self.blame_when(&permit, before);
            return None;
        }
        let holding: Vec<&WriteRule<'_>> =
            rules.iter().filter(|rule| self.holds(rule.when, before)).collect();
        if holding.is_empty() {
            self.blame_when(&permit, before);
            return None;
        }
        // As for a new record: each set is tried by itself.
        for (at, first) in holding.iter().enumerate() {
            if holding.iter().take(at).any(|earlier| earlier.set == first.set) {
                continue;
            }
            let alike: Vec<&WriteRule<'_>> =
                holding.iter().copied().filter(|other| other.set == first.set).collect();
            if let Some(record) = self.updated(&permit, &alike, (old, key), values) {
                return Some(Outcome::Done(self.seen(&record, |_| true)));
            }
        }
        // Covering rules whose `when` does not hold are reasons too.
        let reasons = self.reasons_of(&permit, before);
        self.judgement.reasons.extend(reasons);
        None
    }

    /// The record that rules which set the same values would make of a stored one, if one of them admits it.
    fn updated(
        &mut self,
        permit: &Permit,
        rules: &[&WriteRule<'_>],
        (old, key): (&Record, &[Value]),
        values: &[(FieldId, Value)],
    ) -> Option<Record> {
        let set = rules.first()?.set;
        let mut record = old.clone();
        for (field, value) in values {
            put(&mut record, *field, value.clone());
        }
        for (field, value) in set {
            if !values.iter().any(|(sent, _)| sent == field) {
                let value = self.resolved(value, self.collection.field(*field).kind);
                put(&mut record, *field, value);
            }
        }
        if let Some(field) = self.collection.field_id("updated_at").filter(|_| self.collection.timestamps) {
            put(&mut record, field, Value::Timestamp(self.now));
        }
        let mut after = self.rows.clone();
        for row in after.0.entry(self.id).or_default() {
            if self.has_key(row, key) {
                *row = record.clone();
            }
        }
        let scene = Scene { record: &record, old: Some(old), rows: &after };
        self.admits(permit, rules, scene).then_some(record)
    }

    fn delete(&mut self, key: &[Value]) -> Option<Outcome> {
        let permit = self.permit(Action::Delete)?;
        let read = self.permit(Action::Read)?;
        let record = self.record(key)?;
        let scene = self.stored(record);
        if self.found(&read, key).is_none() || !self.holds(permit.when(), scene) {
            self.blame_when(&permit, scene);
            return None;
        }
        self.judgement.allowed_by = permit
            .rules()
            .iter()
            .find(|rule| self.holds(Some(&rule.when), scene))
            .map(|rule| rules::named(rule));
        Some(Outcome::Done(Seen::new()))
    }
}

/// The record has this key.
pub(super) fn has_key(collection: &Collection, record: &Record, key: &[Value]) -> bool {
    collection.primary_key.iter().zip(key).all(|(field, part)| equal(record.get(*field), part))
}

fn begin(rule: &Rule) -> Reason {
    Reason {
        rule: rules::named(rule),
        id: rule.id.clone(),
        conditions: Vec::new(),
        failed: Vec::new(),
        distance: 0,
    }
}

fn put(record: &mut Record, field: FieldId, value: Value) {
    if let Some(place) = record.0.get_mut(usize::from(field.0)) {
        *place = value;
    }
}
