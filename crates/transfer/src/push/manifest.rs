//! The manifest of what was pushed.

use bytes::Bytes;
use lapstrake_oci::{Compression, Descriptor, Image, LayerType, media_type};

/// A manifest, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
    /// Whether it is the image's own.
    pub(super) is_own: bool,
}

/// The image's own manifest if these are its blobs, or else one like it that names them: with the same
/// config, so that the image keeps its id.
pub(super) fn of(image: &Image, blobs: &[Descriptor]) -> Document {
    let own = image.manifest();
    if own.layers == blobs {
        return Document {
            media_type: own.media_type().to_owned(),
            bytes: Bytes::copy_from_slice(own.raw()),
            is_own: true,
        };
    }
    let mut made = own.value().clone();
    made.layers = blobs.to_vec();
    // Docker's documents have no word for zstd that its readers know.
    if blobs.iter().any(is_zstd) && own.media_type() == media_type::DOCKER_MANIFEST {
        made.media_type = Some(media_type::OCI_MANIFEST.to_owned());
        media_type::OCI_CONFIG.clone_into(&mut made.config.media_type);
        for layer in &mut made.layers {
            if let Some(name) = oci(&layer.media_type) {
                name.clone_into(&mut layer.media_type);
            }
        }
    }
    Document {
        media_type: made.media_type().to_owned(),
        bytes: serde_json::to_vec(&made)
            .expect("a manifest is JSON")
            .into(),
        is_own: false,
    }
}

/// What a layer that is compressed so is called beside `sibling`.
pub(super) fn layer_type(sibling: &str, compression: Compression) -> &'static str {
    let is_docker = sibling.starts_with("application/vnd.docker.");
    match (compression, is_docker) {
        (Compression::None, true) => media_type::DOCKER_LAYER,
        (Compression::Gzip, true) => media_type::DOCKER_LAYER_GZIP,
        (Compression::None, false) => media_type::OCI_LAYER,
        (Compression::Gzip, false) => media_type::OCI_LAYER_GZIP,
        (Compression::Zstd, _) => media_type::OCI_LAYER_ZSTD,
    }
}

fn is_zstd(layer: &Descriptor) -> bool {
    let kind = LayerType::of(&layer.media_type);
    kind.is_some_and(|kind| kind.compression == Compression::Zstd)
}

/// OCI's name for a type of Docker's.
fn oci(docker: &str) -> Option<&'static str> {
    let names = [
        (media_type::DOCKER_LAYER, media_type::OCI_LAYER),
        (media_type::DOCKER_LAYER_GZIP, media_type::OCI_LAYER_GZIP),
        (media_type::DOCKER_LAYER_ZSTD, media_type::OCI_LAYER_ZSTD),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
        ),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ),
    ];
    let found = names.into_iter().find(|(name, _)| *name == docker);
    found.map(|(_, name)| name)
}
