//! A [`WritePlan`] → the statement that writes, judges and answers.
//!
//! The judgement of what was written stands in the RETURNING list of the data-modifying CTE, as a function
//! that raises: there it runs for every row whatever the rest of the statement reads, and sees the row after
//! defaults and triggers. A condition that looks at the written collection itself cannot see the new row in
//! the same statement; then the rows are judged and read by further statements in the same transaction.

mod change;
mod insert;
mod judge;
mod together;

use std::collections::BTreeSet;

use super::select::{Glue, bind_json};
use super::write::Answer;
use super::{Context, WritePlan};
use crate::condition::attribute;
use crate::model::{Collection, CollectionId, DefaultValue, FieldId, Kind, Name, Scalar};
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
        sql.name(&private(INSERTED)).raw(" boolean, ").name(&private(OLD)).raw(" json) join ");
        sql.table(collection).raw(" as ").alias(row).raw(" on ");
        self.same_row(sql, collection, key, row);
        sql.raw(" cross join lateral json_populate_record(null::").table(collection).raw(", ");
        sql.column(key, &private(OLD)).raw(") as ").alias(old);
    }

    /// A row as JSON from which [`Context::written_rows`] makes it again.
    fn kept(&self, sql: &mut Sql, collection: &Collection, row: Alias) {
        let lists = || collection.fields.iter().filter(|field| field.kind == Kind::many(Scalar::Json));
        if lists().next().is_none() {
            sql.raw("to_json(").alias(row).raw(")");
            return;
        }
        // An array inside of an array would be taken for another dimension; a text is the array's own.
        sql.raw("(to_jsonb(").alias(row).raw(")");
        for field in lists() {
            sql.raw(" || jsonb_build_object(").bind_text(field.name.as_str()).raw(", ");
            sql.column(row, &field.name).raw("::text)");
        }
        sql.raw(")::json");
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
