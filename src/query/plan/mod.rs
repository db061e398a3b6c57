//! A checked request, before it is SQL: every name found, every kind known, every collection permitted.
//!
//! A plan is a plain value. It cannot be built without a [`Permit`] for each collection it touches, and
//! whoever reads these types knows what a request can be.

mod cost;
mod faults;
mod filter_sql;
mod given;
mod operand;
mod put;
mod read;
mod relate;
mod select;
mod touched;
mod turns;
mod weight;
mod write;
mod write_sql;

use crate::catalog::{Catalog, Relationship};
use crate::error::{Code, Error};
use crate::model::{Action, Collection, CollectionId, FieldId, Kind, Principal, Schema};
use crate::policy::{Decision, Permit};
use crate::query::request::Step;

pub use select::{Cost, Statement};
pub use touched::Touched;
pub use write::{Conflict, DeletePlan, InsertOptions, InsertPlan, UpdatePlan, WritePlan};
pub use write_sql::WriteStatement;

pub(crate) use operand::{FullTextQuery, Operand, Predicate, Test, no_operator};

/// What a plan is made with: one version of the project and who asks.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub catalog: &'a Catalog,
    pub principal: &'a Principal,
}

/// A checked read of one collection, embeds included.
#[derive(Debug)]
pub struct ReadPlan {
    pub node: NodePlan,
}

/// One level of a read.
#[derive(Debug)]
pub struct NodePlan {
    pub(crate) permit: Permit,
    pub(crate) outputs: Vec<Output>,
    /// All of these hold.
    pub(crate) filter: Vec<Predicate>,
    pub(crate) embeds: Vec<EmbedPlan>,
    pub(crate) order: Vec<OrderBy>,
    /// Never more than the project's row limit.
    pub(crate) limit: u64,
    pub(crate) offset: u64,
}

/// One member of each answered object.
#[derive(Debug)]
pub struct Output {
    pub(crate) key: String,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) enum Source {
    Column(Column),
    /// An index into the node's embeds.
    Embed(usize),
    /// A member of a spread embed, hoisted: an index into the node's embeds, and one into that embed's outputs.
    Spread(usize, usize),
    /// `rel(count)`: how many rows the embed has.
    Count,
}

/// A field, possibly a path into its JSON, possibly cast.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) field: FieldId,
    pub(crate) steps: Vec<Step>,
    /// The last step yields text (`->>`).
    pub(crate) text: bool,
    pub(crate) cast: Option<Cast>,
    /// What the expression yields.
    pub(crate) yields: Yields,
}

/// How a result column's bytes become JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Binary of this kind.
    Kind(Kind),
    /// JSON text, passed through.
    Json,
}

/// A cast that `select` may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    pub(crate) sql: &'static str,
    pub(crate) yields: Yields,
}

/// A related collection inside a node.
#[derive(Debug)]
pub struct EmbedPlan {
    /// The name that parameters and the answer use.
    pub(crate) key: String,
    pub(crate) relationship: Relationship,
    /// To read the relationship's junction, if it has one.
    pub(crate) junction: Option<Permit>,
    /// Parents without a match are dropped.
    pub(crate) inner: bool,
    /// Many records below many records: their size is counted while Postgres puts them together.
    pub(crate) multiplied: bool,
    pub(crate) node: NodePlan,
}

#[derive(Debug)]
pub(crate) struct OrderBy {
    /// A to-one embed to order by; `None` is the node itself.
    pub(crate) embed: Option<usize>,
    pub(crate) column: Column,
    pub(crate) descending: bool,
    pub(crate) nulls_first: Option<bool>,
    /// Text orders by code point, as whoever sorts in memory has it, and not as the database's language does.
    pub(crate) by_code_point: bool,
}

/// No collection of this name is there for the caller.
pub(crate) fn unknown(schema: &str, table: &str) -> Error {
    let message = format!("Could not find the table '{schema}.{table}' in the schema cache");
    Error::with(Code::UnknownCollection, message)
}

impl Context<'_> {
    /// The collection that a URL names, and the permit to do something with it.
    ///
    /// # Errors
    /// 404 where no rule of the caller speaks of it, 401 or 403 where none of this action does.
    pub fn permit(&self, collection: &str, action: Action) -> Result<Permit, Error> {
        let id = self.catalog.collections.find(collection);
        self.permit_on(id.ok_or_else(|| unknown(Schema::Public.as_str(), collection))?, action)
    }

    /// The permit to do something with a collection, that of the objects among them.
    ///
    /// # Errors
    /// 404 where no rule of the caller speaks of it, 401 or 403 where none of this action does.
    pub fn permit_on(&self, id: CollectionId, action: Action) -> Result<Permit, Error> {
        match self.catalog.policies.decide(self.principal, action, id) {
            Decision::Permit(permit) => Ok(permit),
            Decision::Denied => Err(self.denied(id)),
            Decision::Unknown => {
                let collection = self.collection(id);
                Err(unknown(collection.schema.as_str(), collection.name.as_str()))
            }
        }
    }

    /// No rule allows this to a caller who may know that the collection exists.
    pub(crate) fn denied(&self, collection: CollectionId) -> Error {
        let name = &self.collection(collection).name;
        Error::with(self.denial(), format!("permission denied for table {name}"))
    }

    /// 42501 asks nobody for a token and tells somebody no.
    pub fn denial(&self) -> Code {
        if self.principal.is_anon() { Code::DeniedAnonymous } else { Code::Denied }
    }

    pub(crate) fn collection(&self, id: CollectionId) -> &Collection {
        self.catalog.collection(id)
    }

    /// The caller may read the collection, but not all of its primary key: a record has no place to point at.
    pub fn hides_key(&self, collection: CollectionId) -> bool {
        match self.catalog.policies.decide(self.principal, Action::Read, collection) {
            Decision::Permit(permit) => {
                !self.collection(collection).primary_key.iter().all(|field| permit.covers(*field))
            }
            Decision::Denied | Decision::Unknown => false,
        }
    }

    /// A field that this permit shows; a hidden one answers like one that does not exist.
    pub(crate) fn known_field(&self, permit: &Permit, name: &str) -> Result<FieldId, Error> {
        let collection = self.collection(permit.collection());
        collection.field_id(name).filter(|field| permit.covers(*field)).ok_or_else(|| {
            let message = format!("column {}.{name} does not exist", collection.name);
            Error::with(Code::Sqlstate("42703".to_owned()), message)
        })
    }
}

impl NodePlan {
    /// Looks over the whole tree of embeds once it is planned: which of them have many records below many.
    pub(super) fn mark_multiplied(&mut self, below_many: bool) {
        for embed in &mut self.embeds {
            let many = !embed.relationship.cardinality.to_one();
            embed.multiplied = many && below_many;
            embed.node.mark_multiplied(many || below_many);
        }
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Every collection whose rows this node looks at through embeds and conditions.
    pub(crate) fn reads(&self, found: &mut std::collections::BTreeSet<CollectionId>) {
        reads_of(&self.permit, found);
        for embed in &self.embeds {
            found.insert(embed.relationship.target);
            if let Some(junction) = &embed.junction {
                found.insert(junction.collection());
                reads_of(junction, found);
            }
            embed.node.reads(found);
        }
    }

    /// The keys and encodings of the answered objects, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Yields)> {
        self.outputs.iter().map(|output| (output.key.as_str(), self.yields(output)))
    }

    /// It answers with how many rows there are, and not with the rows.
    pub(crate) fn counts(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output.source, Source::Count))
    }

    /// How an output's bytes become JSON.
    fn yields(&self, output: &Output) -> Yields {
        match &output.source {
            Source::Column(column) => column.yields,
            Source::Embed(_) => Yields::Json,
            Source::Count => Yields::Kind(Kind::BIGINT),
            Source::Spread(embed, place) => {
                let embed = &self.embeds[*embed];
                if embed.relationship.cardinality.to_one() {
                    embed.node.yields(&embed.node.outputs[*place])
                } else {
                    Yields::Json
                }
            }
        }
    }
}

/// Every collection that a permit's conditions look at.
fn reads_of(permit: &Permit, found: &mut std::collections::BTreeSet<CollectionId>) {
    if let Some(when) = permit.when() {
        found.extend(when.reads());
    }
    for rule in permit.rules() {
        found.extend(rule.when.reads());
    }
}
