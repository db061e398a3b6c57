//! A single record and a bulk of them reach Postgres in different forms, and come as JSON, CSV or a form; what is
//! stored, and what is refused, must not depend on which.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::support::caller::Caller;
use crate::support::database;
use crate::support::server::{Folder, Server};

const KINDS: [&str; 14] = [
    "text",
    "integer",
    "bigint",
    "float",
    "decimal",
    "boolean",
    "uuid",
    "timestamp",
    "date",
    "time",
    "interval",
    "json",
    "bytes",
    "inet",
];

/// Requests of the short form.
const CASES: usize = 400;

fn project() -> String {
    let mut text = String::from("collections:\n  kinds:\n    fields:\n");
    for kind in KINDS {
        text.push_str(&format!(
            "      a_{kind}: {{ type: {kind} }}\n      many_{kind}: {{ type: '{kind}[]' }}\n"
        ));
    }
    text.push_str("policies:\n  kinds:\n");
    for action in ["read", "create", "update"] {
        text.push_str(&format!("    {action}: [{{ role: authenticated }}]\n"));
    }
    text
}

/// The JSON of a value of a kind: mostly good ones, some at the edge, some wrong.
fn value(kind: &'static str) -> BoxedStrategy<Value> {
    let edges: &[&str] = match kind {
        "text" => &[r#""""#, r#""NULL""#, r#""{a,\"b\\\"}""#, r#""null""#, r#""é\u00e9😀\t""#],
        "integer" => &["0", "-2147483648", "2147483647", "2147483648", "\"7\"", "\"-0\"", "1.0", "1e3"],
        "bigint" => {
            &["-9223372036854775808", "9223372036854775807", "\"9223372036854775808\"", "9007199254740993"]
        }
        "float" => &["1e308", "-0.0", "5e-324", "\"NaN\"", "\"-Infinity\"", "0.1", "\"1.5\""],
        "decimal" => &["0.10", "\"12345678901234567890.0100\"", "\"NaN\"", "1e20", "-0.0", "\"Infinity\""],
        "boolean" => &["true", "false", "\"true\"", "1"],
        "uuid" => &[
            r#""00000000-0000-4000-8000-00000000000a""#,
            r#""{00000000-0000-4000-8000-00000000000A}""#,
            r#""0""#,
        ],
        "timestamp" => &[
            r#""2024-02-29T12:00:00.123456+05:30""#,
            r#""infinity""#,
            r#""2024-02-30""#,
            r#""0001-01-01 00:00:00 BC""#,
        ],
        "date" => &[r#""2024-02-29""#, r#""-infinity""#, r#""0044-03-15 BC""#, "20240229"],
        "time" => &[r#""24:00:00""#, r#""23:59:59.999999""#, r#""25:00""#],
        "interval" => &[r#""1 year -2 mons 3 days 04:05:06.7""#, r#""P1Y""#, r#""-00:00:01""#, r#""one""#],
        "json" => &[
            "[]",
            r#"{"b": 1.0, "a": [null, "\u00e9"], "b": 2}"#,
            "\"text\"",
            "12345678901234567890.10",
            "false",
            "[[1]]",
        ],
        "bytes" => &[r#""\\x""#, r#""\\x00ff""#, r#""\\x0""#, r#""abc""#],
        "inet" => &[r#""127.0.0.1""#, r#""::1/64""#, r#""10.0.0.0/8""#, r#""1""#],
        other => panic!("no edges of {other}"),
    };
    let edge = prop::sample::select(edges).prop_map(|text| serde_json::from_str(text).unwrap());
    let null = Just(Value::Null);
    match kind {
        "text" => prop_oneof![3 => edge, 1 => null, 4 => any::<String>().prop_map(Value::from)].boxed(),
        "integer" => prop_oneof![3 => edge, 1 => null, 4 => any::<i32>().prop_map(Value::from)].boxed(),
        "float" => prop_oneof![3 => edge, 1 => null, 4 => any::<f64>().prop_map(Value::from)].boxed(),
        _ => prop_oneof![6 => edge, 1 => null].boxed(),
    }
}

/// A few fields and what to write there.
fn record() -> impl Strategy<Value = Map<String, Value>> {
    let member = prop::sample::select(&KINDS[..]).prop_flat_map(|kind| {
        let one = value(kind).prop_map(move |value| (format!("a_{kind}"), value));
        let many = prop::collection::vec(value(kind), 0..4)
            .prop_map(move |values| (format!("many_{kind}"), Value::Array(values)));
        prop_oneof![one, many]
    });
    prop::collection::vec(member, 1..4).prop_map(|members| members.into_iter().collect())
}

/// A value as the text that a CSV or a form has of it.
fn as_text(name: &str, value: &Value) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    match value {
        Value::Array(elements) if name.starts_with("many_") => {
            let element = name.replace("many_", "a_");
            let texts = elements.iter().map(|one| match one {
                Value::Null => "NULL".to_owned(),
                one => format!("\"{}\"", escaped(&as_text(&element, one))),
            });
            format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
        }
        Value::String(text) if name != "a_json" => text.clone(),
        value => value.to_string(),
    }
}

fn as_csv(record: &Map<String, Value>) -> String {
    let cells = record.iter().map(|(name, value)| match value {
        Value::Null => "NULL".to_owned(),
        value => format!("\"{}\"", as_text(name, value).replace('"', "\"\"")),
    });
    let names: Vec<&str> = record.keys().map(String::as_str).collect();
    format!("{}\r\n{}\r\n", names.join(","), cells.collect::<Vec<_>>().join(","))
}

fn as_form(record: &Map<String, Value>) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let pairs = record.iter().map(|(name, value)| format!("{name}={}", encoded(&as_text(name, value))));
    pairs.collect::<Vec<_>>().join("&")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_stores_or_is_refused_for_does_not_depend_on_the_form_it_is_sent_in() {
    let database = database().await;
    let folder = Folder::with(&[("basewright.yaml", &project())]);
    let server = Server::dev(&folder.0, &folder.join("data"), &database.urls);
    let caller = Caller::user(&server, &[]);
    let representation = "return=representation";
    let blank = caller.post("kinds", representation, json!({})).await.is(201);
    let blank = format!("kinds?id=eq.{}", blank[0]["id"].as_str().unwrap());

    let seed = std::env::var("FORMS_SEED").ok().map_or_else(rand_seed, |seed| seed.parse().unwrap());
    println!("FORMS_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases = if std::env::var_os("BASEWRIGHT_LONG").is_some() { CASES * 50 } else { CASES };
    let (mut stored, mut refused) = (0, 0);
    for _ in 0..cases {
        let record = record().new_tree(&mut runner).unwrap().current();
        let one = caller.post("kinds", representation, json!(record)).await;
        let bulk = caller.post("kinds", representation, json!([record, record])).await;
        let same = |value: &Value| -> Map<String, Value> {
            record.keys().map(|name| (name.clone(), value[name].clone())).collect()
        };
        assert_eq!(one.status, bulk.status, "{record:?}: {} {}", one.body, bulk.body);
        if one.status == 201 {
            stored += 1;
            assert_eq!(same(&one.body[0]), same(&bulk.body[0]), "{record:?}");
            let changed = caller.patch(&blank, representation, json!(record)).await.is(200);
            assert_eq!(same(&one.body[0]), same(&changed[0]), "{record:?}");
            // Without a representation another statement is made, which says as much of what it did.
            let counted = caller.patch(&blank, "count=exact", json!(record)).await;
            assert_eq!((counted.status, counted.header("content-range")), (204, "0-0/1"), "{record:?}");
            let quiet = caller.post("kinds", "count=exact", json!(record)).await;
            assert_eq!((quiet.status, quiet.header("content-range")), (201, "*/1"), "{record:?}");
            // As bare text the same value may be written in more ways, so this is for what is stored alone.
            let headers = |kind| [("content-type", kind), ("prefer", representation)];
            let csv = as_csv(&record);
            let table =
                caller.send_text(Method::POST, "kinds", &headers("text/csv"), Some(csv.clone())).await;
            assert_eq!(same(&one.body[0]), same(&table.body[0]), "{csv:?}: {}", table.body);
            if !record.values().any(Value::is_null) {
                let form = as_form(&record);
                let kind = headers("application/x-www-form-urlencoded");
                let filled = caller.send_text(Method::POST, "kinds", &kind, Some(form.clone())).await;
                assert_eq!(same(&one.body[0]), same(&filled.body[0]), "{form:?}: {}", filled.body);
            }
        } else {
            refused += 1;
            assert!(one.status < 500, "{record:?}: {}", one.body);
            assert_eq!(one.body["code"], bulk.body["code"], "{record:?}");
        }
    }
    assert!(stored > 0 && refused > 0, "{stored} stored, {refused} refused");
    println!("PASS forms {stored} stored, {refused} refused");
}

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
