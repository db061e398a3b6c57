//! Steps as SQL. Names are always qualified and quoted; values are literals, since DDL takes no parameters.

use super::database::{
    Column, ColumnType, Constraint, ConstraintRule, Definition, Table, TableIndex, TableIndexRule,
    TouchTrigger,
};
use super::desired::{public, search_column};
use super::plan::{Measure, Step};
use crate::model::{IndexMethod, Kind, Name, OnDelete, Scalar};
use crate::sql::Sql;

impl Step {
    /// The step as SQL: one statement or several, separated by `;`.
    pub fn sql(&self) -> Sql {
        let mut sql = Sql::ddl();
        match self {
            Step::CreateTable(table) => create_table(&mut sql, table),
            Step::DropTable { table, .. } => {
                sql.raw("drop table ");
                qualified(&mut sql, &public(), table);
            }
            Step::RenameTable { from, to } => {
                alter(&mut sql, from).raw("rename to ").name(to);
            }
            Step::AddColumn { table, column, .. } => {
                alter(&mut sql, table).raw("add column ");
                column_sql(&mut sql, column);
            }
            Step::DropColumn { table, column, .. } => {
                alter(&mut sql, table).raw("drop column ").name(column);
            }
            Step::AddSearch { table, definition } => {
                alter(&mut sql, table).raw("add column ");
                search_sql(&mut sql, definition);
            }
            Step::DropSearch { table } => {
                alter(&mut sql, table).raw("drop column ").name(&search_column());
            }
            Step::RenameColumn { table, from, to } => {
                alter(&mut sql, table).raw("rename column ").name(from).raw(" to ").name(to);
            }
            Step::ChangeType { table, column, from, to, .. } => {
                // A default of the former type could stand in the way; the wanted one is set afterwards.
                alter(&mut sql, table).raw("alter column ").name(column).raw(" drop default, alter column ");
                sql.name(column).raw(" type ").raw(to.sql()).raw(" using ");
                convert(&mut sql, column, *from, *to);
            }
            Step::SetNotNull { table, column, .. } => {
                alter(&mut sql, table).raw("alter column ").name(column).raw(" set not null");
            }
            Step::DropNotNull { table, column } => {
                alter(&mut sql, table).raw("alter column ").name(column).raw(" drop not null");
            }
            Step::SetDefault { table, column, default } => {
                alter(&mut sql, table).raw("alter column ").name(column).raw(" set default ").inline(default);
            }
            Step::DropDefault { table, column } => {
                alter(&mut sql, table).raw("alter column ").name(column).raw(" drop default");
            }
            Step::AddConstraint { table, constraint } => {
                alter(&mut sql, table).raw("add ");
                constraint_sql(&mut sql, constraint);
            }
            Step::DropConstraint { table, constraint } => {
                alter(&mut sql, table).raw("drop constraint ").name(&constraint.name);
            }
            Step::RenameConstraint { table, from, to } => {
                alter(&mut sql, table).raw("rename constraint ").name(from).raw(" to ").name(to);
            }
            Step::CreateIndex { table, index } => create_index(&mut sql, table, index),
            Step::DropIndex { index, .. } => {
                sql.raw("drop index ");
                qualified(&mut sql, &public(), &index.name);
            }
            Step::RenameIndex { from, to, .. } => {
                sql.raw("alter index ");
                qualified(&mut sql, &public(), from).raw(" rename to ").name(to);
            }
            Step::AddTouchTrigger { table } => touch_trigger(&mut sql, table),
            Step::DropTouchTrigger { table } => {
                sql.raw("drop trigger basewright_touch on ");
                qualified(&mut sql, &public(), table);
            }
            Step::SetFullIdentity { table } => {
                alter(&mut sql, table).raw("replica identity full");
            }
            Step::CreatePublication { members } => {
                sql.raw("create publication basewright");
                for (at, (schema, table)) in members.iter().enumerate() {
                    sql.raw(if at == 0 { " for table " } else { ", " });
                    qualified(&mut sql, schema, table);
                }
            }
            Step::Publish { schema, table } => {
                sql.raw("alter publication basewright add table ");
                qualified(&mut sql, schema, table);
            }
            Step::Unpublish { schema, table } => {
                sql.raw("alter publication basewright drop table ");
                qualified(&mut sql, schema, table);
            }
        }
        sql
    }
}

impl Measure {
    /// The statement that counts.
    pub(super) fn sql(&self) -> Sql {
        let mut sql = Sql::ddl();
        sql.raw("select count(*) from ");
        qualified(&mut sql, &public(), &self.table);
        if let Some(column) = &self.column {
            sql.raw(" where ").name(column).raw(if self.nulls { " is null" } else { " is not null" });
        }
        sql
    }
}

/// Keeps rows as they are until the end of the transaction.
pub(super) fn lock(table: &Name) -> Sql {
    let mut sql = Sql::ddl();
    sql.raw("lock table ");
    qualified(&mut sql, &public(), table).raw(" in access exclusive mode");
    sql
}

/// Writes a table's mark.
pub(super) fn comment(table: &Name, text: &str) -> Sql {
    let mut sql = Sql::ddl();
    sql.raw("comment on table ");
    qualified(&mut sql, &public(), table).raw(" is ").constant(text);
    sql
}

fn qualified<'a>(sql: &'a mut Sql, schema: &Name, name: &Name) -> &'a mut Sql {
    sql.name(schema).raw(".").name(name)
}

fn alter<'a>(sql: &'a mut Sql, table: &Name) -> &'a mut Sql {
    sql.raw("alter table ");
    qualified(sql, &public(), table).raw(" ")
}

fn create_table(sql: &mut Sql, table: &Table) {
    sql.raw("create table ");
    qualified(sql, &public(), &table.name).raw(" (");
    for (at, column) in table.columns.iter().enumerate() {
        sql.raw(if at == 0 { "\n  " } else { ",\n  " });
        column_sql(sql, column);
    }
    if let Some(Definition::Wanted(definition)) = &table.search {
        sql.raw(",\n  ");
        search_sql(sql, definition);
    }
    for constraint in &table.constraints {
        // Foreign keys come when every table is there.
        if !matches!(constraint.rule, ConstraintRule::ForeignKey { .. }) {
            sql.raw(",\n  ");
            constraint_sql(sql, constraint);
        }
    }
    sql.raw("\n)");
    for index in &table.indexes {
        sql.raw(";\n");
        create_index(sql, &table.name, index);
    }
    match table.touch {
        TouchTrigger::Present => {
            sql.raw(";\n");
            touch_trigger(sql, &table.name);
        }
        TouchTrigger::Absent | TouchTrigger::Altered => {}
    }
    if table.full_identity {
        sql.raw(";\n");
        alter(sql, &table.name).raw("replica identity full");
    }
    // A bare mark; what is noted on it is known only when Postgres has printed it.
    sql.raw(";\n").inline(&comment(&table.name, &super::mark::bare()));
}

fn column_sql(sql: &mut Sql, column: &Column) {
    sql.name(&column.name).raw(" ");
    match &column.column_type {
        ColumnType::Kind(kind) => sql.raw(kind.sql()),
        // Nobody wants such a column; the statement then fails, and says where.
        ColumnType::Other(_) => sql.raw("unknown"),
    };
    if let Some(Definition::Wanted(default)) = &column.default {
        sql.raw(" default ").inline(default);
    }
    if column.not_null {
        sql.raw(" not null");
    }
}

fn search_sql(sql: &mut Sql, definition: &Sql) {
    // `stored` is said, since releases differ in what they take it for.
    sql.name(&search_column()).raw(" tsvector generated always as (").inline(definition).raw(") stored");
}

fn list(sql: &mut Sql, names: &[Name]) {
    sql.raw("(");
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            sql.raw(", ");
        }
        sql.name(name);
    }
    sql.raw(")");
}

fn constraint_sql(sql: &mut Sql, constraint: &Constraint) {
    sql.raw("constraint ").name(&constraint.name);
    match &constraint.rule {
        ConstraintRule::PrimaryKey(columns) => {
            sql.raw(" primary key ");
            list(sql, columns);
        }
        ConstraintRule::Unique(columns) => {
            sql.raw(" unique ");
            list(sql, columns);
        }
        ConstraintRule::ForeignKey { columns, schema, table, target, on_delete } => {
            sql.raw(" foreign key ");
            list(sql, columns);
            sql.raw(" references ");
            qualified(sql, schema, table);
            list(sql, target);
            sql.raw(match on_delete {
                OnDelete::Restrict => " on delete restrict",
                OnDelete::Cascade => " on delete cascade",
                OnDelete::SetNull => " on delete set null",
            });
        }
        ConstraintRule::Check(Definition::Wanted(check)) => {
            sql.raw(" check (").inline(check).raw(")");
        }
        // What was found is dropped or kept, never made.
        ConstraintRule::Check(Definition::Found { .. }) | ConstraintRule::Other(_) => {}
    }
}

fn create_index(sql: &mut Sql, table: &Name, index: &TableIndex) {
    sql.raw("create index ").name(&index.name).raw(" on ");
    qualified(sql, &public(), table);
    match &index.rule {
        TableIndexRule::Plain { columns, method } => {
            sql.raw(match method {
                IndexMethod::Btree => " using btree (",
                IndexMethod::Gin => " using gin (",
            });
            for (at, (column, descending)) in columns.iter().enumerate() {
                if at > 0 {
                    sql.raw(", ");
                }
                sql.name(column);
                if *descending {
                    sql.raw(" desc");
                }
            }
            sql.raw(")");
        }
        // What was found is dropped or kept, never made.
        TableIndexRule::Other => {}
    }
}

fn touch_trigger(sql: &mut Sql, table: &Name) {
    sql.raw("create trigger basewright_touch before update on ");
    qualified(sql, &public(), table).raw(" for each row execute function basewright.touch_updated_at()");
}

fn convert(sql: &mut Sql, column: &Name, from: Kind, to: Kind) {
    if to.array && !from.array {
        sql.raw("case when ").name(column).raw(" is not null then array[");
        element(sql, column, from.scalar, to.scalar);
        sql.raw("] end");
    } else {
        element(sql, column, from.scalar, to.scalar);
        if to.array {
            sql.raw("[]");
        }
    }
}

fn element(sql: &mut Sql, column: &Name, from: Scalar, to: Scalar) {
    let to_json = to == Scalar::Json && from != Scalar::Text;
    if to_json {
        sql.raw("to_jsonb(").name(column).raw(")");
    } else {
        sql.name(column).raw("::").raw(Kind::one(to).sql());
    }
}
