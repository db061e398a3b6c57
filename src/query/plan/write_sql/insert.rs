//! Inserts and upserts as SQL.

use super::super::given::Given;
use super::super::select::{Glue, bind_json};
use super::super::turns::rules_in_turn;
use super::super::write::{Conflict, ConflictUpdate, Way};
use super::super::{Context, InsertPlan};
use super::judge::needs_old_row;
use super::{INSERTED, JUDGED, OLD, WriteStatement, private};
use crate::condition::Condition;
use crate::model::{Collection, DefaultValue, FieldId, Schema};
use crate::policy::WriteRule;
use crate::sql::{Alias, Sql};

impl Context<'_> {
    pub(super) fn insert(
        &self,
        plan: &InsertPlan,
        way: &Way,
        turn: usize,
        judged_later: bool,
    ) -> WriteStatement {
        match &plan.given {
            Given::Bound(values) => self.insert_one(plan, way, values, judged_later),
            Given::Json(records) => {
                let sql = self.insert_all(plan, way, turn, records, judged_later);
                WriteStatement { sql, judged_later, a_row_each: false }
            }
        }
    }

    /// One record that conflicts with nothing: its values stand in the statement one by one.
    pub(super) fn insert_one(
        &self,
        plan: &InsertPlan,
        way: &Way,
        values: &[Option<String>],
        judged_later: bool,
    ) -> WriteStatement {
        let mut sql = Sql::new();
        let collection = self.collection(plan.permit.collection());
        let (target, written) = (sql.fresh(), sql.fresh());
        let a_row_each = plan.answer.node.is_none() && !judged_later;
        if !a_row_each {
            sql.raw("with ").alias(written).raw(" as (");
        }
        sql.raw("insert into ").table(collection).raw(" as ").alias(target).raw("(");
        let mut all: Vec<FieldId> =
            plan.columns.iter().copied().chain(way.filled.iter().map(|(field, _)| *field)).collect();
        if all.is_empty() {
            all.extend(collection.primary_key.first());
        }
        self.names(&mut sql, collection, &all);
        sql.raw(beside(collection).0).raw(") values (");
        for (at, field) in all.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            match values.get(at) {
                Some(value) if !plan.defaulted.iter().any(|(known, _)| known == field) => {
                    sql.bind(collection.field(*field).kind, value.clone());
                }
                Some(_) | None => self.absent_value(&mut sql, collection, way, *field),
            }
        }
        sql.raw(beside(collection).1).raw(") returning ");
        if !a_row_each {
            sql.alias(target).raw(".*, ");
        }
        if !judged_later && self.insert_needs_judgement(plan, way) {
            self.open_require(&mut sql);
            self.insert_judgement_inline(&mut sql, plan, way, target, None);
            self.close_require(&mut sql, plan.permit.collection(), &plan.answer, target);
        } else {
            sql.raw("true");
        }
        sql.raw(" as ").name(&private(JUDGED));
        if !a_row_each {
            sql.raw(") ");
            self.finish(&mut sql, collection, &plan.answer, written, judged_later, false, false);
        }
        WriteStatement { sql, judged_later, a_row_each }
    }

    /// Many records, or what happens to those whose key is taken.
    pub(super) fn insert_all(
        &self,
        plan: &InsertPlan,
        way: &Way,
        turn: usize,
        records: &str,
        judged_later: bool,
    ) -> Sql {
        let mut sql = Sql::new();
        let id = plan.permit.collection();
        let collection = self.collection(id);
        let (target, body, old, written) = (sql.fresh(), sql.fresh(), sql.fresh(), sql.fresh());
        let update = plan.conflict.as_ref().and_then(|conflict| conflict.update.as_ref());
        let paired = update.filter(|update| needs_old_row(&update.permit, &update.columns));
        sql.raw("with ").alias(body).raw(" as materialized (select * from json_to_recordset(");
        bind_json(&mut sql, records.to_owned());
        sql.raw(") as ").alias(body).raw("(");
        self.record_definition(&mut sql, collection, &plan.columns, &plan.defaulted);
        sql.raw("))");
        if let (Some(update), Some(conflict)) = (paired, &plan.conflict) {
            sql.raw(", ").alias(old).raw(" as materialized (select ");
            let source = sql.fresh();
            self.old_row(&mut sql, &update.permit, &update.columns, source);
            sql.raw(" from ").table(collection).raw(" as ").alias(source).raw(" where ");
            self.same_key(&mut sql, collection, plan, way, conflict, (source, body));
            self.in_order(&mut sql, collection, &conflict.target, source);
            sql.raw(" for no key update)");
        }
        sql.raw(", ").alias(written).raw(" as (insert into ").table(collection).raw(" as ").alias(target);
        let all: Vec<FieldId> =
            plan.columns.iter().copied().chain(way.filled.iter().map(|(field, _)| *field)).collect();
        if all.is_empty() {
            // A record of defaults alone, once for each record of the body.
            let key = collection.primary_key.first().copied().unwrap_or(FieldId(0));
            sql.raw("(").name(&collection.field(key).name).raw(") select ");
            match &collection.field(key).default {
                Some(default) => self.default_value(&mut sql, collection.field(key).kind, default),
                None => {
                    sql.raw("null");
                }
            }
        } else {
            sql.raw("(");
            self.names(&mut sql, collection, &all);
            sql.raw(beside(collection).0).raw(") select ");
            for (at, field) in plan.columns.iter().enumerate() {
                if at > 0 {
                    sql.raw(", ");
                }
                self.inserted_value(&mut sql, collection, plan, way, *field, body);
            }
            for (at, (field, value)) in way.filled.iter().enumerate() {
                if at > 0 || !plan.columns.is_empty() {
                    sql.raw(", ");
                }
                self.default_value(&mut sql, collection.field(*field).kind, value);
            }
            sql.raw(beside(collection).1);
        }
        sql.raw(" from ").alias(body);
        if paired.is_some() {
            // Read before the first record is written: later the stored rows could be seen as we changed them,
            // and a row that this statement changed is not locked and left out.
            sql.raw(" where (select count(*) from ").alias(old).raw(") >= 0");
        }
        if let Some(conflict) = &plan.conflict {
            // Requests that take the same rows take them in the same order: else each may come to wait for the other
            // until Postgres undoes one. Records are answered in the order in which they came, unless the request
            // says another; where that is asked for, it stays.
            let own_order = plan.answer.node.as_ref().is_none_or(|node| !node.order.is_empty());
            if own_order && plan.count > 1 {
                let sent: Vec<FieldId> =
                    conflict.target.iter().copied().filter(|field| plan.columns.contains(field)).collect();
                self.in_order(&mut sql, collection, &sent, body);
            }
            sql.raw(" on conflict (");
            self.names(&mut sql, collection, &conflict.target);
            sql.raw(")");
            match &conflict.update {
                None => {
                    sql.raw(" do nothing");
                }
                Some(update) => {
                    let paired = paired.is_some().then_some(old);
                    let rules = rules_in_turn(&update.permit, &update.columns, turn);
                    self.on_conflict_update(&mut sql, collection, conflict, update, &rules, (target, paired));
                }
            }
        }
        sql.raw(" returning ").alias(target).raw(".*");
        if update.is_some() {
            sql.raw(", (").alias(target).raw(".xmax = 0) as ").name(&private(INSERTED));
        }
        if let (Some(_), Some(conflict), true) = (paired, &plan.conflict, judged_later) {
            sql.raw(", (select ");
            self.kept(&mut sql, collection, old);
            sql.raw(" from ").alias(old).raw(" where ");
            // By what they conflict in: the write may have changed the primary key.
            self.equal(&mut sql, collection, &conflict.target, old, target);
            sql.raw(") as ").name(&private(OLD));
        }
        if !judged_later && self.insert_needs_judgement(plan, way) {
            sql.raw(", ");
            self.open_require(&mut sql);
            let paired = paired.is_some().then_some((old, target));
            self.insert_judgement_inline(&mut sql, plan, way, target, paired);
            self.close_require(&mut sql, plan.permit.collection(), &plan.answer, target);
            sql.raw(" as ").name(&private(JUDGED));
        }
        sql.raw(") ");
        self.finish(
            &mut sql,
            collection,
            &plan.answer,
            written,
            judged_later,
            update.is_some(),
            paired.is_some(),
        );
        sql
    }

    /// `do update set … where require(readable and some rule's when)`: it raises, never skips.
    pub(super) fn on_conflict_update(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        conflict: &Conflict,
        update: &ConflictUpdate,
        rules: &[WriteRule<'_>],
        (row, old): (Alias, Option<Alias>),
    ) {
        sql.raw(" do update set ");
        let target = &conflict.target;
        let mut fields: Vec<FieldId> = update.columns.clone();
        add_set_fields(&mut fields, rules);
        if fields.is_empty() {
            // Nothing but the key was sent: the record is updated with itself.
            fields.extend_from_slice(target);
        }
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            let declared = collection.field(*field);
            sql.name(&declared.name).raw(" = ");
            if update.columns.contains(field) || target.contains(field) {
                sql.raw("excluded.").name(&declared.name);
                continue;
            }
            match old {
                None => self.set_value(sql, collection, *field, rules, row, None),
                Some(old) => {
                    // Without the old row the judgement will say that the request must start over.
                    sql.raw("coalesce((select ");
                    self.set_value(sql, collection, *field, rules, row, Some(old));
                    sql.raw(" from ").alias(old).raw(" where ");
                    self.equal(sql, collection, target, old, row);
                    sql.raw("), ").column(row, &declared.name).raw(")");
                }
            }
        }
        // Of the rules that let him write these fields: the table's own constraints are judged next, and would say
        // what stands in a row that he may not change so.
        let whens: Option<Vec<&Condition>> = rules.iter().map(|rule| rule.when).collect();
        if update.read.when().is_some() || whens.is_some() {
            sql.raw(" where ");
            self.open_require(sql);
            if let Some(readable) = update.read.when() {
                self.condition(sql, readable, row);
            }
            for (at, when) in whens.iter().flatten().enumerate() {
                sql.raw(match (at, update.read.when()) {
                    (0, Some(_)) => " and (",
                    (0, None) => "(",
                    _ => " or ",
                });
                self.condition(sql, when, row);
            }
            if whens.is_some() {
                sql.raw(")");
            }
            self.refusal(sql, update.permit.collection());
        }
    }

    /// A stored row is one that the body's records conflict with.
    pub(super) fn same_key(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        plan: &InsertPlan,
        way: &Way,
        conflict: &Conflict,
        (row, body): (Alias, Alias),
    ) {
        let given = |field: &FieldId| match way.value_of(collection, *field) {
            // A fresh value: no stored row has it. Nor could an index serve one that is made anew for each row.
            Some(DefaultValue::UuidV7 | DefaultValue::Now) | None => None,
            Some(value @ (DefaultValue::Literal(_) | DefaultValue::Attribute(_))) => Some(value),
        };
        if conflict.target.iter().any(|field| !plan.columns.contains(field) && given(field).is_none()) {
            sql.raw("false");
            return;
        }
        sql.raw("exists (select 1 from ").alias(body);
        let mut glue = Glue::where_clause();
        for field in &conflict.target {
            glue.put(sql);
            let declared = collection.field(*field);
            sql.column(row, &declared.name).raw(" = ");
            let flag = plan.defaulted.iter().find(|(known, _)| known == field);
            if let Some((_, flag)) = flag {
                sql.raw("case when not coalesce(").column(body, &private(flag)).raw(", false) then ");
            }
            if plan.columns.contains(field) {
                sql.column(body, &declared.name);
            }
            if let Some(value) = given(field).filter(|_| flag.is_some() || !plan.columns.contains(field)) {
                if flag.is_some() {
                    sql.raw(" else ");
                }
                self.default_value(sql, declared.kind, value);
            }
            if flag.is_some() {
                sql.raw(" end");
            }
        }
        sql.raw(")");
    }

    /// ` order by` these fields of an alias.
    fn in_order(&self, sql: &mut Sql, collection: &Collection, fields: &[FieldId], row: Alias) {
        for (at, field) in fields.iter().enumerate() {
            sql.raw(if at == 0 { " order by " } else { ", " }).column(row, &collection.field(*field).name);
        }
    }

    /// What an inserted record holds in a column of the body.
    pub(super) fn inserted_value(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        plan: &InsertPlan,
        way: &Way,
        field: FieldId,
        body: Alias,
    ) {
        let declared = collection.field(field);
        match plan.defaulted.iter().find(|(known, _)| *known == field) {
            None => {
                sql.column(body, &declared.name);
            }
            Some((_, flag)) => {
                sql.raw("case when ").column(body, &private(flag)).raw(" then ");
                self.absent_value(sql, collection, way, field);
                sql.raw(" else ").column(body, &declared.name).raw(" end");
            }
        }
    }

    /// What an inserted record holds in a field that its body leaves open.
    pub(super) fn absent_value(&self, sql: &mut Sql, collection: &Collection, way: &Way, field: FieldId) {
        let kind = collection.field(field).kind;
        match way.value_of(collection, field) {
            Some(value) => self.default_value(sql, kind, value),
            None => {
                sql.raw("null::").raw(kind.sql());
            }
        }
    }
}

/// The rules of one way to insert.
pub(super) fn insert_rules<'a>(plan: &'a InsertPlan, way: &Way) -> Vec<WriteRule<'a>> {
    let mut rules = plan.permit.write_rules(&plan.columns.iter().copied().collect());
    rules.retain(|rule| way.rules.contains(&rule.place));
    rules
}

/// Adds the fields that rules set to those that are written.
pub(super) fn add_set_fields(fields: &mut Vec<FieldId>, rules: &[WriteRule<'_>]) {
    for (field, _) in rules.iter().flat_map(|rule| rule.set) {
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
}

/// A column that is no field and cannot be null, and its value. Objects get content from their own use cases alone: what
/// is inserted here is a rehearsal, and undone.
fn beside(collection: &Collection) -> (&'static str, &'static str) {
    match collection.schema {
        Schema::Public => ("", ""),
        Schema::Storage => (", version", ", basewright.uuid_v7()"),
    }
}
