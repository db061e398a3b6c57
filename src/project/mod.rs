//! The project an admin writes: YAML → [`Project`], every fault at once with file:line:column and a hint.
//!
//! Pure: the caller reads the files. Nobody else knows YAML.

mod address;
mod advice;
mod buckets;
mod cases;
mod channels;
mod conditions;
mod default;
mod draft;
pub mod editor;
mod fault;
mod gather;
mod generate;
mod given;
mod index;
mod later;
pub mod letters;
mod limits;
mod literal;
mod policies;
mod providers;
mod read;
mod resolve;
mod schema;
mod sign_in;
mod stored;
pub mod tests;
mod wording;
mod yaml;

use std::collections::{BTreeMap, HashMap};

use crate::catalog::{Catalog, CatalogFault, Limits};
use crate::condition::{Condition, Syntax};
use crate::model::sign_in::{MailSettings, SignIn};
use crate::model::{Bucket, CollectionId, Collections, Name};
use crate::policy::{Channels, Role, Rule};

pub use fault::render;
pub use letters::Letters;
pub use tests::Tests;

/// The project's files by path relative to its folder, with `/`: every `*.yaml`/`*.yml` at the top, under
/// `collections/` and `policies/`, every `*.json` (JSON Schemas that fields refer to), and the templates of mails under
/// `mail/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources(pub BTreeMap<String, String>);

/// A project that is free of faults.
#[derive(Clone, Debug)]
pub struct Project {
    pub collections: Collections,
    /// The typed `checks` of each collection, in the order of `Collection::checks`.
    pub checks: HashMap<CollectionId, Vec<Condition>>,
    /// Where they stand, as faults that say nothing yet.
    check_places: HashMap<CollectionId, Vec<Fault>>,
    pub conditions: HashMap<Name, Syntax>,
    /// Declared roles and the three built-in ones.
    pub roles: Vec<Role>,
    /// Those of collections, then those of buckets.
    pub rules: Vec<Rule>,
    pub buckets: Vec<Bucket>,
    pub channels: Channels,
    /// Where each declared channel stands, as faults that say nothing yet.
    channel_places: Vec<Fault>,
    pub limits: Limits,
    pub sign_in: SignIn,
    pub mail: MailSettings,
    /// The words of mails.
    pub letters: Letters,
    /// The project's own tests, one set a file.
    pub tests: Vec<Tests>,
}

impl Project {
    /// Compiles the project for requests. `version` counts reloads.
    pub fn catalog(&self, version: u64) -> Result<Catalog, CatalogFault> {
        Catalog::compile(
            version,
            self.collections.clone(),
            self.buckets.iter().map(|bucket| (bucket.id.clone(), bucket.clone())).collect(),
            &self.roles,
            self.rules.clone(),
            self.channels.clone(),
            self.limits.clone(),
        )
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

/// Reads a project. Every fault of every file is reported at once; there is no project with a fault.
pub fn load(sources: &Sources) -> Result<Project, Vec<Fault>> {
    let mut faults = fault::Faults::new(sources);
    let files: Vec<_> =
        faults.files().filter(|(_, path, _)| path.ends_with(".yaml") || path.ends_with(".yml")).collect();
    let mut roots = Vec::new();
    let mut readable = true;
    for (file, _, text) in files {
        match yaml::read(file, text, &mut faults) {
            Ok(root) => roots.extend(root),
            Err(yaml::Unreadable) => readable = false,
        }
    }
    if !readable {
        // What a file that cannot be read defines is unknown: looking names up now would blame the innocent.
        return Err(faults.finish());
    }
    let gathered = gather::gather(&roots, &mut faults);
    let mut broken = yaml::Broken::default();
    let drafts = draft::read(&gathered.collections, &mut broken, &mut faults);
    let collections = resolve::resolve(&drafts, sources, &mut broken, &mut faults);
    let conditions = conditions::named(&gathered, &collections, &mut broken, &mut faults);
    let roles = policies::roles(&gathered.roles, &mut broken, &mut faults);
    let typing = conditions::Typing { collections: &collections, named: &conditions, broken: &broken };
    let mut checks: HashMap<CollectionId, Vec<Condition>> = HashMap::new();
    let mut check_places: HashMap<CollectionId, Vec<Fault>> = HashMap::new();
    for (draft, id) in drafts.iter().zip(collections.ids()) {
        let typed = draft.checks.iter().filter_map(|node| {
            typing.condition(node, id, conditions::Place::Collection, "a check", &mut faults)
        });
        checks.insert(id, typed.collect());
        check_places.insert(id, draft.checks.iter().map(|node| faults.at(node.at)).collect());
    }
    let mut rules = policies::rules(&gathered.policies, &roles, &typing, &mut faults);
    let declared = buckets::read(&gathered.buckets, &roles, &typing, &mut faults);
    rules.extend(declared.rules);
    let (channels, channel_places) =
        channels::read(&gathered.channels, &gathered.realtime, &roles, &typing, &mut faults);
    let limits = limits::read(&gathered.limits, &mut faults);
    let sign_in = sign_in::read(&gathered.auth, &roles, &broken, &mut faults);
    let mail = sign_in::mail(&gathered.mail, &mut faults);
    let letters = letters::read(&mut faults);
    let names: Vec<String> = gathered.conditions.iter().map(|(key, _)| key.text.clone()).collect();
    let words = cases::Words {
        collections: &collections,
        roles: &roles,
        rules: &rules,
        buckets: &declared.buckets,
        conditions: &names,
        broken: &broken,
    };
    let tests = cases::read(&gathered.tests, &words, &mut faults);
    let Some(letters) = letters.filter(|_| faults.is_empty()) else { return Err(faults.finish()) };
    Ok(Project {
        collections,
        checks,
        check_places,
        conditions,
        roles,
        rules,
        buckets: declared.buckets,
        channels,
        channel_places,
        limits,
        sign_in,
        mail,
        letters,
        tests,
    })
}

#[cfg(test)]
mod buckets_tests;
#[cfg(test)]
mod editor_tests;
#[cfg(test)]
mod faults_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod sign_in_tests;
