//! Loads the images of an archive: gather, assemble, publish.
//!
//! Nothing has a name before the whole archive was read and every image that will be stored was found
//! complete. Then all of it is covered by one lease until the images have their names, and on disk
//! before that is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest, Platform, Reference};
use lapstrake_store::{Commit, Durability, ImageRecord, LayerState, Lineage, Object, Store};

use super::assemble::{ToLoad, Wanted, assemble};
use super::facts::Facts;
use super::gather::{Gathered, gather};
use crate::error::Result;
use crate::layer::Staged;
use crate::lease::TERM;
use crate::limits::Limits;
use crate::own::unnamed;

/// Where images are loaded from.
#[expect(missing_debug_implementations, reason = "a stream has nothing to show")]
pub enum LoadFrom<'a> {
    /// An archive: docker-archive, OCI layout or both, compressed or not.
    Stream(&'a mut (dyn Read + Send)),
    /// An OCI layout.
    Directory(&'a Path),
}

/// How to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Only the best image for this platform.
    pub platform: Option<Platform>,
    /// Of several images with one name, the best for this one gets it.
    pub host: Platform,
    /// What to take from outside.
    pub limits: Limits,
}

/// What happens while images are loaded, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadEvent {
    /// So many bytes are to be read: for whoever knows that.
    Begins {
        /// In bytes.
        bytes: u64,
    },
    /// A file that looks like a layer comes.
    Started {
        /// Its path.
        path: String,
        /// How long it is.
        bytes: u64,
    },
    /// More of the archive was read.
    Read {
        /// So many bytes more.
        bytes: u64,
    },
    /// A layer is in the store already.
    Exists {
        /// Which.
        id: DiffId,
    },
    /// A layer was read and is on disk.
    Layer {
        /// Which.
        id: DiffId,
        /// Bytes of its tar.
        tar_bytes: u64,
    },
}

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Its id.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// Its names.
    pub names: Vec<Reference>,
    /// What it runs on.
    pub platform: Platform,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The images, in the order of the archive.
    pub images: Vec<LoadedImage>,
    /// What was left out, and why, in words.
    pub notes: Vec<String>,
    /// Layers that were not in the store before.
    pub new_layers: usize,
}

/// Loads images. All of them are on disk when this returns.
///
/// # Errors
/// If the archive can't be read, is damaged, or is none of images; if the disk refuses. Then no image of
/// it was loaded.
pub fn load(
    store: &Store,
    from: LoadFrom<'_>,
    options: &LoadOptions,
    tell: &(dyn Fn(LoadEvent) + Sync),
) -> Result<Loaded> {
    let gathered = gather(store, options.limits, tell, |gatherer| match from {
        LoadFrom::Stream(input) => gatherer.archive(Counting { input, tell }),
        LoadFrom::Directory(path) => gatherer.directory(path),
    })?;
    let Gathered {
        facts,
        staged,
        claims,
    } = gathered;
    let (images, notes) = decide(&facts, options)?;
    // What no image needs is gone before the rest is published.
    let needed: BTreeSet<_> = images.iter().flat_map(|image| &image.layers).collect();
    let (staged, unneeded): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (staged.into_iter()).partition(|(id, _)| needed.contains(id));
    drop(unneeded);
    let new_layers = staged.len();
    publish(store, &images, staged)?;
    drop(claims);
    Ok(Loaded {
        images: images.into_iter().map(LoadedImage::from).collect(),
        notes,
        new_layers,
    })
}

fn decide(facts: &Facts, options: &LoadOptions) -> Result<(Vec<ToLoad>, Vec<String>)> {
    let wanted = Wanted {
        only: options.platform.as_ref(),
        host: &options.host,
    };
    let assembled = assemble(facts, wanted)?;
    Ok((assembled.images, assembled.notes))
}

fn publish(store: &Store, images: &[ToLoad], staged: BTreeMap<DiffId, Staged>) -> Result<()> {
    let documents = |image: &ToLoad| {
        let index = image.index.clone();
        let both = [image.manifest.clone(), image.config.clone()];
        both.into_iter().chain(index).collect::<Vec<_>>()
    };
    let mut objects = BTreeSet::new();
    for image in images {
        objects.extend(
            documents(image)
                .into_iter()
                .map(|(name, _)| Object::Blob(name)),
        );
        objects.extend(image.layers.iter().cloned().map(Object::Layer));
    }
    let objects: Vec<_> = objects.into_iter().collect();
    let lease = store.lease(&objects, SystemTime::now() + TERM)?;
    let mut proved: BTreeSet<DiffId> = BTreeSet::new();
    for (id, layer) in staged {
        let record = layer.publish(store, Durability::OnlyHere)?;
        store.state().add_layer(&record, None)?;
        proved.insert(id);
    }
    for id in images.iter().flat_map(|image| &image.layers) {
        let record = store.state().layer(id)?;
        // It was there, of a pull that has not waited for the disk.
        if !proved.contains(id) && record.is_some_and(|record| record.state != LayerState::Proved) {
            store.content.prove_layer(id)?;
            proved.insert(id.clone());
        }
    }
    store.state().set_proved(&proved)?;
    for image in images {
        for (name, bytes) in documents(image) {
            store
                .content
                .put_blob(&bytes, &name, Durability::OnlyHere)?;
        }
    }
    for image in images {
        name_image(store, image)?;
    }
    // The names keep all of it from here on.
    drop(lease);
    Ok(())
}

fn name_image(store: &Store, image: &ToLoad) -> Result<()> {
    let manifest = image.manifest.0.clone();
    let names = if image.names.is_empty() {
        vec![match &image.repo {
            Some(repo) => Reference::pinned(repo.clone(), manifest),
            None => unnamed(manifest),
        }]
    } else {
        image.names.clone()
    };
    let index = image.index.as_ref().filter(|_| !image.names.is_empty());
    for name in names {
        let record = ImageRecord {
            reference: name.to_string(),
            manifest: image.manifest.0.clone(),
            config: image.config.0.clone(),
        };
        let lineage = Lineage {
            index: index.map(|(name, _)| name),
            layers: &image.layers,
        };
        store
            .state()
            .set_image(&record, &lineage, SystemTime::now(), Commit::Synced)?;
    }
    Ok(())
}

impl From<ToLoad> for LoadedImage {
    fn from(image: ToLoad) -> Self {
        Self {
            id: image.config.0,
            manifest: image.manifest.0,
            names: image.names,
            platform: image.platform,
        }
    }
}

/// Tells how much was read.
struct Counting<'a> {
    input: &'a mut (dyn Read + Send),
    tell: &'a (dyn Fn(LoadEvent) + Sync),
}

impl Read for Counting<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(out)?;
        (self.tell)(LoadEvent::Read {
            bytes: count as u64,
        });
        Ok(count)
    }
}
