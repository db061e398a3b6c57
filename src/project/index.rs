//! What helps to find records, the indexes and the full-text search of a collection: from YAML to drafts, and from
//! drafts to the fields that they name.

use super::draft::Draft;
use super::fault::{At, Faults};
use super::later::Place;
use super::literal;
use super::read::{Word, get};
use super::resolve::field_ids;
use super::yaml::{Broken, Node, Tree};
use crate::model::{Collection, FieldId, Index, IndexColumn, IndexMethod, Kind, Language, Name, Search};

pub(super) const INDEX_KEYS: [&str; 2] = ["fields", "using"];

pub(super) const SEARCH_KEYS: [&str; 2] = ["fields", "language"];

pub(super) const METHODS: [(&str, IndexMethod); 2] =
    [("btree", IndexMethod::Btree), ("gin", IndexMethod::Gin)];

pub(super) struct IndexDraft<'n> {
    pub(super) at: At,
    /// A field and whether it descends.
    pub(super) columns: Vec<(Word<'n>, bool)>,
    pub(super) method: IndexMethod,
}

pub(super) struct SearchDraft<'n> {
    pub(super) at: At,
    pub(super) fields: Vec<Word<'n>>,
    pub(super) language: Language,
}

/// Reads an entry of `indexes`.
pub(super) fn read_index<'n>(node: &'n Node, faults: &mut Faults<'_>) -> Option<IndexDraft<'n>> {
    let (words, method) = match &node.tree {
        Tree::Map(entries) => {
            faults.keys(Place::Index, entries, &INDEX_KEYS);
            let method = match get(entries, "using").map(|node| faults.word(node, "`using`")) {
                None => IndexMethod::Btree,
                Some(word) => {
                    let word = word?;
                    let known = METHODS.iter().find(|(method, _)| *method == word.text);
                    let Some((_, method)) = known else {
                        faults.unknown(word.at, "index method", word.text, METHODS.map(|(method, _)| method));
                        return None;
                    };
                    *method
                }
            };
            let Some(fields) = get(entries, "fields") else {
                faults.add(node.at, "an index needs `fields`");
                return None;
            };
            (faults.words(fields, "`fields`")?, method)
        }
        Tree::List(_) | Tree::Scalar(..) | Tree::Bad => (faults.words(node, "an index")?, IndexMethod::Btree),
    };
    if words.is_empty() {
        faults.add(node.at, "an index needs at least one field");
        return None;
    }
    let columns = words
        .into_iter()
        .map(|word| match word.text.strip_prefix('-') {
            Some(text) => (Word { text, at: At { start: word.at.start, ..word.at } }, true),
            None => (word, false),
        })
        .collect();
    Some(IndexDraft { at: node.at, columns, method })
}

/// Reads `search`.
pub(super) fn read_search<'n>(node: &'n Node, faults: &mut Faults<'_>) -> Option<SearchDraft<'n>> {
    let entries = faults.map(node, "`search`")?;
    faults.keys(Place::Search, entries, &SEARCH_KEYS);
    let language = match get(entries, "language").map(|node| faults.word(node, "`language`")) {
        None => Some(Language::SIMPLE),
        Some(word) => word.and_then(|word| {
            let known = Language::find(word.text);
            if known.is_none() {
                faults.unknown(word.at, "language", word.text, Language::ALL.map(Language::as_str));
            }
            known
        }),
    };
    let Some(fields) = get(entries, "fields") else {
        faults.hint(node.at, "a search needs `fields`", "as in `search: { fields: [title, body] }`");
        return None;
    };
    let words = faults.words(fields, "`fields`")?;
    if words.is_empty() {
        faults.add(fields.at, "a search needs at least one field");
        return None;
    }
    Some(SearchDraft { at: node.at, fields: words, language: language? })
}

/// The declared indexes, and one for each relation that none of them serves.
pub(super) fn indexes(
    draft: &Draft<'_>,
    collection: &mut Collection,
    broken: &Broken,
    faults: &mut Faults<'_>,
) {
    for index in &draft.indexes {
        let words: Vec<_> = index.columns.iter().map(|(word, _)| *word).collect();
        let Some(ids) = field_ids(&words, collection, broken, faults) else { continue };
        let mut fits = true;
        for (id, (word, descending)) in ids.iter().zip(&index.columns) {
            let kind = collection.field(*id).kind;
            let fault = match index.method {
                IndexMethod::Gin if *descending => Some("a `gin` index has no order".to_owned()),
                IndexMethod::Gin if !kind.array && kind != Kind::JSON => Some(format!(
                    "a `gin` index is for arrays and `json`, and `{}` is {}",
                    word.text,
                    literal::form(kind)
                )),
                IndexMethod::Btree if kind == Kind::JSON => {
                    Some("a `json` field is indexed with `using: gin`".to_owned())
                }
                IndexMethod::Gin | IndexMethod::Btree => None,
            };
            if let Some(message) = fault {
                faults.add(word.at, message);
                fits = false;
            }
        }
        if !fits {
            continue;
        }
        let columns: Vec<_> = ids
            .iter()
            .zip(&index.columns)
            .map(|(field, (_, descending))| IndexColumn { field: *field, descending: *descending })
            .collect();
        let name = index_name(collection, &ids);
        if collection.indexes.iter().any(|other| other.name == name) {
            faults.add(index.at, "these fields have an index already");
            continue;
        }
        collection.indexes.push(Index { name, columns, method: index.method });
    }
    // Deleting a target looks for what refers to it, and embeds join by it: without an index both read whole tables.
    for id in collection.field_ids() {
        let served = collection.primary_key.first() == Some(&id)
            || collection.unique.iter().any(|key| key.first() == Some(&id))
            || collection.indexes.iter().any(|index| {
                index.method == IndexMethod::Btree
                    && index.columns.first().is_some_and(|first| first.field == id)
            });
        let name = index_name(collection, &[id]);
        if collection.field(id).relation.is_some()
            && !served
            && !collection.indexes.iter().any(|index| index.name == name)
        {
            let columns = vec![IndexColumn { field: id, descending: false }];
            collection.indexes.push(Index { name, columns, method: IndexMethod::Btree });
        }
    }
}

/// The declared search. Its column stands beside the fields' own, so no field can bear its name.
pub(super) fn search(
    draft: &Draft<'_>,
    collection: &Collection,
    broken: &Broken,
    faults: &mut Faults<'_>,
) -> Option<Search> {
    let search = draft.search.as_ref()?;
    if let Some(field) = draft.fields.iter().find(|field| field.name == *Search::NAME) {
        let place = faults.place(search.at);
        faults.hint(
            field.at,
            format!("`{}` has a `search:` at {place}, and this field would bear its name", draft.name),
            "give the field another name, as in `{ renamed_from: search }`",
        );
    }
    let ids = field_ids(&search.fields, collection, broken, faults)?;
    let mut fits = true;
    for (id, word) in ids.iter().zip(&search.fields) {
        let kind = collection.field(*id).kind;
        if !Search::reads(kind) && !broken.contains(word.text) {
            faults.hint(
                word.at,
                format!("`{}` is {}, which holds no text to search", word.text, literal::form(kind)),
                "`search` reads text, enums, lists of them, and the strings in `json`",
            );
            fits = false;
        }
    }
    fits.then(|| Search::new(&collection.name, ids, search.language))
}

fn index_name(collection: &Collection, fields: &[FieldId]) -> Name {
    let mut parts = vec![collection.name.as_str()];
    parts.extend(fields.iter().map(|id| collection.field(*id).name.as_str()));
    parts.push("idx");
    Name::joined(&parts)
}
