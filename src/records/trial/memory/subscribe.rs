//! What a listener is told of a change, from the conditions alone.

use super::{Judge, Scene, put};
use crate::condition::Rows;
use crate::model::{Action, DefaultValue, Record, Value};
use crate::policy::Permit;
use crate::project::tests::{Change, Told};
use crate::records::rules;
use crate::records::trial::{Outcome, Seen, told};

impl Judge<'_> {
    pub(super) fn subscribe(&mut self, change: &Change) -> Outcome {
        // Who may read nothing is told nothing; the reasons are noted.
        let Some(permit) = self.permit(Action::Read) else { return Outcome::Told(Told::Nothing) };
        let (old, new) = match change {
            Change::Created { values, filled } => {
                let mut record = Record(vec![Value::Null; self.collection.fields.len()]);
                for field in self.collection.field_ids() {
                    let declared = self.collection.field(field);
                    let given = values.iter().chain(filled).find(|(known, _)| *known == field);
                    let value = match (given, &declared.default) {
                        (Some((_, value)), _) => value.clone(),
                        // The secret key is nobody.
                        (None, Some(DefaultValue::Attribute(_)) | None) => Value::Null,
                        (None, Some(default)) => self.resolved(default, declared.kind),
                    };
                    put(&mut record, field, value);
                }
                (None, Some(record))
            }
            Change::Updated { key, values } => {
                let old = self.record(key).cloned();
                let new = old.clone().map(|mut record| {
                    values.iter().for_each(|(field, value)| put(&mut record, *field, value.clone()));
                    record
                });
                (old, new)
            }
            Change::Deleted { key } => (self.record(key).cloned(), None),
        };
        let mut after = self.rows.clone();
        let rows = after.0.entry(self.id).or_default();
        rows.retain(|row| Some(row) != old.as_ref());
        rows.extend(new.clone());
        let before = self.listened(&permit, old.as_ref(), self.rows);
        let now = self.listened(&permit, new.as_ref(), &after);
        Outcome::Told(told(self.collection, before.as_ref(), now.as_ref()))
    }

    /// The record as the listener sees it, if he does; else why not.
    fn listened(&mut self, permit: &Permit, record: Option<&Record>, rows: &Rows) -> Option<Seen> {
        let scene = Scene { record: record?, old: None, rows };
        if !self.holds(permit.when(), scene) {
            self.blame_when(permit, scene);
            return None;
        }
        let shows = permit.rules().iter().find(|rule| self.holds(Some(&rule.when), scene));
        self.judgement.allowed_by = shows.map(|rule| rules::named(rule));
        let fields = self.collection.field_ids().filter(|field| permit.covers(*field));
        let field = |field| {
            let shown = self.shows(permit, field, scene);
            (field, if shown { scene.record.get(field).clone() } else { Value::Null })
        };
        Some(fields.map(field).collect())
    }
}
