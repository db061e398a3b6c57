//! [`Revocations`]: ids of API keys and tokens that are refused before their time.
//!
//! The database holds them; every node keeps a copy that a background task adds to each second, and the node that
//! revokes adds to its own copy at once. Nothing is taken from a copy: what was read may be older than what was added.

use std::collections::HashSet;

use arc_swap::ArcSwap;

/// The ids (`jti`) that this node refuses.
#[derive(Debug, Default)]
pub struct Revocations {
    ids: ArcSwap<HashSet<String>>,
}

impl Revocations {
    pub fn contains(&self, jti: &str) -> bool {
        self.ids.load().contains(jti)
    }

    /// Refuses these ids too from this moment on.
    pub fn extend<'id>(&self, ids: impl IntoIterator<Item = &'id str>) {
        let known = self.ids.load();
        let new: Vec<&str> = ids.into_iter().filter(|id| !known.contains(*id)).collect();
        if new.is_empty() {
            return;
        }
        self.ids.rcu(|ids| {
            let mut more = HashSet::clone(ids);
            more.extend(new.iter().map(|id| (*id).to_owned()));
            more
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_refused_from_the_moment_it_is_named_whatever_was_read_before() {
        let revocations = Revocations::default();
        assert!(!revocations.contains("a"));
        revocations.extend(["a"]);
        assert!(revocations.contains("a"));
        revocations.extend(["b"]);
        revocations.extend([]);
        assert!(revocations.contains("a") && revocations.contains("b"));
    }
}
