//! [`Revocations`]: ids of API keys and tokens that are refused before their time.
//!
//! The database holds them; every node keeps a copy that a background task renews each second, and the
//! node that revokes adds to its own copy at once.

use std::collections::HashSet;
use std::sync::Arc;

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

    /// Takes over what the database says now.
    pub fn replace(&self, ids: HashSet<String>) {
        if **self.ids.load() != ids {
            self.ids.store(Arc::new(ids));
        }
    }

    /// Refuses one more id from this moment on.
    pub fn insert(&self, jti: &str) {
        self.ids.rcu(|ids| {
            let mut more = HashSet::clone(ids);
            more.insert(jti.to_owned());
            more
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_refused_from_the_moment_it_is_named() {
        let revocations = Revocations::default();
        assert!(!revocations.contains("a"));
        revocations.insert("a");
        assert!(revocations.contains("a"));
        revocations.replace(HashSet::from(["b".to_owned()]));
        assert!(revocations.contains("b") && !revocations.contains("a"));
    }
}
