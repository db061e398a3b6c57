//! A [`ReadPlan`] → one statement.
//!
//! Every node's rows are `visible and filter`, embeds included. A test that could raise or be slow on a row
//! stands behind the visibility condition; plain comparisons stay plain, so that indexes serve them.

use super::{Column, Context, EmbedPlan, NodePlan, OrderBy, Output, ReadPlan, Source};
use crate::condition::{Binding, Condition, Row};
use crate::model::{FieldId, Kind, Name};
use crate::policy::Permit;
use crate::query::request::Step;
use crate::sql::{Alias, Sql};

/// `json`, not one of the kinds.
const JSON_OID: u32 = 114;
/// SQL and how its result columns become JSON.
#[derive(Debug)]
pub struct Statement {
    pub sql: Sql,
    /// Which lane it may take.
    pub cost: Cost,
}

/// What is known of a statement's cost before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// At most one row by a unique key: may share a pipelined connection, and a statement with others of its shape.
    OneRow,
    /// A page from the front of an index: may share a pipelined connection.
    ShortPage,
    /// A page from the front of an index with what is related to it by keys: more work than that, but planned the
    /// same whatever the values. Worth keeping prepared, on a connection of its own.
    Steady,
    /// Anything else: runs on a connection of its own.
    Unknown,
}

impl ReadPlan {
    /// The statement that answers with the page's rows, one column per output.
    pub fn statement(&self, context: Context<'_>) -> Statement {
        let mut sql = Sql::new();
        let row = sql.fresh();
        context.select_all(&mut sql, &self.node, row, None);
        let mut cost = context.cost(&self.node);
        // A key's one row needs no window, which would cost its share of the statement.
        if cost != Cost::OneRow || self.node.limit == 0 || self.node.offset > 0 {
            context.window(&mut sql, &self.node);
            cost = if cost == Cost::OneRow { Cost::ShortPage } else { cost };
        }
        Statement { sql, cost }
    }

    /// The statement for many requests like this one, which costs [`Cost::OneRow`]: it has the same values in the
    /// same order, and each of its rows begins with the request's number.
    pub fn together(&self, context: Context<'_>) -> Sql {
        let mut sql = Sql::shared();
        let row = sql.fresh();
        sql.raw("select b.n, r.* from ").each_request().raw(" cross join lateral (");
        context.select_all(&mut sql, &self.node, row, None);
        sql.raw(") as r");
        sql
    }

    /// The statement that answers with one bigint: how many rows there are without the page.
    pub fn count(&self, context: Context<'_>) -> Statement {
        let mut sql = Sql::new();
        let row = sql.fresh();
        sql.raw("select count(*) from ");
        context.rows_from(&mut sql, &self.node, row, None);
        Statement { sql, cost: Cost::Unknown }
    }

    /// As [`ReadPlan::count`], but no row after `most` is looked at or counted.
    pub fn count_up_to(&self, context: Context<'_>, most: u64) -> Statement {
        let mut sql = Sql::new();
        let (row, bounded) = (sql.fresh(), sql.fresh());
        sql.raw("select count(*) from (select 1 from ");
        context.rows_from(&mut sql, &self.node, row, None);
        sql.raw(" limit ").bind(Kind::BIGINT, Some(most.to_string())).raw(") as ").alias(bounded);
        Statement { sql, cost: Cost::Unknown }
    }

    /// The statement that answers with how many rows Postgres' planner expects, as the `json` of an EXPLAIN. `None`
    /// where the caller does not see every row and field of all that is read: estimates are made from all of them.
    pub fn estimate(&self, context: Context<'_>) -> Option<Statement> {
        if !context.sees_all(&self.node) {
            return None;
        }
        let mut sql = Sql::new();
        let row = sql.fresh();
        sql.raw("explain (format json) select 1 from ");
        context.rows_from(&mut sql, &self.node, row, None);
        Some(Statement { sql, cost: Cost::Unknown })
    }
}

/// How an embed's rows hang on the parent's row.
#[derive(Clone, Copy)]
pub(super) struct Join<'a> {
    pub(super) embed: &'a EmbedPlan,
    pub(super) parent: &'a NodePlan,
    pub(super) parent_row: Alias,
}

impl Join<'_> {
    /// The related record is one by a constraint, and nothing skips it. Without order and limit Postgres reads it in
    /// place, where it would else make a query of its own for each row above.
    fn is_one_row(&self) -> bool {
        let node = &self.embed.node;
        self.embed.relationship.cardinality.to_one() && node.limit > 0 && node.offset == 0
    }
}

impl Context<'_> {
    pub(super) fn binding(&self, row: Alias) -> Binding<'_> {
        Binding {
            collections: &self.catalog.collections,
            row: Row::Alias(row),
            old: None,
            principal: self.principal,
            captures: &[],
        }
    }

    /// No condition hides a row, or a known field of one, from the caller: here, in an embed or in a junction.
    fn sees_all(&self, node: &NodePlan) -> bool {
        let open = |permit: &Permit| {
            let mut fields = self.collection(permit.collection()).field_ids();
            permit.when().is_none() && fields.all(|field| permit.mask(field).is_none())
        };
        open(&node.permit)
            && node
                .embeds
                .iter()
                .all(|embed| embed.junction.as_ref().is_none_or(open) && self.sees_all(&embed.node))
    }

    /// Writes a condition about the row `row`, in parentheses.
    pub(super) fn condition(&self, sql: &mut Sql, condition: &Condition, row: Alias) {
        sql.raw("(");
        condition.to_sql(sql, &self.binding(row));
        sql.raw(")");
    }

    /// `select … from … where … order by … limit … offset …`
    fn select(&self, sql: &mut Sql, node: &NodePlan, row: Alias, join: Option<Join<'_>>) {
        self.select_all(sql, node, row, join);
        if !node.counts() {
            self.window(sql, node);
        }
    }

    /// [`Self::select`] without its window.
    fn select_all(&self, sql: &mut Sql, node: &NodePlan, row: Alias, join: Option<Join<'_>>) {
        sql.raw("select ");
        self.outputs(sql, node, row);
        sql.raw(" from ");
        self.rows_from(sql, node, row, join);
        if !node.counts() {
            self.order(sql, node, row);
        }
    }

    fn window(&self, sql: &mut Sql, node: &NodePlan) {
        sql.raw(" limit ").bind(Kind::BIGINT, Some(node.limit.to_string()));
        if node.offset > 0 {
            sql.raw(" offset ").bind(Kind::BIGINT, Some(node.offset.to_string()));
        }
    }

    /// The output columns, each named by its key. A node without outputs still has rows: they count.
    pub(super) fn outputs(&self, sql: &mut Sql, node: &NodePlan, row: Alias) {
        if node.outputs.is_empty() {
            sql.raw("1");
        }
        for (at, output) in node.outputs.iter().enumerate() {
            if at > 0 {
                sql.raw(", ");
            }
            self.output(sql, node, row, output);
            // The key was checked to be a name when the plan was made.
            if let Ok(name) = Name::new(&output.key) {
                sql.raw(" as ").name(&name);
            }
        }
    }

    fn output(&self, sql: &mut Sql, node: &NodePlan, row: Alias, output: &Output) {
        let join = |embed| Join { embed, parent: node, parent_row: row };
        match &output.source {
            Source::Column(column) => self.column_value(sql, node, row, column),
            Source::Embed(place) => self.embedded(sql, join(&node.embeds[*place])),
            Source::Spread(embed, place) => self.hoisted(sql, join(&node.embeds[*embed]), *place),
            Source::Count => {
                sql.raw("count(*)");
            }
        }
    }

    /// `"public"."posts" as t0 where …`
    pub(super) fn rows_from(&self, sql: &mut Sql, node: &NodePlan, row: Alias, join: Option<Join<'_>>) {
        sql.table(self.collection(node.permit.collection())).raw(" as ").alias(row);
        let mut glue = Glue::where_clause();
        if let Some(join) = join {
            glue.put(sql);
            self.joined(sql, node, row, join);
        }
        self.rows_that_qualify(sql, node, row, &mut glue);
    }

    /// The relation's two fields are equal, or a visible record of its junction holds them both, and none of them
    /// is hidden on its row. Written so that indexes serve it.
    fn joined(&self, sql: &mut Sql, node: &NodePlan, row: Alias, join: Join<'_>) {
        let relationship = &join.embed.relationship;
        let name = |id, field| &self.collection(id).field(field).name;
        let (foreign, local) =
            (name(relationship.target, relationship.foreign), name(relationship.source, relationship.local));
        match (&relationship.junction, &join.embed.junction) {
            (Some(junction), Some(permit)) => {
                let pair = sql.fresh();
                let id = junction.collection;
                sql.raw("exists (select 1 from ").table(self.collection(id)).raw(" as ").alias(pair);
                sql.raw(" where ").column(pair, name(id, junction.far)).raw(" = ").column(row, foreign);
                sql.raw(" and ").column(pair, name(id, junction.near)).raw(" = ");
                sql.column(join.parent_row, local);
                let masks = [junction.near, junction.far].map(|field| permit.mask(field));
                for condition in permit.when().into_iter().chain(masks.into_iter().flatten()) {
                    sql.raw(" and ");
                    self.condition(sql, condition, pair);
                }
                sql.raw(")");
            }
            // A junction without a permit is no plan of ours: nothing is joined rather than too much.
            (Some(_), None) => {
                sql.raw("false");
            }
            (None, _) => {
                sql.column(row, foreign).raw(" = ").column(join.parent_row, local);
            }
        }
        for (mask, row) in [
            (node.permit.mask(relationship.foreign), row),
            (join.parent.permit.mask(relationship.local), join.parent_row),
        ] {
            if let Some(mask) = mask {
                sql.raw(" and ");
                self.condition(sql, mask, row);
            }
        }
    }

    /// Visibility, the filter and the inner embeds, AND-ed.
    pub(super) fn rows_that_qualify(&self, sql: &mut Sql, node: &NodePlan, row: Alias, glue: &mut Glue) {
        if let Some(when) = node.permit.when() {
            glue.put(sql);
            self.condition(sql, when, row);
        }
        self.searches_sql(sql, node, &node.filter, glue);
        for predicate in &node.filter {
            glue.put(sql);
            self.predicate_sql(sql, node, row, predicate, true);
        }
        for embed in node.embeds.iter().filter(|embed| embed.inner) {
            glue.put(sql);
            self.exists(sql, Join { embed, parent: node, parent_row: row });
        }
    }

    /// An object, null or an array, as JSON made by Postgres.
    fn embedded(&self, sql: &mut Sql, join: Join<'_>) {
        let inner = sql.fresh();
        let row = sql.fresh();
        if join.embed.relationship.cardinality.to_one() {
            sql.raw("(select row_to_json(").alias(inner).raw(") from (");
            self.select(sql, &join.embed.node, row, Some(join));
            sql.raw(") as ").alias(inner).raw(")");
        } else {
            collected(sql, join.embed.multiplied, |sql| {
                sql.raw("select coalesce(json_agg(").alias(inner).raw("), '[]'::json) from (");
                self.select(sql, &join.embed.node, row, Some(join));
                sql.raw(") as ").alias(inner);
            });
        }
    }

    /// One member of a spread embed: the related record's own value, or of many records an array.
    ///
    /// It stands in the select list, so that Postgres works it out for the page's rows alone. The arrays of one
    /// spread come from queries of their own; they agree because the rows' place in the table ends every order.
    /// (The key would do as well, but its order is nothing that whoever may not see it should learn.)
    fn hoisted(&self, sql: &mut Sql, join: Join<'_>, place: usize) {
        let node = &join.embed.node;
        let Some(output) = node.outputs.get(place) else { return };
        let row = sql.fresh();
        if join.embed.relationship.cardinality.to_one() {
            sql.raw("(select ");
            self.output(sql, node, row, output);
            sql.raw(" from ");
            self.rows_from(sql, node, row, Some(join));
            if !join.is_one_row() {
                self.window(sql, node);
            }
            sql.raw(")");
            return;
        }
        let inner = sql.fresh();
        collected(sql, join.embed.multiplied, |sql| {
            sql.raw("select coalesce(json_agg(").alias(inner).raw(".value), '[]'::json) from (select ");
            self.output(sql, node, row, output);
            sql.raw(" as value from ");
            self.rows_from(sql, node, row, Some(join));
            self.order(sql, node, row);
            sql.raw(if node.order.is_empty() { " order by " } else { ", " }).alias(row).raw(".ctid");
            self.window(sql, node);
            sql.raw(") as ").alias(inner);
        });
    }

    /// Whether a row has related rows. If looking for them can raise, it is done for rows that the caller may
    /// see: an error would say that some other row leads there.
    pub(super) fn exists(&self, sql: &mut Sql, join: Join<'_>) {
        let when = join.parent.permit.when().filter(|_| join.embed.node.is_risky());
        if let Some(when) = when {
            sql.raw("case when ");
            self.condition(sql, when, join.parent_row);
            sql.raw(" then ");
        }
        let row = sql.fresh();
        sql.raw("exists (select 1 from ");
        self.rows_from(sql, &join.embed.node, row, Some(join));
        sql.raw(")");
        if when.is_some() {
            sql.raw(" end");
        }
    }

    pub(super) fn order(&self, sql: &mut Sql, node: &NodePlan, row: Alias) {
        for (at, order) in node.order.iter().enumerate() {
            sql.raw(if at == 0 { " order by " } else { ", " });
            self.order_term(sql, node, row, order);
        }
    }

    fn order_term(&self, sql: &mut Sql, node: &NodePlan, row: Alias, order: &OrderBy) {
        match order.embed {
            None => self.column_value(sql, node, row, &order.column),
            Some(place) => {
                let embed = &node.embeds[place];
                let related = sql.fresh();
                sql.raw("(select ");
                self.column_value(sql, &embed.node, related, &order.column);
                sql.raw(" from ");
                self.rows_from(
                    sql,
                    &embed.node,
                    related,
                    Some(Join { embed, parent: node, parent_row: row }),
                );
                sql.raw(" limit 1)");
            }
        }
        if order.by_code_point {
            sql.raw(" collate \"C\"");
        }
        if order.descending {
            sql.raw(" desc");
        }
        match order.nulls_first {
            Some(true) => sql.raw(" nulls first"),
            Some(false) => sql.raw(" nulls last"),
            None => sql,
        };
    }

    /// A field as the caller sees it: null where the row hides it.
    fn masked_field(&self, sql: &mut Sql, node: &NodePlan, row: Alias, field: FieldId) {
        let name = &self.collection(node.permit.collection()).field(field).name;
        match node.permit.mask(field) {
            None => {
                sql.column(row, name);
            }
            Some(mask) => {
                sql.raw("case when ");
                self.condition(sql, mask, row);
                sql.raw(" then ").column(row, name).raw(" end");
            }
        }
    }

    /// The value of a column, path and cast included.
    pub(super) fn column_value(&self, sql: &mut Sql, node: &NodePlan, row: Alias, column: &Column) {
        if let Some(cast) = column.cast {
            sql.raw("cast(");
            self.path_value(sql, node, row, column);
            sql.raw(" as ").raw(cast.sql).raw(")");
        } else {
            self.path_value(sql, node, row, column);
        }
    }

    fn path_value(&self, sql: &mut Sql, node: &NodePlan, row: Alias, column: &Column) {
        if column.steps.is_empty() {
            return self.masked_field(sql, node, row, column.field);
        }
        let array = self.collection(node.permit.collection()).field(column.field).kind.array;
        sql.raw(if array { "(to_jsonb(" } else { "((" });
        self.masked_field(sql, node, row, column.field);
        sql.raw(")");
        let last = column.steps.len() - 1;
        for (at, step) in column.steps.iter().enumerate() {
            sql.raw(if at == last && column.text { " ->> " } else { " -> " });
            match step {
                Step::Key(key) => sql.bind_text(key.as_str()),
                Step::Index(index) => {
                    sql.bind(Kind::one(crate::model::Scalar::Integer), Some(index.to_string()))
                }
            };
        }
        sql.raw(")");
    }
}

/// An array that a query collects, as an expression. Where records multiply, its size is spent from the
/// statement's budget: the limits of each level hold for one record above it, and their product is nobody's limit.
fn collected(sql: &mut Sql, multiplied: bool, query: impl FnOnce(&mut Sql)) {
    if !multiplied {
        sql.raw("(");
        query(sql);
        sql.raw(")");
        return;
    }
    let all = sql.fresh();
    sql.raw("(select case when basewright.spend(pg_column_size(").alias(all).raw(".records)) then ");
    sql.alias(all).raw(".records end from (");
    query(sql);
    sql.raw(") as ").alias(all).raw("(records))");
}

/// Puts `where` before the first condition and `and` before the others.
pub(super) struct Glue {
    first: &'static str,
    then: &'static str,
}

impl Glue {
    pub(super) fn where_clause() -> Glue {
        Glue { first: " where ", then: " and " }
    }

    pub(super) fn from_clause() -> Glue {
        Glue { first: " from ", then: ", " }
    }

    pub(super) fn put(&mut self, sql: &mut Sql) {
        sql.raw(self.first);
        self.first = self.then;
    }
}

/// A body, bound as `json`.
pub(super) fn bind_json(sql: &mut Sql, text: String) {
    sql.bind_typed(JSON_OID, "json", Some(text));
}
