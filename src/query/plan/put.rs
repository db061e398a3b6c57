//! `PUT`: one whole record under the key that the URL names, new or in place of what stands there.

use super::{Context, InsertOptions, InsertPlan};
use crate::error::{Code, Error};
use crate::model::{Action, FieldId, Value};
use crate::query::body::Body;
use crate::query::preferences::Resolution;
use crate::query::request::{Comparison, Filter, Node, Operand, Test};

impl InsertPlan {
    /// Checks a `PUT`: an upsert by the primary key of the one record whose key the filter names. `node` is the
    /// URL's, its `select` being the representation's; `answer` is (a representation is wanted, one row is wanted).
    ///
    /// # Errors
    /// PGRST114 for a window, PGRST105 for filters other than one `eq` for each field of the key, PGRST115 for a body
    /// that is not one record with that very key; else as [`InsertPlan::new`] with `resolution=merge-duplicates`.
    pub fn put(
        context: Context<'_>,
        collection: &str,
        node: &Node,
        body: &Body,
        options: &InsertOptions,
        answer: (bool, bool),
    ) -> Result<InsertPlan, Error> {
        let permit = context.permit(collection, Action::Create)?;
        if node.limit.is_some() || node.offset.is_some() {
            return Err(Error::new(Code::PutWindow));
        }
        let key = context.key_of(collection, node)?;
        let declared = context.collection(permit.collection());
        let [record] = &body.records[..] else { return Err(Error::new(Code::PutKey)) };
        for (field, text) in key {
            let declared = declared.field(field);
            let name = declared.name.as_str();
            let counts = options.columns.as_ref().is_none_or(|columns| columns.iter().any(|one| one == name));
            let sent = record.get(name).filter(|_| counts);
            let sent = sent.and_then(|sent| serde_json::from_str(sent.get()).ok());
            let sent = sent.and_then(|sent| Value::from_json(declared.kind, &sent));
            if sent.is_none() || sent != Value::parse(declared.kind, text) {
                return Err(Error::new(Code::PutKey));
            }
        }
        let options = InsertOptions {
            resolution: Some(Resolution::MergeDuplicates),
            on_conflict: None,
            ..options.clone()
        };
        // The filter has said which record it is; what is answered is that record.
        let represented = Node { filter: Vec::new(), ..node.clone() };
        InsertPlan::new(context, collection, body, &options, (answer.0.then_some(&represented), answer.1))
    }
}

impl Context<'_> {
    /// The value of each field of the primary key, if that is what the filter says and all it says. A field that the
    /// caller does not know is none of his key.
    fn key_of<'n>(&self, collection: &str, node: &'n Node) -> Result<Vec<(FieldId, &'n str)>, Error> {
        let read = self.permit(collection, Action::Read)?;
        let primary_key = &self.collection(read.collection()).primary_key;
        let mut key: Vec<(FieldId, &str)> = Vec::new();
        for filter in &node.filter {
            let Filter::Term {
                path,
                negated: false,
                test: Test::Compare { operator: Comparison::Eq, operand: Operand::One(text) },
            } = filter
            else {
                return Err(Error::new(Code::PutFilters));
            };
            let field = self.known_field(&read, &path.field)?;
            let repeated = key.iter().any(|(known, _)| *known == field);
            if !path.steps.is_empty() || repeated || !primary_key.contains(&field) {
                return Err(Error::new(Code::PutFilters));
            }
            key.push((field, text));
        }
        if key.len() == primary_key.len() { Ok(key) } else { Err(Error::new(Code::PutFilters)) }
    }
}
