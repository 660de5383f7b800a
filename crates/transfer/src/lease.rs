//! The lease of a pull: what it fetches stays, from before the first byte is published until the
//! image has its name; if the process dies, until the lease expires.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapstrake_bridge::blocking;
use lapstrake_oci::{Digest, Image};
use lapstrake_store::{Lease, Object, Store};

use crate::error::Result;

/// How long what a dead pull has fetched is kept, so that the next one need not fetch it again.
pub(crate) const TERM: Duration = Duration::from_secs(60 * 60);

/// A lease that is renewed while something is going on.
pub(crate) struct Kept(Arc<Lease>);

/// Takes a lease on an image's documents and layers.
pub(crate) async fn take(
    store: &Arc<Store>,
    image: &Image,
    manifest: &Digest,
    index: Option<&Digest>,
) -> Result<Kept> {
    let config = &image.manifest().value().config.digest;
    let documents = [Some(manifest), Some(config), index].into_iter().flatten();
    let documents = documents.map(|digest| Object::Blob(digest.clone()));
    let layers = image
        .layers()
        .map(|layer| Object::Layer(layer.diff_id.clone()));
    let objects: Vec<_> = documents.chain(layers).collect();
    let store = Arc::clone(store);
    let lease = blocking(move || store.lease(&objects, SystemTime::now() + TERM)).await??;
    Ok(Kept(Arc::new(lease)))
}

impl Kept {
    /// Does `work`, and renews the lease until that is done.
    pub(crate) async fn keep_during<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let renew = async {
            loop {
                tokio::time::sleep(TERM / 3).await;
                let lease = Arc::clone(&self.0);
                blocking(move || lease.renew(SystemTime::now() + TERM)).await??;
            }
        };
        tokio::select! {
            done = work => done,
            failed = renew => failed,
        }
    }
}
