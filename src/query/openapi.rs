//! What a caller may do, as an OpenAPI 3.1 document: data from the catalog and the policies, no HTTP.
//!
//! It says what requests would answer and nothing else: a collection that no rule of the caller speaks of, a
//! field that no rule shows him or lets him write, and whatever is named after one, are not in it. An
//! operation is in it if a request of that method can be admitted at all: changing and removing records takes
//! the right to read them too.

mod parameters;
mod responses;
mod schema;

use serde_json::{Map, Value as Json, json};

pub(super) use schema::written;

use super::plan::Context;
use super::view::{View, offers};
use crate::policy::Permit;

/// Where the paths of the document start.
const SERVER: &str = "/rest/v1";

/// The document for one caller.
pub fn document(context: Context<'_>) -> Json {
    let mut parts = Parts::default();
    for id in context.catalog.collections.ids() {
        if let Some(view) = View::of(context, id) {
            view.describe(&mut parts);
        }
    }
    parts.paths.insert("/".to_owned(), json!({ "get": responses::root() }));
    parts.schemas.insert("Error".to_owned(), schema::error());
    parts.parameters.extend(parameters::common(&context.catalog.limits));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Basewright",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the caller of this document may do. Another caller may see another document.",
        },
        "servers": [{ "url": SERVER }],
        "security": [{ "apikey": [] }, { "apikey": [], "bearer": [] }],
        "tags": parts.tags,
        "paths": parts.paths,
        "components": {
            "schemas": parts.schemas,
            "parameters": parts.parameters,
            "responses": responses::common(),
            "headers": responses::headers(),
            "securitySchemes": {
                "apikey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "apikey",
                    "description": "The publishable key of the project, or on servers the secret one.",
                },
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The token of whoever is signed in.",
                },
            },
        },
    })
}

/// The growing document.
#[derive(Default)]
struct Parts {
    tags: Vec<Json>,
    paths: Map<String, Json>,
    schemas: Map<String, Json>,
    parameters: Map<String, Json>,
}

impl View<'_> {
    fn describe(&self, parts: &mut Parts) {
        let name = self.name();
        parts.tags.push(json!({ "name": name }));
        if let Some(read) = &self.read {
            parts.schemas.insert(name.to_owned(), self.record(read));
            parts.schemas.insert(schema::stripped_key(name), self.stripped(read));
            for field in self.collection.field_ids().filter(|field| read.covers(*field)) {
                let field = self.collection.field(field);
                let (key, parameter) = parameters::filter(name, field, self.signed_in);
                parts.parameters.insert(key, parameter);
            }
        }
        if let Some((key, parameter)) = self.search() {
            parts.parameters.insert(key, parameter);
        }
        if let Some(create) = &self.create {
            parts.schemas.insert(format!("{name}.create"), self.written(create));
        }
        if let Some(update) = &self.update {
            parts.schemas.insert(format!("{name}.update"), self.written(update));
        }
        parts.paths.insert(format!("/{name}"), self.path());
    }

    /// The path item: an operation for each method by which something can be done.
    fn path(&self) -> Json {
        let mut path = Map::new();
        if let Some(read) = &self.read {
            path.insert("get".to_owned(), self.reading(read, true));
            path.insert("head".to_owned(), self.reading(read, false));
        }
        if self.create.is_some() {
            path.insert("post".to_owned(), self.creating());
        }
        if self.puts() {
            path.insert("put".to_owned(), self.putting());
        }
        if let (Some(read), Some(_)) = (&self.read, &self.update) {
            path.insert("patch".to_owned(), self.updating(read));
        }
        if let (Some(read), Some(_)) = (&self.read, &self.delete) {
            path.insert("delete".to_owned(), self.deleting(read));
        }
        Json::Object(path)
    }

    fn operation(&self, verb: &str, summary: String, parameters: Vec<Json>, responses: Json) -> Json {
        json!({
            "operationId": format!("{}.{verb}", self.name()),
            "tags": [self.name()],
            "summary": summary,
            "parameters": parameters,
            "responses": responses,
        })
    }

    fn filters(&self, read: &Permit) -> Vec<Json> {
        let known = self.collection.field_ids().filter(|field| read.covers(*field));
        let named = known.map(|field| parameters::filter_key(self.name(), self.collection.field(field)));
        let named = named.chain(self.search().map(|(key, _)| key));
        let trees = ["and", "or", "not.and", "not.or"].map(str::to_owned);
        named.chain(trees).map(|key| parameters::reference(&key)).collect()
    }

    /// What says which members the records of an answer have.
    fn shaped(&self) -> impl Iterator<Item = Json> {
        let embedded = (!self.embeds.is_empty()).then_some("embedded");
        std::iter::once("select").chain(embedded).map(parameters::reference)
    }

    /// The filter on the full-text column, if the caller knows all that is in it.
    fn search(&self) -> Option<(String, Json)> {
        let search = self.collection.search.as_ref()?;
        self.searches().then_some(())?;
        let fields = search.fields.iter().map(|field| self.collection.field(*field).name.as_str());
        Some(parameters::search(self.name(), search.language, &fields.collect::<Vec<_>>()))
    }

    fn reading(&self, read: &Permit, body: bool) -> Json {
        let name = self.name();
        let mut parameters = self.filters(read);
        parameters.extend(self.shaped());
        parameters.extend(["order", "limit", "offset", "prefer.read"].map(parameters::reference));
        if body {
            parameters.push(parameters::reference("range"));
            let summary = format!("Reads records of {name}");
            return self.operation("read", summary, parameters, responses::rows(name));
        }
        let summary = format!("Answers as reading records of {name} does, without the records");
        self.operation("head", summary, parameters, responses::head())
    }

    fn creating(&self) -> Json {
        let name = self.name();
        let mut parameters = ["columns", "on_conflict"].map(parameters::reference).to_vec();
        let read = self.read.is_some();
        if read {
            parameters.extend(self.shaped());
            parameters.push(parameters::reference("order"));
        }
        let merges = self.update.is_some();
        parameters.push(parameters::prefer_create(read, merges));
        let responses = responses::created(read.then_some(name), merges);
        let mut operation =
            self.operation("create", format!("Makes records of {name}"), parameters, responses);
        let one = schema::reference(&format!("{name}.create"));
        let many = json!({ "type": "array", "items": one });
        operation["requestBody"] = body(json!({ "oneOf": [one, many] }));
        operation
    }

    /// A whole record can be put under its key: the key can be named and sent, and what stands there changed.
    fn puts(&self) -> bool {
        let (Some(read), Some(create), Some(_)) = (&self.read, &self.create, &self.update) else {
            return false;
        };
        self.collection.primary_key.iter().all(|field| read.covers(*field) && offers(create, *field))
    }

    fn putting(&self) -> Json {
        let name = self.name();
        let key = self.collection.primary_key.iter().map(|field| self.collection.field(*field));
        let mut parameters: Vec<Json> =
            key.map(|field| parameters::reference(&parameters::filter_key(name, field))).collect();
        parameters.extend(self.shaped());
        parameters.extend(["columns", "prefer.put"].map(parameters::reference));
        let summary = format!("Puts one whole record of {name} under the key that the filters name");
        let mut operation = self.operation("put", summary, parameters, responses::put(name));
        operation["requestBody"] = body(schema::reference(&format!("{name}.create")));
        operation
    }

    fn updating(&self, read: &Permit) -> Json {
        let name = self.name();
        let mut parameters = self.filters(read);
        parameters.extend(self.shaped());
        parameters.extend(["order", "columns", "prefer.change"].map(parameters::reference));
        let summary = format!("Changes the records of {name} that the filters name");
        let mut operation = self.operation("update", summary, parameters, responses::changed(name));
        operation["requestBody"] = body(schema::reference(&format!("{name}.update")));
        operation
    }

    fn deleting(&self, read: &Permit) -> Json {
        let name = self.name();
        let mut parameters = self.filters(read);
        parameters.extend(self.shaped());
        parameters.extend(["order", "prefer.change"].map(parameters::reference));
        let summary = format!("Removes the records of {name} that the filters name");
        self.operation("delete", summary, parameters, responses::changed(name))
    }
}

/// A body of records in each media type that it is taken in; `schema` is that of JSON.
fn body(schema: Json) -> Json {
    let table = "A line of names, then a line for each record. A value is written as it is answered in this media type, \
                 and null as NULL without quotes.";
    let form = "One record. A value is written as it is answered in text/csv.";
    let values = json!({ "type": "string" });
    json!({ "required": true, "content": {
        "application/json": { "schema": schema },
        "text/csv": { "schema": { "type": "string", "description": table } },
        "application/x-www-form-urlencoded": {
            "schema": { "type": "object", "description": form, "additionalProperties": values },
        },
    } })
}
