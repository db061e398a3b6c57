//! Collections, their fields and the relations between them, resolved.
//!
//! A [`Collections`] is made once by `project` and is then read by every floor above. Collections and
//! fields are referred to by small ids; a name is looked up once, where a request or a project enters.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Kind, Name, Scalar, Value};

/// How many fields one collection may have. Far below Postgres' 1,600 columns, so that a [`FieldSet`] is four words.
pub const MAX_FIELDS: usize = 256;

/// A collection's place in its [`Collections`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId(pub u16);

/// A field's place in its [`Collection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldId(pub u16);

/// A set of fields of one collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSet([u64; MAX_FIELDS / 64]);

impl FieldSet {
    pub const EMPTY: FieldSet = FieldSet([0; MAX_FIELDS / 64]);

    /// The first `count` fields: with a collection's number of fields, all of them.
    pub fn first(count: usize) -> FieldSet {
        (0..count.min(MAX_FIELDS)).map(|at| FieldId(at as u16)).collect()
    }

    pub fn insert(&mut self, field: FieldId) {
        self.0[usize::from(field.0) / 64] |= 1 << (field.0 % 64);
    }

    pub fn remove(&mut self, field: FieldId) {
        self.0[usize::from(field.0) / 64] &= !(1 << (field.0 % 64));
    }

    pub fn contains(&self, field: FieldId) -> bool {
        self.0[usize::from(field.0) / 64] & (1 << (field.0 % 64)) != 0
    }

    pub fn union(mut self, other: FieldSet) -> FieldSet {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
        self
    }

    /// Every field of `other` is in this set.
    pub fn covers(&self, other: &FieldSet) -> bool {
        self.0.iter().zip(other.0).all(|(word, asked)| asked & !word == 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; MAX_FIELDS / 64]
    }

    pub fn iter(&self) -> impl Iterator<Item = FieldId> + '_ {
        (0..MAX_FIELDS as u16).map(FieldId).filter(|field| self.contains(*field))
    }
}

impl FromIterator<FieldId> for FieldSet {
    fn from_iter<T: IntoIterator<Item = FieldId>>(fields: T) -> FieldSet {
        let mut set = FieldSet::EMPTY;
        fields.into_iter().for_each(|field| set.insert(field));
        set
    }
}

/// Where the table of a collection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schema {
    /// Declared by the project.
    Public,
    /// The rows of stored objects, which are there without being declared.
    Storage,
}

impl Schema {
    /// Its name in Postgres.
    pub fn as_str(self) -> &'static str {
        match self {
            Schema::Public => "public",
            Schema::Storage => "storage",
        }
    }
}

/// A kind of record; one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    pub name: Name,
    pub schema: Schema,
    /// In column order: the key first, then as declared, then `created_at` and `updated_at`.
    pub fields: Vec<Field>,
    pub primary_key: Vec<FieldId>,
    /// Unique constraints over fields, those of `unique: true` fields among them. The primary key is not.
    pub unique: Vec<Vec<FieldId>>,
    pub indexes: Vec<Index>,
    pub checks: Vec<Check>,
    /// The full-text column, if one is declared. It is no field: filters alone know it.
    pub search: Option<Search>,
    /// False forbids subscribing.
    pub realtime: bool,
    /// Has `created_at` and `updated_at`.
    pub timestamps: bool,
    /// The table's former name, if a project renames it.
    pub renamed_from: Option<Name>,
}

impl Collection {
    /// How people name it: `posts`, `storage.objects`.
    pub fn title(&self) -> String {
        match self.schema {
            Schema::Public => self.name.to_string(),
            Schema::Storage => format!("{}.{}", self.schema.as_str(), self.name),
        }
    }

    pub fn field(&self, id: FieldId) -> &Field {
        &self.fields[usize::from(id.0)]
    }

    pub fn field_id(&self, name: &str) -> Option<FieldId> {
        self.fields.iter().position(|field| field.name == *name).map(|at| FieldId(at as u16))
    }

    pub fn field_ids(&self) -> impl Iterator<Item = FieldId> + use<> {
        (0..self.fields.len() as u16).map(FieldId)
    }

    pub fn all_fields(&self) -> FieldSet {
        FieldSet::first(self.fields.len())
    }

    /// The fields that `search` digests, if there is one.
    pub fn searched(&self) -> &[FieldId] {
        self.search.as_ref().map_or(&[], |search| &search.fields)
    }

    /// The fields are exactly the primary key or one of the unique constraints, in any order.
    pub fn is_unique(&self, fields: &[FieldId]) -> bool {
        let asked: FieldSet = fields.iter().copied().collect();
        std::iter::once(&self.primary_key)
            .chain(&self.unique)
            .any(|key| key.len() == fields.len() && key.iter().copied().collect::<FieldSet>() == asked)
    }
}

/// A typed member of a collection; one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub name: Name,
    pub kind: Kind,
    /// NOT NULL.
    pub required: bool,
    pub default: Option<DefaultValue>,
    /// Smallest and largest value (numbers, dates, times) or size (text in code points, bytes, arrays in elements).
    pub min: Option<Bound>,
    pub max: Option<Bound>,
    /// Text must match: a pattern of the subset that `condition::pattern` accepts.
    pub pattern: Option<String>,
    /// The values of an `enum`; its kind is then text (or text[]).
    pub values: Option<Vec<String>>,
    pub relation: Option<Relation>,
    /// The JSON Schema of a `json` field.
    pub schema: Option<Arc<serde_json::Value>>,
    /// The column's former name: a rename is never a drop and an add.
    pub renamed_from: Option<Name>,
}

/// A limit of `min` or `max`.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// Of text, bytes and arrays: how many code points, bytes, elements.
    Size(u64),
    /// Of numbers, dates, times and timestamps: a value of the field's kind.
    Value(Value),
}

/// What a field takes when a create does not say.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    Literal(Value),
    /// `auth.…`: bound by the insert plan, not part of the table.
    Attribute(super::Attribute),
    /// `now()`.
    Now,
    /// A time-ordered uuid made by `basewright.uuid_v7()`.
    UuidV7,
}

/// A field that refers to a record elsewhere by its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    pub target: RelationTarget,
    pub on_delete: OnDelete,
    /// The foreign key's name: `<collection>_<field>_fkey`.
    pub constraint: Name,
    /// The name under which the target sees the records that refer to it: the referring collection's name unless `inverse:` says.
    pub inverse: Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationTarget {
    /// A collection, by its single-field primary key.
    Collection(CollectionId),
    /// `auth.users(id)`: a foreign key only; conditions, selects and embeds cannot follow it.
    Users,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnDelete {
    Restrict,
    Cascade,
    SetNull,
}

/// A declared index; its Postgres name is `<collection>_<fields…>_idx`.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    pub name: Name,
    pub columns: Vec<IndexColumn>,
    pub method: IndexMethod,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexColumn {
    pub field: FieldId,
    pub descending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexMethod {
    Btree,
    Gin,
}

/// A declared check: a named CHECK constraint over the record's own fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// `<collection>_check_<n>`, n counted from 1 in declared order.
    pub name: Name,
    /// The condition as written. `condition` types it and writes its SQL.
    pub source: String,
}

/// A declared full-text column: a `tsvector` that Postgres makes of some fields, with an index.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// At least one.
    pub fields: Vec<FieldId>,
    pub language: Language,
    /// The index's name: `<collection>_search_idx`.
    pub index: Name,
}

impl Search {
    /// What the column and its filters are called.
    pub const NAME: &'static str = "search";

    pub fn new(collection: &Name, fields: Vec<FieldId>, language: Language) -> Search {
        Search { fields, language, index: Name::joined(&[collection.as_str(), Search::NAME, "idx"]) }
    }

    /// Whether text can be found in a field of this kind: in text and enums, lists of them, and the strings of JSON.
    pub fn reads(kind: Kind) -> bool {
        kind.scalar == Scalar::Text || kind == Kind::JSON
    }
}

/// A text search configuration that every supported release of Postgres has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Language(&'static str);

impl Language {
    /// Knows no language: words are compared as they stand, without regard to case.
    pub const SIMPLE: Language = Language("simple");

    /// Every language, by the name of its configuration: those of PostgreSQL 15.
    #[rustfmt::skip]
    pub const ALL: [Language; 29] = [
        Language("simple"), Language("arabic"), Language("armenian"), Language("basque"), Language("catalan"),
        Language("danish"), Language("dutch"), Language("english"), Language("finnish"), Language("french"),
        Language("german"), Language("greek"), Language("hindi"), Language("hungarian"), Language("indonesian"),
        Language("irish"), Language("italian"), Language("lithuanian"), Language("nepali"), Language("norwegian"),
        Language("portuguese"), Language("romanian"), Language("russian"), Language("serbian"), Language("spanish"),
        Language("swedish"), Language("tamil"), Language("turkish"), Language("yiddish"),
    ];

    pub fn find(word: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.0 == word)
    }

    /// The word in YAML, and the configuration's name in schema `pg_catalog`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// The records that refer to a collection through one relation field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inverse {
    /// The referring collection.
    pub collection: CollectionId,
    /// Its relation field.
    pub field: FieldId,
}

/// Every collection of a project, with names and inverse relations looked up in constant time. Behind the declared
/// ones is that of stored objects, which only those find who ask for it: no relation and no condition leads to it.
#[derive(Clone, Debug)]
pub struct Collections {
    list: Vec<Collection>,
    objects: Collection,
    by_name: HashMap<Name, CollectionId>,
    inverses: HashMap<(CollectionId, Name), Inverse>,
}

impl Default for Collections {
    fn default() -> Collections {
        Collections::new(Vec::new())
    }
}

impl Collections {
    /// Takes collections whose [`RelationTarget::Collection`]s are their places in `list`.
    /// Names are taken to be unique, inverse names per target too: `project` has checked both.
    pub fn new(list: Vec<Collection>) -> Collections {
        let ids = |at: usize| CollectionId(at as u16);
        let by_name =
            list.iter().enumerate().map(|(at, collection)| (collection.name.clone(), ids(at))).collect();
        let mut inverses = HashMap::new();
        for (at, collection) in list.iter().enumerate() {
            for (field_at, field) in collection.fields.iter().enumerate() {
                if let Some(Relation { target: RelationTarget::Collection(target), inverse, .. }) =
                    &field.relation
                {
                    let from = Inverse { collection: ids(at), field: FieldId(field_at as u16) };
                    inverses.insert((*target, inverse.clone()), from);
                }
            }
        }
        Collections { list, objects: super::bucket::objects(), by_name, inverses }
    }

    /// A declared collection, or that of the objects.
    pub fn get(&self, id: CollectionId) -> &Collection {
        self.list.get(usize::from(id.0)).unwrap_or(&self.objects)
    }

    /// A declared collection by its name.
    pub fn find(&self, name: &str) -> Option<CollectionId> {
        self.by_name.get(name).copied()
    }

    /// The collection of stored objects: `storage.objects`.
    pub fn objects(&self) -> CollectionId {
        CollectionId(self.list.len() as u16)
    }

    /// A collection by its table, that of the objects among them.
    pub fn of_table(&self, schema: &str, table: &str) -> Option<CollectionId> {
        if schema == Schema::Public.as_str() {
            return self.find(table);
        }
        let objects = schema == self.objects.schema.as_str() && self.objects.name == *table;
        objects.then(|| self.objects())
    }

    /// A collection by its [title](Collection::title), that of the objects among them.
    pub fn titled(&self, title: &str) -> Option<CollectionId> {
        match title.split_once('.') {
            None => self.find(title),
            Some((schema, table)) => {
                self.of_table(schema, table).filter(|id| self.get(*id).schema != Schema::Public)
            }
        }
    }

    /// The id of one of these.
    pub fn id_of(&self, collection: &Collection) -> Option<CollectionId> {
        self.of_table(collection.schema.as_str(), collection.name.as_str())
    }

    /// The ids of the declared ones.
    pub fn ids(&self) -> impl Iterator<Item = CollectionId> + use<> {
        (0..self.list.len() as u16).map(CollectionId)
    }

    /// The declared ones.
    pub fn iter(&self) -> impl Iterator<Item = (CollectionId, &Collection)> {
        self.ids().zip(&self.list)
    }

    /// The declared ones, and behind them that of the objects: the order of the ids.
    pub fn with_objects(&self) -> impl Iterator<Item = (CollectionId, &Collection)> {
        self.iter().chain(std::iter::once((self.objects(), &self.objects)))
    }

    /// How many are declared.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// None is declared.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The inverse relation that `target` knows by this name.
    pub fn inverse(&self, target: CollectionId, name: &str) -> Option<Inverse> {
        // A `Name` borrows as `str` but a tuple of it does not; there are few inverses per target.
        self.inverses_of(target).find(|(known, _)| **known == *name).map(|(_, inverse)| inverse)
    }

    /// Every inverse relation of `target`, in no particular order.
    pub fn inverses_of(&self, target: CollectionId) -> impl Iterator<Item = (&Name, Inverse)> {
        self.inverses
            .iter()
            .filter(move |((to, _), _)| *to == target)
            .map(|((_, name), inverse)| (name, *inverse))
    }
}
