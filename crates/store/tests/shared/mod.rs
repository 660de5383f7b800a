//! A store with small images in it.
#![allow(dead_code, reason = "every test uses some of this")]

use std::io::Write as _;
use std::path::Path;

use lapstrake_oci::{Algorithm, DiffId, Digest};
use lapstrake_store::{
    Durability, Error, HostId, ImageRecord, IndexStamp, LayerRecord, LayerState, Lineage, Object,
    Place, RealDisk, Store,
};

/// A directory for a store.
#[derive(Debug)]
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Where syncs cost nothing: for tests that lose no power.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            return Self::new();
        }
        Self {
            dir: tempfile::tempdir_in(memory).unwrap(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn open(&self) -> Store {
        open(self.root())
    }

    /// Ends a store as if its process had been killed.
    pub(crate) fn crash(&self, store: Store) {
        drop(store);
        let owner = self.root().join("state/owner");
        let said = std::fs::read_to_string(&owner).unwrap();
        let mut file = std::fs::File::create(owner).unwrap();
        file.write_all(said.replace("closed", "open").as_bytes())
            .unwrap();
    }

    pub(crate) fn publish(
        &self,
        store: &Store,
        name: &str,
        version: u32,
        layers: &[&str],
    ) -> ImageRecord {
        publish(store, name, version, layers).unwrap()
    }

    pub(crate) fn publish_layer(&self, store: &Store, text: &str) {
        publish_layer(store, text).unwrap();
    }
}

pub(crate) fn open(root: &Path) -> Store {
    let host = HostId::from_hostname("h");
    let place = Place {
        root,
        host: &host,
        boot_id: "boot",
    };
    Store::open_on(std::sync::Arc::new(RealDisk), place, None).unwrap()
}

pub(crate) fn digest(text: &[u8]) -> Digest {
    Algorithm::Sha256.digest(text)
}

pub(crate) fn layer_id(text: &str) -> DiffId {
    DiffId(digest(text.as_bytes()))
}

pub(crate) fn blob_of(kind: &str, version: u32) -> Vec<u8> {
    format!("{kind} {version}").into_bytes()
}

pub(crate) fn image(name: &str, version: u32) -> ImageRecord {
    ImageRecord {
        reference: format!("docker.io/library/{name}:latest"),
        manifest: digest(&blob_of("manifest", version)),
        config: digest(&blob_of("config", version)),
    }
}

/// What a pull does, with one-page layers: lease, look, publish, name.
pub(crate) fn publish(
    store: &Store,
    name: &str,
    version: u32,
    layers: &[&str],
) -> Result<ImageRecord, Error> {
    let image = image(name, version);
    let ids: Vec<_> = layers.iter().map(|text| layer_id(text)).collect();
    let documents = [&image.manifest, &image.config].map(|digest| Object::Blob(digest.clone()));
    let objects: Vec<_> = documents
        .into_iter()
        .chain(ids.iter().cloned().map(Object::Layer))
        .collect();
    let expires = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let _lease = store.lease(&objects, expires)?;
    for text in layers {
        let id = layer_id(text);
        if store.state().layer(&id)?.is_none() || !store.content.has_layer(&id) {
            publish_layer(store, text)?;
        }
    }
    for (kind, digest) in [("manifest", &image.manifest), ("config", &image.config)] {
        let bytes = blob_of(kind, version);
        store
            .content
            .put_blob(&bytes, digest, Durability::HasSource)?;
    }
    let lineage = Lineage {
        index: None,
        layers: &ids,
    };
    store.state().set_image(
        &image,
        &lineage,
        std::time::SystemTime::now(),
        lapstrake_store::Commit::Lazy,
    )?;
    Ok(image)
}

pub(crate) fn publish_layer(store: &Store, text: &str) -> Result<(), Error> {
    let id = layer_id(text);
    let mut stage = store.content.stage_layer()?;
    stage.append(&[7; 4096]).unwrap();
    let staged = stage.finish(text.as_bytes(), b"spans")?;
    store.publish_layer(staged, &id, id.clone(), Durability::HasSource)?;
    let index: IndexStamp = store.indexes.put::<Error>(&id, |out| {
        out.write_all(text.as_bytes()).unwrap();
        Ok(())
    })?;
    let record = LayerRecord {
        diff_id: id,
        tar_len: 4096,
        data_len: 4096,
        index,
        state: LayerState::Present,
    };
    store.state().add_layer(&record, None)
}
