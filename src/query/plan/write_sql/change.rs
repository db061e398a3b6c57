//! Updates and deletes as SQL, and the look at the rows as they were.

use super::super::given::Given;
use super::super::select::{Glue, bind_json};
use super::super::turns::rules_in_turn;
use super::super::{Context, Cost, DeletePlan, NodePlan, UpdatePlan};
use super::insert::add_set_fields;
use super::judge::needs_old_row;
use super::{JUDGED, OLD, OldRow, WriteStatement, flag, private};
use crate::model::{Collection, CollectionId, FieldId};
use crate::policy::{Permit, WriteRule};
use crate::sql::{Alias, Sql};

impl Context<'_> {
    pub(super) fn update(&self, plan: &UpdatePlan, turn: usize, judged_later: bool) -> WriteStatement {
        let mut sql = Sql::new();
        let collection = self.collection(plan.permit.collection());
        let (target, body, old, written) = (sql.fresh(), sql.fresh(), sql.fresh(), sql.fresh());
        let paired = needs_old_row(&plan.permit, &plan.columns);
        let answer = &plan.answer;
        let counted = answer.node.is_some() || answer.singular || answer.max_affected.is_some();
        let a_row_each = !counted && !judged_later && self.cost_by_key(&plan.rows) == Cost::OneRow;
        if paired || !a_row_each {
            sql.raw("with ");
        }
        if paired {
            let source = sql.fresh();
            sql.alias(old).raw(" as materialized (select ");
            self.old_row(&mut sql, &plan.permit, &plan.columns, source);
            sql.raw(" from ");
            self.rows_to_write_sql(&mut sql, &plan.rows, &plan.permit, source);
            sql.raw(" for no key update)").raw(if a_row_each { " " } else { ", " });
        }
        if !a_row_each {
            sql.alias(written).raw(" as (");
        }
        sql.raw("update ").table(collection).raw(" as ").alias(target).raw(" set ");
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
            self.require_a_way(&mut sql, plan.permit.collection(), &rules, old);
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
            sql.raw(", ");
            self.kept(&mut sql, collection, old);
            sql.raw(" as ").name(&private(OLD));
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

    pub(super) fn delete(&self, plan: &DeletePlan) -> Sql {
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
    pub(super) fn rows_to_write_sql(&self, sql: &mut Sql, rows: &NodePlan, permit: &Permit, row: Alias) {
        sql.table(self.collection(permit.collection())).raw(" as ").alias(row);
        let mut glue = Glue::where_clause();
        self.rows_that_qualify(sql, rows, row, &mut glue);
        if let Some(when) = permit.when() {
            glue.put(sql);
            self.condition(sql, when, row);
        }
    }

    /// The locked row before the write, and for each rule that covers the write whether its `when` held.
    pub(super) fn old_row(&self, sql: &mut Sql, permit: &Permit, columns: &[FieldId], row: Alias) {
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

    /// Refuses a row that no rule lets the caller write in these fields before it is written: the table's own
    /// constraints would answer first, and say what stands in a row that he may not change so.
    fn require_a_way(&self, sql: &mut Sql, id: CollectionId, rules: &[WriteRule<'_>], old: Alias) {
        if rules.iter().any(|rule| rule.when.is_none()) {
            return;
        }
        sql.raw(" and ");
        self.open_require(sql);
        sql.raw("(");
        for (at, rule) in rules.iter().enumerate() {
            sql.raw(if at > 0 { " or " } else { "" }).column(old, &flag(rule));
        }
        sql.raw(")");
        self.refusal(sql, id);
    }

    /// `"title" = $1, …` or `"title" = t1."title", …`: with several rules, the first whose `when` held on the old row says what is set.
    pub(super) fn assignments(
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
    pub(super) fn set_value(
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
}
