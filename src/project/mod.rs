//! The project an admin writes: YAML → [`Project`], every fault at once with file:line:column and a hint.
//!
//! Pure: the caller reads the files. Nobody else knows YAML.

use std::collections::{BTreeMap, HashMap};

use crate::catalog::{Catalog, CatalogFault, Limits};
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

impl Project {
    /// Compiles the project for requests. `version` counts reloads.
    pub fn catalog(&self, version: u64) -> Result<Catalog, CatalogFault> {
        Catalog::compile(version, self.collections.clone(), &self.roles, self.rules.clone(), self.limits.clone())
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
