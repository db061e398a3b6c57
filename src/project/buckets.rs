//! `buckets:` → [`Bucket`]s and the rules of their objects.

use super::conditions::Typing;
use super::fault::Faults;
use super::gather::Definition;
use super::later::Place;
use super::limits;
use super::policies::bucket_rules;
use super::read::get;
use super::yaml::{Key, Node};
use crate::model::Bucket;
use crate::policy::{Role, Rule};

pub(super) const BUCKET_KEYS: [&str; 5] = ["public", "max_size", "accept", "quota", "policies"];

/// What the section comes to.
#[derive(Default)]
pub(super) struct Declared {
    pub(super) buckets: Vec<Bucket>,
    pub(super) rules: Vec<Rule>,
}

pub(super) fn read(
    definitions: &[Definition<'_>],
    roles: &[Role],
    typing: &Typing<'_>,
    faults: &mut Faults<'_>,
) -> Declared {
    let mut declared = Declared::default();
    for (key, node) in definitions {
        check_name(key, faults);
        let Some(entries) = faults.map_or_nothing(node, "a bucket") else { continue };
        faults.keys(Place::Bucket, entries, &BUCKET_KEYS);
        let flag = get(entries, "public").and_then(|node| faults.flag(node, "`public`"));
        let max_size = get(entries, "max_size").and_then(|node| {
            size(node, "`max_size`", 5 << 30, "a size from 1 byte to 5GiB, as in `2MB`", faults)
        });
        let quota = get(entries, "quota").and_then(|node| {
            size(node, "`quota`", 1 << 50, "a size from 1 byte to 1024TiB, as in `10GB`", faults)
        });
        if let (Some(max_size), Some(quota), Some(node)) = (max_size, quota, get(entries, "max_size"))
            && max_size > quota
        {
            let hint = "the whole bucket may have fewer bytes than one object of it: raise `quota`";
            faults.hint(node.at, "`max_size` is more than `quota`", hint);
        }
        let accept = get(entries, "accept").map_or_else(Vec::new, |node| accept(node, faults));
        if let Some(node) = get(entries, "policies") {
            declared.rules.extend(bucket_rules(&key.text, node, roles, typing, faults));
        }
        declared.buckets.push(Bucket {
            id: key.text.clone(),
            public: flag.unwrap_or(false),
            max_size,
            accept,
            quota,
        });
    }
    declared
}

fn check_name(key: &Key, faults: &mut Faults<'_>) {
    let Err(fault) = Bucket::check_declared(&key.text) else { return };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mended: String = key.text.chars().map(plain).collect();
    let mended = mended.trim_matches('-');
    let message = format!("`{}` is no bucket: {fault}", key.text);
    match Bucket::check_declared(mended) {
        Ok(()) => faults.hint(key.at, message, format!("`{mended}` would do")),
        Err(_) => faults.add(key.at, message),
    }
}

fn size(node: &Node, what: &str, most: u64, form: &str, faults: &mut Faults<'_>) -> Option<u64> {
    let size = limits::scalar(node).and_then(limits::bytes).filter(|size| (1..=most).contains(size));
    if size.is_none() {
        limits::refuse(node, what, form, faults);
    }
    size
}

/// Media types and families of them, each once.
fn accept(node: &Node, faults: &mut Faults<'_>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for word in faults.words(node, "`accept`").unwrap_or_default() {
        if Bucket::is_media_range(word.text) {
            if seen.iter().any(|known| known == word.text) {
                faults.add(word.at, format!("`{}` stands twice", word.text));
            }
            seen.push(word.text.to_owned());
            continue;
        }
        let message = format!("`{}` is no media type", word.text);
        let lower = word.text.to_ascii_lowercase();
        let essence = lower.split(';').next().unwrap_or_default().trim();
        if Bucket::is_media_range(essence) {
            faults.hint(word.at, message, format!("without parameters and in lower case: `{essence}`"));
        } else {
            faults.hint(word.at, message, "as in `image/png`, or `image/*` for all of a family");
        }
    }
    seen
}
