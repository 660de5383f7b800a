//! Pushing images from the layout, once.

use std::path::PathBuf;

use crate::command::Tool;
use crate::error::{IoContext as _, Result};
use crate::files;
use crate::images::{BuiltImage, Cache};
use crate::registry::Registry;

/// Pushes an image as it is (digests and compression stay) unless this storage has it already.
pub(super) fn push(cache: &Cache, registry: &Registry, image: &BuiltImage) -> Result<()> {
    let note = note(cache, &image.name);
    let manifest = image.manifest.to_string();
    if note.is_file() && std::fs::read_to_string(&note).io("read", &note)? == manifest {
        return Ok(());
    }
    Tool::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--preserve-digests"])
        .arg("--dest-tls-verify=false")
        .arg(format!("oci:{}:{}", image.layout.display(), image.name))
        .arg(format!("docker://{}", registry.reference(&image.name)))
        .output()?;
    files::replace(&note, manifest.as_bytes())
}

/// Says which manifest was pushed.
fn note(cache: &Cache, name: &str) -> PathBuf {
    cache.registry().join("pushed").join(name)
}
