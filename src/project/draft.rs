//! One collection's YAML → a draft: every key read and judged by itself, names of other things not yet looked up.

use super::fault::{At, Faults};
use super::gather::Definition;
use super::index;
use super::later::{self, Place};
use super::read::{Entries, Word, get, key_at};
use super::yaml::{Broken, Node, Tree};
use crate::model::{Kind, Name, OnDelete, Scalar};

pub(super) const COLLECTION_KEYS: [&str; 9] = [
    "fields",
    "primary_key",
    "unique",
    "indexes",
    "search",
    "checks",
    "realtime",
    "timestamps",
    "renamed_from",
];

pub(super) const FIELD_KEYS: [&str; 14] = [
    "type",
    "required",
    "unique",
    "default",
    "min",
    "max",
    "match",
    "values",
    "schema",
    "to",
    "references",
    "on_delete",
    "inverse",
    "renamed_from",
];

pub(super) const ON_DELETE: [(&str, OnDelete); 3] =
    [("restrict", OnDelete::Restrict), ("cascade", OnDelete::Cascade), ("set_null", OnDelete::SetNull)];

/// Words of the condition language, which a field or condition of the same name would shadow.
pub(super) const LANGUAGE: [&str; 7] = ["auth", "old", "now", "true", "false", "null", "in"];
/// Parameters of a request's query, which a filter on a field of the same name could not be told from.
const PARAMETERS: [&str; 8] = ["select", "order", "limit", "offset", "and", "or", "not", "columns"];
/// Columns that every Postgres table has already.
const SYSTEM: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

pub(super) struct Draft<'n> {
    pub(super) name: Name,
    pub(super) at: At,
    pub(super) fields: Vec<FieldDraft<'n>>,
    pub(super) primary_key: Option<Vec<Word<'n>>>,
    pub(super) unique: Vec<Vec<Word<'n>>>,
    pub(super) indexes: Vec<index::IndexDraft<'n>>,
    pub(super) search: Option<index::SearchDraft<'n>>,
    pub(super) checks: Vec<&'n Node>,
    pub(super) realtime: bool,
    pub(super) timestamps: bool,
    pub(super) renamed_from: Option<(Name, At)>,
}

#[derive(Clone, Copy)]
pub(super) enum DraftKind<'n> {
    Known(Kind),
    /// The kind of the target's key.
    Relation(Word<'n>),
    /// A fault was reported.
    Broken,
}

pub(super) struct FieldDraft<'n> {
    pub(super) name: Name,
    pub(super) at: At,
    pub(super) kind: DraftKind<'n>,
    pub(super) required: bool,
    pub(super) unique: bool,
    pub(super) default: Option<&'n Node>,
    pub(super) min: Option<&'n Node>,
    pub(super) max: Option<&'n Node>,
    pub(super) pattern: Option<&'n Node>,
    pub(super) values: Option<Vec<String>>,
    pub(super) schema: Option<&'n Node>,
    /// `references: auth.users`.
    pub(super) users: bool,
    pub(super) on_delete: Option<(OnDelete, At)>,
    pub(super) inverse: Option<(Name, At)>,
    pub(super) renamed_from: Option<(Name, At)>,
}

/// Reads every collection that has a usable name.
pub(super) fn read<'n>(
    definitions: &[Definition<'n>],
    broken: &mut Broken,
    faults: &mut Faults<'_>,
) -> Vec<Draft<'n>> {
    let mut drafts = Vec::new();
    for (key, node) in definitions {
        let Some(name) = faults.name(&key.text, key.at) else {
            broken.insert(&key.text);
            continue;
        };
        if LANGUAGE.contains(&key.text.as_str()) || key.text == "rpc" {
            faults.add(key.at, format!("`{name}` has a meaning of its own and cannot name a collection"));
        }
        let Some(entries) = faults.map_or_nothing(node, "a collection") else {
            broken.insert(&key.text);
            continue;
        };
        drafts.push(collection(name, key.at, entries, broken, faults));
    }
    drafts
}

fn collection<'n>(
    name: Name,
    at: At,
    entries: &'n Entries,
    broken: &mut Broken,
    faults: &mut Faults<'_>,
) -> Draft<'n> {
    faults.keys(Place::Collection, entries, &COLLECTION_KEYS);
    let mut fields = Vec::new();
    match get(entries, "fields") {
        Some(node) => {
            for (key, value) in faults.map(node, "`fields`").unwrap_or_default() {
                let read = faults.name(&key.text, key.at).and_then(|name| field(name, key.at, value, faults));
                match read {
                    Some(field) => {
                        if matches!(field.kind, DraftKind::Broken) {
                            broken.insert(&key.text);
                        }
                        fields.push(field);
                    }
                    None => broken.insert(&key.text),
                }
            }
        }
        // Without this an unknown key beside it (`feilds`) would leave a collection of nothing but an id.
        None => {
            faults.hint(
                at,
                format!("`{name}` has no `fields`"),
                "`fields: {}` says that it has none of its own",
            );
            broken.insert(name.as_str());
        }
    }
    let flag = |key: &str, otherwise: bool, faults: &mut Faults<'_>| {
        get(entries, key).and_then(|node| faults.flag(node, &format!("`{key}`"))).unwrap_or(otherwise)
    };
    Draft {
        at,
        fields,
        primary_key: get(entries, "primary_key").and_then(|node| faults.words(node, "`primary_key`")),
        unique: get(entries, "unique")
            .and_then(|node| faults.list(node, "`unique`"))
            .unwrap_or_default()
            .iter()
            .filter_map(|node| faults.words(node, "an entry of `unique`"))
            .collect(),
        indexes: get(entries, "indexes")
            .and_then(|node| faults.list(node, "`indexes`"))
            .unwrap_or_default()
            .iter()
            .filter_map(|node| index::read_index(node, faults))
            .collect(),
        search: get(entries, "search").and_then(|node| index::read_search(node, faults)),
        checks: get(entries, "checks")
            .and_then(|node| faults.list(node, "`checks`"))
            .unwrap_or_default()
            .iter()
            .collect(),
        realtime: flag("realtime", true, faults),
        timestamps: flag("timestamps", true, faults),
        renamed_from: former(entries, &name, faults),
        name,
    }
}

fn former(entries: &Entries, name: &Name, faults: &mut Faults<'_>) -> Option<(Name, At)> {
    let word = faults.word(get(entries, "renamed_from")?, "`renamed_from`")?;
    let former = faults.name(word.text, word.at)?;
    if former == *name {
        faults.add(word.at, format!("`{name}` cannot be renamed from itself"));
        return None;
    }
    Some((former, word.at))
}

fn field<'n>(name: Name, at: At, node: &'n Node, faults: &mut Faults<'_>) -> Option<FieldDraft<'n>> {
    let reserved = [&LANGUAGE[..], &PARAMETERS[..], &SYSTEM[..], &["on_conflict"]];
    if reserved.iter().any(|words| words.contains(&name.as_str())) {
        faults.hint(
            at,
            format!("`{name}` has a meaning of its own and cannot name a field"),
            format!("`{name}_` would do"),
        );
    }
    let mut draft = FieldDraft {
        name,
        at,
        kind: DraftKind::Broken,
        required: false,
        unique: false,
        default: None,
        min: None,
        max: None,
        pattern: None,
        values: None,
        schema: None,
        users: false,
        on_delete: None,
        inverse: None,
        renamed_from: None,
    };
    let entries = match &node.tree {
        Tree::Map(entries) => entries,
        Tree::Bad => return Some(draft),
        Tree::Scalar(..) | Tree::List(_) => {
            if let Some(word) = kind_word(node, faults) {
                draft.kind = kind(word, None, faults);
            }
            return Some(draft);
        }
    };
    let Some(kind_node) = get(entries, "type") else {
        faults.keys(Place::Field, entries, &FIELD_KEYS);
        faults.hint(at, format!("the field `{}` has no `type`", draft.name), "as in `type: text`");
        return Some(draft);
    };
    let word = kind_word(kind_node, faults)?;
    if later::is_later_kind(word.text) {
        // Its options belong to the same feature: one fault says it.
        draft.kind = kind(word, None, faults);
        return Some(draft);
    }
    faults.keys(Place::Field, entries, &FIELD_KEYS);
    draft.values = get(entries, "values").and_then(|node| values(node, faults));
    draft.kind = kind(word, Some(entries), faults);
    let flag = |key: &str, faults: &mut Faults<'_>| {
        get(entries, key).and_then(|node| faults.flag(node, &format!("`{key}`"))).unwrap_or(false)
    };
    draft.required = flag("required", faults);
    draft.unique = flag("unique", faults);
    draft.default = get(entries, "default");
    draft.min = get(entries, "min");
    draft.max = get(entries, "max");
    draft.pattern = get(entries, "match");
    draft.schema = get(entries, "schema");
    draft.renamed_from = former(entries, &draft.name, faults);
    draft.users = references(entries, draft.kind, faults);
    draft.on_delete = on_delete(entries, faults);
    draft.inverse = get(entries, "inverse")
        .and_then(|node| faults.word(node, "`inverse`"))
        .and_then(|word| Some((faults.name(word.text, word.at)?, word.at)));
    misplaced(entries, word.text, &draft, faults);
    Some(draft)
}

/// Which of the options that not every kind has mean something for this one. `kind` is none of a relation.
pub(super) fn options(word: &str, kind: Option<Kind>, users: bool) -> [(&'static str, bool); 9] {
    let relation = kind.is_none();
    let is_enum = word.starts_with("enum");
    let scalar = kind.map(|kind| kind.scalar);
    let sized = kind.is_some_and(|kind| {
        kind.array
            || matches!(
                kind.scalar,
                Scalar::Text
                    | Scalar::Bytes
                    | Scalar::Integer
                    | Scalar::Bigint
                    | Scalar::Float
                    | Scalar::Decimal
                    | Scalar::Date
                    | Scalar::Time
                    | Scalar::Timestamp
            ) && !is_enum
    });
    [
        ("values", is_enum),
        ("to", relation),
        ("inverse", relation),
        ("on_delete", relation || users),
        ("references", kind == Some(Kind::UUID)),
        ("match", scalar == Some(Scalar::Text) && !is_enum),
        ("schema", kind == Some(Kind::JSON)),
        ("min", sized),
        ("max", sized),
    ]
}

/// Refuses options that mean nothing for a field's kind: passed over, they would be promises not kept.
fn misplaced(entries: &Entries, word: &str, draft: &FieldDraft<'_>, faults: &mut Faults<'_>) {
    let kind = match draft.kind {
        DraftKind::Broken => return,
        DraftKind::Known(kind) => Some(kind),
        DraftKind::Relation(_) => None,
    };
    for (key, fits) in options(word, kind, draft.users) {
        if let (false, Some(at)) = (fits, key_at(entries, key)) {
            let message = format!("`{key}` has no meaning for a field of kind `{word}`");
            match key {
                "references" => faults.hint(at, message, "only a `uuid` can refer to `auth.users`"),
                "on_delete" => {
                    faults.hint(at, message, "it belongs to a relation or to `references: auth.users`")
                }
                _ => faults.add(at, message),
            }
        }
    }
}

fn kind_word<'n>(node: &'n Node, faults: &mut Faults<'_>) -> Option<Word<'n>> {
    if node.is_null() {
        faults.hint(node.at, "a field needs a kind", "as in `text`");
        return None;
    }
    faults.word(node, "a kind")
}

fn kind<'n>(word: Word<'n>, entries: Option<&'n Entries>, faults: &mut Faults<'_>) -> DraftKind<'n> {
    let option = |key: &str| entries.and_then(|entries| get(entries, key));
    match word.text {
        "relation" => match option("to") {
            Some(node) => match faults.word(node, "`to`") {
                Some(target) => DraftKind::Relation(target),
                None => DraftKind::Broken,
            },
            None => {
                faults.hint(
                    word.at,
                    "a relation needs its target",
                    "as in `{ type: relation, to: profiles }`",
                );
                DraftKind::Broken
            }
        },
        "enum" | "enum[]" => {
            if option("values").is_none() {
                faults.hint(
                    word.at,
                    "an enum needs its values",
                    "as in `{ type: enum, values: [draft, live] }`",
                );
                return DraftKind::Broken;
            }
            DraftKind::Known(Kind { scalar: Scalar::Text, array: word.text.ends_with("[]") })
        }
        "relation[]" => {
            faults.hint(
                word.at,
                "a relation leads to one record",
                "many of them are a collection of their own, with a relation to each side",
            );
            DraftKind::Broken
        }
        text if later::is_later_kind(text) => {
            faults.add(word.at, format!("the kind `{text}` is not supported by this version"));
            DraftKind::Broken
        }
        text => match Kind::from_yaml(text) {
            Some(kind) => DraftKind::Known(kind),
            None => {
                let alias = match text.trim_end_matches("[]") {
                    "string" | "varchar" | "str" => Some("text"),
                    "int" | "int4" => Some("integer"),
                    "int8" | "long" => Some("bigint"),
                    "bool" => Some("boolean"),
                    "double" | "number" | "real" => Some("float"),
                    "numeric" | "money" => Some("decimal"),
                    "datetime" | "timestamptz" => Some("timestamp"),
                    "jsonb" | "object" => Some("json"),
                    "bytea" | "blob" => Some("bytes"),
                    _ => None,
                };
                match alias {
                    Some(kind) => {
                        faults.hint(
                            word.at,
                            format!("unknown kind `{text}`"),
                            format!("did you mean `{kind}`?"),
                        );
                    }
                    None => {
                        let words: Vec<_> =
                            Scalar::all().map(Scalar::yaml).chain(["enum", "relation"]).collect();
                        let stem = text.trim_end_matches("[]");
                        match super::fault::nearest(stem, words.iter().copied()) {
                            Some(near) => {
                                let array = &text[stem.len()..];
                                faults.hint(
                                    word.at,
                                    format!("unknown kind `{text}`"),
                                    format!("did you mean `{near}{array}`?"),
                                );
                            }
                            None => faults.unknown(word.at, "kind", text, words),
                        }
                    }
                }
                DraftKind::Broken
            }
        },
    }
}

fn values(node: &Node, faults: &mut Faults<'_>) -> Option<Vec<String>> {
    let words = faults.words(node, "`values`")?;
    if words.is_empty() {
        faults.add(node.at, "an enum needs at least one value");
        return None;
    }
    let mut values: Vec<String> = Vec::new();
    for word in words {
        if values.iter().any(|value| value == word.text) {
            faults.add(word.at, format!("the value `{}` stands twice", word.text));
        } else {
            values.push(word.text.to_owned());
        }
    }
    Some(values)
}

fn references(entries: &Entries, kind: DraftKind<'_>, faults: &mut Faults<'_>) -> bool {
    let Some(word) = get(entries, "references").and_then(|node| faults.word(node, "`references`")) else {
        return false;
    };
    if word.text != "auth.users" {
        faults.hint(
            word.at,
            format!("`references` leads to `auth.users` only, not to `{}`", word.text),
            format!("a collection is a relation's target: `{{ type: relation, to: {} }}`", word.text),
        );
        return false;
    }
    matches!(kind, DraftKind::Known(kind) if kind == Kind::UUID)
}

fn on_delete(entries: &Entries, faults: &mut Faults<'_>) -> Option<(OnDelete, At)> {
    let word = faults.word(get(entries, "on_delete")?, "`on_delete`")?;
    match ON_DELETE.iter().find(|(action, _)| *action == word.text) {
        Some((_, action)) => Some((*action, word.at)),
        None => {
            faults.unknown(word.at, "action", word.text, ON_DELETE.map(|(action, _)| action));
            None
        }
    }
}
