//! What happened in a run: a test that never met what it is for has shown nothing.

use std::collections::BTreeMap;

/// How often each of the things happened that are worth a name.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen(BTreeMap<&'static str, usize>);

impl Seen {
    pub(super) fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (what, times) in &other.0 {
            *self.0.entry(what).or_default() += times;
        }
    }

    pub(super) fn times(&self, what: &str) -> usize {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Those of `wanted` that never happened.
    pub(super) fn missing(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().copied().filter(|what| self.times(what) == 0).collect()
    }
}
