//! **The agreement test**: a condition decides in SQL exactly as it decides in memory, and never raises.
//!
//! Random collections of every kind, rows at the edges of what Postgres holds, callers with odd claims, and
//! random well-typed conditions of every construct, each taken from its text through the whole language. A
//! case is one condition, one row and one caller, compared in three-valued logic.
//!
//! `BASEWRIGHT_AGREEMENT_CASES` asks for more cases, `BASEWRIGHT_SEED` for the run that a failure printed.

pub mod random;
pub mod source;
pub mod world;

use std::collections::HashMap;
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use basewright::condition::{
    Binding, Condition, Env, Key, Membership, Pattern, Reach, Row, Rows, Scope, check, compare, parse,
};
use basewright::model::{CollectionId, Kind, Name, Principal, Record, Value};
use basewright::sql::{Param, Sql};
use bytes::BytesMut;
use tokio_postgres::Client;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use random::Random;
use source::Source;
use world::{CAPTURES, Raw, World};

/// Conditions of one world before the next is made.
const CONDITIONS: usize = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

fn seed() -> u64 {
    let seed = setting("BASEWRIGHT_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000_000
    });
    println!("BASEWRIGHT_SEED={seed}");
    seed
}

#[tokio::test]
async fn a_condition_decides_in_sql_as_it_does_in_memory() {
    let seed = seed();
    let wanted = setting("BASEWRIGHT_AGREEMENT_CASES").unwrap_or(20_000);
    let database = crate::support::database().await;
    let client = database.connect_owner().await;
    // Some of the values cost Postgres more text than a request may; the time of a statement is not at issue here.
    client.batch_execute("set statement_timeout = '60s'; set client_min_messages = warning").await.unwrap();
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    while tally.cases < wanted {
        let world = World::make(&mut random, &client).await;
        for _ in 0..CONDITIONS {
            if tally.cases >= wanted {
                break;
            }
            agree(&mut random, &world, &client, seed, &mut tally).await;
        }
    }
    println!("{tally:?}");
    // A run in which everything is unknown would agree about nothing.
    assert!(tally.truths * 10 > tally.cases && tally.falsehoods * 10 > tally.cases, "{tally:?}");
    assert!(tally.unknowns * 100 > tally.cases, "{tally:?}");
    assert!(tally.keys > 0 && tally.memberships > 0, "{tally:?}");
}

#[derive(Debug, Default)]
struct Tally {
    cases: u64,
    conditions: u64,
    statements: u64,
    truths: u64,
    falsehoods: u64,
    unknowns: u64,
    /// Cases that were TRUE, and where something was said ahead of the record.
    keys: u64,
    /// Cases that were decided by memberships, too.
    memberships: u64,
}

async fn agree(random: &mut Random, world: &World, client: &Client, seed: u64, tally: &mut Tally) {
    let ids: Vec<CollectionId> = world.collections.ids().collect();
    let record = *random.pick(&ids);
    let mut named = HashMap::new();
    let mut names = Vec::new();
    for at in 0..random.below(3) {
        let text = text(random, world, record, false, &names);
        named.insert(Name::declared(&format!("named_{at}")).unwrap(), parse(&text).unwrap());
        names.push(format!("named_{at}"));
    }
    let old = random.one_in(3);
    let text = text(random, world, record, old, &names);
    let captures = CAPTURES.map(|name| Name::declared(name).unwrap());
    let scope = Scope {
        collections: &world.collections,
        collection: Some(world.collections.get(record)),
        named: &named,
        old,
        own_fields_only: false,
        captures: &captures,
    };
    let condition = parse(&text)
        .and_then(|syntax| check(&syntax, &scope))
        .unwrap_or_else(|faults| panic!("BASEWRIGHT_SEED={seed}\n{text}\n{faults:#?}\n{named:?}"));
    tally.conditions += 1;
    for _ in 0..2 {
        let case = Case {
            world,
            record,
            condition: &condition,
            text: &text,
            principal: random.pick(&world.principals),
            captures: random.pick::<Vec<String>>(&world.captures),
            // The row before the write is another row of the same collection, or there is none.
            shift: (old && !random.one_in(5)).then(|| 1 + random.below(3)),
            seed,
        };
        case.compare(client, Written::Bound, tally).await;
        if condition.reach() == Reach::Row && !condition.mentions_old() && random.one_in(4) {
            // A table that is alone needs no alias, and a constraint has only its own.
            Case { shift: None, ..case }.compare(client, Written::Inline, tally).await;
        }
    }
}

fn text(random: &mut Random, world: &World, record: CollectionId, old: bool, named: &[String]) -> String {
    let depth = 1 + random.below(3);
    let mut source =
        Source { random, collections: &world.collections, record, variables: Vec::new(), old, named };
    source.condition(depth)
}

/// How the condition's values enter the statement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Written {
    Bound,
    /// As literals and with bare columns, as in a CHECK constraint.
    Inline,
}

struct Case<'a> {
    world: &'a World,
    record: CollectionId,
    condition: &'a Condition,
    text: &'a str,
    principal: &'a Principal,
    captures: &'a [String],
    shift: Option<usize>,
    seed: u64,
}

impl Case<'_> {
    /// Asks Postgres about every row at once, and memory about each.
    async fn compare(&self, client: &Client, written: Written, tally: &mut Tally) {
        let rows = self.world.rows_of(self.record);
        let sql = self.sql(written, rows.len());
        let answers = self.ask(client, &sql).await;
        tally.statements += 1;
        assert_eq!(answers.len(), rows.len(), "{}", self.told(&sql));
        for (row, (now, answer)) in rows.iter().enumerate().map(|(at, row)| ((at, row), &answers[at])) {
            let (at, row) = row;
            let old = self.old(at, rows);
            let env = Env {
                collections: &self.world.collections,
                record: row,
                old,
                principal: self.principal,
                now: *now,
                captures: self.captures,
                rows: &self.world.rows,
            };
            let decided = self.condition.evaluate(&env);
            assert!(
                decided == *answer,
                "SQL says {answer:?}, memory says {decided:?}\n{}\nrow {at}: {row:?}\nold: {old:?}\n{:#?}",
                self.told(&sql),
                self.condition.explain(&env),
            );
            tally.cases += 1;
            self.foretell(&env, decided, tally);
            match decided {
                Some(true) => tally.truths += 1,
                Some(false) => tally.falsehoods += 1,
                None => tally.unknowns += 1,
            }
        }
    }

    /// What is said of a condition ahead of rows holds for this one: where it is TRUE the record has one of the keys,
    /// and the rows of its memberships decide it as all rows do.
    fn foretell(&self, env: &Env<'_>, decided: Option<bool>, tally: &mut Tally) {
        let equal = |one: &Value, other: &Value| compare(one, other).is_some_and(std::cmp::Ordering::is_eq);
        let found = |membership: &Membership| {
            let rows = env.rows.0.get(&membership.collection).into_iter().flatten();
            let linked = |row: &&Record| {
                equal(row.get(membership.field), &membership.value)
                    && membership
                        .link
                        .is_none_or(|(theirs, ours)| equal(row.get(theirs), env.record.get(ours)))
            };
            rows.filter(linked).cloned().collect::<Vec<Record>>()
        };
        if decided == Some(true)
            && let Some(keys) = self.condition.keys(env.principal)
        {
            tally.keys += 1;
            let holds = keys.iter().any(|key| match key {
                Key::Equals(field, value) => equal(env.record.get(*field), value),
                Key::Member(membership) => !found(membership).is_empty(),
            });
            assert!(holds, "none of the keys is there: {keys:?}\n{:#?}", self.condition.explain(env));
        }
        if let Some(memberships) = self.condition.memberships(env.principal).filter(|all| !all.is_empty()) {
            tally.memberships += 1;
            let mut rows = Rows::default();
            for membership in &memberships {
                rows.0.entry(membership.collection).or_default().extend(found(membership));
            }
            let few = self.condition.evaluate(&Env { rows: &rows, ..*env });
            assert!(
                few == decided,
                "{few:?} by memberships, {decided:?} by all rows\n{:#?}",
                self.condition.explain(env)
            );
        }
    }

    fn old<'r>(&self, at: usize, rows: &'r [Record]) -> Option<&'r Record> {
        self.shift.map(|shift| &rows[(at + shift) % rows.len()])
    }

    fn sql(&self, written: Written, count: usize) -> Sql {
        let table = &self.world.collections.get(self.record).name;
        let mut sql = match written {
            Written::Bound => Sql::new(),
            Written::Inline => Sql::ddl(),
        };
        let (row, old) = (sql.fresh(), sql.fresh());
        let binding = Binding {
            collections: &self.world.collections,
            row: match written {
                Written::Bound => Row::Alias(row),
                Written::Inline => Row::Bare,
            },
            old: self.shift.map(|_| old),
            principal: self.principal,
            captures: self.captures,
        };
        sql.raw("select now(), (");
        self.condition.to_sql(&mut sql, &binding);
        sql.raw(") from public.").name(table).raw(" ").alias(row);
        if let Some(shift) = self.shift {
            sql.raw(" join public.").name(table).raw(" ").alias(old);
            sql.raw(" on ").alias(old).raw(".ord = (").alias(row).raw(".ord + ").number(shift as i64);
            sql.raw(") % ").number(count as i64);
        }
        sql.raw(" order by ").alias(row).raw(".ord");
        sql
    }

    async fn ask(&self, client: &Client, sql: &Sql) -> Vec<(i64, Option<bool>)> {
        let types: Vec<Type> = sql.params().iter().map(|param| Type::from_oid(param.oid).unwrap()).collect();
        let params: Vec<Text> = sql.params().iter().map(|Param { value, .. }| Text(value.clone())).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let raised = |error: tokio_postgres::Error| -> ! {
            panic!("raised: {error}: {:?}\n{}", error.as_db_error(), self.told(sql))
        };
        let statement = match client.prepare_typed(sql.text(), &types).await {
            Ok(statement) => statement,
            Err(error) => raised(error),
        };
        let rows = match client.query(&statement, &params).await {
            Ok(rows) => rows,
            Err(error) => raised(error),
        };
        rows.iter()
            .map(|row| match Value::from_binary(Kind::TIMESTAMP, &row.get::<_, Raw>(0).0).unwrap() {
                Value::Timestamp(now) => (now, row.get(1)),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn told(&self, sql: &Sql) -> String {
        format!(
            "BASEWRIGHT_SEED={}\ncondition: {}\nsql: {}\nparams: {:?}\ncaptures: {:?}\nprincipal: {:?}",
            self.seed,
            self.text,
            sql.text(),
            sql.params(),
            self.captures,
            self.principal,
        )
    }
}

/// A parameter in text format.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// The three readers of a pattern, over the texts that the rows hold.
#[tokio::test]
async fn a_pattern_means_the_same_to_postgres_in_memory_and_in_json_schema() {
    let seed = seed();
    let mut random = Random::new(seed);
    let database = crate::support::database().await;
    let client = database.connect_owner().await;
    let texts = world::edges(basewright::model::Scalar::Text);
    for _ in 0..400 {
        let text = source::pattern(&mut random, 2);
        let pattern = Pattern::parse(&text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
        // With the engine that validators are built with: the library's other one takes `[a-z]+[^0-9]*[a-z]+`
        // to match a single letter.
        let schema = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&serde_json::json!({ "pattern": pattern.to_json_schema() }))
            .unwrap_or_else(|error| panic!("BASEWRIGHT_SEED={seed} {text}: {error}"));
        let mut sql = Sql::new();
        sql.raw("select ");
        pattern.to_sql(&mut sql, |sql| {
            sql.raw("candidate");
        });
        sql.raw(" from unnest(").bind(
            Kind::many(basewright::model::Scalar::Text),
            Value::Array(texts.iter().map(|text| Value::text(*text)).collect()).to_text(),
        );
        sql.raw(") with ordinality as c (candidate, place) order by place");
        let types: Vec<Type> = sql.params().iter().map(|param| Type::from_oid(param.oid).unwrap()).collect();
        let params: Vec<Text> = sql.params().iter().map(|param| Text(param.value.clone())).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|param| param as _).collect();
        let statement = client.prepare_typed(sql.text(), &types).await.unwrap();
        let answers =
            client.query(&statement, &params).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        for (candidate, answer) in texts.iter().zip(&answers) {
            let matched = pattern.is_match(candidate);
            let told = format!("BASEWRIGHT_SEED={seed} {text} on {candidate:?}");
            assert_eq!(answer.get::<_, bool>(0), matched, "{told} in Postgres");
            assert_eq!(schema.is_valid(&serde_json::json!(candidate)), matched, "{told} in JSON Schema");
        }
    }
}
