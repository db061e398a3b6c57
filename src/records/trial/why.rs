//! Why a rule did not admit: the parts of its conditions that failed, in words.

use std::collections::HashMap;

use uuid::Uuid;

use crate::condition::{Explanation, Part};
use crate::model::{Name, Value};
use crate::project::tests::Tests;

/// What the uuids of a file's tests are called there.
#[derive(Clone, Debug, Default)]
pub(in crate::records) struct Names(HashMap<Uuid, String>);

impl Names {
    pub(super) fn of(tests: &Tests) -> Names {
        Names(tests.names.clone())
    }

    /// Names for some uuids.
    pub(super) fn new(names: HashMap<Uuid, String>) -> Names {
        Names(names)
    }

    /// A value as the tests' author would write it.
    pub(in crate::records) fn value(&self, value: &Value) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Uuid(uuid) => match self.0.get(uuid) {
                Some(name) => format!("'{name}'"),
                None => format!("'{uuid}'"),
            },
            Value::Boolean(_) | Value::Integer(_) | Value::Float(_) | Value::Decimal(_) => {
                value.to_text().unwrap_or_default()
            }
            Value::Array(elements) => {
                let elements: Vec<String> = elements.iter().map(|element| self.value(element)).collect();
                format!("[{}]", elements.join(", "))
            }
            Value::Text(_)
            | Value::Timestamp(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Interval(_)
            | Value::Json(_)
            | Value::Bytes(_)
            | Value::Inet(..) => format!("'{}'", value.to_text().unwrap_or_default()),
        }
    }

    pub(super) fn key(&self, key: &[Value]) -> String {
        let parts: Vec<String> =
            key.iter().map(|value| self.value(value).trim_matches('\'').to_owned()).collect();
        parts.join(",")
    }
}

/// One rule that did not admit.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    /// `posts.update[0] (authenticated)`
    pub(super) rule: String,
    /// `posts.update[0]`
    pub(super) id: String,
    /// The named conditions among what failed.
    pub(super) conditions: Vec<Name>,
    /// What failed, in words.
    pub(super) failed: Vec<String>,
    /// How far the rule is from admitting: one that does not speak for the caller is farthest.
    pub(super) distance: usize,
}

/// Finds the parts that kept a condition from holding.
pub(super) fn blame(explanation: &Explanation, names: &Names, reason: &mut Reason) {
    Blaming { names, reason, named: Vec::new() }.part(explanation, true);
}

struct Blaming<'a> {
    names: &'a Names,
    reason: &'a mut Reason,
    /// The named conditions around this point, outermost first, and what became of them.
    named: Vec<(Name, Option<bool>)>,
}

impl Blaming<'_> {
    /// `wanted` is what the part would have to be for the whole to hold; under a `!` it is false.
    fn part(&mut self, explanation: &Explanation, wanted: bool) {
        if explanation.truth == Some(wanted) {
            return;
        }
        match &explanation.part {
            Part::And | Part::Or => {
                explanation.children.iter().for_each(|child| self.part(child, wanted));
            }
            Part::Not => explanation.children.iter().for_each(|child| self.part(child, !wanted)),
            Part::Named(name) => {
                if !self.reason.conditions.contains(name) {
                    self.reason.conditions.push(name.clone());
                }
                self.named.push((name.clone(), explanation.truth));
                explanation.children.iter().for_each(|child| self.part(child, wanted));
                self.named.pop();
            }
            Part::Constant => self.say(if wanted { "false" } else { "true" }, explanation.truth, &[]),
            Part::Term { text, values } => {
                let values: Vec<(String, String)> = values
                    .iter()
                    .map(|(operand, value)| (operand.to_string(), self.names.value(value)))
                    .collect();
                self.say(text, explanation.truth, &values);
            }
        }
    }

    fn say(&mut self, term: &str, truth: Option<bool>, values: &[(String, String)]) {
        self.reason.distance += 1;
        let word = |truth: Option<bool>| match truth {
            Some(true) => "true",
            Some(false) => "false",
            None => "unknown",
        };
        let mut text = match self.named.last() {
            Some((name, whole)) => format!("{name} is {}: {term}", word(*whole)),
            None => format!("{term} is {}", word(truth)),
        };
        for (at, (operand, value)) in values.iter().enumerate() {
            text += if at == 0 { ", where " } else { " and " };
            text += &format!("{operand} is {value}");
        }
        if !self.reason.failed.contains(&text) {
            self.reason.failed.push(text);
        }
    }
}
