//! A store in a directory of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake_engine::{Engine, NewVolume, Opening, Volumes};

use crate::shared;

/// A store.
pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) engine: Engine,
    pub(crate) volumes: Volumes,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), "boot")
    }

    pub(crate) fn open(dir: tempfile::TempDir, boot_id: &str) -> Self {
        let engine = Engine::open(
            &shared::surroundings(dir.path(), boot_id),
            Opening::Own(None),
        )
        .unwrap();
        let volumes = Volumes::open(&engine).unwrap();
        Self {
            dir,
            engine,
            volumes,
        }
    }

    /// Ends the daemon, and begins another one.
    pub(crate) fn again(self, boot_id: &str) -> Self {
        let Self {
            dir,
            engine,
            volumes,
        } = self;
        drop(volumes);
        drop(engine);
        Self::open(dir, boot_id)
    }

    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join("root/state/volumes").join(name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let all = self.volumes.list();
        all.into_iter().map(|volume| volume.name).collect()
    }
}

pub(crate) fn named(name: &str) -> NewVolume {
    NewVolume {
        name: name.to_owned(),
        ..NewVolume::default()
    }
}

pub(crate) fn with_options(name: &str, options: &[(&str, &str)]) -> NewVolume {
    NewVolume {
        options: map(options),
        ..named(name)
    }
}

pub(crate) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    pairs.collect()
}

pub(crate) fn nobody(_volume: &str) -> Vec<String> {
    Vec::new()
}

/// Whether the test runs as root; says so if not.
pub(crate) fn privileged(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}
