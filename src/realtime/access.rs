//! Who may join a topic, and what he may do there.
//!
//! A topic that a channel of the project declares is private, whatever its client asks: the channel's rules judge.
//! A topic that none declares is open to any key, unless the project turns that off or the client asks for a private one,
//! and has nothing in common with a private topic. What rows a subscriber sees is not decided here.

use crate::catalog::Catalog;
use crate::condition::{Binding, Condition, Row};
use crate::db::Pool;
use crate::error::Error;
use crate::model::Principal;
use crate::policy::{ChannelDecision, TOPIC_PREFIX};
use crate::sql::Sql;

/// What may be done on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Hearing broadcasts and who is there.
    pub read: bool,
    /// Broadcasting and being there.
    pub write: bool,
    /// The topic is declared, or only the secret key may have it: what is on it is not for public ones.
    pub private: bool,
}

/// Why a topic cannot be joined. Its text is the reason on the wire.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// No rule lets the caller in, or the topic is none: the two are not told apart.
    #[error("Unauthorized: You do not have permissions to read from this Channel topic: {0}")]
    Unauthorized(String),
    /// The project has no public topics.
    #[error("PrivateOnly: This project only allows private channels")]
    PrivateOnly,
    /// It could not be judged.
    #[error("UnknownErrorOnChannel: {}", .0.message)]
    Failed(Error),
}

/// Judges a join, and a caller who has become another since. `topic` is what follows `realtime:`; `private` is what
/// the client asks for.
///
/// # Errors
/// [`Refusal`].
pub async fn join(
    pool: &Pool,
    catalog: &Catalog,
    principal: &Principal,
    topic: &str,
    private: bool,
) -> Result<Rights, Refusal> {
    let unauthorized = || Refusal::Unauthorized(topic.to_owned());
    match catalog.policies.channel(principal, topic) {
        ChannelDecision::Unrestricted(reason) => {
            let declared = catalog.policies.channels().declares(topic);
            tracing::info!(reason, topic = %format_args!("{TOPIC_PREFIX}{topic}"), "policies bypassed");
            Ok(Rights { read: true, write: true, private: private || declared })
        }
        ChannelDecision::Undeclared if private => Err(unauthorized()),
        ChannelDecision::Undeclared if !catalog.policies.channels().public => Err(Refusal::PrivateOnly),
        ChannelDecision::Undeclared => Ok(Rights { read: true, write: true, private: false }),
        ChannelDecision::Declared(permit) => {
            let conditions = [&permit.read, &permit.write];
            let [read, write] = judge(pool, catalog, principal, &permit.captures, conditions)
                .await
                .map_err(Refusal::Failed)?;
            let rights = Rights { read, write, private: true };
            if read || write { Ok(rights) } else { Err(unauthorized()) }
        }
    }
}

/// Which conditions hold: by one statement, unless they say so by themselves.
async fn judge(
    pool: &Pool,
    catalog: &Catalog,
    principal: &Principal,
    captures: &[String],
    conditions: [&Condition; 2],
) -> Result<[bool; 2], Error> {
    let never = Condition::never();
    if conditions.iter().all(|condition| condition.is_always() || **condition == never) {
        return Ok(conditions.map(Condition::is_always));
    }
    let mut sql = Sql::new();
    // No record is judged, so no condition names this row.
    let row = Row::Alias(sql.fresh());
    let collections = &catalog.collections;
    let binding = Binding { collections, row, old: None, principal, captures };
    for (at, condition) in conditions.into_iter().enumerate() {
        sql.raw(if at == 0 { "select (" } else { ", (" });
        condition.to_sql(&mut sql, &binding);
        sql.raw(") is true");
    }
    let rows = pool.read(&sql).await?;
    let holds = |column| rows.first().and_then(|row| row.boolean(column)) == Some(true);
    Ok([holds(0), holds(1)])
}
