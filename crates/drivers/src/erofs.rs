//! The default driver: one EROFS superblock per layer, overlay on top.
//!
//! What it keeps true:
//! - a layer's files are as long as the record says, at every mount, or the mount is refused:
//!   EROFS reads zeros past the end of a short file;
//! - an index has the recorded digest at every mount: no other bytes reach the kernel's parser;
//! - what was checked is what is mounted: files are opened once and mounted by descriptor.
//!
//! Content is mounted as it is, so there is nothing to realise, and nothing to forget.
//!
//! The steps: [`Survey`] opens and measures the files, [`Facts::probe`] asks the kernel what it
//! can do with them, and [`plan()`] decides (it is pure).

mod facts;
mod plan;
mod survey;

use std::collections::BTreeSet;
use std::path::Path;

use lapstrake_oci::DiffId;
use lapstrake_snapshot::{
    CopyUp, Driver, Error, Layer, Lower, Mounts, Overlay, Place, Result, Root, Shared,
    WritableTree, distinct,
};

pub use facts::{Facts, FileSystem};
pub use plan::{Backing, plan};
pub use survey::Survey;

/// How file contents reach the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageCache {
    /// Past the cache of the data file, where its file system allows: one copy.
    Direct,
    /// Through the cache of the data file: two copies until the first is dropped.
    Buffered,
}

/// The driver.
#[derive(Debug, Clone)]
pub struct Erofs {
    /// How file contents are cached.
    pub cache: PageCache,
    /// How new writable layers are kept.
    pub copy_up: CopyUp,
}

impl Driver for Erofs {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn status(&self) -> Vec<(String, String)> {
        let cache = match self.cache {
            PageCache::Direct => "direct, where the file system allows",
            PageCache::Buffered => "buffered",
        };
        vec![
            ("Page Cache".to_owned(), cache.to_owned()),
            crate::metacopy_status(self.copy_up),
        ]
    }

    fn realise(&self, _stack: &[Layer]) -> Result<()> {
        Ok(())
    }

    fn realised(&self) -> Result<BTreeSet<DiffId>> {
        Ok(BTreeSet::new())
    }

    fn forget(&self, _layer: &DiffId) -> Result<()> {
        Ok(())
    }

    fn create(&self, _stack: &[Layer], place: &Path) -> Result<()> {
        Place::create_upper(place, self.copy_up)
    }

    fn mounts(&self, stack: &[Layer], place: Option<&Path>) -> Result<Mounts> {
        // Names and depth are judged before any file is opened.
        let layers: Vec<&Layer> = distinct(stack)?.into_iter().map(|at| &stack[at]).collect();
        let survey = Survey::of(&layers)?;
        let facts = Facts::probe(&survey)?;
        let backings = plan(self.cache, &survey, &facts)?;
        let layers = layers.into_iter().zip(survey.into_layers()).zip(backings);
        let shared: Vec<Shared> = layers
            .map(|((layer, files), backing)| files.shared(layer.id.clone(), backing))
            .collect();
        Ok(Mounts {
            layers: shared.iter().map(|shared| shared.layer.clone()).collect(),
            root: Root::Overlay(Overlay {
                lowers: (0..shared.len()).rev().map(Lower::Shared).collect(),
                upper: place.map(Place::open_upper).transpose()?,
                api: facts.overlay,
            }),
            shared,
        })
    }

    fn tree(&self, place: &Path) -> Result<WritableTree> {
        Place::tree(place)
    }
}

/// Names the object of a failed mount step.
fn named(object: impl Into<String>) -> impl FnOnce(lapstrake_sys::mount::Error) -> Error {
    let object = object.into();
    move |source| Error::Mount { object, source }
}
