//! What an archive will hold, before a byte of it is written.
//!
//! The same images give the same archive, to the byte. Documents come first, so that a reader of a
//! stream knows what the layers are when they come; layers follow from the bottom up, each once.

use std::collections::HashSet;
use std::sync::Arc;

use lapstrake_oci::{DiffId, Digest, Image, Reference};

use super::documents::{self, DockerImage, blob_path};

/// What kind of archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Docker's, which is an OCI layout too.
    Docker,
    /// An OCI layout and nothing else.
    Layout,
}

/// An image that is to be saved.
#[derive(Debug, Clone)]
pub struct ToSave {
    /// Its documents.
    pub image: Image,
    /// What its manifest is called in the store.
    pub manifest: Digest,
    /// The names under which it is saved; each has a tag.
    pub names: Vec<Reference>,
    /// How long each layer's tar is, lowest first.
    pub tar_lens: Vec<u64>,
}

/// Where the bytes of an entry come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It is a directory.
    Directory,
    /// These.
    Bytes(Arc<[u8]>),
    /// A layer's tar.
    Layer(DiffId),
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: String,
    /// How many bytes it has.
    pub size: u64,
    /// Which.
    pub content: Content,
}

/// An image, as it is in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its id.
    pub id: Digest,
    /// Its names.
    pub names: Vec<Reference>,
    /// Its manifest in the archive.
    pub manifest: Digest,
    /// Whether that is the one that it has in the store.
    pub same_manifest: bool,
}

/// An archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is in it, in this order.
    pub entries: Vec<Entry>,
    /// The images.
    pub images: Vec<Planned>,
}

impl Plan {
    /// Bytes of layers.
    pub fn layer_bytes(&self) -> u64 {
        self.layers().map(|(_, size)| size).sum()
    }

    /// The layers and their sizes.
    pub fn layers(&self) -> impl Iterator<Item = (&DiffId, u64)> {
        self.entries
            .iter()
            .filter_map(|entry| match &entry.content {
                Content::Layer(id) => Some((id, entry.size)),
                Content::Directory | Content::Bytes(_) => None,
            })
    }
}

/// Plans an archive of these images.
pub fn plan(images: &[ToSave], form: Form) -> Plan {
    let manifests: Vec<_> = images.iter().map(documents::manifest).collect();
    let mut entries = Entries::default();
    entries.bytes("oci-layout", documents::OCI_LAYOUT);
    let named = manifests.iter().zip(images);
    let index = named.map(|(manifest, one)| (&manifest.descriptor, &one.names[..]));
    entries.bytes("index.json", &documents::index(index));
    if form == Form::Docker {
        let list: Vec<_> = images.iter().map(docker_image).collect();
        let list = serde_json::to_vec(&list).expect("a list of paths is JSON");
        entries.bytes("manifest.json", &list);
        let named = images
            .iter()
            .map(|one| (one.image.config().value(), &one.names[..]));
        if let Some(repositories) = documents::repositories(named) {
            entries.bytes("repositories", &repositories);
        }
    }
    for (manifest, one) in manifests.iter().zip(images) {
        entries.blob(&manifest.descriptor.digest, &manifest.bytes);
        let config = &one.image.manifest().config.digest;
        entries.blob(config, one.image.config().raw());
    }
    for one in images {
        let ids = &one.image.config().rootfs.diff_ids;
        for (id, len) in ids.iter().zip(&one.tar_lens) {
            entries.layer(id, *len);
        }
    }
    let planned = manifests.into_iter().zip(images);
    let planned = planned.map(|(manifest, one)| Planned {
        id: one.image.manifest().config.digest.clone(),
        names: one.names.clone(),
        manifest: manifest.descriptor.digest,
        same_manifest: manifest.kept,
    });
    Plan {
        images: planned.collect(),
        entries: entries.all,
    }
}

fn docker_image(one: &ToSave) -> DockerImage {
    let tag = |name: &Reference| {
        let tag = name.tag()?.as_str();
        Some(format!("{}:{tag}", name.repo().familiar()))
    };
    let tags: Vec<_> = one.names.iter().filter_map(tag).collect();
    let ids = one.image.config().rootfs.diff_ids.iter();
    DockerImage {
        config: blob_path(&one.image.manifest().config.digest),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: ids.map(|id| blob_path(&id.0)).collect(),
    }
}

/// Entries, no path twice.
#[derive(Default)]
struct Entries {
    all: Vec<Entry>,
    paths: HashSet<String>,
}

impl Entries {
    fn bytes(&mut self, path: &str, bytes: &[u8]) {
        self.push(Entry {
            path: path.to_owned(),
            size: bytes.len() as u64,
            content: Content::Bytes(bytes.into()),
        });
    }

    fn blob(&mut self, digest: &Digest, bytes: &[u8]) {
        self.directories(digest);
        self.bytes(&blob_path(digest), bytes);
    }

    fn layer(&mut self, id: &DiffId, size: u64) {
        self.directories(&id.0);
        self.push(Entry {
            path: blob_path(&id.0),
            size,
            content: Content::Layer(id.clone()),
        });
    }

    fn directories(&mut self, digest: &Digest) {
        for path in [
            "blobs".to_owned(),
            format!("blobs/{}", digest.algorithm().name()),
        ] {
            self.push(Entry {
                path,
                size: 0,
                content: Content::Directory,
            });
        }
    }

    fn push(&mut self, entry: Entry) {
        if self.paths.insert(entry.path.clone()) {
            self.all.push(entry);
        }
    }
}
