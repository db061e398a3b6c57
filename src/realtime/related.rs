//! Asking the database what memory cannot decide: conditions that follow relations further than memberships.
//!
//! One statement for all rows and all callers of one shape. Its answer is as of the commit or later, never earlier: a
//! query that does not see the change that it was made for is made again.

use std::time::Duration;

use super::audience::{Audience, Told, View, ViewId};
use super::change::Row;
use super::rows::Mapping;
use super::visibility::Visibility;
use crate::catalog::Catalog;
use crate::condition::{self, Binding};
use crate::db::{DbError, Pool};
use crate::model::{FieldSet, Kind};
use crate::sql::{Param, Shared, Sql};

/// Pairs of row and caller in one statement.
const TOGETHER: usize = 1_000;
/// The pause before a query that came too early is made again: a commit is seen moments after it is in the WAL.
const AGAIN: Duration = Duration::from_millis(2);

/// A row whose visibility is asked for one view.
pub(super) struct Ask<'a> {
    pub(super) view: ViewId,
    pub(super) at: usize,
    pub(super) old: bool,
    pub(super) mapping: &'a Mapping,
    pub(super) row: &'a Row,
}

/// Asks for all rows, and waits until the answers know of a transaction.
pub(super) async fn ask(
    pool: &Pool,
    audience: &Audience,
    asks: &[Ask<'_>],
    xid: Option<u32>,
    told: &mut Told,
) -> Result<(), DbError> {
    let mut written: Vec<(Sql, &Ask<'_>)> = Vec::new();
    for ask in asks {
        if let Some(view) = audience.view_of(ask.view) {
            written.push((statement(audience.catalog(), view, ask, true), ask));
        }
    }
    // Statements of one shape stand beside each other.
    written.sort_by(|(one, _), (other, _)| one.text().cmp(other.text()));
    let mut rest = written.as_slice();
    while let Some((first, _)) = rest.first() {
        let alike = rest.iter().take(TOGETHER).take_while(|(sql, _)| sql.text() == first.text()).count();
        let (now, later) = rest.split_at(alike);
        rest = later;
        match Shared::of(first).filter(|shared| now.iter().all(|(sql, _)| shared.takes(sql.params()))) {
            Some(shared) => {
                let together = shared.together(now.iter().map(|(sql, _)| -> &[Param] { sql.params() }));
                run(
                    pool,
                    audience,
                    &together,
                    &now.iter().map(|(_, ask)| *ask).collect::<Vec<_>>(),
                    xid,
                    told,
                )
                .await?;
            }
            None => {
                for (_, ask) in now {
                    let Some(view) = audience.view_of(ask.view) else { continue };
                    let alone = statement(audience.catalog(), view, ask, false);
                    run(pool, audience, &alone, &[ask], xid, told).await?;
                }
            }
        }
    }
    Ok(())
}

async fn run(
    pool: &Pool,
    audience: &Audience,
    sql: &Sql,
    asks: &[&Ask<'_>],
    xid: Option<u32>,
    told: &mut Told,
) -> Result<(), DbError> {
    loop {
        let rows = pool.read(sql).await?;
        let seen = |row: &crate::db::Row| row.text(1).and_then(Visibility::parse);
        let current =
            xid.is_none_or(|xid| rows.iter().all(|row| seen(row).is_some_and(|snapshot| snapshot.sees(xid))));
        if !current {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        for row in &rows {
            let Some(ask) = row.integer(0).and_then(|n| asks.get(usize::try_from(n).ok()?.checked_sub(1)?))
            else {
                continue;
            };
            let Some(view) = audience.view_of(ask.view) else { continue };
            let visible = row.boolean(2) == Some(true);
            let masks = view.masked.iter().enumerate();
            let hidden: FieldSet =
                masks.filter(|(at, _)| row.boolean(3 + at) != Some(true)).map(|(_, field)| *field).collect();
            told.insert((ask.view, ask.at, ask.old), visible.then_some(hidden));
        }
        return Ok(());
    }
}

/// `select n, snapshot, visible, mask, … from the row`
fn statement(catalog: &Catalog, view: &View, ask: &Ask<'_>, shared: bool) -> Sql {
    let collection = catalog.collection(ask.mapping.collection);
    let mut sql = if shared { Sql::shared() } else { Sql::new() };
    let t = sql.fresh();
    let binding = Binding {
        collections: &catalog.collections,
        row: condition::Row::Alias(t),
        old: None,
        principal: &view.principal,
        captures: &[],
    };
    sql.raw(if shared { "select b.n, " } else { "select 1::bigint, " }).raw("pg_current_snapshot()::text");
    let mut judged = |condition: Option<&crate::condition::Condition>| {
        sql.raw(", (");
        match condition {
            Some(condition) => condition.to_sql(&mut sql, &binding),
            None => drop(sql.raw("true")),
        }
        sql.raw(") is true");
    };
    judged(view.permit.when());
    for field in &view.masked {
        judged(view.permit.mask(*field));
    }
    sql.raw(" from ");
    if shared {
        sql.each_request().raw(" cross join lateral ");
    }
    sql.raw("(select ");
    let fields =
        view.conditions().fold(FieldSet::EMPTY, |fields, condition| fields.union(condition.fields()));
    let record = ask.mapping.record(ask.row, &fields);
    let mut any = false;
    for id in fields.iter() {
        let field = collection.field(id);
        sql.raw(if any { ", " } else { "" });
        let value = record.get(id);
        sql.bind(field.kind, value.to_text()).raw(" as ").name(&field.name);
        any = true;
    }
    if !any {
        sql.bind(Kind::BOOLEAN, None).raw(" as nothing");
    }
    sql.raw(") ").alias(t);
    sql
}
