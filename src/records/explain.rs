//! What a request would do, and why: Postgres' plan of its very statements, the way they take, and the rules
//! that speak for the caller.
//!
//! Everything happens in a transaction that is undone. Nothing runs unless that is asked.

use serde::Serialize;

use super::rules::Deciding;
use super::{fault, keys_of, now};
use crate::db::{DbError, Pool, Row, Tx};
use crate::error::Error;
use crate::query::plan::{Context, Cost, ReadPlan, Touched, WritePlan};
use crate::query::preferences::Count;
use crate::read;
use crate::sql::Sql;

/// How to explain: the options of Postgres' EXPLAIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// As JSON, and not as text.
    pub json: bool,
    /// Runs what is explained, and undoes it.
    pub analyze: bool,
    pub verbose: bool,
    pub settings: bool,
    pub buffers: bool,
    pub wal: bool,
}

impl Wanted {
    /// The names of the options that are on.
    pub fn options(self) -> impl Iterator<Item = &'static str> {
        [
            (self.analyze, "analyze"),
            (self.verbose, "verbose"),
            (self.settings, "settings"),
            (self.buffers, "buffers"),
            (self.wal, "wal"),
        ]
        .into_iter()
        .filter_map(|(on, name)| on.then_some(name))
    }

    /// A statement that explains another one.
    fn explaining(self, sql: &Sql) -> Sql {
        let mut words = vec!["explain (format ", if self.json { "json" } else { "text" }];
        words.extend(self.options().flat_map(|option| [", ", option]));
        words.push(") ");
        sql.behind(&words)
    }

    async fn explain(self, tx: &Tx, sql: &Sql) -> Result<String, DbError> {
        let rows = tx.query(&self.explaining(sql)).await?;
        let lines: Vec<&str> = rows.iter().filter_map(|row: &Row| row.text(0)).collect();
        Ok(lines.join("\n"))
    }
}

/// A request explained.
#[derive(Debug)]
pub struct Explained {
    /// In the order in which they run; none where nothing would.
    pub statements: Vec<Explanation>,
    pub caller: Caller,
    /// What the policies say to each action on each collection that is touched.
    pub rules: Vec<Deciding>,
}

/// One statement of a request.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// What Postgres says of it, in the format that was asked.
    #[serde(skip)]
    pub plan: String,
    /// What it is for.
    #[serde(rename = "for")]
    pub purpose: &'static str,
    /// Its text; values stand beside it as `$1`, `$2`, …
    pub sql: String,
    /// On what connection it runs, and why.
    pub way: &'static str,
    /// Of a write whose rules set different values: which of its statements this is, and of how many. The next
    /// one runs where the policies refuse what this one would store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
}

/// As whom the request is judged.
#[derive(Debug, Serialize)]
pub struct Caller {
    pub id: Option<String>,
    pub roles: Vec<String>,
}

const JUDGED_LATER: &str =
    "pool, a transaction: a condition looks at the written collection itself, so later statements judge";

/// `together`: requests like it that come at the same moment share a statement.
fn way(cost: Cost, together: bool) -> &'static str {
    match cost {
        Cost::OneRow if together => {
            "lane, pipelined: one record at most, by a key or new; several at once share a statement"
        }
        Cost::OneRow => "lane, pipelined: one record at most, by a key or new",
        Cost::ShortPage => "lane, pipelined: a short page in the order of an index",
        Cost::Steady => {
            "pool, prepared: records found by keys and the front of an index, whatever the values"
        }
        Cost::Unknown => "pool, a connection of its own: what it costs is not known before it runs",
    }
}

impl Explained {
    fn of(context: Context<'_>, statements: Vec<Explanation>, touched: &[Touched<'_>]) -> Explained {
        let principal = context.principal;
        tracing::info!(reason = "secret key", statements = statements.len(), "request explained");
        let caller = Caller { id: principal.id.map(|id| id.to_string()), roles: principal.roles.clone() };
        let rules = touched.iter().map(|touched| Deciding::of(context.catalog, principal, touched)).collect();
        Explained { statements, caller, rules }
    }

    /// All of it as lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for statement in &self.statements {
            lines.extend(statement.plan.lines().map(str::to_owned));
            lines.push(String::new());
            let turn = statement.turn.iter().map(|turn| format!(", turn {turn}")).collect::<String>();
            lines.push(format!("For: {}{turn}", statement.purpose));
            lines.push(format!("Way: {}", statement.way));
            lines.push(format!("SQL: {}", statement.sql));
            lines.push(String::new());
        }
        if self.statements.is_empty() {
            lines.extend(["Nothing would run.".to_owned(), String::new()]);
        }
        let id = self.caller.id.iter().map(|id| format!(", id {id}")).collect::<String>();
        lines.push(format!("Caller: roles {}{id}", self.caller.roles.join(", ")));
        lines.extend(self.rules.iter().flat_map(Deciding::lines));
        lines
    }
}

/// Explains a read, and how it is counted if that is asked.
///
/// # Errors
/// What Postgres refuses of it.
pub async fn read(
    pool: &Pool,
    context: Context<'_>,
    plan: &ReadPlan,
    count: Option<Count>,
    wanted: Wanted,
) -> Result<Explained, Error> {
    let page = plan.statement(context);
    let counts = count.and_then(|count| read::counting(context, plan, count).0);
    let statements = undone(pool, async |tx| {
        let mut statements = Vec::new();
        for (purpose, statement) in [("reads the page", Some(&page)), ("counts", counts.as_ref())] {
            let Some(statement) = statement else { continue };
            statements.push(Explanation {
                plan: wanted.explain(tx, &statement.sql).await.map_err(DbError::into_error)?,
                purpose,
                sql: statement.sql.text().to_owned(),
                way: way(statement.cost, count.is_none()),
                turn: None,
            });
        }
        Ok(statements)
    })
    .await?;
    Ok(Explained::of(context, statements, &plan.touched()))
}

/// Explains a write. Where it runs, the rules judge it as they judge the request.
///
/// # Errors
/// What the request would be refused for, if it runs; what Postgres refuses of it otherwise.
pub async fn write(
    pool: &Pool,
    context: Context<'_>,
    plan: &WritePlan,
    wanted: Wanted,
) -> Result<Explained, Error> {
    let statements = match plan.is_empty() {
        true => Vec::new(),
        false => undone(pool, async |tx| in_turn(tx, context, plan, wanted).await).await?,
    };
    Ok(Explained::of(context, statements, &plan.touched()))
}

/// Explains the first of a write's ways, or where it runs the first that is not refused.
async fn in_turn(
    tx: &Tx,
    context: Context<'_>,
    plan: &WritePlan,
    wanted: Wanted,
) -> Result<Vec<Explanation>, Error> {
    let mut turn = 0;
    loop {
        tx.batch("savepoint turn").await.map_err(DbError::into_error)?;
        match one_way(tx, context, plan, turn, wanted).await {
            Ok(statements) => return Ok(statements),
            Err(error) if turn + 1 < plan.ways() && error.sqlstate() == Some("42501") => {
                tx.batch("rollback to savepoint turn").await.map_err(DbError::into_error)?;
                turn += 1;
            }
            Err(error) => return Err(fault::of_write(context, plan, error)),
        }
    }
}

async fn one_way(
    tx: &Tx,
    context: Context<'_>,
    plan: &WritePlan,
    turn: usize,
    wanted: Wanted,
) -> Result<Vec<Explanation>, DbError> {
    let statement = plan.statement(context, turn);
    let way = match statement.judged_later {
        true => JUDGED_LATER,
        false => way(plan.cost(context), plan.together(context, now()).is_some()),
    };
    let ways = plan.ways();
    let explanation = |purpose, sql: &Sql, plan| Explanation {
        plan,
        purpose,
        sql: sql.text().to_owned(),
        way,
        turn: (ways > 1).then(|| format!("{} of {ways}", turn + 1)),
    };
    if !statement.judged_later {
        let plan = wanted.explain(tx, &statement.sql).await?;
        return Ok(vec![explanation("writes, judges and answers", &statement.sql, plan)]);
    }
    // The later statements speak of the rows written. Where nothing runs there are none; and where it does,
    // EXPLAIN hands out no rows, so the write is done once for their sake, and then again to be looked at.
    let keys = match wanted.analyze {
        true => {
            tx.batch("savepoint written").await?;
            keys_of(&tx.query(&statement.sql).await?)
        }
        false => keys_of(&[]),
    };
    let (judge, read) = (plan.judge(context, turn, keys.clone()), plan.read_back(context, keys));
    let later = [
        explanation("judges what was written", &judge, wanted.explain(tx, &judge).await?),
        explanation("reads what was written", &read, wanted.explain(tx, &read).await?),
    ];
    if wanted.analyze {
        tx.batch("rollback to savepoint written").await?;
    }
    let first = wanted.explain(tx, &statement.sql).await?;
    Ok([explanation("writes", &statement.sql, first)].into_iter().chain(later).collect())
}

/// Does something in a transaction, and undoes it whatever came of it.
async fn undone<T>(pool: &Pool, work: impl AsyncFnOnce(&Tx) -> Result<T, Error>) -> Result<T, Error> {
    let tx = pool.begin().await.map_err(DbError::into_error)?;
    let outcome = work(&tx).await;
    if let Err(error) = tx.rollback().await {
        tracing::debug!(%error, "what was explained was undone by the end of its connection");
    }
    outcome
}
