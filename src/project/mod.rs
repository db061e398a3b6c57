//! The project an admin writes: YAML → [`Project`], every fault at once with file:line:column and a hint.
//!
//! Pure: the caller reads the files. Nobody else knows YAML.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::condition::{Condition, Syntax};
use crate::model::{CollectionId, Collections, Name};
use crate::policy::{Role, Rule};

/// The project's files by path relative to its folder, with `/`: every `*.yaml`/`*.yml` at the top, under
/// `collections/` and `policies/`, and every `*.json` (JSON Schemas that fields refer to).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub BTreeMap<String, String>);

/// A project that is free of faults.
#[derive(Clone, Debug)]
pub struct Project {
    pub collections: Collections,
    /// The typed `checks` of each collection, in the order of `Collection::checks`.
    pub checks: HashMap<CollectionId, Vec<Condition>>,
    pub conditions: HashMap<Name, Syntax>,
    /// Declared roles and the three built-in ones.
    pub roles: Vec<Role>,
    pub rules: Vec<Rule>,
    pub limits: Limits,
}

/// What bounds a request (D-LIMITS, D-TIME); a project may narrow or widen these under `limits:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows of one read (and of one embed).
    pub rows: u64,
    /// Bytes of a request's body.
    pub body: usize,
    pub embed_depth: usize,
    pub statement_timeout: Duration,
    /// Terms of all filters of a request together.
    pub filter_terms: usize,
    /// Values of one `in` list.
    pub in_values: usize,
    /// Records of one bulk insert.
    pub bulk_rows: usize,
    /// Nesting of a JSON body.
    pub json_depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows: 1_000,
            body: 10 << 20,
            embed_depth: 5,
            statement_timeout: Duration::from_secs(8),
            filter_terms: 500,
            in_values: 1_000,
            bulk_rows: 10_000,
            json_depth: 64,
        }
    }
}

/// One fault of a project, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Relative to the project's folder.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The whole line it stands in, and how many characters of it to underline from `column`.
    pub text: String,
    pub width: usize,
    pub message: String,
    pub hint: Option<String>,
}
