//! What rules say of rows of objects, as SQL. What is not TRUE is no.

use super::Objects;
use crate::condition::{Binding, Row};
use crate::model::FieldSet;
use crate::policy::Permit;
use crate::sql::{Alias, Sql};

impl Objects<'_> {
    /// Writes whether some rule admits a stored row.
    pub(crate) fn when(&self, sql: &mut Sql, permit: &Permit, row: Alias) {
        sql.raw("(");
        match permit.when() {
            None => drop(sql.raw("true")),
            Some(when) => when.to_sql(sql, &self.binding(row, None)),
        }
        sql.raw(")");
    }

    /// Writes whether the caller may read a stored row whose key he names: by a rule, or because its bucket is public.
    pub(crate) fn is_readable(&self, sql: &mut Sql, read: Option<&Permit>, row: Alias) {
        let place = sql.fresh();
        sql.raw("(exists (select 1 from storage.buckets ")
            .alias(place)
            .raw(" where ")
            .alias(place)
            .raw(".id = ");
        sql.alias(row).raw(".bucket and ").alias(place).raw(".public)");
        if let Some(read) = read {
            sql.raw(" or ");
            self.when(sql, read, row);
        }
        sql.raw(")");
    }

    /// Writes whether some one rule admits what a row becomes: its `when` holds on the old row, where there is one, and its
    /// `check` on the new one. Nothing changes a row between this and its writing, so that it can be asked beforehand, and
    /// a refusal tells nothing of what the table's keys would have said.
    pub(crate) fn admits(&self, sql: &mut Sql, permit: &Permit, new: Alias, old: Option<Alias>) {
        sql.raw("(false");
        for rule in permit.write_rules(&FieldSet::EMPTY) {
            sql.raw(" or (true");
            if let (Some(when), Some(old)) = (rule.when, old) {
                sql.raw(" and (");
                when.to_sql(sql, &self.binding(old, None));
                sql.raw(")");
            }
            if let Some(check) = rule.check {
                sql.raw(" and (");
                check.to_sql(sql, &self.binding(new, old));
                sql.raw(")");
            }
            sql.raw(")");
        }
        sql.raw(")");
    }

    fn binding(&self, row: Alias, old: Option<Alias>) -> Binding<'_> {
        Binding {
            collections: &self.context.catalog.collections,
            row: Row::Alias(row),
            old,
            principal: self.context.principal,
            captures: &[],
        }
    }
}
