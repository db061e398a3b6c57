//! The judgement of what was written: some one rule must admit the old row and the new one.

use super::super::write::{Answer, Conflict, ConflictUpdate, Way};
use super::super::{Context, InsertPlan, UpdatePlan};
use super::insert::{add_set_fields, insert_rules};
use super::{INSERTED, OLD, OldRow, flag, private};
use crate::condition::Binding;
use crate::model::{Collection, CollectionId, FieldId};
use crate::policy::{Permit, WriteRule};
use crate::sql::{Alias, Sql};

impl Context<'_> {
    /// Some one rule: its `when` held on the old row, its `check` holds on the new one, what it sets stands
    /// there, and nothing that another rule has set: two rules are never mixed into a third.
    pub(super) fn rules_judgement(
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

    pub(super) fn insert_needs_judgement(&self, plan: &InsertPlan, way: &Way) -> bool {
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

    pub(super) fn insert_judgement_inline(
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

    pub(super) fn insert_judgement(
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

    pub(super) fn update_judgement(
        &self,
        sql: &mut Sql,
        plan: &UpdatePlan,
        row: Alias,
        later: Option<(Alias, Alias)>,
    ) {
        let collection = self.collection(plan.permit.collection());
        let rules = plan.permit.write_rules(&plan.columns.iter().copied().collect());
        let later = later.filter(|_| needs_old_row(&plan.permit, &plan.columns));
        let old = later.map(|(key, row)| OldRow { row, flags: Some(key), sent: &plan.columns });
        self.rules_judgement(sql, collection, &rules, row, old);
    }

    /// A judgement begins here and ends with [`Self::close_require`] or [`Self::refusal`]. The function that
    /// raises is called only where it has to: calling it for every row costs as much as the rest of the judgement.
    /// It keeps the expression volatile, so that the planner neither drops nor moves it.
    pub(super) fn open_require(&self, sql: &mut Sql) {
        sql.raw("case when ");
    }

    /// The end of a judgement: one wanted row must also be readable; then the refusal.
    pub(super) fn close_require(&self, sql: &mut Sql, collection: CollectionId, answer: &Answer, row: Alias) {
        if let Some(when) =
            answer.node.as_ref().filter(|_| answer.singular).and_then(|node| node.permit.when())
        {
            sql.raw(" and ");
            self.condition(sql, when, row);
        }
        self.refusal(sql, collection);
    }

    /// What is not TRUE is refused, NULL too.
    pub(super) fn refusal(&self, sql: &mut Sql, collection: CollectionId) {
        let name = &self.collection(collection).name;
        sql.raw(" then true else basewright.require(false, ");
        sql.bind_text(format!("new row violates the policies of table \"{name}\""));
        sql.raw(") end");
    }
}

/// Old and new row must be judged together: several rules might otherwise be mixed, or a check speaks of `old`.
/// With one rule the row's own WHERE holds the rule's `when`, and Postgres judges it again on the newest version.
pub(super) fn needs_old_row(permit: &Permit, columns: &[FieldId]) -> bool {
    let rules = permit.rules();
    let covering = permit.write_rules(&columns.iter().copied().collect());
    // Which rule it is decides what is set, so that no rule may set anything.
    let every_old_row = covering.iter().any(|rule| rule.when.is_none() && rule.check.is_none())
        && covering.iter().all(|rule| rule.set.is_empty());
    (rules.len() > 1 && !every_old_row) || rules.iter().any(|rule| rule.check.mentions_old())
}
