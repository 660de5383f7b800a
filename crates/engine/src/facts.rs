//! What lists and prunings ask of images, read and checked once: a config never changes under its digest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lapstrake_oci::{Config, DiffId, Digest, Parsed, bounds};

use crate::Engine;
use crate::error::Result;
use crate::when;

/// What an image's config says, as far as lists ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageFacts {
    /// When it was built, if it says so.
    pub(crate) created: Option<SystemTime>,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Its layers, the lowest first.
    pub(crate) layers: Vec<DiffId>,
}

/// What was read, by the digest of the config.
#[derive(Debug, Default)]
pub(crate) struct KnownFacts(Mutex<HashMap<Digest, Arc<ImageFacts>>>);

impl KnownFacts {
    fn locked(&self) -> MutexGuard<'_, HashMap<Digest, Arc<ImageFacts>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all but these.
    pub(crate) fn keep(&self, configs: &BTreeSet<&Digest>) {
        let mut known = self.locked();
        if known.len() > configs.len() {
            known.retain(|config, _| configs.contains(config));
        }
    }
}

impl Engine {
    /// What the config of this digest says.
    pub(crate) fn facts_of(&self, config: &Digest) -> Result<Arc<ImageFacts>> {
        if let Some(facts) = self.known_facts.locked().get(config) {
            return Ok(Arc::clone(facts));
        }
        let raw = self
            .store
            .read_blob(config, bounds::MAX_CONFIG_BYTES as u64)?;
        let parsed = Parsed::<Config>::config(raw)?;
        let parsed = parsed.value();
        let facts = Arc::new(ImageFacts {
            created: parsed.created.as_deref().and_then(when::rfc3339),
            labels: parsed.config.labels.clone(),
            layers: parsed.rootfs.diff_ids.clone(),
        });
        let mut known = self.known_facts.locked();
        known.insert(config.clone(), Arc::clone(&facts));
        Ok(facts)
    }
}
