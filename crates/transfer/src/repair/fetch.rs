//! Sources, as they were recorded, opened.

use lapstrake_bridge::pipe;
use lapstrake_oci::{Compression, Descriptor, DiffId, Repo};
use lapstrake_registry_client::{Client, OnRetry};
use lapstrake_store::{Source, Store};
use tokio::runtime::Handle;

use crate::error::Result;
use crate::fetch::{PIPE_CHUNKS, Rest, feed};
use crate::layer::{self, Staged, Wanted};
use crate::limits::Limits;
use crate::source::RegistrySource;

/// What it takes to fetch something again. Its work is waited for on the calling thread, which must not
/// be one of the runtime.
#[derive(Debug, Clone)]
pub struct Fetcher {
    /// The client.
    pub client: Client,
    /// Where it runs.
    pub runtime: Handle,
    /// What to take from outside.
    pub limits: Limits,
}

impl Fetcher {
    /// A source's blob, to be read anywhere. `None` if its repository's name is none.
    pub(super) fn ranges(&self, source: &Source) -> Option<RegistrySource> {
        let repo: Repo = source.repository.parse().ok()?;
        let (client, runtime) = (self.client.clone(), self.runtime.clone());
        Some(RegistrySource::new(
            client,
            runtime,
            repo,
            described(source),
        ))
    }

    /// A layer made again from a source's whole blob, all digests checked. `None` if its
    /// repository's name is none.
    pub(super) fn whole(
        &self,
        store: &Store,
        id: &DiffId,
        source: &Source,
    ) -> Result<Option<Staged>> {
        let Ok(repo) = source.repository.parse::<Repo>() else {
            return Ok(None);
        };
        let blob = described(source);
        let wanted = Wanted {
            // The bytes say it.
            compression: Compression::None,
            blob: blob.clone(),
            diff_id: id.clone(),
        };
        let begun = layer::begin(store, &wanted, self.limits)?;
        let from = begun.from();
        let (writer, reader) = pipe(PIPE_CHUNKS);
        let client = self.client.clone();
        let fetching = self.runtime.spawn(async move {
            let rest = Rest {
                blob: &blob,
                from,
                on_retry: OnRetry::silent(),
            };
            feed(&client, &repo, rest, writer, |_bytes| {}).await;
        });
        let staged = begun.stage(&wanted, self.limits, reader);
        fetching.abort();
        staged.map(Some)
    }
}

fn described(source: &Source) -> Descriptor {
    let media_type = source.media_type.clone();
    Descriptor::new(media_type, source.blob.clone(), source.blob_len)
}
