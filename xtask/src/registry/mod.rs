//! Debian's docker-registry on loopback, filled with our images.
//!
//! Storage lives in the image cache, so a second start pushes nothing that was pushed before. The
//! server ends with the value that stands for it.

mod fill;
mod server;

pub use server::Registry;

use crate::error::Result;
use crate::images::{BuiltImage, Cache};

/// Starts a registry on `port` of loopback (0: any free one) that has these images, each as
/// `NAME:latest`.
pub fn serve(cache: &Cache, images: &[BuiltImage], port: u16) -> Result<Registry> {
    let registry = Registry::start(&cache.registry(), port)?;
    fill(cache, &registry, images)?;
    Ok(registry)
}

/// Pushes images that a running registry does not have yet.
pub fn fill(cache: &Cache, registry: &Registry, images: &[BuiltImage]) -> Result<()> {
    images
        .iter()
        .try_for_each(|image| fill::push(cache, registry, image))
}
