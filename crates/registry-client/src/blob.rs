//! A blob's bytes as they come: whole, or in parts that are fetched side by side.

mod ahead;
mod part;

use std::sync::Arc;

use bytes::Bytes;
use lapstrake_oci::{Descriptor, Repo};

use crate::client::Client;
use crate::error::Error;
use crate::options::Fetching;
use ahead::Ahead;
use part::{Part, Place};

/// Is told why, before a registry is asked once more for what it did not send, or the next mirror.
#[derive(Clone)]
pub struct OnRetry(Arc<dyn Fn(&Error) + Send + Sync>);

impl OnRetry {
    /// Calls this.
    pub fn new(tell: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Nobody wants to know.
    pub fn silent() -> Self {
        Self::new(|_error| {})
    }

    pub(crate) fn tell(&self, error: &Error) {
        (self.0)(error);
    }
}

impl std::fmt::Debug for OnRetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnRetry").finish_non_exhaustive()
    }
}

/// A blob being fetched: all bytes that its descriptor speaks of, from where it was begun, or an error.
#[derive(Debug)]
pub struct BlobStream {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Whole(Box<Part>),
    Ahead(Box<Ahead>),
}

impl BlobStream {
    pub(crate) async fn open(
        client: Client,
        repo: &Repo,
        blob: &Descriptor,
        from: u64,
        on_retry: OnRetry,
    ) -> Result<Self, Error> {
        let fetching = client.net.options.fetching;
        let place = Place::new(client, repo, blob, on_retry)?;
        let left = blob.size.saturating_sub(from);
        if let Fetching::Parts { parts, part_bytes } = fetching
            && parts > 1
            && left > part_bytes.max(1)
        {
            let mut first = Part::new(place.clone(), from, from + part_bytes.max(1));
            first.connect_patiently().await?;
            if first.is_ranged() {
                let ahead = Ahead::new(place, first, parts - 1, part_bytes.max(1));
                return Ok(Self {
                    way: Way::Ahead(Box::new(ahead)),
                });
            }
            // It ignores ranges: what it sends is all of the blob, so all of it is taken.
            first.widen();
            return Ok(Self {
                way: Way::Whole(Box::new(first)),
            });
        }
        let mut whole = Part::new(place, from, blob.size);
        whole.connect_patiently().await?;
        Ok(Self {
            way: Way::Whole(Box::new(whole)),
        })
    }

    /// The next bytes; `None` once all have come.
    ///
    /// # Errors
    /// If the registry sends too much, or doesn't send the rest after several tries.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match &mut self.way {
            Way::Whole(part) => part.next_chunk().await,
            Way::Ahead(ahead) => ahead.next_chunk().await,
        }
    }
}
