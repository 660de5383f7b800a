//! What can be wrong with an archive of images.

use std::path::PathBuf;

use lapstrake_oci::{DiffId, Digest, Platform};

/// Why images of an archive can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It holds other things.
    #[error(
        "this holds no images: there is neither a manifest.json nor an OCI layout in it (a tar of files becomes an image by `lapstrake import`)"
    )]
    NoImages,
    /// The form of before 2016.
    #[error(
        "this archive has only a `repositories` file, as Docker before 1.10 wrote them: load it with a Docker up to 28 and save it again"
    )]
    Legacy,
    /// A layout of another version.
    #[error("this OCI layout has version {0:?}; this program reads 1.0.0")]
    LayoutVersion(String),
    /// A path that comes again.
    #[error("the archive has {path:?} twice: it is not clear which is meant")]
    Twice {
        /// The path.
        path: String,
    },
    /// More than any archive needs.
    #[error("the archive has more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// What is accepted.
        limit: u64,
    },
    /// Something that is named, and not there.
    #[error("the archive has no {path:?}, which {by} needs: it is not complete")]
    Missing {
        /// The path.
        path: String,
        /// What names it.
        by: String,
    },
    /// A link that leads nowhere.
    #[error("in the archive, {path:?} is a link that leads round in circles")]
    Loop {
        /// The link.
        path: String,
    },
    /// A file that is neither a layer nor a document.
    #[error("{path:?} in the archive can't be used: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A document that can't be read.
    #[error("{path:?} in the archive: {source}")]
    Document {
        /// The document.
        path: String,
        /// What is wrong with it.
        source: Box<lapstrake_oci::Error>,
    },
    /// A list of images that can't be read.
    #[error("manifest.json in the archive can't be read: {0}")]
    List(serde_json::Error),
    /// A name that no image can have.
    #[error("the archive calls an image {name:?}, which is no name: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
    /// Bytes that are not what their name says.
    #[error("{path:?} in the archive is {got}: it was damaged or changed")]
    WrongDigest {
        /// Its name.
        path: String,
        /// What it is.
        got: Digest,
    },
    /// Another number of bytes than is said.
    #[error("{path:?} in the archive has {got} bytes, not {want}: it was damaged or changed")]
    WrongSize {
        /// Its name.
        path: String,
        /// What is said.
        want: u64,
        /// What it has.
        got: u64,
    },
    /// A layer that is not the one that the config names.
    #[error(
        "layer {path:?} in the archive is {got}, but its image's config says {want}: it was damaged or changed"
    )]
    WrongLayer {
        /// Its name.
        path: String,
        /// What the config says.
        want: DiffId,
        /// What it is.
        got: DiffId,
    },
    /// Another number of layers than the config has.
    #[error("image {image} has {layers} layers in the archive and {diff_ids} in its config")]
    LayerCount {
        /// The image.
        image: Digest,
        /// In the archive.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// No image for the platform that was asked for.
    #[error("the archive has no image for {wanted}; it has: {offered}")]
    NoPlatform {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is.
        offered: String,
    },
    /// Indexes within indexes.
    #[error("the indexes of this archive lie in one another more than {0} deep")]
    Deep(usize),
    /// A directory that can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Problem {
    /// Whether something is just not there, as in an archive of some platforms of an image.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether bytes are not what they should be.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::WrongDigest { .. } | Self::WrongSize { .. } | Self::WrongLayer { .. }
        )
    }
}
