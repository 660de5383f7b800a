//! One document, fetched again by its digest.

use lapstrake_oci::{Descriptor, Digest, Repo, bounds};
use lapstrake_store::{Durability, Object, Store};

use super::fetch::Fetcher;
use super::layer::Mended;
use super::refill::said;
use crate::error::Result;

/// Fetches a damaged or missing document again from one of the repositories of the images that have
/// it. If none has it, what is there is moved aside.
///
/// # Errors
/// If the store refuses; that no repository has it is not an error.
pub fn repair_blob(
    store: &Store,
    fetcher: Option<&Fetcher>,
    digest: &Digest,
    repos: &[Repo],
) -> Result<Mended> {
    let _claim = store.claim([Object::Blob(digest.clone())]);
    let mut mended = Mended::default();
    let Some(fetcher) = fetcher else {
        mended.failures.push("no registry may be asked".to_owned());
        return set_aside(store, digest, mended);
    };
    if repos.is_empty() {
        let why = "no image has it, so it is not known where to ask";
        mended.failures.push(why.to_owned());
    }
    for repo in repos {
        match fetch(fetcher, digest, repo) {
            Ok(bytes) => {
                store
                    .content
                    .put_blob(&bytes, digest, Durability::OnlyHere)?;
                mended
                    .done
                    .push(format!("it was fetched again from {repo}"));
                mended.failures.clear();
                return Ok(mended);
            }
            Err(error) => mended
                .failures
                .push(format!("from {repo}: {}", said(&error))),
        }
    }
    set_aside(store, digest, mended)
}

fn set_aside(store: &Store, digest: &Digest, mut mended: Mended) -> Result<Mended> {
    match store.content.quarantine_blob(digest) {
        Ok(moved) => mended.quarantined = Some(moved),
        Err(lapstrake_store::Error::Missing(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(mended)
}

/// The digest doesn't say whether it is a manifest or a config, and registries keep them apart.
fn fetch(fetcher: &Fetcher, digest: &Digest, repo: &Repo) -> Result<Vec<u8>> {
    let Fetcher {
        client, runtime, ..
    } = fetcher;
    if let Ok(resolved) = runtime.block_on(client.manifest(repo, digest)) {
        return Ok(resolved.document.raw().to_vec());
    }
    let max = bounds::MAX_CONFIG_BYTES as u64;
    let blob = Descriptor::new("application/octet-stream", digest.clone(), max);
    Ok(runtime.block_on(client.small_blob(repo, &blob, max))?)
}
