//! [`Table`]: a bounded memory of who did something lately.

use std::sync::{Arc, OnceLock};

use governor::nanos::Nanos;
use governor::state::StateStore;
use parking_lot::{Mutex, MutexGuard};

/// Sets of a table, and places of a set. A key belongs to one set.
const SETS: usize = 4_096;
const PLACES: usize = 16;

/// Values by key, in a memory whose size does not depend on how many keys come: where a key finds no place in its set, it
/// takes that of the one which is worth least.
pub(super) struct Table<V> {
    /// Made when the first key comes: most tables of a small server stay without any.
    sets: OnceLock<Box<[Mutex<Places<V>>]>>,
}

/// Keys and what is kept of them.
type Places<V> = Vec<(u64, V)>;

impl<V: Copy> Table<V> {
    pub(super) fn new() -> Table<V> {
        Table { sets: OnceLock::new() }
    }

    fn set(&self, key: u64) -> MutexGuard<'_, Places<V>> {
        let sets = self.sets.get_or_init(|| (0..SETS).map(|_| Mutex::new(Vec::new())).collect());
        // The remainder is below the number of sets.
        sets[(key % SETS as u64) as usize].lock()
    }

    /// Changes what is kept of a key: `change` is told what that is, and says what to keep. `worth` says what it would be
    /// a pity to forget. Keys are hashes that nobody outside can foresee.
    pub(super) fn change<T>(
        &self,
        key: u64,
        worth: impl Fn(&V) -> u64,
        change: impl FnOnce(Option<V>) -> (Option<V>, T),
    ) -> T {
        let mut set = self.set(key);
        let at = set.iter().position(|(known, _)| *known == key);
        let (kept, outcome) = change(at.map(|at| set[at].1));
        match (at, kept) {
            (Some(at), Some(value)) => set[at].1 = value,
            (Some(at), None) => drop(set.swap_remove(at)),
            (None, Some(value)) if set.len() < PLACES => set.push((key, value)),
            (None, Some(value)) => {
                if let Some(least) = set.iter_mut().min_by_key(|(_, value)| worth(value)) {
                    *least = (key, value);
                }
            }
            (None, None) => {}
        }
        outcome
    }

    /// What is kept of a key.
    pub(super) fn get(&self, key: u64) -> Option<V> {
        let set = self.set(key);
        set.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let Some(sets) = self.sets.get() else { return 0 };
        let places: usize = sets.iter().map(|set| set.lock().capacity()).sum();
        std::mem::size_of_val(&**sets) + places * size_of::<(u64, V)>()
    }
}

/// The states of a limiter: of each key the time at which it would be as if nothing had happened.
#[derive(Clone)]
pub(super) struct States(Arc<Table<Nanos>>);

impl States {
    pub(super) fn new() -> States {
        States(Arc::new(Table::new()))
    }

    /// Takes back what was counted for a key and took this long to be room again.
    pub(super) fn give_back(&self, key: u64, period: Nanos) {
        self.0.change(key, |tat| tat.as_u64(), |tat| (tat.map(|tat| tat.saturating_sub(period)), ()));
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl StateStore for States {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.change(
            *key,
            |tat| tat.as_u64(),
            |tat| match decide(tat) {
                Ok((outcome, next)) => (Some(next), Ok(outcome)),
                Err(refusal) => (tat, Err(refusal)),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_set_forgets_what_is_worth_least() {
        let table: Table<u64> = Table::new();
        let key = |n: u64| 7 + n * SETS as u64;
        let keep = |n: u64, value: u64| table.change(key(n), |value| *value, |_| (Some(value), ()));
        for n in 0..PLACES as u64 {
            keep(n, 100 + n);
        }
        keep(50, 500);
        assert_eq!((table.get(key(0)), table.get(key(1)), table.get(key(50))), (None, Some(101), Some(500)));
        // A newcomer is remembered, little as it is worth.
        keep(51, 1);
        assert_eq!((table.get(key(1)), table.get(key(51))), (None, Some(1)));
        table.change(key(51), |value| *value, |_| (None, ()));
        assert_eq!(table.get(key(51)), None);
    }
}
