//! Records, documents and files compared, without reading a layer.

use lapstrake_oci::{Config, Manifest, Parsed, bounds};
use lapstrake_store::check::{Facts, Fault, Finding, Part, Wanted, plan};
use lapstrake_store::{Error as StoreError, ImageRecord, Object, Parent, Store};

use crate::error::Result;

/// Compares what is recorded with what is there. Documents are read, layers are not.
///
/// # Errors
/// If the store can't be looked at.
pub fn quick(store: &Store) -> Result<Vec<Finding>> {
    let first = look(store)?;
    if first.is_empty() {
        return Ok(first);
    }
    // What a pull or a prune does meanwhile looks wrong for a moment; what is wrong stays so.
    let second = look(store)?;
    Ok(first
        .into_iter()
        .filter(|finding| second.contains(finding))
        .collect())
}

fn look(store: &Store) -> Result<Vec<Finding>> {
    let facts = store.facts()?;
    let (wanted, mut findings) = wanted(store, &facts);
    findings.extend(plan(&facts, &wanted));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// What the images' documents ask for, and which of them can't say so.
pub fn wanted(store: &Store, facts: &Facts) -> (Wanted, Vec<Finding>) {
    let (mut wanted, mut findings) = (Wanted::default(), Vec::new());
    for image in &facts.images {
        for blob in [&image.manifest, &image.config] {
            let known = wanted.blobs.entry(blob.clone());
            known.or_insert_with(|| (Part::Image(image.reference.clone()), None));
        }
        match read(store, image, &mut wanted) {
            Ok(()) | Err((_, None)) => {}
            Err((part, Some(fault))) => findings.push(Finding::new(part, fault)),
        }
    }
    for (parent, child) in &facts.claims {
        claim(parent, child, &mut wanted);
    }
    (wanted, findings)
}

/// What a writable layer lies on is wanted; so is the index that led to a wanted manifest.
fn claim(parent: &Parent, child: &Object, wanted: &mut Wanted) {
    match (parent, child) {
        (Parent::Writable(name), Object::Blob(digest)) => {
            let known = wanted.blobs.entry(digest.clone());
            known.or_insert_with(|| (Part::Writable(name.clone()), None));
        }
        (Parent::Writable(name), Object::Layer(id)) => {
            let known = wanted.layers.entry(id.clone());
            known.or_insert_with(|| Part::Writable(name.clone()));
        }
        (Parent::Object(Object::Blob(index)), Object::Blob(manifest)) => {
            if let Some((asker, _)) = wanted.blobs.get(manifest).cloned() {
                let known = wanted.blobs.entry(index.clone());
                known.or_insert((asker, None));
            }
        }
        (Parent::Object(_), _) => {}
    }
}

/// Reads an image's documents. A missing one is no fault here: the plan finds it.
fn read(
    store: &Store,
    image: &ImageRecord,
    wanted: &mut Wanted,
) -> std::result::Result<(), (Part, Option<Fault>)> {
    let part = |digest: &lapstrake_oci::Digest| Part::Blob(digest.clone());
    let bytes = |digest, max: usize| match store.content.read_blob(digest, max as u64) {
        Ok(bytes) => Ok(bytes),
        Err(StoreError::Missing(_)) => Err((part(digest), None)),
        Err(StoreError::Damaged(_)) => {
            let why = "its bytes have another digest".to_owned();
            Err((part(digest), Some(Fault::Damaged(why))))
        }
        Err(error) => Err((part(digest), Some(Fault::Unreadable(error.to_string())))),
    };
    let unusable = |digest, error: lapstrake_oci::Error| {
        (part(digest), Some(Fault::Damaged(error.to_string())))
    };
    let manifest = bytes(&image.manifest, bounds::MAX_MANIFEST_BYTES)?;
    let manifest =
        Parsed::<Manifest>::manifest(manifest).map_err(|error| unusable(&image.manifest, error))?;
    let described = &manifest.value().config;
    if described.digest != image.config {
        let why = format!("its manifest names the config {}", described.digest);
        return Err((
            Part::Image(image.reference.clone()),
            Some(Fault::Damaged(why)),
        ));
    }
    let config = (Part::Image(image.reference.clone()), Some(described.size));
    wanted.blobs.insert(image.config.clone(), config);
    let config = bytes(&image.config, bounds::MAX_CONFIG_BYTES)?;
    let config =
        Parsed::<Config>::config(config).map_err(|error| unusable(&image.config, error))?;
    for id in &config.value().rootfs.diff_ids {
        let layer = wanted.layers.entry(id.clone());
        layer.or_insert_with(|| Part::Image(image.reference.clone()));
    }
    Ok(())
}
