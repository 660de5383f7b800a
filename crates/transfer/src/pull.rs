//! A pull: from a reference to an image that can run, and then to one that is on disk.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use lapstrake_bridge::blocking;
use lapstrake_oci::{
    Config, DiffId, Digest, Document, Image, Index, Manifest, Parsed, Platform, Reference, bounds,
};
use lapstrake_registry_client::Client;
use lapstrake_store::{Commit, Durability, ImageRecord, Lineage, Store};

use crate::error::Result;
use crate::event::Event;
use crate::fetch::{self, Layers};
use crate::lease;
use crate::limits::Limits;

/// How to pull.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Which image of an index.
    pub platform: Platform,
    /// Layers fetched at a time.
    pub parallel: usize,
    /// What to take from outside.
    pub limits: Limits,
}

/// What was pulled.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: ImageRecord,
    /// Bytes fetched.
    pub fetched_bytes: u64,
    /// Bytes of tar in all its layers.
    pub tar_bytes: u64,
    /// When it could be used.
    pub ready: Instant,
    /// When it was on disk.
    pub durable: Instant,
}

/// Pulls an image. Of several pulls in this process that want a layer, one fetches it.
///
/// Dropping the future cancels the pull: nothing more is fetched, what was published stays for as long as
/// anything needs it, and the threads that write end soon ([`stopped`] waits for that).
///
/// # Errors
/// If it can't be fetched or is not what its digests say. Layers that were complete are kept.
pub async fn pull(
    store: &Arc<Store>,
    client: &Client,
    reference: &Reference,
    options: &PullOptions,
    tell: impl Fn(Event) + Send + Sync + 'static,
) -> Result<Pulled> {
    let tell = Arc::new(tell);
    let repo = reference.repo();
    let (image, manifest, index) = fetch_image(client, reference, &options.platform).await?;
    let diff_ids: Vec<_> = image.layers().map(|layer| layer.diff_id.clone()).collect();
    let lease = lease::take(
        store,
        &image,
        &manifest,
        index.as_ref().map(|index| &index.0),
    )
    .await?;
    let layers = Layers {
        store: Arc::clone(store),
        client: client.clone(),
        repo: repo.clone(),
        limits: options.limits,
        tell: Arc::clone(&tell),
    };
    let fetched = lease
        .keep_during(layers.fetch(&image, options.parallel))
        .await?;

    let record = ImageRecord {
        reference: reference.to_string(),
        manifest: manifest.clone(),
        config: image.manifest().value().config.digest.clone(),
    };
    let index_digest = index.as_ref().map(|(digest, _)| digest.clone());
    let documents: Vec<(Digest, Arc<[u8]>)> = index
        .map(|(digest, index)| (digest, Arc::clone(index.raw())))
        .into_iter()
        .chain([
            (manifest, Arc::clone(image.manifest().raw())),
            (record.config.clone(), Arc::clone(image.config().raw())),
        ])
        .collect();
    let names: Vec<_> = documents.iter().map(|(digest, _)| digest.clone()).collect();
    let (at, named, layers) = (Arc::clone(store), record.clone(), diff_ids.clone());
    blocking(move || {
        for (digest, bytes) in &documents {
            at.content.put_blob(bytes, digest, Durability::HasSource)?;
        }
        let lineage = Lineage {
            index: index_digest.as_ref(),
            layers: &layers,
        };
        at.state()
            .set_image(&named, &lineage, SystemTime::now(), Commit::Lazy)
    })
    .await??;
    let ready = Instant::now();
    tell(Event::Ready);

    let at = Arc::clone(store);
    let tar_bytes = blocking(move || prove(&at, diff_ids, names)).await??;
    tell(Event::Durable);
    Ok(Pulled {
        image: record,
        fetched_bytes: fetched,
        tar_bytes,
        ready,
        durable: Instant::now(),
    })
}

/// Waits until no thread works for a pull into this store any more, after one was cancelled or failed.
pub async fn stopped(store: &Store) {
    fetch::landed(store).await;
}

type Fetched = (Image, Digest, Option<(Digest, Parsed<Index>)>);

async fn fetch_image(
    client: &Client,
    reference: &Reference,
    platform: &Platform,
) -> Result<Fetched> {
    let repo = reference.repo();
    let resolved = client.resolve(reference).await?;
    let (manifest, digest, index) = match resolved.document {
        Document::Manifest(manifest) => (manifest, resolved.digest, None),
        Document::Index(index) => {
            let chosen = index.value().choose(platform)?.digest.clone();
            let manifest = match client.manifest(repo, &chosen).await?.document {
                Document::Manifest(manifest) => manifest,
                Document::Index(inner) => Parsed::<Manifest>::manifest(Arc::clone(inner.raw()))?,
            };
            (manifest, chosen, Some((resolved.digest, index)))
        }
    };
    let config = &manifest.value().config;
    let config = client
        .small_blob(repo, config, bounds::MAX_CONFIG_BYTES as u64)
        .await?;
    let config = Parsed::<Config>::config(config)?;
    Ok((Image::new(manifest, config)?, digest, index))
}

/// Waits until what a pull published is on disk; returns the bytes of tar in the layers.
fn prove(store: &Store, layers: Vec<DiffId>, blobs: Vec<Digest>) -> Result<u64> {
    let records = store.state().layers(&layers)?;
    let tar_bytes = records.iter().flatten().map(|layer| layer.tar_len).sum();
    store.prove(layers, blobs)?.wait()?;
    Ok(tar_bytes)
}
