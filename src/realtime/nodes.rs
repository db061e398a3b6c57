//! The servers that share a database: which were seen when, and the slots of those that are gone.

use std::time::Duration;

use super::cursor::System;
use super::publication::Published;
use super::wal::{self, Node, WalFault};
use crate::db::{DbError, Pool, Target};
use crate::model::Kind;
use crate::sql::Sql;

/// Keeps what a node has seen, for its next start.
pub async fn seen(pool: &Pool, node: &Node, system: System, published: &Published) -> Result<(), DbError> {
    let text = |text: String| (Kind::TEXT, Some(text));
    let mut sql = Sql::new();
    let (kind, name) = text(node.to_string());
    sql.raw("insert into basewright.nodes (name, system, publication) values (").bind(kind, name);
    let (kind, system) = text(format!("{}/{}", system.id, system.timeline));
    sql.raw(", ").bind(kind, system);
    let (kind, publication) = text(published.to_string());
    sql.raw(", ").bind(kind, publication).raw(
        ") on conflict (name) do update set system = excluded.system, publication = excluded.publication, \
         seen_at = now()",
    );
    pool.query(&sql).await.map(drop)
}

/// A node's sign of life.
pub async fn alive(pool: &Pool, node: &Node) -> Result<(), DbError> {
    let mut sql = Sql::new();
    sql.raw("insert into basewright.nodes (name) values (").bind(Kind::TEXT, Some(node.to_string()));
    sql.raw(") on conflict (name) do update set seen_at = now()");
    pool.query(&sql).await.map(drop)
}

/// Keeps where a node's replay window begins: no change was published between that and where its slot stands.
pub(super) async fn keep_floor(pool: &Pool, node: &Node, floor: u64) -> Result<(), DbError> {
    let mut sql = Sql::new();
    sql.raw("update basewright.nodes set floor = ").bind(Kind::TEXT, Some(floor.to_string()));
    sql.raw(", seen_at = now() where name = ").bind(Kind::TEXT, Some(node.to_string()));
    pool.query(&sql).await.map(drop)
}

/// What [`keep_floor`] kept, if it is of this system.
pub(super) async fn floor(pool: &Pool, node: &Node, system: System) -> Result<Option<u64>, DbError> {
    let mut sql = Sql::new();
    sql.raw("select floor from basewright.nodes where name = ").bind(Kind::TEXT, Some(node.to_string()));
    sql.raw(" and system = ").bind(Kind::TEXT, Some(format!("{}/{}", system.id, system.timeline)));
    let rows = pool.read(&sql).await?;
    Ok(rows.first().and_then(|row| row.text(0)?.parse().ok()))
}

/// The publication as a node last saw it; `None` for a new node, and where an older version of the server wrote it
/// down in another way.
pub async fn published(pool: &Pool, node: &Node) -> Result<Option<Published>, DbError> {
    let mut sql = Sql::new();
    sql.raw("select publication from basewright.nodes where name = ");
    sql.bind(Kind::TEXT, Some(node.to_string()));
    let rows = pool.read(&sql).await?;
    Ok(rows.first().and_then(|row| row.text(0)?.parse().ok()))
}

/// Drops the slots of nodes that were not seen for so long, other than our own, and forgets those nodes. Returns their
/// names. A slot whose node was never seen counts as seen now.
pub async fn sweep(
    pool: &Pool,
    replication: &Target,
    own: &Node,
    unseen_for: Duration,
) -> Result<Vec<Node>, WalFault> {
    let mut sql = Sql::new();
    sql.raw(
        "with ours as (select 'basewright_' || oid || '_' as prefix from pg_database \
         where datname = current_database()), \
         slots as (select substr(slot_name, length(prefix) + 1) as node, active from pg_replication_slots join ours \
         on starts_with(slot_name, prefix)), \
         met as (insert into basewright.nodes (name) select node from slots \
         where not active and node ~ '^[a-z0-9_]{1,32}$' on conflict (name) do nothing) \
         select n.name, s.node is not null from basewright.nodes n left join slots s on s.node = n.name \
         where s.active is not true and n.seen_at < now() - ",
    );
    sql.bind(Kind::BIGINT, Some(unseen_for.as_millis().to_string()))
        .raw(" * interval '1 millisecond' and n.name <> ");
    sql.bind(Kind::TEXT, Some(own.to_string()));
    let rows = pool.query(&sql).await?;
    let gone: Vec<(Node, bool)> =
        rows.iter().filter_map(|row| Some((Node::parse(row.text(0)?).ok()?, row.boolean(1)?))).collect();
    let mut forgotten = Vec::new();
    let mut link = None;
    for (node, has_slot) in gone {
        if has_slot {
            let link = match &mut link {
                Some(link) => link,
                None => link.insert(wal::connect(replication).await?),
            };
            let slot = wal::slot_name(wal::database(link).await?, &node);
            let drop = format!(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots \
                 where slot_name = '{slot}' and not active"
            );
            match link.query(&drop).await {
                Ok(_) => tracing::warn!(%node, slot, "dropped the slot of a node that was not seen for long"),
                // It is back.
                Err(e) if e.sqlstate() == Some("55006") => continue,
                Err(e) => return Err(e.into()),
            }
        }
        let mut sql = Sql::new();
        sql.raw("delete from basewright.nodes where name = ").bind(Kind::TEXT, Some(node.to_string()));
        sql.raw(" and seen_at < now() - ").bind(Kind::BIGINT, Some(unseen_for.as_millis().to_string()));
        sql.raw(" * interval '1 millisecond'");
        pool.query(&sql).await?;
        forgotten.push(node);
    }
    Ok(forgotten)
}
