//! What the requests are aimed at: every kind, alone and as an array, related in every way there is.

use std::fmt::Write as _;

use basewright::model::{Kind, Scalar};
use serde_json::{Map, Value, json};

use super::words;

/// A field that requests speak of.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
}

/// A collection, and what may be embedded in it: (what `select` says, the collection meant).
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    pub fields: Vec<Field>,
    pub embeds: &'static [(&'static str, usize)],
}

/// How many records of `scalars` and of `arrays` there are from the start.
pub const RECORDS: usize = 24;

/// The names of the kinds' fields, so that requests can hold them for as long as they like.
fn name_of(kind: Kind) -> &'static str {
    macro_rules! names {
        ($($scalar:ident $one:literal $many:literal),*) => {
            match (kind.scalar, kind.array) { $((Scalar::$scalar, false) => $one, (Scalar::$scalar, true) => $many,)* }
        };
    }
    names!(Text "f_text" "a_text", Integer "f_integer" "a_integer", Bigint "f_bigint" "a_bigint",
        Float "f_float" "a_float", Decimal "f_decimal" "a_decimal", Boolean "f_boolean" "a_boolean",
        Uuid "f_uuid" "a_uuid", Timestamp "f_timestamp" "a_timestamp", Date "f_date" "a_date",
        Time "f_time" "a_time", Interval "f_interval" "a_interval", Json "f_json" "a_json",
        Bytes "f_bytes" "a_bytes", Inet "f_inet" "a_inet")
}

fn of_kinds(array: bool) -> Vec<Field> {
    let kind = |scalar| Kind { scalar, array };
    Scalar::all().map(|scalar| Field { name: name_of(kind(scalar)), kind: kind(scalar) }).collect()
}

/// The collections; their order is what `embeds` speaks of.
pub fn targets() -> Vec<Target> {
    let field = |name, kind| Field { name, kind };
    let (text, uuid) = (Kind::TEXT, Kind::UUID);
    let mut scalars = of_kinds(false);
    scalars.extend([
        field("id", uuid),
        field("choice", text),
        field("word", text),
        field("digit", Kind::one(Scalar::Integer)),
        field("code", text),
        field("owner", uuid),
        field("parent", uuid),
        field("list", uuid),
        field("created_at", Kind::TIMESTAMP),
        field("updated_at", Kind::TIMESTAMP),
    ]);
    let mut arrays = of_kinds(true);
    arrays.extend([field("id", uuid), field("owner", uuid), field("choices", Kind::many(Scalar::Text))]);
    let pairs = vec![field("one", uuid), field("many", uuid), field("note", text), field("owner", uuid)];
    vec![
        Target {
            name: "scalars",
            fields: scalars,
            embeds: &[
                ("parent", 0),
                ("children", 0),
                ("scalars", 0),
                ("scalars!parent", 0),
                ("scalars!scalars_parent_fkey", 0),
                ("children!inner", 0),
                ("list", 1),
                ("arrays", 1),
                ("arrays!inner", 1),
                ("pairs", 2),
                ("pairs!left", 2),
                ("canaries", 0),
                // Through the pairs, told from the relation of its own by a hint.
                ("arrays!pairs", 1),
                ("arrays!pairs!inner", 1),
                ("arrays!list", 1),
                ("arrays!pairs_many_fkey", 1),
                ("scalars!nope", 0),
            ],
        },
        Target {
            name: "arrays",
            fields: arrays,
            embeds: &[
                ("singles", 0),
                ("scalars", 0),
                ("scalars!list!inner", 0),
                ("scalars!pairs", 0),
                ("pairs", 2),
                ("arrays", 1),
            ],
        },
        Target {
            name: "pairs",
            fields: pairs,
            embeds: &[("one", 0), ("scalars", 0), ("many", 1), ("arrays!many", 1), ("pairs", 2)],
        },
    ]
}

/// The project's one file.
pub fn project() -> String {
    let mut text = String::from("collections:\n");
    for target in targets() {
        let _ = writeln!(text, "  {}:", target.name);
        if target.name == "pairs" {
            text += "    primary_key: [one, many]\n    timestamps: false\n";
        }
        if target.name == "scalars" {
            text += "    search: { fields: [f_text, word], language: english }\n";
        }
        text += "    fields:\n";
        for field in &target.fields {
            let own = match field.name {
                "id" | "created_at" | "updated_at" => continue,
                "choice" => "{ type: enum, values: [a, b, 'c d'] }".to_owned(),
                "choices" => "{ type: 'text[]', max: 5 }".to_owned(),
                "word" => "{ type: text, min: 1, max: 9, match: '^[a-z]+$' }".to_owned(),
                "digit" => "{ type: integer, min: 0, max: 9 }".to_owned(),
                "code" => "{ type: text, unique: true }".to_owned(),
                "owner" => "{ type: uuid, default: auth.id }".to_owned(),
                "parent" => {
                    "{ type: relation, to: scalars, inverse: children, on_delete: set_null }".to_owned()
                }
                "list" => "{ type: relation, to: arrays, inverse: singles, on_delete: cascade }".to_owned(),
                "one" => "{ type: relation, to: scalars, on_delete: cascade }".to_owned(),
                "many" => "{ type: relation, to: arrays, on_delete: cascade }".to_owned(),
                _ => format!("'{}'", field.kind),
            };
            let _ = writeln!(text, "      {}: {own}", field.name);
        }
    }
    text + "  canaries:
    fields:
      song: { type: text, required: true }
roles:
  editor: { inherits: [authenticated] }
policies:
  canaries:
    read: [{ role: anon }]
  scalars:
    read:
      - { role: anon, when: digit != 9, fields: { except: [f_inet, f_json] } }
      - { role: authenticated, when: owner == auth.id }
      - { role: editor, when: parent == null || parent.digit != 3, fields: { except: [word] } }
    create:
      - { role: authenticated, set: { owner: auth.id }, check: digit != 8 }
      - { role: editor }
    update:
      - { role: authenticated, when: owner == auth.id, check: digit != 8 || old.digit == 8 }
      - { role: editor, when: digit != 7, fields: { except: [owner] } }
    delete:
      - { role: authenticated, when: owner == auth.id }
  arrays:
    read: [{ role: anon, when: a_integer == null || 7 in a_integer }, { role: authenticated }]
    create: [{ role: authenticated }]
    update: [{ role: authenticated, when: owner == auth.id }, { role: editor }]
    delete: [{ role: editor, when: owner == auth.id }]
  pairs:
    read: [{ role: anon, when: one.digit != 9 }]
    create: [{ role: authenticated, set: { owner: auth.id }, check: one.digit != 8 }]
    update: [{ role: authenticated, when: owner == auth.id }]
    delete: [{ role: authenticated, when: owner == auth.id }]
"
}

/// A key that requests can name.
pub fn key(place: usize) -> String {
    format!("00000000-0000-4000-8000-{place:012}")
}

/// The records that stand there from the start: values at the edges of every kind.
pub fn records(collection: &str) -> Vec<Value> {
    let Some(target) = targets().into_iter().find(|target| target.name == collection) else { return vec![] };
    (0..RECORDS)
        .map(|place| {
            let mut record = Map::new();
            for field in &target.fields {
                let value = match field.name {
                    "created_at" | "updated_at" => continue,
                    "id" => json!(key(place)),
                    "choice" => [json!("a"), json!("b"), json!("c d"), Value::Null][place % 4].clone(),
                    "choices" => json!(["x", "y"]),
                    "word" => json!("word"),
                    "digit" => json!(place % 10),
                    "code" => json!(format!("code {place}")),
                    "owner" => Value::Null,
                    "parent" if place < 3 => Value::Null,
                    "parent" => json!(key(place / 3)),
                    "one" => json!(key(place)),
                    "list" | "many" => json!(key((place * 5) % RECORDS)),
                    "note" => json!("note"),
                    _ => {
                        let good = words::good(field.kind.scalar);
                        let at = |more: usize| {
                            words::as_json(field.kind.scalar, good[(place + more) % good.len()])
                        };
                        match (field.kind.array, place % 6) {
                            (_, 5) => Value::Null,
                            (false, _) => at(0),
                            (true, 4) => json!([]),
                            (true, _) if field.kind.scalar == Scalar::Json => {
                                json!([{ "a": [1, { "b": null }] }, 1e300, null])
                            }
                            (true, _) => json!([at(0), at(1), null]),
                        }
                    }
                };
                record.insert(field.name.to_owned(), value);
            }
            Value::Object(record)
        })
        .collect()
}
