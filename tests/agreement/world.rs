//! Random collections with rows at the edges of what each kind can hold, and random callers.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;

use basewright::condition::Rows;
use basewright::model::{
    Collection, CollectionId, Collections, Field, FieldId, Kind, Name, OnDelete, Principal, Record, Relation,
    RelationTarget, Scalar, Schema, Value,
};
use serde_json::{Value as Json, json};
use tokio_postgres::Client;
use tokio_postgres::types::{FromSql, Type};

use super::random::Random;

pub(super) const STATUSES: [&str; 3] = ["draft", "published", "Ab"];
const ROWS: usize = 12;

pub(super) struct World {
    pub(super) collections: Collections,
    pub(super) rows: Rows,
    pub(super) principals: Vec<Principal>,
    pub(super) captures: Vec<Vec<String>>,
}

/// The names of a topic's captures.
pub(super) const CAPTURES: [&str; 2] = ["topic_a", "topic_b"];

impl World {
    /// Makes the collections, their tables and their rows.
    pub(super) async fn make(random: &mut Random, client: &Client) -> World {
        let collections = collections(random);
        let mut ddl = String::from("drop schema public cascade; create schema public;");
        for (_, collection) in collections.iter() {
            write!(ddl, "create table public.{:?} (ord integer not null", collection.name.as_str()).unwrap();
            for field in &collection.fields {
                write!(ddl, ", {:?} {}", field.name.as_str(), field.kind.sql()).unwrap();
            }
            let key = collection.field(collection.primary_key[0]).name.as_str();
            write!(ddl, ", primary key ({key:?}));").unwrap();
        }
        client.batch_execute(&ddl).await.unwrap();
        let mut rows = Rows(HashMap::new());
        for (id, collection) in collections.iter() {
            client.batch_execute(&insert(random, collection)).await.unwrap();
            rows.0.insert(id, read(client, collection).await);
        }
        let principals = principals(random);
        let captures = (0..4).map(|_| CAPTURES.map(|_| capture(random)).to_vec()).collect();
        World { collections, rows, principals, captures }
    }

    /// The rows of a collection in the order of `ord`.
    pub(super) fn rows_of(&self, id: CollectionId) -> &[Record] {
        &self.rows.0[&id]
    }
}

fn field(name: &str, kind: Kind) -> Field {
    Field {
        name: Name::declared(name).unwrap(),
        kind,
        required: false,
        default: None,
        min: None,
        max: None,
        pattern: None,
        values: None,
        relation: None,
        schema: None,
        renamed_from: None,
    }
}

fn collections(random: &mut Random) -> Collections {
    const NAMES: [&str; 3] = ["albums", "bands", "cities"];
    const KEYS: [Scalar; 4] = [Scalar::Uuid, Scalar::Bigint, Scalar::Text, Scalar::Integer];
    let keys: Vec<Kind> = NAMES.iter().map(|_| Kind::one(*random.pick(&KEYS))).collect();
    let list = NAMES.iter().enumerate().map(|(at, name)| {
        let mut fields = vec![field("id", keys[at])];
        for scalar in Scalar::all() {
            fields.push(field(&format!("f_{}", scalar.yaml()), Kind::one(scalar)));
            fields.push(field(&format!("g_{}", scalar.yaml()), Kind::one(scalar)));
            fields.push(field(&format!("a_{}", scalar.yaml()), Kind::many(scalar)));
        }
        let values = || Some(STATUSES.map(str::to_owned).to_vec());
        fields.push(Field { values: values(), ..field("status", Kind::TEXT) });
        fields.push(Field { values: values(), ..field("statuses", Kind::many(Scalar::Text)) });
        for target in 0..NAMES.len() {
            if random.one_in(4) {
                continue;
            }
            let name_of =
                |prefix: &str| Name::declared(&format!("{prefix}_{}_{}", name, NAMES[target])).unwrap();
            let relation = Relation {
                target: RelationTarget::Collection(CollectionId(target as u16)),
                on_delete: OnDelete::Restrict,
                constraint: name_of("fk"),
                inverse: name_of("of"),
            };
            let field = field(&format!("to_{}", NAMES[target]), keys[target]);
            fields.push(Field { relation: Some(relation), ..field });
        }
        Collection {
            name: Name::declared(name).unwrap(),
            schema: Schema::Public,
            fields,
            primary_key: vec![FieldId(0)],
            unique: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            search: None,
            realtime: true,
            timestamps: false,
            renamed_from: None,
        }
    });
    Collections::new(list.collect())
}

/// Texts that Postgres reads as values of a kind: its edges first of all.
pub fn edges(scalar: Scalar) -> &'static [&'static str] {
    match scalar {
        Scalar::Text => &[
            "",
            "a",
            "A",
            "b",
            "ab",
            "aB",
            "abc",
            "a\nb",
            "\n",
            " ",
            "%",
            "_",
            "\\",
            "'",
            "\"",
            "é",
            "É",
            "e\u{301}",
            "𝔘𝔫𝔦",
            "a𝔘",
            "ß",
            "İ",
            "ı",
            "zz",
            "draft",
            "published",
            "Ab",
            "0",
            "10",
            "9",
            "\u{10ffff}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{ffff}",
            "00000000-0000-0000-0000-000000000001",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "a.b",
            "a-b/c",
            "\t",
            "true",
            "[a]",
            "x{2}",
            "a|b",
            "2024-01-31",
        ],
        Scalar::Integer => &["0", "1", "-1", "2", "3", "10", "2147483647", "-2147483648"],
        Scalar::Bigint => &[
            "0",
            "1",
            "-1",
            "2",
            "10",
            "9223372036854775807",
            "-9223372036854775808",
            "9007199254740992",
            "9007199254740993",
            "2147483648",
            "1000000000000000",
        ],
        Scalar::Float => &[
            "0",
            "-0",
            "1",
            "-1",
            "2",
            "0.1",
            "0.5",
            "1.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "1.7976931348623157e308",
            "-1.7976931348623157e308",
            "2.2250738585072014e-308",
            "5e-324",
            "1e23",
            "9007199254740992",
            "9007199254740994",
            "1125899906842624.25",
            "9223372036854775807",
            "1e15",
            "0.30000000000000004",
            "5.684341886080802e-14",
            "10",
        ],
        Scalar::Decimal => &[
            "0",
            "1",
            "1.0",
            "-1",
            "2",
            "0.1",
            "1.10",
            "0.30000000000000004",
            "-0.5",
            "1.5",
            "NaN",
            "Infinity",
            "-Infinity",
            "9007199254740993",
            "9223372036854775807",
            "9223372036854775808",
            "1e23",
            "99999999999999990000000",
            "1e131071",
            "-1e131071",
            "1e100000",
            "-1e100000",
            "9e99999",
            "1e-16383",
            "1125899906842624.25",
            "1125899906842624.2",
            "10",
            "5e-324",
        ],
        Scalar::Boolean => &["true", "false"],
        Scalar::Uuid => &[
            "00000000-0000-0000-0000-000000000000",
            "00000000-0000-0000-0000-000000000001",
            "00000000-0000-0000-0000-000000000002",
            "7fffffff-ffff-ffff-ffff-ffffffffffff",
            "80000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
        ],
        Scalar::Timestamp => &[
            "2000-01-01T00:00:00Z",
            "2024-02-29T12:00:00Z",
            "2024-01-31T23:59:59.999999Z",
            "1999-12-31T23:59:59.999999Z",
            "infinity",
            "-infinity",
            "0001-01-01 00:00:00+00",
            "0001-12-31 23:59:59.999999+00 BC",
            "4714-11-24 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
            "290000-01-01 00:00:00+00",
            "289999-12-31 23:59:59.999999+00",
            "2100-01-01T00:00:00Z",
            "1900-02-28T00:00:00Z",
        ],
        Scalar::Date => &[
            "2000-01-01",
            "2024-02-29",
            "2024-01-31",
            "1999-12-31",
            "infinity",
            "-infinity",
            "4714-11-24 BC",
            "5874897-12-31",
            "0001-01-01",
            "0001-12-31 BC",
            "290000-01-01",
            "289999-12-31",
            "294277-01-01",
            "2100-01-01",
        ],
        Scalar::Time => &["00:00:00", "24:00:00", "23:59:59.999999", "12:00:00", "12:30:00"],
        Scalar::Interval => &[
            "00:00:00",
            "1 mon",
            "30 days",
            "720:00:00",
            "-1 mons",
            "1 mon -30 days",
            "178000000 years",
            "-178000000 years",
            "178956970 years 7 mons",
            "2147483647 days",
            "-2147483648 days",
            "1 year 1 day 01:00:00",
            "999 years 11 mons",
            "1000 years",
            "-999 years -11 mons",
            "365249 days",
            "365250 days",
            "8765999:59:59",
            "8766000:00:00",
            "2562047788:00:54.775807",
            "178000000 years -2147483648 days",
            "11 mons 30 days",
            "24:00:00",
            "1 day",
        ],
        Scalar::Json => &["null", "{}", "1", "\"a\"", "[null]"],
        Scalar::Bytes => &["\\x", "\\x00", "\\x00ff", "\\xff", "\\x61", "\\x6162"],
        Scalar::Inet => &[
            "10.0.0.1",
            "10.0.0.0/8",
            "10.0.0.1/8",
            "10.0.0.2/8",
            "10.0.0.0/16",
            "0.0.0.0/0",
            "255.255.255.255",
            "::1",
            "::/0",
            "2001:db8::/32",
            "2001:db8::1/32",
            "::ffff:10.0.0.1",
        ],
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn literal(random: &mut Random, kind: Kind, values: Option<&[String]>) -> String {
    let element = |random: &mut Random| match values {
        Some(values) => quoted(random.pick(values).as_str()),
        None if kind.scalar == Scalar::Float && random.one_in(4) => {
            // Any bits at all: most are numbers with 17 digits.
            quoted(&Value::Float(f64::from_bits(random.next())).to_text().unwrap())
        }
        None => quoted(random.pick::<&str>(edges(kind.scalar))),
    };
    if random.one_in(6) {
        return "null".to_owned();
    }
    if !kind.array {
        return element(random);
    }
    let length = *random.pick(&[0, 1, 1, 2, 3]);
    let elements: Vec<String> =
        (0..length).map(|_| if random.one_in(5) { "null".to_owned() } else { element(random) }).collect();
    format!("array[{}]::{}", elements.join(", "), kind.sql())
}

fn key(random: &mut Random, kind: Kind, at: usize) -> String {
    match kind.scalar {
        Scalar::Uuid => quoted(&format!("00000000-0000-0000-0000-{at:012}")),
        Scalar::Text => quoted(edges(Scalar::Text)[at]),
        _ if at == 0 && random.one_in(2) => quoted("2147483647"),
        _ => quoted(&at.to_string()),
    }
}

fn insert(random: &mut Random, collection: &Collection) -> String {
    let mut sql = String::new();
    for ord in 0..ROWS {
        let values: Vec<String> = collection
            .fields
            .iter()
            .enumerate()
            .map(|(at, field)| match &field.relation {
                _ if at == 0 => key(random, field.kind, ord),
                // Most lead somewhere; some are null, and some dangle.
                Some(_) if random.one_in(6) => "null".to_owned(),
                Some(_) => {
                    let at = random.below(ROWS + 1);
                    key(random, field.kind, at)
                }
                None => literal(random, field.kind, field.values.as_deref()),
            })
            .collect();
        writeln!(
            sql,
            "insert into public.{:?} values ({ord}, {});",
            collection.name.as_str(),
            values.join(", ")
        )
        .unwrap();
    }
    sql
}

/// A column's bytes as the server sends them.
pub(super) struct Raw(pub(super) Vec<u8>);

impl<'r> FromSql<'r> for Raw {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Raw, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// What Postgres holds, and not what was sent to it.
async fn read(client: &Client, collection: &Collection) -> Vec<Record> {
    let columns: Vec<String> =
        collection.fields.iter().map(|field| format!("{:?}", field.name.as_str())).collect();
    let sql =
        format!("select {} from public.{:?} order by ord", columns.join(", "), collection.name.as_str());
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| {
            let value = |(at, field): (usize, &Field)| match row.get::<_, Option<Raw>>(at) {
                Some(Raw(bytes)) => Value::from_binary(field.kind, &bytes).unwrap(),
                None => Value::Null,
            };
            Record(collection.fields.iter().enumerate().map(value).collect())
        })
        .collect()
}

fn capture(random: &mut Random) -> String {
    let scalar = *random.pick(&[Scalar::Text, Scalar::Uuid, Scalar::Bigint, Scalar::Date]);
    (*random.pick(edges(scalar))).to_owned()
}

/// A claim of a kind, or of another, or with what no row can hold.
fn claim(random: &mut Random, kind: Kind) -> Json {
    if random.one_in(6) {
        return random
            .pick(&[
                json!(null),
                json!(true),
                json!("a\0b"),
                json!({"a": 1}),
                json!([1, "a", null]),
                json!(-0.0),
                json!(1e300),
                json!(""),
            ])
            .clone();
    }
    if kind.array {
        return (0..random.below(4)).map(|_| claim(random, kind.element())).collect();
    }
    let text = *random.pick(edges(kind.scalar));
    match kind.scalar {
        Scalar::Boolean => json!(text == "true"),
        scalar if scalar.numeric() => match serde_json::from_str(text) {
            Ok(number) => number,
            Err(_) => json!(text),
        },
        _ => json!(text),
    }
}

fn principals(random: &mut Random) -> Vec<Principal> {
    let id = uuid::Uuid::from_u128(1);
    let mut list = vec![
        Principal::anonymous(),
        Principal::service(),
        Principal::user(id, &["editor", "draft"]),
        Principal { roles: Vec::new(), role: String::new(), ..Principal::user(id, &[]) },
        Principal {
            role: "o'\0dd".to_owned(),
            email: Some("A@é.test".to_owned()),
            ..Principal::user(uuid::Uuid::nil(), &["{a,b}", "NULL", "", "a\"b\\c", "\0"])
        },
        Principal {
            is_anonymous: true,
            aal: Some("aal2".to_owned()),
            email: Some("a\0".to_owned()),
            ..Principal::user(uuid::Uuid::max(), &["published"])
        },
    ];
    for principal in &mut list {
        for scalar in Scalar::all() {
            for kind in [Kind::one(scalar), Kind::many(scalar)] {
                if random.one_in(5) {
                    continue;
                }
                let name = claim_name(kind);
                let value = claim(random, kind);
                principal.claims.insert(name, value);
            }
        }
        let nested = claim(random, Kind::TEXT);
        principal.claims.insert("nested".to_owned(), json!({ "inner": nested }));
    }
    list
}

/// The claim that most callers have a value of this kind in.
pub(super) fn claim_name(kind: Kind) -> String {
    format!("{}_{}", if kind.array { "many" } else { "one" }, kind.scalar.yaml())
}
