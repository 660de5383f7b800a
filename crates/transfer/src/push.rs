//! A push: an image goes to a registry, with the digests that it has if that can be done at all.
//!
//! ```text
//! facts (what is there, from where each blob can be had) ── plan (a pure function) ── layers ── manifest
//!                                                           in the order of the plan:
//!        there · mounted · made again from what we keep · copied through · compressed anew
//! ```
//!
//! What it keeps true: nothing is sent before every layer has a way, so that who insists on digests learns
//! at once that they can't be kept; the manifest is sent last, when all that it names is there; if all blobs
//! are what it names, it is the one that is kept here, to the byte. Memory is bounded and no blob is written
//! to disk. What was pushed is recorded as a source of its layer.
//!
//! Left out: an index. Of an image for several platforms one is here, and its manifest is pushed.

mod facts;
mod make;
mod manifest;
mod plan;
mod recognise;
mod send;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lapstrake_bridge::blocking;
use lapstrake_oci::{Descriptor, DiffId, Digest, Image, Reference, Repo};
use lapstrake_registry_client::Client;
use lapstrake_store::{Source, Store};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::encode::Encoding;
use crate::error::{Error, NotHad, Result};
use crate::lease;

use facts::Facts;
use plan::Step;
use send::Sender;

/// How to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushOptions {
    /// What about the digests of its layers.
    pub digests: Digests,
    /// How to compress what must be.
    pub encoding: Encoding,
    /// Layers sent at a time.
    pub parallel: usize,
}

/// What becomes of the digests of an image's layers, and so of its manifest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digests {
    /// They stay if the blobs can be had. A layer that was made here and that no registry had is compressed.
    Keep,
    /// They stay, or nothing is pushed.
    Insist,
    /// All layers are compressed anew.
    Renew,
}

/// An image to push. Its layers are claimed or held by something.
#[derive(Debug, Clone)]
pub struct ToPush {
    /// Its documents.
    pub image: Image,
    /// What its manifest is called.
    pub manifest: Digest,
}

/// What happens during a push. Layers are told by the blobs that the manifest here names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEvent {
    /// A layer that only its publisher hands on is not pushed.
    Skipped {
        /// Its blob.
        blob: Digest,
    },
    /// The repository has a layer.
    Exists {
        /// Its blob.
        blob: Digest,
    },
    /// The registry took a layer from another repository of its own.
    Mounted {
        /// Its blob.
        blob: Digest,
        /// From there.
        from: Repo,
    },
    /// A layer is being sent.
    Started {
        /// Its blob.
        blob: Digest,
        /// How long what is sent will be; about, if it is compressed on the way.
        bytes: u64,
    },
    /// More of a layer was sent.
    Progress {
        /// Its blob.
        blob: Digest,
        /// So far.
        bytes: u64,
    },
    /// The exact blob of a layer can't be had, so that it is compressed.
    Compressing {
        /// Its blob.
        blob: Digest,
        /// Why; nothing if that was asked for, or no registry ever had the layer.
        why: Vec<String>,
    },
    /// A way to have a layer's blob failed, and the next one is tried.
    Failed {
        /// Its blob.
        blob: Digest,
        /// What went wrong.
        why: String,
    },
    /// A layer was sent.
    Done {
        /// Its blob.
        blob: Digest,
        /// What it is called there.
        pushed: Digest,
        /// How long it is.
        bytes: u64,
    },
}

/// How a layer came to be in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerWay {
    /// It is not there: only its publisher hands it on.
    Foreign,
    /// It was there.
    Existing,
    /// From another repository of the same registry.
    Mounted(Repo),
    /// Made again from what is kept, to the byte.
    Made,
    /// Copied through from there.
    Copied(Repo),
    /// Compressed anew.
    Compressed(Encoding),
}

/// A layer that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// The blob that the manifest here names.
    pub was: Digest,
    /// What was pushed.
    pub blob: Descriptor,
    /// How.
    pub way: LayerWay,
    /// Why the exact blob couldn't be had, if it couldn't.
    pub why: Vec<String>,
    /// Bytes that were sent, with those that had to be sent again.
    pub sent_bytes: u64,
}

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// Its manifest there.
    pub manifest: Digest,
    /// How long that is.
    pub manifest_bytes: u64,
    /// Whether that is the one that it has here.
    pub same_manifest: bool,
    /// Its layers, lowest first; one that comes twice is told twice.
    pub layers: Vec<PushedLayer>,
}

impl PushedImage {
    /// Bytes of layers that were sent.
    pub fn sent_bytes(&self) -> u64 {
        let mut each: BTreeMap<_, _> = BTreeMap::new();
        each.extend(
            self.layers
                .iter()
                .map(|layer| (&layer.was, layer.sent_bytes)),
        );
        each.values().sum()
    }
}

/// Pushes an image. A reference with a digest insists on that.
///
/// # Errors
/// If the registry refuses, a layer can't be had, or digests that are insisted on can't be kept.
pub async fn push(
    store: &Arc<Store>,
    client: &Client,
    what: &ToPush,
    to: &Reference,
    options: &PushOptions,
    tell: impl Fn(PushEvent) + Send + Sync + 'static,
) -> Result<PushedImage> {
    let mut options = *options;
    if to.digest().is_some() {
        options.digests = Digests::Insist;
    }
    let lease = lease::take(store, &what.image, &what.manifest, None).await?;
    let work = async {
        let facts = facts::gather(store, client, &what.image, to.repo(), &options).await?;
        let plan = plan(facts, &options)?;
        let sender = Sender {
            store: Arc::clone(store),
            client: client.clone(),
            repo: to.repo().clone(),
            encoding: options.encoding,
            // Each may use every processor; two, so that one can ask the registry while another works.
            encoders: Arc::new(Semaphore::new(2)),
            tell: Arc::new(tell),
        };
        let sent = send_all(&sender, plan, &options).await?;
        finish(store, client, what, to, sent).await
    };
    lease.keep_during(work).await
}

/// A layer and the ways to have it, in the order in which they are tried.
struct Planned {
    facts: Facts,
    steps: Vec<Step>,
}

fn plan(facts: Vec<Facts>, options: &PushOptions) -> Result<Vec<Planned>> {
    let (mut plan, mut not_had) = (Vec::new(), Vec::new());
    for facts in facts {
        let steps = plan::steps(&facts, options.digests, options.encoding);
        if steps.is_empty() {
            not_had.push(NotHad {
                blob: facts.exact.blob.digest.clone(),
                why: facts.exact.why_not.clone(),
            });
        }
        plan.push(Planned { facts, steps });
    }
    match (not_had.is_empty(), options.digests) {
        (true, _) => Ok(plan),
        (false, Digests::Insist) => Err(Error::OtherDigests(not_had)),
        (false, Digests::Keep | Digests::Renew) => Err(Error::NotHad(not_had.swap_remove(0))),
    }
}

async fn send_all<T: Fn(PushEvent) + Send + Sync + 'static>(
    sender: &Sender<T>,
    mut plan: Vec<Planned>,
    options: &PushOptions,
) -> Result<BTreeMap<Digest, PushedLayer>> {
    // The largest is taken first, so that it doesn't end alone.
    plan.sort_by_key(|planned| planned.facts.exact.blob.size);
    let mut running = JoinSet::new();
    let mut sent = BTreeMap::new();
    loop {
        while running.len() < options.parallel.max(1)
            && let Some(Planned { facts, steps }) = plan.pop()
        {
            running.spawn(sender.clone().send(facts, steps, options.digests));
        }
        match running.join_next().await {
            None => return Ok(sent),
            Some(Ok(layer)) => {
                let layer = layer?;
                sent.insert(layer.was.clone(), layer);
            }
            Some(Err(_panic)) => return Err(Error::Panicked("push")),
        }
    }
}

/// Sends the documents, and records where the layers are now.
async fn finish(
    store: &Arc<Store>,
    client: &Client,
    what: &ToPush,
    to: &Reference,
    sent: BTreeMap<Digest, PushedLayer>,
) -> Result<PushedImage> {
    let layers = what.image.layers().map(|layer| {
        let sent = sent.get(&layer.blob.digest);
        sent.cloned()
            .expect("every layer was sent, or an error was told")
    });
    let layers: Vec<_> = layers.collect();
    let (config, repo) = (&what.image.manifest().config, to.repo());
    let mut raw = Bytes::copy_from_slice(what.image.config().raw());
    let config = Some(&config.digest);
    client.push_blob(repo, config, &[], &mut raw).await?;
    let blobs: Vec<_> = layers.iter().map(|layer| layer.blob.clone()).collect();
    let document = manifest::of(&what.image, &blobs);
    let same_manifest = document.is_own;
    let manifest_bytes = document.bytes.len() as u64;
    let manifest = client
        .push_manifest(to, &document.media_type, document.bytes)
        .await?;
    let (store, repo, pushed) = (Arc::clone(store), repo.clone(), layers.clone());
    blocking(move || record(&store, &repo, &pushed)).await??;
    Ok(PushedImage {
        manifest,
        manifest_bytes,
        same_manifest,
        layers,
    })
}

fn record(store: &Store, repo: &Repo, layers: &[PushedLayer]) -> Result<()> {
    for layer in layers.iter().filter(|layer| layer.way != LayerWay::Foreign) {
        let source = Source {
            repository: repo.to_string(),
            blob: layer.blob.digest.clone(),
            blob_len: layer.blob.size,
            media_type: layer.blob.media_type.clone(),
        };
        let mut state = store.state();
        // A layer that is not here any more needs none.
        if let Some(record) = state.layer(&layer.diff_id)?
            && !state.sources(&layer.diff_id)?.contains(&source)
        {
            state.add_layer(&record, Some(&source))?;
        }
    }
    Ok(())
}
