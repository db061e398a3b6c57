//! A new record that is made together with those of other requests: one statement, one commit.
//!
//! Each record is judged on its own row, after defaults and triggers, with its own caller's attributes; one that is
//! not admitted undoes the whole statement, and its requests are then made one by one.

use super::super::given::Given;
use super::super::write::Way;
use super::super::{Context, InsertPlan, WritePlan};
use super::insert::insert_rules;
use crate::condition::{Env, Reach, Rows, attribute};
use crate::model::{DefaultValue, FieldId, FieldSet, Record, Value};
use crate::sql::{Alias, Sql};

/// Where the key of a new record comes from.
enum Key {
    /// The request gives it.
    Given,
    /// It is made for each row `b`, as its column `key`.
    Made,
}

impl WritePlan {
    /// The statement that makes this new record together with others of the same shape; each of its rows begins with
    /// the request's number. `None` for what has to be a statement of its own: other writes, several records, a
    /// representation, rules that set different values, and records that no rule will admit.
    ///
    /// `now` is in microseconds since 2000-01-01 UTC.
    pub fn together(&self, context: Context<'_>, now: i64) -> Option<Sql> {
        let WritePlan::Insert(plan) = self else { return None };
        let (Given::Bound(values), [way]) = (&plan.given, &plan.ways[..]) else { return None };
        let alone = plan.count != 1
            || plan.conflict.is_some()
            || plan.answer.node.is_some()
            || self.looks_at_itself()
            || context.is_refused(plan, way, values, now);
        if alone { None } else { context.insert_together(plan, way, values) }
    }
}

impl Context<'_> {
    fn insert_together(&self, plan: &InsertPlan, way: &Way, values: &[Option<String>]) -> Option<Sql> {
        let collection = self.collection(plan.permit.collection());
        let given = |field: &FieldId| {
            let at = plan.columns.iter().position(|column| column == field)?;
            values.get(at).filter(|_| !plan.defaulted.iter().any(|(known, _)| known == field))
        };
        let mut keys: Vec<(FieldId, Key)> = Vec::new();
        for field in &collection.primary_key {
            let key = match (given(field), way.value_of(collection, *field)) {
                (Some(_), _) => Key::Given,
                (None, Some(DefaultValue::UuidV7)) => Key::Made,
                (None, _) => return None,
            };
            keys.push((*field, key));
        }
        let made = keys.iter().filter(|(_, key)| matches!(key, Key::Made)).count();
        if keys.is_empty() || made > 1 {
            return None;
        }

        let mut sql = Sql::shared();
        let (target, written) = (sql.fresh(), sql.fresh());
        sql.raw("with b as materialized (select ");
        if made == 1 {
            sql.raw("basewright.uuid_v7() as key, ");
        }
        sql.raw("b.* from ").each_request().raw("), ").alias(written);
        sql.raw(" as (insert into ").table(collection).raw(" as ").alias(target).raw("(");
        let mut all: Vec<FieldId> =
            plan.columns.iter().copied().chain(way.filled.iter().map(|(field, _)| *field)).collect();
        all.extend(
            keys.iter().map(|(field, _)| *field).filter(|field| !all.contains(field)).collect::<Vec<_>>(),
        );
        self.names(&mut sql, collection, &all);
        sql.raw(") select ");
        for (at, field) in all.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            match given(field) {
                Some(value) => drop(sql.bind(collection.field(*field).kind, value.clone())),
                None if keys.iter().any(|(key, _)| key == field) => drop(sql.raw("b.key")),
                None => self.absent_value(&mut sql, collection, way, *field),
            }
        }
        sql.raw(" from b returning ").alias(target).raw(".*) select b.n, case when ");
        // A record that a trigger has moved or left out is nobody's: it is judged as not admitted.
        let same_key = |sql: &mut Sql, written: Alias| {
            for (at, (field, key)) in keys.iter().enumerate() {
                if at > 0 {
                    sql.raw(" and ");
                }
                let declared = collection.field(*field);
                sql.column(written, &declared.name).raw(" = ");
                match key {
                    Key::Given => drop(sql.bind(declared.kind, given(field).cloned().flatten())),
                    Key::Made => drop(sql.raw("b.key")),
                }
            }
        };
        same_key(&mut sql, written);
        if self.insert_needs_judgement(plan, way) {
            sql.raw(" and ");
            self.rules_judgement(&mut sql, collection, &insert_rules(plan, way), written, None);
        }
        sql.raw(" then true else basewright.require(false) end from b left join ").alias(written).raw(" on ");
        same_key(&mut sql, written);
        Some(sql)
    }

    /// Whether no rule will admit the record, as far as that can be told without the database. Only a hint: what is
    /// not refused here is judged by the statement.
    fn is_refused(&self, plan: &InsertPlan, way: &Way, values: &[Option<String>], now: i64) -> bool {
        let collection = self.collection(plan.permit.collection());
        // A field's value in the new record; `None` cannot be told, or is none of its kind.
        let value = |field: FieldId| -> Option<Value> {
            let kind = collection.field(field).kind;
            if let Some(at) = plan.columns.iter().position(|column| *column == field) {
                return match values.get(at)? {
                    Some(text) => Value::parse(kind, text),
                    None => Some(Value::Null),
                };
            }
            match way.value_of(collection, field) {
                Some(DefaultValue::Literal(value)) => Some(value.clone()),
                Some(DefaultValue::Attribute(name)) => Some(attribute(self.principal, name, kind)),
                Some(DefaultValue::Now | DefaultValue::UuidV7) => None,
                None => Some(Value::Null),
            }
        };
        let refuses = |check: &crate::condition::Condition| {
            let fields: FieldSet = check.fields();
            if check.reach() != Reach::Row {
                return false;
            }
            let mut record = Record(vec![Value::Null; collection.fields.len()]);
            for field in fields.iter() {
                match (value(field), record.0.get_mut(usize::from(field.0))) {
                    (Some(value), Some(place)) => *place = value,
                    (_, _) => return false,
                }
            }
            let env = Env {
                collections: &self.catalog.collections,
                record: &record,
                old: None,
                principal: self.principal,
                now,
                captures: &[],
                rows: &Rows::default(),
            };
            check.evaluate(&env) != Some(true)
        };
        let rules = insert_rules(plan, way);
        !rules.is_empty() && rules.iter().all(|rule| rule.check.is_some_and(refuses))
    }
}
