//! The layers of an image: those that the store does not have are fetched, several at once, each by one
//! pull at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use lapstrake_bridge::{PipeWriter, blocking, pipe, worker};
use lapstrake_oci::{Descriptor, DiffId, Image, Repo};
use lapstrake_registry_client::{Client, Error as ClientError, OnRetry};
use lapstrake_store::{Durability, LayerRecord, LayerState, Source, Store};
use tokio::task::JoinSet;

use crate::check::settle_layer;
use crate::error::{Class, Error, Result};
use crate::event::Event;
use crate::flight::{Flight, Flights, News, Turn};
use crate::layer::{self, Wanted};
use crate::limits::Limits;

/// Network chunks in flight to a decoder.
pub(crate) const PIPE_CHUNKS: usize = 16;

/// A layer of a store.
type Key = (PathBuf, DiffId);

/// What the pulls of this process fetch. A process opens a store once, so that its path names it.
static FLIGHTS: LazyLock<Flights<Key>> = LazyLock::new(Flights::new);

/// Waits until no thread writes a layer into this store.
pub(crate) async fn landed(store: &Store) {
    FLIGHTS.landed(|(root, _)| root == store.root()).await;
}

/// Whence and whither layers are fetched.
pub(crate) struct Layers<T> {
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
    pub(crate) repo: Repo,
    pub(crate) limits: Limits,
    pub(crate) tell: Arc<T>,
}

impl<T> Clone for Layers<T> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            client: self.client.clone(),
            repo: self.repo.clone(),
            limits: self.limits,
            tell: Arc::clone(&self.tell),
        }
    }
}

impl<T: Fn(Event) + Send + Sync + 'static> Layers<T> {
    /// Fetches the layers that are not in the store, at most so many at a time; returns how many bytes
    /// that took.
    pub(crate) async fn fetch(&self, image: &Image, parallel: usize) -> Result<u64> {
        let mut queue = self.missing(image).await?;
        // The largest is taken first, so that it doesn't end alone.
        queue.sort_by_key(|wanted| wanted.blob.size);
        let mut running = JoinSet::new();
        let mut fetched = 0;
        loop {
            while running.len() < parallel.max(1)
                && let Some(next) = queue.pop()
            {
                let layers = self.clone();
                running.spawn(async move { layers.bring(&next).await });
            }
            match running.join_next().await {
                None => return Ok(fetched),
                Some(Ok(bytes)) => fetched += bytes?,
                Some(Err(_panic)) => return Err(Error::Panicked("layer")),
            }
        }
    }

    /// What is to be fetched. An image may hold a layer more than once; it is fetched once.
    async fn missing(&self, image: &Image) -> Result<Vec<Wanted>> {
        let mut missing: BTreeMap<DiffId, Wanted> = BTreeMap::new();
        for layer in image.layers() {
            let blob = layer.blob.digest.clone();
            if self.find(layer.diff_id, layer.blob).await?.is_some() {
                (self.tell)(Event::Exists { blob });
                continue;
            }
            let bytes = layer.blob.size;
            missing.entry(layer.diff_id.clone()).or_insert_with(|| {
                (self.tell)(Event::Waiting { blob, bytes });
                Wanted {
                    blob: layer.blob.clone(),
                    compression: layer.layer_type.compression,
                    diff_id: layer.diff_id.clone(),
                }
            });
        }
        Ok(missing.into_values().collect())
    }

    /// The layer, if the store has it and it can be used. One of which that is not sure is read first.
    /// From where it could be fetched is recorded all the same: the source known so far may go.
    async fn find(&self, id: &DiffId, blob: &Descriptor) -> Result<Option<LayerRecord>> {
        let (store, id) = (Arc::clone(&self.store), id.clone());
        let source = source(&self.repo, blob);
        blocking(move || {
            let Some(record) = store.state().layer(&id)? else {
                return Ok(None);
            };
            if !store.content.has_layer(&id) {
                return Ok(None);
            }
            if !store.state().sources(&id)?.contains(&source) {
                store.state().add_layer(&record, Some(&source))?;
            }
            if record.state != LayerState::Doubtful {
                return Ok(Some(record));
            }
            match settle_layer(&store, &id) {
                Ok(()) => Ok(Some(record)),
                // It was moved aside, by us or by another pull: fetch it again.
                Err(Error::Damaged { .. } | Error::Store(lapstrake_store::Error::Missing(_))) => {
                    Ok(None)
                }
                // It was moved aside while it was read here.
                Err(Error::Store(lapstrake_store::Error::Io { source, .. }))
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        })
        .await?
    }

    /// Fetches a layer, or waits for whoever does; returns how many bytes that took here.
    async fn bring(&self, wanted: &Wanted) -> Result<u64> {
        loop {
            let key = (self.store.root().to_owned(), wanted.diff_id.clone());
            let flight = match FLIGHTS.enter(key) {
                Turn::Mine(flight) => flight,
                Turn::Theirs(news) => {
                    self.follow(wanted, news).await;
                    continue;
                }
            };
            // Somebody may have fetched it since it was looked for.
            if let Some(record) = self.find(&wanted.diff_id, &wanted.blob).await? {
                (self.tell)(Event::Done {
                    blob: wanted.blob.digest.clone(),
                    tar_bytes: record.tar_len,
                });
                return Ok(0);
            }
            return self.fetch_layer(wanted, &flight).await;
        }
    }

    /// Shows what somebody else fetches as if it were fetched here.
    async fn follow(&self, wanted: &Wanted, mut news: News) {
        let blob = &wanted.blob.digest;
        (self.tell)(Event::Waiting {
            blob: blob.clone(),
            bytes: wanted.blob.size,
        });
        while let Some(bytes) = news.next().await {
            let blob = blob.clone();
            (self.tell)(Event::Progress { blob, bytes });
        }
    }

    /// Fetches a layer. If what came was wrong, once more: from the start, if it went on from what an earlier
    /// pull left, and from the registry, if a mirror may be to blame.
    async fn fetch_layer(&self, wanted: &Wanted, flight: &Flight<Key>) -> Result<u64> {
        let blob = &wanted.blob.digest;
        let mut received = 0;
        let mut tries = 0..2;
        loop {
            let mut resumed_at = 0;
            let error = match self
                .fetch_once(wanted, flight, &mut resumed_at, &mut received)
                .await
            {
                Ok(()) => return Ok(received),
                Err(error) => error,
            };
            let is_wrong = matches!(error.class(), Class::DataLoss | Class::Invalid);
            let may_end_otherwise =
                is_wrong && (self.client.distrust_mirrors(&self.repo, blob) || resumed_at > 0);
            if !may_end_otherwise || tries.next().is_none() {
                return Err(error);
            }
            (self.tell)(Event::Retrying {
                blob: blob.clone(),
                why: error.to_string(),
            });
        }
    }

    async fn fetch_once(
        &self,
        wanted: &Wanted,
        flight: &Flight<Key>,
        resumed_at: &mut u64,
        received: &mut u64,
    ) -> Result<()> {
        let blob = &wanted.blob;
        let begun = {
            let (store, wanted, held) = (Arc::clone(&self.store), wanted.clone(), flight.clone());
            let limits = self.limits;
            blocking(move || {
                let (_held, store) = (held, store);
                layer::begin(&store, &wanted, limits)
            })
            .await??
        };
        let from = begun.from();
        *resumed_at = from;
        (self.tell)(Event::Started {
            blob: blob.digest.clone(),
            bytes: blob.size,
            resumed_at: from,
        });
        let (writer, reader) = pipe(PIPE_CHUNKS);
        let (store, source) = (Arc::clone(&self.store), source(&self.repo, blob));
        let (wanted, limits, held) = (wanted.clone(), self.limits, flight.clone());
        let receiver = worker("layer", move || {
            // Dropped last: who waits for the flight to land may close the store then.
            let (_held, store) = (held, store);
            let staged = begun.stage(&wanted, limits, reader)?;
            let record = staged.publish(&store, Durability::HasSource)?;
            store.state().add_layer(&record, Some(&source))?;
            Ok::<_, Error>(record)
        })
        .map_err(Error::NoThread)?;
        let on_retry = {
            let (tell, blob) = (Arc::clone(&self.tell), blob.digest.clone());
            OnRetry::new(move |error| {
                tell(Event::Retrying {
                    blob: blob.clone(),
                    why: error.to_string(),
                });
            })
        };
        let mut position = from;
        let rest = Rest {
            blob,
            from,
            on_retry,
        };
        let feed = feed(&self.client, &self.repo, rest, writer, |bytes| {
            *received += bytes - position;
            position = bytes;
            flight.tell(bytes);
            (self.tell)(Event::Progress {
                blob: blob.digest.clone(),
                bytes,
            });
        });
        feed.await;
        if position == blob.size {
            (self.tell)(Event::Verifying {
                blob: blob.digest.clone(),
            });
        }
        let record = receiver.join().await??;
        (self.tell)(Event::Done {
            blob: blob.digest.clone(),
            tar_bytes: record.tar_len,
        });
        Ok(())
    }
}

fn source(repo: &Repo, blob: &Descriptor) -> Source {
    Source {
        repository: repo.to_string(),
        blob: blob.digest.clone(),
        blob_len: blob.size,
        media_type: blob.media_type.clone(),
    }
}

/// What to fetch of a blob.
pub(crate) struct Rest<'a> {
    pub(crate) blob: &'a Descriptor,
    /// The first byte.
    pub(crate) from: u64,
    pub(crate) on_retry: OnRetry,
}

/// Passes a blob from a registry on, and tells how much of it is here so far.
pub(crate) async fn feed(
    client: &Client,
    repo: &Repo,
    rest: Rest<'_>,
    writer: PipeWriter<ClientError>,
    mut tell: impl FnMut(u64),
) {
    let Rest {
        blob,
        from,
        on_retry,
    } = rest;
    let mut stream = match client.blob_telling(repo, blob, from, on_retry).await {
        Ok(stream) => stream,
        Err(error) => return writer.fail(error).await,
    };
    let mut received = from;
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
