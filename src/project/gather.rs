//! Any file may hold any section: what all files define, by name, each name once.

use std::collections::HashMap;

use super::fault::{At, Faults};
use super::later::Place;
use super::yaml::{Key, Node};

pub(super) const SECTIONS: [&str; 11] = [
    "auth",
    "buckets",
    "channels",
    "collections",
    "conditions",
    "limits",
    "mail",
    "policies",
    "realtime",
    "roles",
    "tests",
];

/// A definition: its key and what it says.
pub(super) type Definition<'n> = (&'n Key, &'n Node);

#[derive(Default)]
pub(super) struct Gathered<'n> {
    pub(super) collections: Vec<Definition<'n>>,
    pub(super) roles: Vec<Definition<'n>>,
    pub(super) conditions: Vec<Definition<'n>>,
    pub(super) policies: Vec<Definition<'n>>,
    pub(super) buckets: Vec<Definition<'n>>,
    pub(super) channels: Vec<Definition<'n>>,
    pub(super) realtime: Vec<Definition<'n>>,
    pub(super) limits: Vec<Definition<'n>>,
    pub(super) auth: Vec<Definition<'n>>,
    pub(super) mail: Vec<Definition<'n>>,
    /// A file's tests are one set: their `given` is not mixed with another file's.
    pub(super) tests: Vec<Definition<'n>>,
}

pub(super) fn gather<'n>(files: &'n [Node], faults: &mut Faults<'_>) -> Gathered<'n> {
    let mut gathered = Gathered::default();
    for root in files {
        let Some(sections) = faults.map_or_nothing(root, "a project's file") else { continue };
        faults.keys(Place::Top, sections, &SECTIONS);
        for (section, node) in sections {
            let into = match section.text.as_str() {
                "collections" => &mut gathered.collections,
                "roles" => &mut gathered.roles,
                "conditions" => &mut gathered.conditions,
                "policies" => &mut gathered.policies,
                "buckets" => &mut gathered.buckets,
                "channels" => &mut gathered.channels,
                "realtime" => &mut gathered.realtime,
                "limits" => &mut gathered.limits,
                "auth" => &mut gathered.auth,
                "mail" => &mut gathered.mail,
                "tests" => {
                    gathered.tests.push((section, node));
                    continue;
                }
                _ => continue,
            };
            if let Some(entries) = faults.map_or_nothing(node, &format!("`{}`", section.text)) {
                into.extend(entries.iter().map(|(key, value)| (key, value)));
            }
        }
    }
    for list in [
        &mut gathered.collections,
        &mut gathered.roles,
        &mut gathered.conditions,
        &mut gathered.policies,
        &mut gathered.buckets,
        &mut gathered.channels,
        &mut gathered.realtime,
        &mut gathered.limits,
        &mut gathered.auth,
        &mut gathered.mail,
    ] {
        once(list, faults);
    }
    gathered
}

/// Keeps the first definition of each name and reports the others.
fn once(list: &mut Vec<Definition<'_>>, faults: &mut Faults<'_>) {
    let mut seen: HashMap<&str, At> = HashMap::new();
    list.retain(|(key, _)| match seen.get(key.text.as_str()) {
        None => {
            seen.insert(&key.text, key.at);
            true
        }
        Some(first) => {
            let place = faults.place(*first);
            faults
                .add(key.at, format!("`{}` is defined twice; the other definition is at {place}", key.text));
            false
        }
    });
}
