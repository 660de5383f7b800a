//! What Lapstrake does, as verbs: pull an image, list images, mount one, run a command in one.
//!
//! What it keeps true: a root is mounted only from layers whose files are what the record says; what
//! a verb mounts or creates is undone when the verb fails.
//!
//! Left out: containers that outlive their command, and every wire format.
#![forbid(unsafe_code)]

mod error;
mod image;
mod root;
mod run;
mod runtime_spec;

pub use error::{Class, Error};
pub use image::ImageSummary;
pub use root::{Access, MountedRoot};
pub use run::RunOptions;

pub use lapstrake_oci::{Platform, Reference};
pub use lapstrake_registry_client::{Client, Credential, Options as ClientOptions, PlainHttp};
pub use lapstrake_transfer::{Event, Limits, PullOptions, Pulled};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapstrake_drivers::erofs::RunDir;
use lapstrake_store::{HostId, Store};

use crate::error::Result;

/// What the engine is told of its surroundings.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The store's root directory.
    pub root: PathBuf,
    /// Where mounts and sockets are kept: a directory that does not outlive a boot.
    pub run: PathBuf,
    /// This host's name.
    pub hostname: String,
    /// The running kernel's boot id.
    pub boot_id: String,
}

/// An open store and the verbs on it.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    run: RunDir,
    run_path: PathBuf,
}

impl Engine {
    /// Opens the store, making it if there is none.
    ///
    /// # Errors
    /// If a directory can't be used or the store has an unknown format.
    pub fn open(surroundings: &Surroundings) -> Result<Self> {
        let host = HostId::from_hostname(&surroundings.hostname);
        let store = Store::open(&surroundings.root, &host, &surroundings.boot_id)?;
        let run = RunDir::at(surroundings.run.join("roots"))?;
        Ok(Self {
            store: Arc::new(store),
            run,
            run_path: surroundings.run.clone(),
        })
    }

    /// The store's root directory.
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// Pulls an image; see [`lapstrake_transfer::pull`].
    ///
    /// # Errors
    /// If it can't be fetched or is not what its digests say.
    pub async fn pull(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PullOptions,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Pulled> {
        Ok(lapstrake_transfer::pull(&self.store, client, reference, options, tell).await?)
    }
}
