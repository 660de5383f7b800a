//! One layer on its way: the steps of its plan, until one of them works.

use std::sync::Arc;

use lapstrake_bridge::blocking;
use lapstrake_oci::{Descriptor, Digest, Repo};
use lapstrake_registry_client::{
    Client, Copied, Error as ClientError, FromRead, Pushed, Source, Way,
};
use lapstrake_store::Store;
use tokio::sync::Semaphore;

use super::facts::Facts;
use super::make::{Making, Recipe};
use super::manifest;
use super::plan::Step;
use super::watch::{Seen, Watched};
use super::{Digests, LayerWay, PushEvent, PushedLayer};
use crate::encode::Encoding;
use crate::error::{Error, NotHad, Result};

/// What sends layers into a repository.
pub(super) struct Sender<T> {
    pub(super) store: Arc<Store>,
    pub(super) client: Client,
    pub(super) repo: Repo,
    pub(super) encoding: Encoding,
    pub(super) encoders: Arc<Semaphore>,
    pub(super) tell: Arc<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            client: self.client.clone(),
            repo: self.repo.clone(),
            encoding: self.encoding,
            encoders: Arc::clone(&self.encoders),
            tell: Arc::clone(&self.tell),
        }
    }
}

/// A blob that is in the repository.
struct Done {
    blob: Descriptor,
    way: LayerWay,
    sent_bytes: u64,
}

/// What a step came to.
enum Outcome {
    Done(Box<Done>),
    /// It didn't work, and the next may.
    Failed(String),
}

impl<T: Fn(PushEvent) + Send + Sync + 'static> Sender<T> {
    /// Has a layer in the repository.
    pub(super) async fn send(
        self,
        facts: Facts,
        steps: Vec<Step>,
        digests: Digests,
    ) -> Result<PushedLayer> {
        let was = facts.exact.blob.digest.clone();
        let mut why = facts.exact.why_not.clone();
        // If that is what was to be done, there is nothing to explain.
        let is_fallback = digests == Digests::Keep && !facts.is_new_tar;
        for step in steps {
            if step == Step::Compress {
                let why = if is_fallback { why.clone() } else { Vec::new() };
                let blob = was.clone();
                (self.tell)(PushEvent::Compressing { blob, why });
            }
            match self.step(&facts, step).await? {
                Outcome::Done(done) => {
                    let Done {
                        blob,
                        way,
                        sent_bytes,
                    } = *done;
                    let is_other = is_fallback && blob.digest != was;
                    return Ok(PushedLayer {
                        diff_id: facts.diff_id,
                        why: if is_other { why } else { Vec::new() },
                        was,
                        blob,
                        way,
                        sent_bytes,
                    });
                }
                Outcome::Failed(failure) => {
                    (self.tell)(PushEvent::Failed {
                        blob: was.clone(),
                        why: failure.clone(),
                    });
                    why.push(failure);
                }
            }
        }
        let not_had = NotHad { blob: was, why };
        Err(match digests {
            Digests::Insist => Error::OtherDigests(vec![not_had]),
            Digests::Keep | Digests::Renew => Error::NotHad(not_had),
        })
    }

    async fn step(&self, facts: &Facts, step: Step) -> Result<Outcome> {
        let was = &facts.exact.blob.digest;
        let done = |blob, way| {
            Outcome::Done(Box::new(Done {
                blob,
                way,
                sent_bytes: 0,
            }))
        };
        Ok(match step {
            Step::Leave => {
                (self.tell)(PushEvent::Skipped { blob: was.clone() });
                done(facts.exact.blob.clone(), LayerWay::Foreign)
            }
            Step::There(blob) => {
                (self.tell)(PushEvent::Exists { blob: was.clone() });
                done(blob, LayerWay::Existing)
            }
            Step::Mount(blob, from) => {
                if !self
                    .client
                    .mount_blob(&self.repo, &blob.digest, &from)
                    .await?
                {
                    let registry = self.repo.registry();
                    let why = format!("{registry} does not take it from {from}");
                    return Ok(Outcome::Failed(why));
                }
                (self.tell)(PushEvent::Mounted {
                    blob: was.clone(),
                    from: from.clone(),
                });
                done(blob, LayerWay::Mounted(from))
            }
            Step::Copy(blob, from) => self.copy(was, blob, from).await?,
            Step::Make(blob, recipe) => self.make(facts, recipe, Some(blob)).await?,
            Step::Compress => {
                let recipe = Recipe::Encoded(self.encoding);
                self.make(facts, recipe, None).await?
            }
        })
    }

    /// Copies a blob through; if what came was wrong and a mirror may be to blame, once more.
    async fn copy(&self, was: &Digest, blob: Descriptor, from: Repo) -> Result<Outcome> {
        loop {
            let copied = Copied {
                client: self.client.clone(),
                repo: from.clone(),
                blob: blob.clone(),
            };
            let (want, size) = (&blob.digest, blob.size);
            let seen = seen(want, size);
            let sent = self.put(was, Some(want), size, Some(seen), copied).await;
            match sent {
                Ok(pushed) => return Ok(self.done(was, blob, LayerWay::Copied(from), &pushed)),
                Err(error) => {
                    let error = from_source(error)?;
                    let is_wrong = matches!(error, Error::OtherBlob { .. });
                    if !(is_wrong && self.client.distrust_mirrors(&from, want)) {
                        return Ok(Outcome::Failed(format!("copying it from {from}: {error}")));
                    }
                }
            }
        }
    }

    /// Makes a blob of the layer: the one that is wanted, or any.
    async fn make(
        &self,
        facts: &Facts,
        recipe: Recipe,
        want: Option<Descriptor>,
    ) -> Result<Outcome> {
        let _turn = self.encoders.acquire().await;
        let (store, id) = (Arc::clone(&self.store), facts.diff_id.clone());
        let making = match blocking(move || Making::of(&store, &id, recipe)).await? {
            Ok(making) => making,
            Err(error) => return failed(facts, want.is_some(), error),
        };
        let opening = making.clone();
        let length = want.as_ref().map(|want| want.size).or(making.length());
        let source = FromRead::new(length, move |from| opening.open(from));
        let digest = want.as_ref().map(|want| &want.digest);
        // The tar is looked at where it is read.
        let seen = match (recipe, &want) {
            (Recipe::Encoded(_), Some(want)) => Some(seen(&want.digest, want.size)),
            _ => None,
        };
        let estimate = length.unwrap_or_else(|| self.encoding.estimate(facts.tar_len));
        let was = &facts.exact.blob.digest;
        let pushed = match self.put(was, digest, estimate, seen, source).await {
            Ok(pushed) => pushed,
            Err(error) => return failed(facts, want.is_some(), from_source(error)?),
        };
        Ok(match want {
            Some(blob) => self.done(was, blob, LayerWay::Made, &pushed),
            None => {
                let sibling = &facts.exact.blob.media_type;
                let name = manifest::layer_type(sibling, self.encoding.compression());
                let blob = Descriptor::new(name, pushed.digest.clone(), making.made_bytes());
                self.done(was, blob, LayerWay::Compressed(self.encoding), &pushed)
            }
        })
    }

    async fn put(
        &self,
        was: &Digest,
        want: Option<&Digest>,
        bytes: u64,
        seen: Option<Seen>,
        source: impl Source,
    ) -> std::result::Result<Pushed, ClientError> {
        (self.tell)(PushEvent::Started {
            blob: was.clone(),
            bytes,
        });
        let (tell, blob) = (Arc::clone(&self.tell), was.clone());
        let mut watched = Watched {
            source,
            seen,
            tell: move |bytes| {
                let blob = blob.clone();
                tell(PushEvent::Progress { blob, bytes });
            },
        };
        self.client
            .push_blob(&self.repo, want, &[], &mut watched)
            .await
    }

    fn done(&self, was: &Digest, blob: Descriptor, way: LayerWay, pushed: &Pushed) -> Outcome {
        let sent_bytes = match pushed.way {
            Way::Sent(bytes) => bytes,
            Way::Existing | Way::Mounted(_) => 0,
        };
        (self.tell)(PushEvent::Done {
            blob: was.clone(),
            pushed: blob.digest.clone(),
            bytes: blob.size,
        });
        Outcome::Done(Box::new(Done {
            blob,
            way,
            sent_bytes,
        }))
    }
}

fn seen(want: &Digest, length: u64) -> Seen {
    let name = want.clone();
    Seen::new(want, length, move |got| Error::OtherBlob {
        want: name.clone(),
        got,
    })
}

/// A layer that is damaged here may be had elsewhere; when it was the last hope, that it is damaged is what
/// has to be said.
fn failed(facts: &Facts, has_other_ways: bool, error: Error) -> Result<Outcome> {
    let copies = !facts.exact.copies.is_empty();
    match error {
        error if !(has_other_ways && copies) => Err(error),
        error => Ok(Outcome::Failed(error.to_string())),
    }
}

/// What the source said, if it was that; the registry's errors end the push.
fn from_source(error: ClientError) -> Result<Error> {
    match error {
        ClientError::Source {
            registry,
            what,
            source,
        } => {
            let ours = source.downcast::<Error>();
            Ok(ours.unwrap_or_else(|source| {
                Error::Registry(ClientError::Source {
                    registry,
                    what,
                    source,
                })
            }))
        }
        other => Err(other.into()),
    }
}
