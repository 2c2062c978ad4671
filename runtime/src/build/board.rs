//! Where the threads of a build put and find what stages became.

use super::execute::Built;
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
};

/// Where threads put and find stages' results.
#[derive(Default)]
pub(super) struct Board {
    results: Mutex<(BTreeMap<usize, Arc<Built>>, bool)>,
    changed: Condvar,
}

impl Board {
    /// Waits for a stage; `None` when another one failed.
    pub(super) fn wait(&self, index: usize) -> Option<Arc<Built>> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if results.1 {
                return None;
            }
            if let Some(built) = results.0.get(&index) {
                return Some(Arc::clone(built));
            }
            results = self.changed.wait(results).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    pub(super) fn put(&self, index: usize, built: Option<Arc<Built>>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        match built {
            Some(built) => drop(results.0.insert(index, built)),
            None => results.1 = true,
        }
        self.changed.notify_all();
    }
}
