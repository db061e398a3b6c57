//! Every fault of a body at once, each with its place.

use super::Context;
use crate::error::{Code, Error, FieldFault};
use crate::model::{FieldId, FieldSet, Kind};
use crate::policy::Permit;
use crate::query::body::Body;

impl Context<'_> {
    /// The fields that exist for whoever writes: those that he may read, may write, or that a rule sets for him.
    pub(super) fn nameable_fields(&self, permit: &Permit) -> FieldSet {
        let id = permit.collection();
        let collection = self.collection(id);
        let known = self.catalog.policies.known_fields(self.principal, id, collection.all_fields());
        let set = permit.rules().iter().flat_map(|rule| rule.set.iter().map(|(field, _)| *field)).collect();
        let covered = collection.field_ids().filter(|field| permit.covers(*field)).collect();
        known.union(set).union(covered)
    }

    /// The kind of each field that exists for whoever writes, by its name.
    pub fn kinds(&self, permit: &Permit) -> impl Fn(&str) -> Option<Kind> {
        let collection = self.collection(permit.collection());
        let nameable = self.nameable_fields(permit);
        move |name| {
            let field = collection.field_id(name).filter(|field| nameable.contains(*field))?;
            Some(collection.field(field).kind)
        }
    }

    /// Every fault of every record at once. For a create, `provided` are the fields that a rule or
    /// the caller's attributes give.
    pub(super) fn judge_bodies(
        &self,
        permit: &Permit,
        body: &Body,
        names: &[String],
        provided: Option<(FieldSet, &[(FieldId, String)])>,
    ) -> Result<(), Error> {
        /// More would tell nobody anything.
        const MOST: usize = 100;
        let id = permit.collection();
        let collection = self.collection(id);
        let nameable = self.nameable_fields(permit);
        let mut faults: Vec<FieldFault> = Vec::new();
        let required = |pointer: String, message: &str| FieldFault {
            pointer,
            code: "required".to_owned(),
            message: message.to_owned(),
        };
        for (at, record) in body.records.iter().enumerate() {
            let place = if body.single { String::new() } else { format!("/{at}") };
            let (mut value, unreadable) = record.to_value();
            // Nothing can be said of these by a schema: unjudged, they would pass for null and be stored.
            for name in unreadable.iter().filter(|name| names.iter().any(|known| known == *name)) {
                faults.push(FieldFault {
                    pointer: format!("{place}/{name}"),
                    code: "kind".to_owned(),
                    message: "holds a number or a text that is out of range".to_owned(),
                });
            }
            if let serde_json::Value::Object(members) = &mut value {
                members.retain(|name, _| names.iter().any(|known| known == name));
            }
            self.catalog.validator(id).faults(&value, &place, &mut faults);
            for field in collection.field_ids() {
                let declared = collection.field(field);
                if !declared.required {
                    continue;
                }
                let pointer = || format!("{place}/{}", declared.name);
                let defaulted =
                    provided.is_some_and(|(_, defaulted)| defaulted.iter().any(|(known, _)| *known == field));
                match (value.get(declared.name.as_str()), provided) {
                    (Some(serde_json::Value::Null), _) => {
                        faults.push(required(pointer(), "must not be null"))
                    }
                    (Some(_), _) | (None, None) => {}
                    (None, Some((given, _))) => {
                        let in_body = names.iter().any(|name| declared.name == name.as_str());
                        let filled = if in_body && !defaulted {
                            // The column is part of the insert, so this record's value is null.
                            false
                        } else {
                            declared.default.is_some() || given.contains(field)
                        };
                        if filled {
                            continue;
                        }
                        faults.push(if nameable.contains(field) {
                            required(pointer(), "is required")
                        } else {
                            // No rule lets the caller know of it, so it has no name here either.
                            required(
                                place.clone(),
                                "lacks what the collection asks for and you may not write",
                            )
                        });
                    }
                }
            }
            if faults.len() > MOST {
                faults.truncate(MOST);
                break;
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        let count = faults.len();
        let mut error = Error::new(Code::Validation).details(format!(
            "{count} {} at fault: {}",
            if count == 1 { "field is" } else { "fields are" },
            faults
                .iter()
                .map(|fault| format!("{} {}", fault.pointer, fault.message))
                .take(5)
                .collect::<Vec<_>>()
                .join("; ")
        ));
        error.fields = faults;
        Err(error)
    }
}
