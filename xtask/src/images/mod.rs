//! Images made from Debian packages, for people to try and for tests and benchmarks to use.
//!
//! An image is a chain of steps ([`catalog`]); each step's changes are one layer. Steps are run
//! once and kept (`stage`), then written as layer tars (`layer_tar`), compressed and put into one
//! OCI image layout (`layout`) where each image has its name as the reference name:
//!
//! ```text
//! <cache>/layout/         oci-layout, index.json, blobs/sha256/…: `skopeo … oci:<cache>/layout:debian`
//! <cache>/stages/<key>/   tree (an overlay upper directory) and layer.json
//! <cache>/tars/<hex>      the layers' uncompressed tars by diff id
//! <cache>/debs/           packages as downloaded
//! ```
//!
//! Everything in the cache can be made again; the key of a step is the hash of what makes it.

mod apt;
pub mod cache;
pub mod catalog;
mod compress;
mod layer_tar;
pub mod layout;
mod stage;
mod synthetic;

pub use cache::Cache;
pub use catalog::{Compression, Image};
pub use layout::{BuiltImage, Layer};

use crate::error::Result;

/// Makes the images that are not in the cache yet, and returns all that were asked for.
pub fn build(cache: &Cache, images: &[&Image]) -> Result<Vec<BuiltImage>> {
    let lock = cache.lock()?;
    let mirror = apt::Mirror::of_this_machine()?;
    let mut built = Vec::new();
    for image in images {
        let chain = stage::chain(image);
        if let Some(known) = layout::find(cache, image.name, chain.key())? {
            built.push(known);
            continue;
        }
        let started = std::time::Instant::now();
        let layers = chain.layers(cache, &mirror)?;
        let image = layout::add(cache, image, chain.key(), &layers)?;
        eprintln!(
            "images: made {} in {:.1} s",
            image.name,
            started.elapsed().as_secs_f64()
        );
        built.push(image);
    }
    drop(lock);
    Ok(built)
}
