//! The documents of an image that a commit makes: its config and its manifest.

use lapstrake_oci::{Algorithm, Config, Descriptor, DiffId, Digest, History, Manifest, media_type};
use lapstrake_store::LayerRecord;

use super::{CommitOptions, change};
use crate::error::Result;

/// The documents, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) config: (Digest, Vec<u8>),
    pub(crate) manifest: (Digest, Vec<u8>),
    /// The image's layers.
    pub(crate) diff_ids: Vec<DiffId>,
}

/// Puts a layer on an image; with none, only its config changes. `created` is RFC 3339.
pub(crate) fn build(
    manifest: &Manifest,
    config: &Config,
    layer: Option<&LayerRecord>,
    options: &CommitOptions,
    created: &str,
) -> Result<Documents> {
    let mut config = config.clone();
    if let Some(execution) = &options.execution {
        config.config.clone_from(execution);
    }
    change::apply(&mut config.config, &options.changes)?;
    config.created = Some(created.to_owned());
    config.author.clone_from(&options.author);
    config.comment.clone_from(&options.message);
    config.history.push(History {
        created: Some(created.to_owned()),
        created_by: options.created_by.clone(),
        author: options.author.clone(),
        comment: options.message.clone(),
        empty_layer: layer.is_none(),
    });
    config
        .rootfs
        .diff_ids
        .extend(layer.map(|layer| layer.diff_id.clone()));
    let diff_ids = config.rootfs.diff_ids.clone();
    let config = serde_json::to_vec(&config).expect("a config is JSON");
    let config = (Algorithm::Sha256.digest(&config), config);

    let mut manifest = manifest.clone();
    // One document speaks one dialect.
    let (config_type, layer_type) = match manifest.media_type() {
        media_type::DOCKER_MANIFEST => (media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER),
        _ => (media_type::OCI_CONFIG, media_type::OCI_LAYER),
    };
    manifest.config = descriptor(config_type, &config.0, config.1.len() as u64);
    manifest.layers.extend(layer.map(|layer| {
        // The tar as it is: its digest is the diff id.
        descriptor(layer_type, &layer.diff_id.0, layer.tar_len)
    }));
    // What the base's manifest was about, and said of itself, this one is and does not.
    manifest.subject = None;
    manifest.annotations.clear();
    let manifest = serde_json::to_vec(&manifest).expect("a manifest is JSON");
    let manifest = (Algorithm::Sha256.digest(&manifest), manifest);
    Ok(Documents {
        config,
        manifest,
        diff_ids,
    })
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    Descriptor::new(media_type, digest.clone(), size)
}
