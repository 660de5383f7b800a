//! Images from files: archives and layouts of images, and tars of a root.

use std::io::Read;
use std::time::SystemTime;

use lapstrake_oci::{Algorithm, Config, Descriptor, Manifest, Platform, Reference, media_type};
use lapstrake_store::{ImageRecord, LayerRecord};
use lapstrake_transfer::archive::{LoadEvent, LoadFrom, LoadOptions, Loaded, load};
use lapstrake_transfer::{Limits, add_image, add_tar, unnamed};

use crate::Engine;
use crate::commit::{CommitOptions, change, document};
use crate::error::Result;
use crate::events::Action;
use crate::when::to_rfc3339;

/// What a tar is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// Its name.
    pub reference: Option<Reference>,
    /// Instructions that change its config, as in a Dockerfile.
    pub changes: Vec<String>,
    /// A remark; if none, Docker's.
    pub message: Option<String>,
    /// What it runs on.
    pub platform: Platform,
    /// When.
    pub now: SystemTime,
}

/// What a tar has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The image.
    pub image: ImageRecord,
    /// Its layer.
    pub layer: LayerRecord,
}

impl Engine {
    /// Loads images; with a platform, only the best one of each for it. All of them are on disk when
    /// this returns.
    ///
    /// # Errors
    /// If the archive can't be read, is damaged, or is none of images, or the disk refuses. Then nothing
    /// of it was loaded.
    pub fn load(
        &self,
        from: LoadFrom<'_>,
        platform: Option<&Platform>,
        tell: &(dyn Fn(LoadEvent) + Sync),
    ) -> Result<Loaded> {
        let options = LoadOptions {
            platform: platform.cloned(),
            host: Platform::host(),
            limits: Limits::DEFAULT,
        };
        let loaded = load(&self.store, from, &options, tell)?;
        for image in &loaded.images {
            self.tell_by_id(Action::Load, &image.id);
        }
        Ok(loaded)
    }

    /// Makes an image with one layer of a tar, which may be compressed by gzip, bzip2, xz or zstd. All of
    /// it is on disk when this returns.
    ///
    /// # Errors
    /// If an instruction is not understood, the input stops giving or is no tar, or the disk refuses.
    pub fn import(&self, input: impl Read, options: &ImportOptions) -> Result<Imported> {
        // Instructions are read before the tar is.
        change::apply(&mut Config::default().config, &options.changes)?;
        let layer = add_tar(&self.store, input, Limits::DEFAULT)?;
        let record = layer.record.clone();
        let base = Config {
            platform: options.platform.clone(),
            ..Config::default()
        };
        // As Docker, which is never told the name of a file either.
        let message = (options.message.clone()).unwrap_or_else(|| "Imported from -".to_owned());
        let how = CommitOptions {
            execution: None,
            created_by: None,
            changes: options.changes.clone(),
            author: None,
            message: Some(message),
            now: options.now,
        };
        let created = to_rfc3339(options.now);
        let documents = document::build(&no_layers(), &base, Some(&record), &how, &created)?;
        let manifest = documents.manifest.0.clone();
        let name = options.reference.clone();
        let image = ImageRecord {
            reference: name
                .unwrap_or_else(|| unnamed(manifest.clone()))
                .to_string(),
            manifest,
            config: documents.config.0.clone(),
        };
        let both = [&documents.manifest, &documents.config];
        let both = both.map(|(digest, bytes)| (digest, &bytes[..]));
        add_image(&self.store, &image, &documents.diff_ids, &both, Some(layer))?;
        self.tell_by_id(Action::Import, &image.config);
        Ok(Imported {
            image,
            layer: record,
        })
    }
}

/// The manifest below the first layer.
fn no_layers() -> Manifest {
    // It is replaced when there is a config.
    let empty = Algorithm::Sha256.digest(b"");
    Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::new(media_type::OCI_CONFIG, empty, 0),
        layers: Vec::new(),
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    }
}
