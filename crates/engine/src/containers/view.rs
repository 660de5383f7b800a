//! What clients are shown of a container, beside its record.

use std::path::PathBuf;

use lapstrake_container::spec;

use super::Containers;

impl Containers {
    /// Where what stays of a container is: its `hosts`, `hostname` and `resolv.conf`.
    pub fn files(&self, id: &str) -> PathBuf {
        self.places(id).files
    }

    /// Where a container's writable layer is, and where its root is mounted while it runs.
    pub fn layer_dirs(&self, id: &str) -> (PathBuf, PathBuf) {
        let layers = self.inner.engine.root().join("state").join("containers");
        (layers.join(id), self.places(id).root)
    }

    /// The name of the runtime that containers get which ask for none.
    pub fn default_runtime(&self) -> &str {
        &self.inner.options.default_runtime
    }

    /// The names of the runtimes.
    pub fn runtimes(&self) -> impl Iterator<Item = (&str, &str)> {
        let runtimes = self.inner.options.runtimes.iter();
        runtimes.map(|(name, program)| (&**name, &**program))
    }

    /// The paths that containers do not see, and those that they do not change, unless they say otherwise.
    pub fn hidden_paths(&self) -> (Vec<String>, Vec<String>) {
        self.facts().map(spec::hidden_paths).unwrap_or_default()
    }

    /// The id of an image by any of its names; nothing if there is none.
    pub fn image_id(&self, name: &str) -> Option<String> {
        let image = name.parse::<crate::ImageName>().ok()?;
        let image = self.inner.engine.resolve(image).ok()?;
        Some(image.config.to_string())
    }
}
