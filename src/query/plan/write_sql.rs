//! A [`WritePlan`] → the statement that writes, judges and answers.
//!
//! The judgement of what was written stands in the RETURNING list of the data-modifying CTE, as a function
//! that raises: there it runs for every row whatever the rest of the statement reads, and sees the row after
//! defaults and triggers. A condition that looks at the written collection itself cannot see the new row in
//! the same statement; then the rows are judged and read by further statements in the same transaction.

use std::collections::BTreeSet;

use super::given::Given;
use super::select::{Glue, bind_json};
use super::write::{Answer, Conflict, ConflictUpdate, Way, rules_in_turn};
use super::{Context, Cost, DeletePlan, InsertPlan, NodePlan, UpdatePlan, WritePlan};
use crate::condition::{Binding, attribute};
use crate::model::{Collection, CollectionId, DefaultValue, FieldId, Kind, Name};
use crate::policy::{Permit, WriteRule};
use crate::sql::{Alias, Sql};

/// A write as SQL.
#[derive(Debug)]
pub struct WriteStatement {
    /// Writes. Answers with the representation's rows, or with one bigint: how many rows were written (but see
    /// `a_row_each`). With `judged_later`, answers with one `json` array of the written rows' keys.
    pub sql: Sql,
    /// The rows are then judged by [`WritePlan::judge`] and read by [`WritePlan::read_back`], in the same transaction.
    pub judged_later: bool,
    /// No representation was asked, and instead of their number each written row is answered by one that says
    /// nothing: for few rows that is cheaper than to collect and count them.
    pub a_row_each: bool,
}

/// The columns of a CTE that carry what the caller's collection does not have: a name that no field can have.
const INSERTED: &str = "?inserted";
const OLD: &str = "?old";
const JUDGED: &str = "?judged";

/// Where the row before the write stands.
#[derive(Clone, Copy)]
struct OldRow<'a> {
    /// Its columns.
    row: Alias,
    /// Where the flags of the rules are kept, as JSON; `None` is beside its columns.
    flags: Option<Alias>,
    /// The columns that the caller sends.
    sent: &'a [FieldId],
}

fn private(text: &str) -> Name {
    // These are short constants of ours.
    Name::joined(&[text])
}

fn flag(rule: &WriteRule<'_>) -> Name {
    Name::joined(&["?when", &rule.place.to_string()])
}

impl WritePlan {
    /// The statement that writes, in one of its [`WritePlan::ways`].
    pub fn statement(&self, context: Context<'_>, way: usize) -> WriteStatement {
        let judged_later = self.looks_at_itself();
        match self {
            WritePlan::Insert(plan) => {
                let (way, turn) = (way % plan.ways.len(), way / plan.ways.len());
                context.insert(plan, &plan.ways[way], turn, judged_later)
            }
            WritePlan::Update(plan) => context.update(plan, way, judged_later),
            WritePlan::Delete(plan) => {
                let sql = context.delete(plan);
                WriteStatement { sql, judged_later, a_row_each: false }
            }
        }
    }

    /// Judges written rows by the keys that the write answered; answers with nothing of interest, or raises.
    pub fn judge(&self, context: Context<'_>, way: usize, keys: String) -> Sql {
        let mut sql = Sql::new();
        let (row, old, key) = (sql.fresh(), sql.fresh(), sql.fresh());
        let collection = self.permit().collection();
        sql.raw("select count(");
        context.open_require(&mut sql);
        match self {
            WritePlan::Insert(plan) => {
                let way = &plan.ways[way % plan.ways.len()];
                context.insert_judgement(&mut sql, plan, way, row, (key, old));
            }
            WritePlan::Update(plan) => context.update_judgement(&mut sql, plan, row, Some((key, old))),
            WritePlan::Delete(_) => {
                sql.raw("true");
            }
        }
        context.close_require(&mut sql, collection, self.answer(), row);
        sql.raw(") from ");
        context.written_rows(&mut sql, collection, (row, old, key), keys);
        sql
    }

    /// The representation of written rows by the keys that the write answered, or their number.
    pub fn read_back(&self, context: Context<'_>, keys: String) -> Sql {
        let mut sql = Sql::new();
        let (row, old, key) = (sql.fresh(), sql.fresh(), sql.fresh());
        sql.raw("select ");
        match &self.answer().node {
            Some(node) => context.outputs(&mut sql, node, row),
            None => {
                sql.raw("count(*)");
            }
        }
        if self.merges() {
            let inserted = private(INSERTED);
            match self.represented() {
                Some(_) => sql.raw(", ").column(key, &inserted),
                None => sql.raw(", count(*) filter (where ").column(key, &inserted).raw(")"),
            };
        }
        sql.raw(" from ");
        context.written_rows(&mut sql, self.permit().collection(), (row, old, key), keys);
        if let Some(node) = &self.answer().node {
            context.rows_that_qualify(&mut sql, node, row, &mut Glue::where_clause());
            context.order(&mut sql, node, row);
        }
        sql
    }

    /// A condition that decides about the new rows looks at the written collection itself.
    fn looks_at_itself(&self) -> bool {
        let mut reads: BTreeSet<CollectionId> = BTreeSet::new();
        let mut judge = |permit: &Permit| {
            for rule in permit.rules() {
                reads.extend(rule.check.reads());
            }
        };
        match self {
            WritePlan::Insert(plan) => {
                judge(&plan.permit);
                if let Some(update) = plan.conflict.as_ref().and_then(|conflict| conflict.update.as_ref()) {
                    judge(&update.permit);
                }
            }
            WritePlan::Update(plan) => judge(&plan.permit),
            // A delete's rows are judged and read as they were.
            WritePlan::Delete(_) => return false,
        }
        if let Some(node) = &self.answer().node {
            node.reads(&mut reads);
        }
        reads.contains(&self.permit().collection())
    }
}

impl Context<'_> {
    fn insert(&self, plan: &InsertPlan, way: &Way, turn: usize, judged_later: bool) -> WriteStatement {
        match &plan.given {
            Given::Bound(values) => self.insert_one(plan, way, values, judged_later),
            Given::Json(records) => {
                let sql = self.insert_all(plan, way, turn, records, judged_later);
                WriteStatement { sql, judged_later, a_row_each: false }
            }
        }
    }

    /// One record that conflicts with nothing: its values stand in the statement one by one.
    fn insert_one(
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
        sql.raw("insert into public.").name(&collection.name).raw(" as ").alias(target).raw("(");
        let mut all: Vec<FieldId> =
            plan.columns.iter().copied().chain(way.filled.iter().map(|(field, _)| *field)).collect();
        if all.is_empty() {
            all.extend(collection.primary_key.first());
        }
        self.names(&mut sql, collection, &all);
        sql.raw(") values (");
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
        sql.raw(") returning ");
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
    fn insert_all(
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
            self.old_row(&mut sql, collection, &update.permit, &update.columns, source);
            sql.raw(" from public.").name(&collection.name).raw(" as ").alias(source).raw(" where ");
            self.same_key(&mut sql, collection, plan, way, conflict, (source, body));
            sql.raw(" for no key update)");
        }
        sql.raw(", ")
            .alias(written)
            .raw(" as (insert into public.")
            .name(&collection.name)
            .raw(" as ")
            .alias(target);
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
            sql.raw(") select ");
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
        }
        sql.raw(" from ").alias(body);
        if paired.is_some() {
            // Read before the first record is written: later the stored rows could be seen as we changed them,
            // and a row that this statement changed is not locked and left out.
            sql.raw(" where (select count(*) from ").alias(old).raw(") >= 0");
        }
        if let Some(conflict) = &plan.conflict {
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
            sql.raw(", (select to_json(").alias(old).raw(") from ").alias(old).raw(" where ");
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
    fn on_conflict_update(
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
        if update.read.when().is_some() || update.permit.when().is_some() {
            sql.raw(" where ");
            self.open_require(sql);
            self.both(sql, update.read.when(), update.permit.when(), row);
            self.refusal(sql, update.permit.collection());
        }
    }

    fn both(
        &self,
        sql: &mut Sql,
        one: Option<&crate::condition::Condition>,
        other: Option<&crate::condition::Condition>,
        row: Alias,
    ) {
        if let Some(one) = one {
            self.condition(sql, one, row);
        }
        if one.is_some() && other.is_some() {
            sql.raw(" and ");
        }
        if let Some(other) = other {
            self.condition(sql, other, row);
        }
    }

    fn update(&self, plan: &UpdatePlan, turn: usize, judged_later: bool) -> WriteStatement {
        let mut sql = Sql::new();
        let collection = self.collection(plan.permit.collection());
        let (target, body, old, written) = (sql.fresh(), sql.fresh(), sql.fresh(), sql.fresh());
        let paired = needs_old_row(&plan.permit, &plan.columns);
        let answer = &plan.answer;
        let counted = answer.node.is_some() || answer.singular || answer.max_affected.is_some();
        let a_row_each = !counted && !judged_later && self.cost_by_key(&plan.rows) == Cost::Cheap;
        if paired || !a_row_each {
            sql.raw("with ");
        }
        if paired {
            let source = sql.fresh();
            sql.alias(old).raw(" as materialized (select ");
            self.old_row(&mut sql, collection, &plan.permit, &plan.columns, source);
            sql.raw(" from ");
            self.rows_to_write_sql(&mut sql, &plan.rows, &plan.permit, source);
            sql.raw(" for no key update)").raw(if a_row_each { " " } else { ", " });
        }
        if !a_row_each {
            sql.alias(written).raw(" as (");
        }
        sql.raw("update public.").name(&collection.name).raw(" as ").alias(target).raw(" set ");
        let rules = rules_in_turn(&plan.permit, &plan.columns, turn);
        self.assignments(&mut sql, collection, plan, &rules, (target, body, paired.then_some(old)));
        let mut glue = Glue::from_clause();
        if let Given::Json(record) = &plan.given {
            glue.put(&mut sql);
            sql.raw("json_to_recordset(");
            bind_json(&mut sql, record.clone());
            sql.raw(") as ").alias(body).raw("(");
            self.record_definition(&mut sql, collection, &plan.columns, &[]);
            sql.raw(")");
        }
        if paired {
            glue.put(&mut sql);
            sql.alias(old).raw(" where ");
            self.same_row(&mut sql, collection, old, target);
        } else {
            let mut glue = Glue::where_clause();
            self.rows_that_qualify(&mut sql, &plan.rows, target, &mut glue);
            if let Some(when) = plan.permit.when() {
                glue.put(&mut sql);
                self.condition(&mut sql, when, target);
            }
        }
        sql.raw(" returning ");
        if !a_row_each {
            sql.alias(target).raw(".*");
        }
        if paired && judged_later {
            sql.raw(", to_json(").alias(old).raw(") as ").name(&private(OLD));
        }
        if !judged_later {
            if !a_row_each {
                sql.raw(", ");
            }
            self.open_require(&mut sql);
            let old = paired.then_some(OldRow { row: old, flags: None, sent: &plan.columns });
            self.rules_judgement(&mut sql, collection, &rules, target, old);
            self.close_require(&mut sql, plan.permit.collection(), &plan.answer, target);
            sql.raw(" as ").name(&private(JUDGED));
        }
        if !a_row_each {
            sql.raw(") ");
            self.finish(&mut sql, collection, &plan.answer, written, judged_later, false, paired);
        }
        WriteStatement { sql, judged_later, a_row_each }
    }

    fn delete(&self, plan: &DeletePlan) -> Sql {
        let mut sql = Sql::new();
        let collection = self.collection(plan.permit.collection());
        let (target, written) = (sql.fresh(), sql.fresh());
        sql.raw("with ").alias(written).raw(" as (delete from ");
        self.rows_to_write_sql(&mut sql, &plan.rows, &plan.permit, target);
        sql.raw(" returning ").alias(target).raw(".*) ");
        self.finish(&mut sql, collection, &plan.answer, written, false, false, false);
        sql
    }

    /// `public."posts" as t0 where readable and filter and some rule's when`
    fn rows_to_write_sql(&self, sql: &mut Sql, rows: &NodePlan, permit: &Permit, row: Alias) {
        sql.raw("public.").name(&self.collection(permit.collection()).name).raw(" as ").alias(row);
        let mut glue = Glue::where_clause();
        self.rows_that_qualify(sql, rows, row, &mut glue);
        if let Some(when) = permit.when() {
            glue.put(sql);
            self.condition(sql, when, row);
        }
    }

    /// The locked row before the write, and for each rule that covers the write whether its `when` held.
    fn old_row(&self, sql: &mut Sql, _: &Collection, permit: &Permit, columns: &[FieldId], row: Alias) {
        sql.alias(row).raw(".*");
        for rule in permit.write_rules(&columns.iter().copied().collect()) {
            sql.raw(", ");
            match rule.when {
                Some(when) => self.condition(sql, when, row),
                None => {
                    sql.raw("true");
                }
            }
            sql.raw(" as ").name(&flag(&rule));
        }
    }

    /// `"title" = $1, …` or `"title" = t1."title", …`: with several rules, the first whose `when` held on the old row says what is set.
    fn assignments(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        plan: &UpdatePlan,
        rules: &[WriteRule<'_>],
        (target, body, old): (Alias, Alias, Option<Alias>),
    ) {
        let mut fields: Vec<FieldId> = plan.columns.clone();
        add_set_fields(&mut fields, rules);
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            let declared = collection.field(*field);
            sql.name(&declared.name).raw(" = ");
            // What a rule sets and the caller sends must be equal: that is judged, not overwritten.
            match (&plan.given, plan.columns.get(at)) {
                (_, None) => self.set_value(sql, collection, *field, rules, target, old),
                (Given::Json(_), Some(_)) => {
                    sql.column(body, &declared.name);
                }
                (Given::Bound(values), Some(_)) => {
                    sql.bind(declared.kind, values.get(at).cloned().flatten());
                }
            }
        }
    }

    /// What a field becomes that some rule sets: by the only rule, or by the first whose `when` held on the old row.
    fn set_value(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        field: FieldId,
        rules: &[WriteRule<'_>],
        row: Alias,
        old: Option<Alias>,
    ) {
        let declared = collection.field(field);
        let set_by = |rule: &WriteRule<'_>| {
            rule.set.iter().find(|(known, _)| *known == field).map(|(_, value)| value.clone())
        };
        let value = |sql: &mut Sql, rule: Option<&WriteRule<'_>>| match rule.and_then(set_by) {
            Some(value) => self.default_value(sql, declared.kind, &value),
            None => {
                sql.column(row, &declared.name);
            }
        };
        let Some(old) = old else { return value(sql, rules.first()) };
        sql.raw("case");
        for rule in rules {
            sql.raw(" when ").column(old, &flag(rule)).raw(" then ");
            value(sql, Some(rule));
        }
        sql.raw(" else ").column(row, &declared.name).raw(" end");
    }

    /// Some one rule: its `when` held on the old row, its `check` holds on the new one, what it sets stands
    /// there, and nothing that another rule has set: two rules are never mixed into a third.
    fn rules_judgement(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        rules: &[WriteRule<'_>],
        row: Alias,
        old: Option<OldRow<'_>>,
    ) {
        sql.raw("(");
        for (at, rule) in rules.iter().enumerate() {
            if at > 0 {
                sql.raw(" or ");
            }
            sql.raw("(true");
            match old {
                None => {}
                Some(OldRow { row, flags: None, .. }) => {
                    sql.raw(" and ").column(row, &flag(rule));
                }
                // The flags came along with the old row, as JSON.
                Some(OldRow { flags: Some(key), .. }) => {
                    sql.raw(" and (")
                        .column(key, &private(OLD))
                        .raw(" ->> ")
                        .bind_text(flag(rule).as_str())
                        .raw(")::boolean");
                }
            }
            if let Some(check) = rule.check {
                sql.raw(" and (");
                let binding = Binding { old: old.map(|old| old.row), ..self.binding(row) };
                check.to_sql(sql, &binding);
                sql.raw(")");
            }
            for (field, value) in rule.set {
                let declared = collection.field(*field);
                sql.raw(" and ").column(row, &declared.name).raw(" is not distinct from ");
                self.default_value(sql, declared.kind, value);
            }
            if let Some(old) = old {
                let mut foreign: Vec<FieldId> = Vec::new();
                add_set_fields(&mut foreign, rules);
                foreign.retain(|field| {
                    !old.sent.contains(field) && !rule.set.iter().any(|(known, _)| known == field)
                });
                for field in foreign {
                    let name = &collection.field(field).name;
                    sql.raw(" and ").column(row, name).raw(" is not distinct from ").column(old.row, name);
                }
            }
            sql.raw(")");
        }
        if rules.is_empty() {
            sql.raw("false");
        }
        sql.raw(")");
    }

    fn insert_needs_judgement(&self, plan: &InsertPlan, way: &Way) -> bool {
        let plain = |rules: &[WriteRule<'_>]| {
            rules.iter().any(|rule| rule.check.is_none() && rule.set.is_empty() && rule.when.is_none())
        };
        let update = plan.conflict.as_ref().and_then(|conflict| conflict.update.as_ref());
        let updating = |update: &ConflictUpdate| {
            !plain(&update.permit.write_rules(&update.columns.iter().copied().collect()))
        };
        !plain(&insert_rules(plan, way))
            || update.is_some_and(updating)
            || (plan.answer.singular && plan.answer.node.is_some())
    }

    fn insert_judgement_inline(
        &self,
        sql: &mut Sql,
        plan: &InsertPlan,
        way: &Way,
        row: Alias,
        pair: Option<(Alias, Alias)>,
    ) {
        let collection = self.collection(plan.permit.collection());
        let rules = insert_rules(plan, way);
        let Some(Conflict { target: key, update: Some(update) }) = plan.conflict.as_ref() else {
            self.rules_judgement(sql, collection, &rules, row, None);
            return;
        };
        let update_rules = update.permit.write_rules(&update.columns.iter().copied().collect());
        sql.raw("case when ").alias(row).raw(".xmax = 0 then ");
        self.rules_judgement(sql, collection, &rules, row, None);
        sql.raw(" else ");
        match pair {
            None => self.rules_judgement(sql, collection, &update_rules, row, None),
            Some((old, target)) => {
                // A row that came between our look and our write was not judged: the request starts over.
                sql.raw("basewright.settled((select ");
                let old_row = OldRow { row: old, flags: None, sent: &update.columns };
                self.rules_judgement(sql, collection, &update_rules, row, Some(old_row));
                sql.raw(" is true from ").alias(old).raw(" where ");
                self.equal(sql, collection, key, old, target);
                sql.raw("))");
            }
        }
        sql.raw(" end");
    }

    fn insert_judgement(
        &self,
        sql: &mut Sql,
        plan: &InsertPlan,
        way: &Way,
        row: Alias,
        (key, old): (Alias, Alias),
    ) {
        let collection = self.collection(plan.permit.collection());
        let rules = insert_rules(plan, way);
        let Some(update) = plan.conflict.as_ref().and_then(|conflict| conflict.update.as_ref()) else {
            self.rules_judgement(sql, collection, &rules, row, None);
            return;
        };
        let update_rules = update.permit.write_rules(&update.columns.iter().copied().collect());
        let paired = needs_old_row(&update.permit, &update.columns);
        sql.raw("case when ").column(key, &private(INSERTED)).raw(" then ");
        self.rules_judgement(sql, collection, &rules, row, None);
        sql.raw(" else ");
        if paired {
            sql.raw("basewright.settled(case when ").column(key, &private(OLD)).raw(" is not null then ");
            let old_row = OldRow { row: old, flags: Some(key), sent: &update.columns };
            self.rules_judgement(sql, collection, &update_rules, row, Some(old_row));
            sql.raw(" is true end)");
        } else {
            self.rules_judgement(sql, collection, &update_rules, row, None);
        }
        sql.raw(" end");
    }

    fn update_judgement(&self, sql: &mut Sql, plan: &UpdatePlan, row: Alias, later: Option<(Alias, Alias)>) {
        let collection = self.collection(plan.permit.collection());
        let rules = plan.permit.write_rules(&plan.columns.iter().copied().collect());
        let later = later.filter(|_| needs_old_row(&plan.permit, &plan.columns));
        let old = later.map(|(key, row)| OldRow { row, flags: Some(key), sent: &plan.columns });
        self.rules_judgement(sql, collection, &rules, row, old);
    }

    /// A judgement begins here and ends with [`Self::close_require`] or [`Self::refusal`]. The function that
    /// raises is called only where it has to: calling it for every row costs as much as the rest of the judgement.
    /// It keeps the expression volatile, so that the planner neither drops nor moves it.
    fn open_require(&self, sql: &mut Sql) {
        sql.raw("case when ");
    }

    /// The end of a judgement: one wanted row must also be readable; then the refusal.
    fn close_require(&self, sql: &mut Sql, collection: CollectionId, answer: &Answer, row: Alias) {
        if let Some(when) =
            answer.node.as_ref().filter(|_| answer.singular).and_then(|node| node.permit.when())
        {
            sql.raw(" and ");
            self.condition(sql, when, row);
        }
        self.refusal(sql, collection);
    }

    /// What is not TRUE is refused, NULL too.
    fn refusal(&self, sql: &mut Sql, collection: CollectionId) {
        let name = &self.collection(collection).name;
        sql.raw(" then true else basewright.require(false, ");
        sql.bind_text(format!("new row violates the policies of table \"{name}\""));
        sql.raw(") end");
    }

    /// What the statement answers once the rows are written.
    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        answer: &Answer,
        written: Alias,
        judged_later: bool,
        upsert: bool,
        paired: bool,
    ) {
        if judged_later {
            sql.raw("select json_agg(json_build_object(");
            for (at, field) in collection.primary_key.iter().enumerate() {
                let name = &collection.field(*field).name;
                if at > 0 {
                    sql.raw(", ");
                }
                sql.bind_text(name.as_str()).raw(", ").column(written, name);
            }
            for extra in
                [(upsert, INSERTED), (paired, OLD)].iter().filter(|(stands, _)| *stands).map(|(_, name)| name)
            {
                sql.raw(", ").bind_text(*extra).raw(", ").column(written, &private(extra));
            }
            sql.raw(")) from ").alias(written);
            if answer.singular {
                self.at_most_one(sql, written, &mut Glue::where_clause());
            }
            self.at_most_affected(sql, answer, written);
            return;
        }
        let mut glue = Glue::where_clause();
        match &answer.node {
            None => {
                sql.raw("select count(*)");
                if upsert {
                    sql.raw(", count(*) filter (where ").column(written, &private(INSERTED)).raw(")");
                }
                sql.raw(" from ").alias(written);
                if answer.singular {
                    self.at_most_one(sql, written, &mut glue);
                }
            }
            Some(node) => {
                sql.raw("select ");
                self.outputs(sql, node, written);
                if upsert {
                    sql.raw(", ").column(written, &private(INSERTED));
                }
                sql.raw(" from ").alias(written);
                self.rows_that_qualify(sql, node, written, &mut glue);
                if answer.singular {
                    self.at_most_one(sql, written, &mut glue);
                }
                self.order(sql, node, written);
            }
        }
        self.at_most_affected(sql, answer, written);
    }

    /// Ends the statement by the bound on affected rows. It is a LIMIT (none, if it holds) because that is worked
    /// out once even where no row is left to answer with; a condition in WHERE would be met by those rows alone.
    fn at_most_affected(&self, sql: &mut Sql, answer: &Answer, written: Alias) {
        if let Some(rows) = answer.max_affected {
            sql.raw(" limit case when basewright.at_most((select count(*) from ").alias(written).raw("), ");
            sql.bind(Kind::BIGINT, Some(i64::try_from(rows).unwrap_or(i64::MAX).to_string()));
            sql.raw(") then null::bigint end");
        }
    }

    fn at_most_one(&self, sql: &mut Sql, written: Alias, glue: &mut Glue) {
        glue.put(sql);
        sql.raw("basewright.at_most((select count(*) from ").alias(written).raw("), 1)");
    }

    /// The written rows by their keys, each beside what the write said of it and its old row.
    fn written_rows(
        &self,
        sql: &mut Sql,
        id: CollectionId,
        (row, old, key): (Alias, Alias, Alias),
        keys: String,
    ) {
        let collection = self.collection(id);
        sql.raw("json_to_recordset(");
        bind_json(sql, keys);
        sql.raw(") as ").alias(key).raw("(");
        for field in &collection.primary_key {
            let declared = collection.field(*field);
            sql.name(&declared.name).raw(" ").raw(declared.kind.sql()).raw(", ");
        }
        sql.name(&private(INSERTED)).raw(" boolean, ").name(&private(OLD)).raw(" json) join public.");
        sql.name(&collection.name).raw(" as ").alias(row).raw(" on ");
        self.same_row(sql, collection, key, row);
        sql.raw(" cross join lateral json_populate_record(null::public.").name(&collection.name).raw(", ");
        sql.column(key, &private(OLD)).raw(") as ").alias(old);
    }

    /// The primary keys of two aliases are equal.
    fn same_row(&self, sql: &mut Sql, collection: &Collection, one: Alias, other: Alias) {
        self.equal(sql, collection, &collection.primary_key, one, other);
    }

    /// These fields of two aliases are equal.
    fn equal(&self, sql: &mut Sql, collection: &Collection, fields: &[FieldId], one: Alias, other: Alias) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                sql.raw(" and ");
            }
            let name = &collection.field(*field).name;
            sql.column(one, name).raw(" = ").column(other, name);
        }
    }

    /// A stored row is one that the body's records conflict with.
    fn same_key(
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

    /// What an inserted record holds in a column of the body.
    fn inserted_value(
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
    fn absent_value(&self, sql: &mut Sql, collection: &Collection, way: &Way, field: FieldId) {
        let kind = collection.field(field).kind;
        match way.value_of(collection, field) {
            Some(value) => self.default_value(sql, kind, value),
            None => {
                sql.raw("null::").raw(kind.sql());
            }
        }
    }

    /// `"title" text, "tags" text[], …`
    fn record_definition(
        &self,
        sql: &mut Sql,
        collection: &Collection,
        columns: &[FieldId],
        flags: &[(FieldId, String)],
    ) {
        if columns.is_empty() {
            // A record without columns is not SQL; this one is read by nobody.
            sql.name(&private("?none")).raw(" text");
        }
        for (at, field) in columns.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            let declared = collection.field(*field);
            sql.name(&declared.name).raw(" ").raw(declared.kind.sql());
        }
        for (_, flag) in flags {
            sql.raw(", ").name(&private(flag)).raw(" boolean");
        }
    }

    fn names(&self, sql: &mut Sql, collection: &Collection, fields: &[FieldId]) {
        for (at, field) in fields.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            sql.name(&collection.field(*field).name);
        }
    }

    /// A default or a set value as SQL.
    fn default_value(&self, sql: &mut Sql, kind: Kind, value: &DefaultValue) {
        match value {
            DefaultValue::Literal(value) => {
                sql.bind(kind, value.to_text());
            }
            DefaultValue::Attribute(name) => {
                sql.bind(kind, attribute(self.principal, name, kind).to_text());
            }
            DefaultValue::Now => {
                sql.raw("now()");
            }
            DefaultValue::UuidV7 => {
                sql.raw("basewright.uuid_v7()");
            }
        }
    }
}

/// The rules of one way to insert.
fn insert_rules<'a>(plan: &'a InsertPlan, way: &Way) -> Vec<WriteRule<'a>> {
    let mut rules = plan.permit.write_rules(&plan.columns.iter().copied().collect());
    rules.retain(|rule| way.rules.contains(&rule.place));
    rules
}

/// Adds the fields that rules set to those that are written.
fn add_set_fields(fields: &mut Vec<FieldId>, rules: &[WriteRule<'_>]) {
    for (field, _) in rules.iter().flat_map(|rule| rule.set) {
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
}

/// Old and new row must be judged together: several rules might otherwise be mixed, or a check speaks of `old`.
/// With one rule the row's own WHERE holds the rule's `when`, and Postgres judges it again on the newest version.
fn needs_old_row(permit: &Permit, columns: &[FieldId]) -> bool {
    let rules = permit.rules();
    let covering = permit.write_rules(&columns.iter().copied().collect());
    // Which rule it is decides what is set, so that no rule may set anything.
    let every_old_row = covering.iter().any(|rule| rule.when.is_none() && rule.check.is_none())
        && covering.iter().all(|rule| rule.set.is_empty());
    (rules.len() > 1 && !every_old_row) || rules.iter().any(|rule| rule.check.mentions_old())
}
