//! A pull: from a reference to an image that can run, and then to one that is on disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use lapstrake_bridge::{PipeWriter, blocking, pipe, worker};
use lapstrake_oci::{
    Config, Descriptor, DiffId, Digest, Document, Image, Index, Manifest, Parsed, Platform,
    Reference, Repo, bounds,
};
use lapstrake_registry_client::{Client, Error as ClientError};
use lapstrake_store::{Commit, Durability, ImageRecord, LayerState, Lineage, Source, Store};
use tokio::task::JoinSet;

use crate::check::settle_layer;
use crate::error::{Class, Error, Result};
use crate::layer::{self, Wanted};
use crate::lease;
use crate::limits::Limits;

/// Network chunks in flight to a decoder.
pub(crate) const PIPE_CHUNKS: usize = 16;

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

/// What happens during a pull, as it happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A layer is in the store already.
    Exists {
        /// Its blob.
        blob: Digest,
    },
    /// A layer is being fetched.
    Started {
        /// Its blob.
        blob: Digest,
        /// Bytes to fetch.
        bytes: u64,
    },
    /// More of a layer was fetched.
    Progress {
        /// Its blob.
        blob: Digest,
        /// Bytes fetched so far.
        bytes: u64,
    },
    /// A layer is in the store.
    Done {
        /// Its blob.
        blob: Digest,
        /// Bytes of its tar.
        tar_bytes: u64,
    },
    /// The image can be used; a crash may still take it back.
    Ready,
    /// The image is on disk.
    Durable,
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

/// Pulls an image.
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
    let mut layers = Layers {
        store,
        client,
        repo,
        options,
        tell: Arc::clone(&tell),
    };
    let fetched = lease.keep_during(layers.fetch(&image)).await?;

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
        at.state().set_image(&named, &lineage, Commit::Lazy)
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

struct Layers<'a, T> {
    store: &'a Arc<Store>,
    client: &'a Client,
    repo: &'a Repo,
    options: &'a PullOptions,
    tell: Arc<T>,
}

impl<T: Fn(Event) + Send + Sync + 'static> Layers<'_, T> {
    /// Fetches the layers that are not in the store; returns how many bytes that took.
    async fn fetch(&mut self, image: &Image) -> Result<u64> {
        // An image may hold a layer more than once; it is fetched once.
        let mut wanted: BTreeMap<DiffId, Wanted> = BTreeMap::new();
        for layer in image.layers() {
            if self.is_here(layer.diff_id, layer.blob).await? {
                (self.tell)(Event::Exists {
                    blob: layer.blob.digest.clone(),
                });
                continue;
            }
            wanted
                .entry(layer.diff_id.clone())
                .or_insert_with(|| Wanted {
                    blob: layer.blob.clone(),
                    compression: layer.layer_type.compression,
                    diff_id: layer.diff_id.clone(),
                });
        }
        let mut queue: Vec<_> = wanted.into_values().collect();
        // The largest is taken first, so that it doesn't end alone.
        queue.sort_by_key(|wanted| wanted.blob.size);
        let mut running = JoinSet::new();
        let mut fetched = 0;
        loop {
            while running.len() < self.options.parallel.max(1)
                && let Some(next) = queue.pop()
            {
                running.spawn(fetch_layer(
                    Arc::clone(self.store),
                    self.client.clone(),
                    self.repo.clone(),
                    next,
                    self.options.limits,
                    Arc::clone(&self.tell),
                ));
            }
            match running.join_next().await {
                None => return Ok(fetched),
                Some(Ok(bytes)) => fetched += bytes?,
                Some(Err(_panic)) => return Err(Error::Panicked("layer")),
            }
        }
    }

    /// Whether the store has a layer that can be used. One of which that is not sure is read first.
    /// From where it could be fetched is recorded all the same: the source known so far may go.
    async fn is_here(&self, id: &DiffId, blob: &Descriptor) -> Result<bool> {
        let (store, id) = (Arc::clone(self.store), id.clone());
        let source = source(self.repo, blob);
        blocking(move || {
            let record = store.state().layer(&id)?;
            match record {
                Some(record) if store.content.has_layer(&id) => {
                    if !store.state().sources(&id)?.contains(&source) {
                        store.state().add_layer(&record, Some(&source))?;
                    }
                    if record.state != LayerState::Doubtful {
                        return Ok(true);
                    }
                    match settle_layer(&store, &id) {
                        Ok(()) => Ok(true),
                        // It was moved aside, by us or by another pull: fetch it again.
                        Err(
                            Error::Damaged { .. }
                            | Error::Store(lapstrake_store::Error::Missing(_)),
                        ) => Ok(false),
                        Err(error) => Err(error),
                    }
                }
                _ => Ok(false),
            }
        })
        .await?
    }
}

/// Fetches a layer; if what came was wrong and a mirror may be to blame, once more, from the registry.
async fn fetch_layer<T: Fn(Event) + Send + Sync + 'static>(
    store: Arc<Store>,
    client: Client,
    repo: Repo,
    wanted: Wanted,
    limits: Limits,
    tell: Arc<T>,
) -> Result<u64> {
    let once = || fetch_once(&store, &client, &repo, &wanted, limits, &*tell);
    match once().await {
        Err(error)
            if matches!(error.class(), Class::DataLoss | Class::Invalid)
                && client.distrust_mirrors(&repo, &wanted.blob.digest) =>
        {
            once().await
        }
        fetched => fetched,
    }
}

async fn fetch_once(
    store: &Arc<Store>,
    client: &Client,
    repo: &Repo,
    wanted: &Wanted,
    limits: Limits,
    tell: &(impl Fn(Event) + Send + Sync),
) -> Result<u64> {
    let blob = &wanted.blob;
    tell(Event::Started {
        blob: blob.digest.clone(),
        bytes: blob.size,
    });
    let (writer, reader) = pipe(PIPE_CHUNKS);
    let source = source(repo, blob);
    let (at, wanted) = (Arc::clone(store), wanted.clone());
    let receiver = worker("layer", move || {
        let staged = layer::stage(&at, &wanted, limits, reader)?;
        let record = staged.publish(&at, Durability::HasSource)?;
        at.state().add_layer(&record, Some(&source))?;
        Ok::<_, Error>(record)
    })
    .map_err(Error::NoThread)?;
    let mut received = 0;
    let feed = feed(client, repo, blob, writer, |bytes| {
        received = bytes;
        tell(Event::Progress {
            blob: blob.digest.clone(),
            bytes,
        });
    });
    feed.await;
    let record = receiver.join().await??;
    tell(Event::Done {
        blob: blob.digest.clone(),
        tar_bytes: record.tar_len,
    });
    Ok(received)
}

fn source(repo: &Repo, blob: &Descriptor) -> Source {
    Source {
        repository: repo.to_string(),
        blob: blob.digest.clone(),
        blob_len: blob.size,
        media_type: blob.media_type.clone(),
    }
}

/// Passes a blob from a registry on, and tells how much of it came so far.
pub(crate) async fn feed(
    client: &Client,
    repo: &Repo,
    blob: &Descriptor,
    writer: PipeWriter<ClientError>,
    mut tell: impl FnMut(u64),
) {
    let mut stream = match client.blob(repo, blob).await {
        Ok(stream) => stream,
        Err(error) => return writer.fail(error).await,
    };
    let mut received = 0;
    loop {
        match stream.next_chunk().await {
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                tell(received);
                if writer.write(chunk).await.is_err() {
                    // The receiver stopped; what it returns says why.
                    return;
                }
            }
            Ok(None) => return writer.end().await,
            Err(error) => return writer.fail(error).await,
        }
    }
}
