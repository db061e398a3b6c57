//! The schema of the project's files, for editors: JSON Schema 2020-12.
//!
//! Which keys stand where, which kinds there are and which options each has come from the tables by which the
//! loader reads, so an editor allows what the loader allows. What takes more than one file to know (that a
//! collection exists, that a condition types) is the loader's alone.

mod sign_in;

use serde_json::{Map, Value as Json, json};

use super::later::{self, Place};
use super::tests::Told;
use super::{buckets, cases, channels, draft, gather, index, limits, policies};
use crate::model::{Action, Kind, Language, Scalar};

/// The schema of one file of a project.
pub fn schema() -> Json {
    let mut schema = object(Place::Top, &gather::SECTIONS);
    nullable(&mut schema);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("A file of a Basewright project");
    schema["$defs"] = definitions();
    schema
}

fn definitions() -> Json {
    let mut definitions = Map::new();
    let mut define = |name: &str, schema: Json| {
        definitions.insert(name.to_owned(), schema);
    };
    define(
        "name",
        json!({
            "type": "string",
            "pattern": "^[a-z_][a-z0-9_]*$",
            "maxLength": 63,
            "description": "Lower-case letters, digits and `_`.",
        }),
    );
    define("kept", json!({ "anyOf": [reference("name"), { "const": "storage.objects" }] }));
    define("names", json!({ "type": "array", "items": reference("name"), "uniqueItems": true }));
    define(
        "condition",
        json!({
            // `true` and `false` need no quotes.
            "type": ["string", "boolean"],
            "description": "A condition over the record and the caller, as in `author == auth.id && status != 'draft'`.",
        }),
    );
    define("collection", required(object(Place::Collection, &draft::COLLECTION_KEYS), &["fields"]));
    define("field", json!({ "anyOf": [reference("kind"), reference("options")] }));
    define(
        "kind",
        json!({ "enum": simple_kinds(), "description": "The kind alone: the short form of a field." }),
    );
    define("options", options());
    define(
        "index",
        json!({
            "anyOf": [
                index_fields(),
                required(object(Place::Index, &index::INDEX_KEYS), &["fields"]),
            ],
        }),
    );
    define("search", required(object(Place::Search, &index::SEARCH_KEYS), &["fields"]));
    let mut role = object(Place::Role, &policies::ROLE_KEYS);
    nullable(&mut role);
    define("role", role);
    let mut actions = object(Place::Action, &Action::ALL.map(Action::as_str));
    nullable(&mut actions);
    define("actions", actions);
    for action in Action::ALL {
        let rule = required(object(Place::Rule, policies::rule_keys(action)), &["role"]);
        define(&format!("rule.{}", action.as_str()), rule);
    }
    let mut bucket = object(Place::Bucket, &buckets::BUCKET_KEYS);
    nullable(&mut bucket);
    define("bucket", bucket);
    for action in Action::ALL {
        let rule = required(object(Place::Rule, &policies::bucket_rule_keys(action)), &["role"]);
        define(&format!("rule.bucket.{}", action.as_str()), rule);
    }
    let mut channel = object(Place::Channel, &channels::CHANNEL_KEYS);
    nullable(&mut channel);
    define("channel", channel);
    define("rule.channel", required(object(Place::ChannelRule, &channels::RULE_KEYS), &["role"]));
    define("case", case());
    Json::Object(definitions)
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A mapping that takes these keys and, so that an editor can say why not, none of the later ones.
fn object(place: Place, keys: &[&str]) -> Json {
    let mut properties: Map<String, Json> =
        keys.iter().map(|key| ((*key).to_owned(), value(place, key).unwrap_or(Json::Bool(true)))).collect();
    for key in later::keys(place) {
        let refused = json!({ "not": {}, "description": "Not supported by this version." });
        properties.insert(key.to_owned(), refused);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn required(mut schema: Json, keys: &[&str]) -> Json {
    schema["required"] = json!(keys);
    schema
}

/// Saying nothing is a way to say that there is nothing.
fn nullable(schema: &mut Json) {
    schema["type"] = json!(["object", "null"]);
}

/// Definitions by name.
fn named(definition: &str, description: &str) -> Json {
    json!({
        "type": ["object", "null"],
        "propertyNames": reference("name"),
        "additionalProperties": reference(definition),
        "description": description,
    })
}

fn described(mut schema: Json, description: &str) -> Json {
    schema["description"] = json!(description);
    schema
}

/// What stands behind a key. `None` of one that this table lacks: a test holds it complete.
pub(super) fn value(place: Place, key: &str) -> Option<Json> {
    let flag = |description: &str| json!({ "type": "boolean", "description": description });
    let bytes = |description: &str| {
        let text = json!({ "type": "string", "pattern": "^[0-9]+ *(B|[KMGT]i?B)$" });
        json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, text], "description": description })
    };
    Some(match (place, key) {
        (Place::Top, "buckets") => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$" },
            "additionalProperties": reference("bucket"),
            "description": "Places for objects (files).",
        }),
        (Place::Bucket, "public") => flag("Whoever knows an object's key may read it; `false` unless said."),
        (Place::Bucket, "max_size") => {
            bytes("The largest object, as in `2MB`; what `limits.upload` allows unless said.")
        }
        (Place::Bucket, "quota") => bytes(
            "The bytes of all objects together, as in `10GB`; as many as there is room for unless said.",
        ),
        (Place::Bucket, "accept") => json!({
            "type": "array",
            "items": { "type": "string", "pattern": "^[a-z0-9!#$&^_.+*-]+/[a-z0-9!#$&^_.+*-]+$" },
            "uniqueItems": true,
            "description": "Media types that objects may have, as in `image/*`; all unless said.",
        }),
        (Place::Bucket, "policies") => {
            let of = |action: Action| {
                let rule = reference(&format!("rule.bucket.{}", action.as_str()));
                let says = "Rules, of which one has to allow it.";
                (action.as_str().to_owned(), json!({ "type": "array", "items": rule, "description": says }))
            };
            json!({
                "type": ["object", "null"],
                "properties": Action::ALL.map(of).into_iter().collect::<Map<_, _>>(),
                "additionalProperties": false,
                "description": "Who may do what with its objects: conditions speak of `name`, `owner`, `size` and the like.",
            })
        }
        (Place::Top, "channels") => json!({
            "type": ["object", "null"],
            "propertyNames": { "minLength": 1 },
            "additionalProperties": reference("channel"),
            "description": "Topics of broadcast and presence, as `room:{room}`: `{room}` captures one part between colons.",
        }),
        (Place::Top, "realtime") => {
            let mut realtime = object(Place::Realtime, &channels::REALTIME_KEYS);
            nullable(&mut realtime);
            described(realtime, "What holds for every channel.")
        }
        (Place::Top, "collections") => named("collection", "What is stored: one table for each."),
        (Place::Top, "conditions") => named("condition", "Conditions that rules use by name."),
        (Place::Top, "limits") => {
            let mut limits = object(Place::Limits, &limits::KEYS);
            nullable(&mut limits);
            described(limits, "What bounds a request.")
        }
        (Place::Top, "auth") => sign_in::section(Place::Auth, "How users sign in."),
        (Place::Top, "mail") => sign_in::mail(),
        (Place::Top, "policies") => {
            named("actions", "Who may do what. Nothing is allowed unless a rule allows it.")
        }
        (Place::Top, "roles") => {
            named("role", "Roles besides `anon`, `authenticated` and `service_role`, which are there.")
        }
        (Place::Top, "tests") => described(
            required(object(Place::Tests, &cases::TESTS_KEYS), &["cases"]),
            "Questions to the policies and their answers: `basewright policy test` asks them.",
        ),
        (Place::Collection, "fields") => json!({
            "type": "object",
            "propertyNames": reference("name"),
            "additionalProperties": reference("field"),
            "description": "Its members; `id`, `created_at` and `updated_at` are there without being written.",
        }),
        (Place::Collection, "primary_key") => described(
            json!({ "type": "array", "items": reference("name"), "minItems": 1 }),
            "The fields of the key; `[id]` unless said.",
        ),
        (Place::Collection, "unique") => json!({
            "type": "array",
            "items": { "type": "array", "items": reference("name"), "minItems": 1 },
            "description": "Lists of fields of which no two records have the same values.",
        }),
        (Place::Collection, "indexes") => json!({
            "type": "array",
            "items": reference("index"),
            "description": "Lists of fields; `-` before a field descends. Relations are indexed anyway.",
        }),
        (Place::Collection, "search") => described(
            reference("search"),
            "A full-text column `search` over some fields, for the filters `fts`, `plfts`, `phfts` and `wfts`.",
        ),
        (Place::Collection, "checks") => json!({
            "type": "array",
            "items": reference("condition"),
            "description": "Conditions over the record's own fields that every record meets.",
        }),
        (Place::Collection, "realtime") => flag("Changes may be subscribed to; `true` unless said."),
        (Place::Collection, "timestamps") => flag("Has `created_at` and `updated_at`; `true` unless said."),
        (Place::Collection | Place::Field, "renamed_from") => {
            described(reference("name"), "The former name: a rename is never a drop and an add.")
        }
        (Place::Field, "type") => json!({ "enum": kinds(), "description": "The kind." }),
        (Place::Field, "required") => flag("May not be null; `false` unless said."),
        (Place::Field, "unique") => flag("No two records have the same value; `false` unless said."),
        (Place::Field, "default") => json!({
            "not": { "type": "null" },
            "description": "What a new record takes: a value, `now()` or `auth.id` and the like.",
        }),
        (Place::Field, "min" | "max") => {
            let most = key == "max";
            let (value, size) =
                if most { ("largest value", "largest size") } else { ("smallest value", "smallest size") };
            json!({ "type": ["number", "string"], "description": format!("The {value}, or {size} of text, bytes and lists.") })
        }
        (Place::Field, "match") => {
            json!({ "type": "string", "description": "A pattern that text has to match." })
        }
        (Place::Field, "values") => json!({
            "type": "array",
            "items": { "type": "string" },
            "minItems": 1,
            "uniqueItems": true,
            "description": "The values of an enum.",
        }),
        (Place::Field, "schema") => json!({
            "type": ["object", "string"],
            "description": "A JSON Schema, or the path of a JSON file from the project's folder.",
        }),
        (Place::Field, "to") => described(reference("name"), "The collection that a relation leads to."),
        (Place::Field, "references") => {
            json!({ "const": "auth.users", "description": "The field holds a user's id." })
        }
        (Place::Field, "on_delete") => json!({
            "enum": draft::ON_DELETE.map(|(action, _)| action),
            "description": "When the record that it refers to goes: `cascade` takes this one along, `set_null` empties the field, `restrict` forbids it; `restrict` unless said.",
        }),
        (Place::Field, "inverse") => described(
            reference("name"),
            "How the target calls the records that refer to it; their collection's name unless said.",
        ),
        (Place::Index, "fields") => {
            described(index_fields(), "Its fields, in this order; `-` before a field descends.")
        }
        (Place::Index, "using") => json!({
            "enum": index::METHODS.map(|(method, _)| method),
            "description": "Its method; `btree` unless said. `gin` finds records by what their lists and JSON hold.",
        }),
        (Place::Search, "fields") => json!({
            "type": "array",
            "items": reference("name"),
            "minItems": 1,
            "uniqueItems": true,
            "description": "Fields of text, enums, lists of them, and `json`, whose strings are searched.",
        }),
        (Place::Search, "language") => json!({
            "enum": Language::ALL.map(Language::as_str),
            "default": Language::SIMPLE.as_str(),
            "description": "How words become stems, and which do not count: `simple` takes words as they stand; `simple` unless said.",
        }),
        (Place::Role, "inherits") => described(reference("names"), "Roles whose rules it has too."),
        (Place::Action, action) => json!({
            "type": "array",
            "items": reference(&format!("rule.{action}")),
            "description": "Rules, of which one has to allow it.",
        }),
        (Place::Rule, "role") => {
            described(reference("name"), "Who: `anon` is everybody, `authenticated` whoever is signed in.")
        }
        (Place::Rule, "when") => {
            described(reference("condition"), "Judged on the stored record; `true` unless said.")
        }
        (Place::Rule, "check") => described(
            reference("condition"),
            "Judged on the record after the write, in an update beside the one before, as `old.`; `true` unless said.",
        ),
        (Place::Rule, "fields") => json!({
            "anyOf": [reference("names"), required(object(Place::Rule, &policies::FIELDS_KEYS), &policies::FIELDS_KEYS)],
            "description": "What may be read or written, as a list or `{ except: [...] }`; all fields unless said.",
        }),
        (Place::Rule, "except") => described(reference("names"), "The fields that are not meant."),
        (Place::Rule, "set") => json!({
            "type": "object",
            "propertyNames": reference("name"),
            "description": "Values that the rule decides, as in `{ author: auth.id }`.",
        }),
        (Place::Channel, "read" | "write") => json!({
            "type": "array",
            "items": reference("rule.channel"),
            "description": if key == "read" {
                "Who hears what is broadcast and sees who is there."
            } else {
                "Who broadcasts and shows that he is there."
            },
        }),
        (Place::ChannelRule, "role") => {
            described(reference("name"), "Who: `anon` is everybody, `authenticated` whoever is signed in.")
        }
        (Place::ChannelRule, "when") => described(
            reference("condition"),
            "Judged over the caller and what the topic captures; `true` unless said.",
        ),
        (Place::Realtime, "public_channels") => {
            flag("Any key may join a topic that is not declared; `true` unless said.")
        }
        (Place::Limits, key) => match limits::NUMBERS.iter().find(|(name, _, _)| *name == key) {
            Some((_, least, most)) => {
                let says = limits::says(key);
                json!({ "type": "integer", "minimum": least, "maximum": most, "description": says })
            }
            None if key == "body" => {
                json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ *(B|[KMG]i?B)?$", "description": limits::says(key) })
            }
            None if key == "upload" => bytes(&limits::says(key)),
            None if key == "statement_timeout" => {
                json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h)$", "description": limits::says(key) })
            }
            None => return None,
        },
        (
            Place::Auth
            | Place::AuthPassword
            | Place::AuthSignUp
            | Place::AuthEmail
            | Place::AuthSessions
            | Place::AuthMfa
            | Place::AuthRates
            | Place::AuthProvider
            | Place::AuthIssuer
            | Place::Mail,
            key,
        ) => return sign_in::value(place, key),
        (Place::Tests, "given") => json!({
            "type": "object",
            "additionalProperties": { "type": "array", "items": { "type": ["object", "string"] } },
            "description": "`users`, and records by collection. A bare name stands for a fixed uuid.",
        }),
        (Place::Tests, "cases") => json!({
            "type": "array",
            "items": reference("case"),
            "description": "What is asked, by whom, and what has to come of it.",
        }),
        (Place::Case, "as") => json!({
            "type": "string",
            "pattern": r"^(anon|service|service_role|user:[^+]+(\+[a-z_][a-z0-9_]*)*)$",
            "description": "`anon`, `service`, `user:NAME` or `user:NAME+ROLE`.",
        }),
        (Place::Case, "read") => {
            json!({ "type": "string", "description": "A collection, or a record as `posts/p1`." })
        }
        (Place::Case, "subscribe") => {
            described(reference("kept"), "A collection, whose changes are listened to.")
        }
        (Place::Case, "when_created" | "when_updated") => json!({
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": { "type": ["object", "null"] },
            "description": "A record and its values, as `{ p1: { title: hi } }`: the secret key writes it meanwhile.",
        }),
        (Place::Case, "when_deleted") => {
            json!({ "type": "string", "description": "A record, as `p1`, that the secret key deletes meanwhile." })
        }
        (Place::Case, "create") => described(reference("kept"), "A collection, or `storage.objects`."),
        (Place::Case, "update" | "delete") => {
            json!({ "type": "string", "pattern": r"^([a-z_][a-z0-9_]*|storage\.objects)/", "description": "A record, as `posts/p1`." })
        }
        (Place::Case, "with") => json!({ "type": "object", "description": "The values sent." }),
        (Place::Case, "is") => {
            json!({ "enum": ["allowed", "denied"], "description": "What has to come of it." })
        }
        (Place::Case, "hidden") => described(reference("names"), "Fields that the answer does not show."),
        (Place::Case, "because") => {
            json!({ "type": "string", "description": "The condition or the rule that denies it." })
        }
        (Place::Case, "sees") => {
            json!({
                "anyOf": [
                    { "type": "array", "items": { "type": "string" } },
                    { "enum": Told::ALL.map(Told::as_str) },
                ],
                "description": "The keys of exactly the records that a list holds; of a subscription, what is told.",
            })
        }
        _ => return None,
    })
}

/// A case asks for one thing and expects something.
fn case() -> Json {
    let mut case = required(object(Place::Case, &cases::CASE_KEYS), &["as"]);
    let keys = Action::ALL.iter().map(|action| action.as_str()).chain(["subscribe"]);
    let one: Vec<Json> = keys.map(|key| json!({ "required": [key] })).collect();
    case["oneOf"] = json!(one);
    case["anyOf"] = json!([{ "required": ["is"] }, { "required": ["sees"] }]);
    let changes: Vec<Json> = cases::CHANGES.iter().map(|key| json!({ "required": [key] })).collect();
    case["dependentSchemas"] = json!({
        "subscribe": {
            "oneOf": changes,
            "required": ["sees"],
            "properties": { "sees": { "type": "string" }, "is": false, "with": false },
        },
    });
    case
}

fn index_fields() -> Json {
    let field = json!({ "type": "string", "pattern": "^-?[a-z_][a-z0-9_]*$" });
    json!({ "type": "array", "items": field, "minItems": 1 })
}

/// Kinds that need no option.
fn simple_kinds() -> Vec<String> {
    Scalar::all()
        .flat_map(|scalar| [Kind::one(scalar), Kind::many(scalar)])
        .map(|kind| kind.to_string())
        .collect()
}

/// The kinds that a field can have, each with what it takes: a relation's is its target's.
fn kinds_with_kind() -> Vec<(String, Option<Kind>)> {
    let simple = Scalar::all()
        .flat_map(|scalar| [Kind::one(scalar), Kind::many(scalar)])
        .map(|kind| (kind.to_string(), Some(kind)));
    let text = [("enum", Some(Kind::TEXT)), ("enum[]", Some(Kind::many(Scalar::Text))), ("relation", None)];
    simple.chain(text.map(|(word, kind)| (word.to_owned(), kind))).collect()
}

fn kinds() -> Vec<String> {
    kinds_with_kind().into_iter().map(|(word, _)| word).collect()
}

/// A field's long form: which options it takes depends on its kind.
fn options() -> Json {
    let mut schema = required(object(Place::Field, &draft::FIELD_KEYS), &["type"]);
    // Kinds that refuse the same options share a branch.
    let mut branches: Vec<(Vec<&'static str>, Vec<String>)> = Vec::new();
    for (word, kind) in kinds_with_kind() {
        let refused: Vec<&str> = draft::options(&word, kind, true)
            .into_iter()
            .filter_map(|(key, fits)| {
                // `on_delete` of a uuid belongs to `references`, of any other kind to nothing.
                let fits = fits && (key != "on_delete" || kind.is_none() || kind == Some(Kind::UUID));
                (!fits).then_some(key)
            })
            .collect();
        match branches.iter_mut().find(|(known, _)| *known == refused) {
            Some((_, words)) => words.push(word),
            None => branches.push((refused, vec![word])),
        }
    }
    let is = |words: &[String]| json!({ "properties": { "type": { "enum": words } }, "required": ["type"] });
    let mut all: Vec<Json> = branches
        .into_iter()
        .map(|(refused, words)| {
            let none: Map<String, Json> =
                refused.into_iter().map(|key| (key.to_owned(), json!(false))).collect();
            json!({ "if": is(&words), "then": { "properties": none } })
        })
        .collect();
    let needs = |words: &[&str], key: &str| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        json!({ "if": is(&words), "then": { "required": [key] } })
    };
    all.push(needs(&["enum", "enum[]"], "values"));
    all.push(needs(&["relation"], "to"));
    schema["allOf"] = json!(all);
    schema["dependentSchemas"] = json!({
        "on_delete": { "anyOf": [{ "required": ["to"] }, { "required": ["references"] }] },
    });
    schema
}
