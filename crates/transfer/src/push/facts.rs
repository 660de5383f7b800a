//! What is known of each layer before anything is sent: what the repository has, and from where the rest
//! can be had. Nothing changes by asking.

use std::collections::BTreeSet;
use std::sync::Arc;

use lapstrake_bridge::blocking;
use lapstrake_oci::{Descriptor, DiffId, Distribution, Image, LayerType, Repo};
use lapstrake_registry_client::Client;
use lapstrake_store::{Source, Store};
use tokio::task::JoinSet;

use super::make::Recipe;
use super::{Digests, PushOptions};
use crate::encode::Encoding;
use crate::error::{Error, Result};

/// Layers that are asked for at a time.
const PARALLEL: usize = 8;

/// What is known of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) diff_id: DiffId,
    /// Of its tar; 0 if it is not here.
    pub(super) tar_len: u64,
    /// Only its publisher hands it on.
    pub(super) is_foreign: bool,
    /// Its blob is its tar, and no registry is known that ever had it.
    pub(super) is_new_tar: bool,
    /// The layer is here.
    pub(super) has_tar: bool,
    /// The blob that the manifest names.
    pub(super) exact: Found,
    /// Other blobs of the same layer, compressed as is asked for.
    pub(super) others: Vec<Found>,
}

/// From where a blob can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) blob: Descriptor,
    /// The repository has it.
    pub(super) is_there: bool,
    /// Other repositories of the same registry that have it, or are said to.
    pub(super) mounts: Vec<Repo>,
    /// How to make it.
    pub(super) recipe: Option<Recipe>,
    /// Repositories that have it.
    pub(super) copies: Vec<Repo>,
    /// Why it can't be had in the other ways.
    pub(super) why_not: Vec<String>,
}

/// What the store knows of a layer.
#[derive(Clone)]
struct Known {
    blob: Descriptor,
    diff_id: DiffId,
    tar_len: Option<u64>,
    sources: Vec<Source>,
    recipe: Option<Recipe>,
}

#[derive(Clone)]
struct Asker {
    client: Client,
    repo: Repo,
    digests: Digests,
    encoding: Encoding,
}

/// Asks for each layer of an image; one that comes twice is asked for once.
pub(super) async fn gather(
    store: &Arc<Store>,
    client: &Client,
    image: &Image,
    repo: &Repo,
    options: &PushOptions,
) -> Result<Vec<Facts>> {
    let asker = Asker {
        client: client.clone(),
        repo: repo.clone(),
        digests: options.digests,
        encoding: options.encoding,
    };
    let mut seen = BTreeSet::new();
    let layers = image.layers();
    let layers = layers.filter(|layer| seen.insert(layer.blob.digest.clone()));
    let layers: Vec<_> = layers
        .map(|layer| (layer.blob.clone(), layer.diff_id.clone()))
        .collect();
    let store = Arc::clone(store);
    let mut waiting = blocking(move || {
        let known = layers
            .into_iter()
            .map(|(blob, id)| Known::of(&store, blob, id));
        known.collect::<Result<Vec<_>>>()
    })
    .await??;
    let (mut running, mut facts) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < PARALLEL
            && let Some(known) = waiting.pop()
        {
            running.spawn(asker.clone().ask(known));
        }
        match running.join_next().await {
            None => return Ok(facts),
            Some(Ok(one)) => facts.push(one?),
            Some(Err(_panic)) => return Err(Error::Panicked("push")),
        }
    }
}

impl Known {
    fn of(store: &Store, blob: Descriptor, diff_id: DiffId) -> Result<Self> {
        let record = store.state().layer(&diff_id)?;
        let tar_len = record.map(|record| record.tar_len);
        let tar_len = tar_len.filter(|_| store.find_layer(&diff_id).is_some());
        let recipe = match tar_len {
            Some(_) => Recipe::of(store, &diff_id, &blob),
            None => None,
        };
        Ok(Self {
            sources: store.state().sources(&diff_id)?,
            tar_len,
            recipe,
            blob,
            diff_id,
        })
    }

    /// The repositories that are said to have a blob.
    fn repos(&self, blob: &Descriptor) -> Vec<Repo> {
        let sources = self.sources.iter();
        let sources = sources.filter(|source| source.blob == blob.digest);
        sources
            .filter_map(|source| source.repository.parse().ok())
            .collect()
    }

    /// Blobs of the layer besides the one that the manifest names.
    fn others(&self, encoding: Encoding) -> Vec<Descriptor> {
        let mut others: Vec<Descriptor> = Vec::new();
        for source in &self.sources {
            let kind = LayerType::of(&source.media_type);
            let fits = kind.is_some_and(|kind| kind.compression == encoding.compression());
            let is_new = source.blob != self.blob.digest
                && others.iter().all(|other| other.digest != source.blob);
            if fits && is_new {
                let media_type = source.media_type.clone();
                others.push(Descriptor::new(
                    media_type,
                    source.blob.clone(),
                    source.blob_len,
                ));
            }
        }
        others
    }
}

impl Asker {
    async fn ask(self, known: Known) -> Result<Facts> {
        let blob = &known.blob;
        let is_foreign = LayerType::of(&blob.media_type)
            .is_some_and(|kind| kind.distribution == Distribution::Foreign);
        let was_somewhere = !known.repos(blob).is_empty();
        let mut facts = Facts {
            diff_id: known.diff_id.clone(),
            tar_len: known.tar_len.unwrap_or(0),
            is_foreign,
            is_new_tar: blob.digest == known.diff_id.0 && !was_somewhere,
            has_tar: known.tar_len.is_some(),
            exact: Found::nowhere(blob.clone()),
            others: Vec::new(),
        };
        if is_foreign || self.digests == Digests::Renew {
            return Ok(facts);
        }
        facts.exact = self.find(&known, blob.clone(), known.recipe).await?;
        let is_sure = facts.exact.is_there || (facts.exact.recipe.is_some() && !facts.is_new_tar);
        if self.digests == Digests::Keep && !is_sure {
            for other in known.others(self.encoding) {
                facts.others.push(self.find(&known, other, None).await?);
            }
        }
        Ok(facts)
    }

    async fn find(&self, known: &Known, blob: Descriptor, recipe: Option<Recipe>) -> Result<Found> {
        let mut found = Found::nowhere(blob);
        let digest = &found.blob.digest;
        if self.client.blob_exists(&self.repo, digest).await?.is_some() {
            found.is_there = true;
            return Ok(found);
        }
        found
            .why_not
            .push(format!("{} does not have it", self.repo));
        let repos = known.repos(&found.blob);
        let elsewhere: Vec<_> = repos
            .iter()
            .filter(|repo| **repo != self.repo)
            .cloned()
            .collect();
        if elsewhere.is_empty() {
            found
                .why_not
                .push("no other repository is known to have it".to_owned());
        }
        found.recipe = recipe;
        if recipe.is_none() {
            let why = if known.tar_len.is_some() {
                "nothing is kept from which it can be made again"
            } else {
                "the layer is not in the store"
            };
            found.why_not.push(why.to_owned());
        }
        for repo in elsewhere {
            // What can be made need not be looked for.
            let offer = match recipe {
                Some(_) => Ok(true),
                None => self.client.offers_blob(&repo, digest).await,
            };
            match offer {
                Ok(true) => {
                    if repo.registry() == self.repo.registry() {
                        found.mounts.push(repo.clone());
                    }
                    found.copies.push(repo);
                }
                Ok(false) => found.why_not.push(format!("{repo} no longer has it")),
                Err(error) => found.why_not.push(error.to_string()),
            }
        }
        Ok(found)
    }
}

impl Found {
    fn nowhere(blob: Descriptor) -> Self {
        Self {
            blob,
            is_there: false,
            mounts: Vec::new(),
            recipe: None,
            copies: Vec::new(),
            why_not: Vec::new(),
        }
    }
}
