//! Tiers: where content is looked for, one after the other, the local directory first.
//!
//! There is one so far. Whoever only reads asks here, so that a shared one can come second; whoever
//! publishes, proves, checks or removes does so in a tier of its choice.

use lapstrake_oci::{DiffId, Digest};

use crate::content::{Content, LayerFiles};
use crate::error::{Error, Result};

/// The files of a layer in the first tier that has it.
pub(crate) fn find_layer(tiers: &[Content], id: &DiffId) -> Option<LayerFiles> {
    let tier = tiers.iter().find(|tier| tier.has_layer(id))?;
    Some(tier.layer_files(id))
}

/// A blob from the first tier where it is sound.
pub(crate) fn read_blob(tiers: &[Content], digest: &Digest, max_bytes: u64) -> Result<Vec<u8>> {
    let mut outcome = Err(Error::Missing(digest.clone()));
    for tier in tiers {
        match tier.read_blob(digest, max_bytes) {
            Err(Error::Missing(_)) => {}
            Err(error @ Error::Damaged(_)) => outcome = Err(error),
            done => return done,
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::HostId;
    use crate::content::Durability;
    use crate::disk::RealDisk;

    #[test]
    fn a_later_tier_has_what_an_earlier_one_lacks_or_has_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostId::from_hostname("h");
        let tiers = ["one", "two"]
            .map(|name| Content::open(Arc::new(RealDisk), &dir.path().join(name), &host).unwrap());
        let digest = Algorithm::Sha256.digest(b"x");
        let read = |tiers: &[Content]| read_blob(tiers, &digest, 100);
        assert!(matches!(read(&tiers), Err(Error::Missing(_))));
        for tier in &tiers {
            tier.put_blob(b"x", &digest, Durability::HasSource).unwrap();
        }
        let hex = digest.hex();
        let path = dir
            .path()
            .join("one/blobs/sha256")
            .join(&hex[..2])
            .join(hex);
        std::fs::File::create(&path).unwrap();
        assert_eq!(read(&tiers).unwrap(), b"x");
        assert!(matches!(read(&tiers[..1]), Err(Error::Damaged(_))));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read(&tiers).unwrap(), b"x");

        let id = DiffId(digest.clone());
        assert_eq!(find_layer(&tiers, &id), None);
        let staged = tiers[1].stage_layer().unwrap().finish(b"", b"").unwrap();
        tiers[1].publish_layer(staged.path(), &id).unwrap();
        assert_eq!(find_layer(&tiers, &id), Some(tiers[1].layer_files(&id)));
    }
}
