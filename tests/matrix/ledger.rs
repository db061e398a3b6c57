//! How many doors were tried and which of them did not answer as the policy text says.

use std::fmt::Debug;
use std::sync::Mutex;

#[derive(Default)]
pub(super) struct Ledger(Mutex<(usize, Vec<String>)>);

impl Ledger {
    /// One cell: what was found is what the oracle expects.
    pub(super) fn cell<T: PartialEq + Debug>(&self, what: impl FnOnce() -> String, found: T, expected: T) {
        let mut inner = self.0.lock().unwrap();
        inner.0 += 1;
        if found != expected {
            inner.1.push(format!("{}\n    found    {found:?}\n    expected {expected:?}", what()));
        }
    }

    /// Prints the figures.
    ///
    /// # Panics
    /// If a door stood open or shut that should not.
    pub(super) fn close(&self, name: &str, figures: &str, least: usize) {
        let inner = self.0.lock().unwrap();
        let (cells, deviations) = (inner.0, inner.1.len());
        for deviation in inner.1.iter().take(40) {
            println!("{deviation}");
        }
        let verdict = if deviations == 0 && cells >= least { "PASS" } else { "FAIL" };
        println!("{verdict} {name} cells={cells} deviations={deviations} {figures}");
        assert_eq!(deviations, 0, "{name}: {deviations} of {cells} cells deviate");
        assert!(cells >= least, "{name}: only {cells} cells were walked");
    }
}
