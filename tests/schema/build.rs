//! Collections written by hand, in few words.

use basewright::model::{
    Bound, Collection, CollectionId, Collections, DefaultValue, Field, FieldId, Index, IndexColumn,
    IndexMethod, Kind, Language, Name, OnDelete, Relation, RelationTarget, Schema, Search, Value,
};

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn field(text: &str, kind: &str) -> FieldBuilder {
    FieldBuilder(Field {
        name: name(text),
        kind: Kind::from_yaml(kind).unwrap(),
        required: false,
        default: None,
        min: None,
        max: None,
        pattern: None,
        values: None,
        relation: None,
        schema: None,
        renamed_from: None,
    })
}

#[derive(Clone)]
pub(super) struct FieldBuilder(pub(super) Field);

impl FieldBuilder {
    pub(super) fn required(mut self) -> Self {
        self.0.required = true;
        self
    }
    pub(super) fn default(mut self, value: Value) -> Self {
        self.0.default = Some(DefaultValue::Literal(value));
        self
    }
    pub(super) fn default_to(mut self, default: DefaultValue) -> Self {
        self.0.default = Some(default);
        self
    }
    pub(super) fn size(mut self, min: u64, max: u64) -> Self {
        self.0.min = Some(Bound::Size(min));
        self.0.max = Some(Bound::Size(max));
        self
    }
    pub(super) fn between(mut self, min: Value, max: Value) -> Self {
        self.0.min = Some(Bound::Value(min));
        self.0.max = Some(Bound::Value(max));
        self
    }
    pub(super) fn pattern(mut self, pattern: &str) -> Self {
        self.0.pattern = Some(pattern.to_owned());
        self
    }
    pub(super) fn values(mut self, values: &[&str]) -> Self {
        self.0.values = Some(values.iter().map(|value| (*value).to_owned()).collect());
        self
    }
    pub(super) fn from(mut self, former: &str) -> Self {
        self.0.renamed_from = Some(name(former));
        self
    }
}

/// A collection with `id`, `created_at` and `updated_at`, as a project gives every one.
pub(super) fn collection(text: &str) -> CollectionBuilder {
    let id = field("id", "uuid").required().default_to(DefaultValue::UuidV7);
    CollectionBuilder {
        collection: Collection {
            name: name(text),
            schema: Schema::Public,
            fields: vec![id.0],
            primary_key: vec![FieldId(0)],
            unique: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            search: None,
            realtime: true,
            timestamps: true,
            renamed_from: None,
        },
        relations: Vec::new(),
    }
}

#[derive(Clone)]
pub(super) struct CollectionBuilder {
    pub(super) collection: Collection,
    relations: Vec<(usize, String, OnDelete)>,
}

impl CollectionBuilder {
    pub(super) fn field(mut self, field: FieldBuilder) -> Self {
        self.collection.fields.push(field.0);
        self
    }
    /// A relation to a collection, or to `auth.users`.
    pub(super) fn relation(mut self, field: FieldBuilder, to: &str, on_delete: OnDelete) -> Self {
        self.relations.push((self.collection.fields.len(), to.to_owned(), on_delete));
        self.field(field)
    }
    fn id(&self, field: &str) -> FieldId {
        self.collection.field_id(field).unwrap()
    }
    pub(super) fn unique(mut self, fields: &[&str]) -> Self {
        let fields = fields.iter().map(|field| self.id(field)).collect();
        self.collection.unique.push(fields);
        self
    }
    /// Fields of an index, `-` before those that descend.
    pub(super) fn index(mut self, fields: &[&str], method: IndexMethod) -> Self {
        let columns: Vec<IndexColumn> = fields
            .iter()
            .map(|field| IndexColumn {
                field: self.id(field.trim_start_matches('-')),
                descending: field.starts_with('-'),
            })
            .collect();
        let mut parts = vec![self.collection.name.as_str()];
        parts.extend(fields.iter().map(|field| field.trim_start_matches('-')));
        parts.push("idx");
        let index = Index { name: Name::joined(&parts), columns, method };
        self.collection.indexes.push(index);
        self
    }
    pub(super) fn search(mut self, fields: &[&str], language: &str) -> Self {
        let fields = fields.iter().map(|field| self.id(field)).collect();
        let language = Language::find(language).unwrap();
        self.collection.search = Some(Search::new(&self.collection.name, fields, language));
        self
    }
    pub(super) fn key(mut self, fields: &[&str]) -> Self {
        self.collection.fields.remove(0);
        assert!(self.collection.search.is_none(), "the key is chosen before the search");
        for relation in &mut self.relations {
            relation.0 -= 1;
        }
        self.collection.primary_key = fields.iter().map(|field| self.id(field)).collect();
        self
    }
    pub(super) fn without_timestamps(mut self) -> Self {
        self.collection.timestamps = false;
        self
    }
    pub(super) fn from(mut self, former: &str) -> Self {
        self.collection.renamed_from = Some(name(former));
        self
    }
}

/// The collections, with their relations resolved.
pub(super) fn project(collections: impl IntoIterator<Item = CollectionBuilder>) -> Collections {
    let builders: Vec<CollectionBuilder> = collections.into_iter().collect();
    let names: Vec<Name> = builders.iter().map(|one| one.collection.name.clone()).collect();
    let list = builders
        .into_iter()
        .map(|CollectionBuilder { mut collection, relations }| {
            for (at, to, on_delete) in relations {
                index_relation(&mut collection, at);
                let field = &mut collection.fields[at];
                let target = if to == "auth.users" {
                    RelationTarget::Users
                } else {
                    let at = names.iter().position(|known| *known == *to).unwrap();
                    RelationTarget::Collection(CollectionId(at as u16))
                };
                field.relation = Some(Relation {
                    target,
                    on_delete,
                    constraint: Name::joined(&[collection.name.as_str(), field.name.as_str(), "fkey"]),
                    inverse: collection.name.clone(),
                });
            }
            if collection.timestamps {
                for text in ["created_at", "updated_at"] {
                    let stamp = field(text, "timestamp").required().default_to(DefaultValue::Now);
                    collection.fields.push(stamp.0);
                }
            }
            collection
        })
        .collect();
    Collections::new(list)
}

/// As a project does for each relation that nothing serves yet.
fn index_relation(collection: &mut Collection, at: usize) {
    let field = FieldId(at as u16);
    let leads = |fields: &[FieldId]| fields.first() == Some(&field);
    let served = leads(&collection.primary_key)
        || collection.unique.iter().any(|fields| leads(fields))
        || collection.indexes.iter().any(|index| index.columns[0].field == field);
    if !served {
        let name = Name::joined(&[collection.name.as_str(), collection.field(field).name.as_str(), "idx"]);
        let columns = vec![IndexColumn { field, descending: false }];
        collection.indexes.push(Index { name, columns, method: IndexMethod::Btree });
    }
}
