//! A filter finds the same records in memory as a read with it does in Postgres.
//!
//! `BASEWRIGHT_FILTER_CASES` asks for more cases, `BASEWRIGHT_SEED` for the run that a failure printed.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use basewright::condition::{Env, Rows};
use basewright::model::{Action, FieldId, Kind, Principal, Record, Scalar, Value};
use basewright::policy::{Decision, Permit};
use basewright::query::plan::{Context, ReadPlan};
use basewright::query::request::{Item, Node, Path};
use basewright::realtime::filter::Filter;
use uuid::Uuid;

use super::world::World;
use crate::agreement::random::Random;
use crate::agreement::source::pattern;
use crate::agreement::world::edges;

const ROWS: usize = 120;

fn kinds() -> impl Iterator<Item = (String, Kind)> {
    Scalar::all()
        .flat_map(|scalar| [Kind::one(scalar), Kind::many(scalar)])
        .map(|kind| (format!("f_{}{}", kind.scalar.yaml(), if kind.array { "_many" } else { "" }), kind))
}

fn project() -> String {
    let mut yaml = "collections:\n  things:\n    timestamps: false\n    fields:\n      id: integer\n      shown: boolean\n".to_owned();
    for (name, kind) in kinds() {
        writeln!(yaml, "      {name}: '{kind}'").unwrap();
    }
    yaml.push_str("policies:\n  things:\n    read:\n      - { role: authenticated, fields: { except: [f_text, f_integer, f_text_many] } }\n      - { role: authenticated, when: shown }\n");
    yaml
}

/// A value of a kind as Postgres reads it, never null.
fn literal(random: &mut Random, kind: Kind) -> String {
    let one = |random: &mut Random| {
        // Escapes of JSON text and numbers that only `numeric` holds are not what is tried here.
        let known: Vec<&str> = edges(kind.scalar)
            .iter()
            .copied()
            .filter(|text| kind.scalar != Scalar::Json || !text.contains(['\\', 'e']))
            .collect();
        (*random.pick(&known)).to_owned()
    };
    if !kind.array {
        return one(random);
    }
    let elements: Vec<String> = (0..random.below(3))
        .map(|_| {
            if random.one_in(5) {
                "null".to_owned()
            } else {
                format!("\"{}\"", one(random).replace('\\', "\\\\").replace('"', "\\\""))
            }
        })
        .collect();
    format!("{{{}}}", elements.join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// One `field=op.value`.
fn term(random: &mut Random) -> String {
    let kinds: Vec<(String, Kind)> = kinds().collect();
    let (name, kind) = random.pick(&kinds).clone();
    let mut words: Vec<&str> = vec!["eq", "neq", "is", "isdistinct"];
    if kind.scalar.ordered() {
        words.extend(["lt", "lte", "gt", "gte"]);
    }
    if !kind.array {
        words.extend(["in", "in", "eq(any)", "neq(skip)", "eq(all)"]);
    }
    if kind == Kind::TEXT {
        words.extend(["like", "ilike", "match", "imatch", "like(any)", "ilike(all)"]);
    }
    let mut word = *random.pick(&words);
    if word == "neq(skip)" {
        word = if kind.scalar.ordered() { "gte(any)" } else { "eq(any)" };
    }
    let like = |random: &mut Random| -> String {
        (0..random.below(5))
            .map(|_| *random.pick(&["%", "_", "a", "B", "\\\\", "é", "\\%", "*", "𝔘"]))
            .collect()
    };
    let operand = match word {
        "is" if kind == Kind::BOOLEAN => {
            (*random.pick(&["null", "not_null", "true", "false", "unknown"])).to_owned()
        }
        "is" => (*random.pick(&["null", "not_null"])).to_owned(),
        "in" => {
            let values: Vec<String> = (0..random.below(4)).map(|_| quoted(&literal(random, kind))).collect();
            format!("({})", values.join(","))
        }
        "like" | "ilike" => quoted(&like(random)),
        "like(any)" | "ilike(all)" => {
            let values: Vec<String> = (0..random.below(3)).map(|_| quoted(&like(random))).collect();
            format!("{{{}}}", values.join(","))
        }
        "match" => quoted(&pattern(random, 1)),
        "imatch" => (*random.pick(&["^a", "B$", "x|ab", "[a-c]B", "[^a]"])).to_owned(),
        word if word.contains('(') => {
            let values: Vec<String> = (0..random.below(4)).map(|_| quoted(&literal(random, kind))).collect();
            format!("{{{}}}", values.join(","))
        }
        _ => quoted(&literal(random, kind)),
    };
    let not = if random.one_in(3) { "not." } else { "" };
    format!("{name}={not}{word}.{operand}")
}

async fn fill(world: &World, random: &mut Random) {
    let mut script = String::new();
    for id in 0..ROWS {
        let mut values = vec![id.to_string(), (*random.pick(&["true", "false", "null"])).to_owned()];
        for (_, kind) in kinds() {
            values.push(if random.one_in(6) {
                "null".to_owned()
            } else {
                format!("'{}'", literal(random, kind).replace('\'', "''"))
            });
        }
        writeln!(script, "insert into public.things values ({});", values.join(", ")).unwrap();
    }
    world.run(&script).await;
}

struct Reader<'w> {
    world: &'w World,
    principal: &'w Principal,
}

impl Reader<'_> {
    fn context(&self) -> Context<'_> {
        Context { catalog: &self.world.catalog, principal: self.principal }
    }

    async fn rows(&self, node: &Node) -> Result<Vec<basewright::db::Row>, String> {
        let plan = ReadPlan::new(self.context(), "things", node).unwrap();
        let statement = plan.statement(self.context());
        self.world
            .pool
            .read(&statement.sql)
            .await
            .map_err(|error| format!("{error:?} {}", statement.sql.text()))
    }

    /// Every record as Postgres holds it.
    async fn records(&self) -> Vec<Record> {
        let context = Context { principal: &Principal::service(), ..self.context() };
        let plan = ReadPlan::new(context, "things", &Node::default()).unwrap();
        let rows = self.world.pool.read(&plan.statement(context).sql).await.unwrap();
        let things = self.world.catalog.collection(self.world.catalog.collections.find("things").unwrap());
        let value = |row: &basewright::db::Row, at: usize| match row.raw(at) {
            Some(raw) => Value::from_binary(things.fields[at].kind, raw).unwrap(),
            None => Value::Null,
        };
        rows.iter().map(|row| Record((0..things.fields.len()).map(|at| value(row, at)).collect())).collect()
    }
}

#[tokio::test]
async fn a_filter_finds_in_memory_what_a_read_finds_in_postgres() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = setting("BASEWRIGHT_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000_000
    });
    println!("BASEWRIGHT_SEED={seed}");
    let mut random = Random::new(seed);
    let world = World::of(&project()).await;
    fill(&world, &mut random).await;
    let principal = Principal::user(Uuid::nil(), &[]);
    let reader = Reader { world: &world, principal: &principal };
    let records = reader.records().await;
    assert_eq!(records.len(), ROWS);
    let things = world.catalog.collections.find("things").unwrap();
    let Decision::Permit(permit) = world.catalog.policies.decide(&principal, Action::Read, things) else {
        panic!()
    };
    let masked = |permit: &Permit, record: &Record, field: FieldId| {
        permit.mask(field).is_some_and(|mask| {
            let env = Env {
                collections: &world.catalog.collections,
                record,
                old: None,
                principal: &principal,
                now: 0,
                captures: &[],
                rows: &Rows::default(),
            };
            mask.evaluate(&env) != Some(true)
        })
    };
    let (mut found, mut some) = (0, 0);
    let cases = setting("BASEWRIGHT_FILTER_CASES").unwrap_or(1_500);
    for _ in 0..cases {
        let text = (0..1 + random.below(2)).map(|_| term(&mut random)).collect::<Vec<_>>().join(",");
        let told = |what: &str| format!("BASEWRIGHT_SEED={seed} {text}: {what}");
        let filter = match Filter::compile(&text, reader.context(), &permit) {
            Ok(filter) => filter,
            // A pattern that ends with the escape.
            Err(error) if error.code.as_str() == "22025" => continue,
            Err(error) => panic!("{}", told(&format!("{error:?}"))),
        };
        let node = Node {
            select: vec![Item::Field { path: Path::field("id"), alias: None, cast: None }],
            filter: filter.as_read().to_vec(),
            ..Node::default()
        };
        let rows = reader.rows(&node).await.unwrap_or_else(|error| panic!("{}", told(&error)));
        let mut in_postgres: Vec<i64> = rows.iter().map(|row| row.integer(0).unwrap()).collect();
        in_postgres.sort_unstable();
        let mut in_memory: Vec<i64> = records
            .iter()
            .filter(|record| filter.holds(record, |field| masked(&permit, record, field)))
            .map(|record| match record.get(FieldId(0)) {
                Value::Integer(id) => *id,
                other => panic!("{other:?}"),
            })
            .collect();
        in_memory.sort_unstable();
        if in_postgres != in_memory {
            let odd: Vec<&Record> = records
                .iter()
                .filter(|record| {
                    let Value::Integer(id) = record.get(FieldId(0)) else { return false };
                    in_postgres.contains(id) != in_memory.contains(id)
                })
                .collect();
            panic!(
                "{}",
                told(&format!(
                    "postgres {} rows, memory {}; {:?}",
                    in_postgres.len(),
                    in_memory.len(),
                    odd[0]
                ))
            );
        }
        found += in_postgres.len();
        some += usize::from(!in_postgres.is_empty() && in_postgres.len() < ROWS);
    }
    println!("{cases} filters, {found} rows");
    // Filters that find all or nothing would agree about little.
    assert!(some as u64 * 4 > cases, "{some} of {cases}");
}
