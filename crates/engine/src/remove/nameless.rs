//! Images that lose their last name while containers lie on them.
//!
//! As in Docker, one on which something runs stays without a name and is found by its id. One on which nothing runs is gone
//! as an image: nothing leads to it any more. The content stays in both cases for as long as a writable layer needs it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use lapstrake_oci::Digest;
use lapstrake_store::{Commit, ImageRecord, Lineage};
use lapstrake_transfer::{is_unnamed, unnamed};

use crate::Engine;
use crate::error::Result;
use crate::names::Named;

/// These names, and with an image's last one what it is called in the store while it has none: nobody gave it that.
pub(super) fn with_places_of(known: &[Named], names: Vec<ImageRecord>) -> Vec<ImageRecord> {
    let of_these = |image: &ImageRecord| names.iter().any(|name| name.config == image.config);
    let others = (known.iter().map(|(image, _)| image))
        .filter(|image| of_these(image) && !names.contains(image));
    if !others.clone().all(|image| is_unnamed(&image.reference)) {
        return names;
    }
    let places: Vec<_> = others.cloned().collect();
    names.into_iter().chain(places).collect()
}

/// The images that no name leads to when these are gone, once each.
pub(super) fn losing_their_last(known: &[Named], going: &[ImageRecord]) -> Vec<Named> {
    let stay: BTreeSet<_> = (known.iter())
        .filter(|(image, _)| !going.contains(image))
        .map(|(image, _)| &image.config)
        .collect();
    let mut seen: BTreeSet<&Digest> = BTreeSet::new();
    let losing = known.iter().filter(|(image, _)| {
        going.contains(image) && !stay.contains(&image.config) && seen.insert(&image.config)
    });
    losing.cloned().collect()
}

impl Engine {
    /// Keeps those without a name on which one of the `running` lies; takes what stays from `going`.
    pub(super) fn keep_nameless(
        &self,
        losing: &[Named],
        running: &BTreeSet<String>,
        going: &mut Vec<ImageRecord>,
        now: SystemTime,
    ) -> Result<()> {
        for (image, target) in losing {
            let users = self.store.state().holders(&image.config)?;
            if !users.iter().any(|user| running.contains(user)) {
                continue;
            }
            let nameless = ImageRecord {
                reference: unnamed(image.manifest.clone()).to_string(),
                ..image.clone()
            };
            if going.contains(&nameless) {
                going.retain(|name| *name != nameless);
                continue;
            }
            let config = self.config(image)?;
            let lineage = Lineage {
                index: (*target != image.manifest).then_some(target),
                layers: &config.value().rootfs.diff_ids,
            };
            // Before the names go: a crash in between leaves it one too many, never none.
            (self.store.state()).set_image(&nameless, &lineage, now, Commit::Synced)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    fn named(name: &str, text: &str) -> Named {
        let manifest = Algorithm::Sha256.digest(text.as_bytes());
        let image = ImageRecord {
            reference: name.to_owned(),
            config: Algorithm::Sha256.digest(format!("config of {text}").as_bytes()),
            manifest: manifest.clone(),
        };
        (image, manifest)
    }

    #[test]
    fn what_an_image_is_called_without_a_name_goes_with_its_last_name() {
        let place = unnamed(named("", "one").1).to_string();
        let known = [
            named("a:1", "one"),
            named(&place, "one"),
            named("a:2", "one"),
            named("b:1", "two"),
        ];
        let image = |at: &usize| known[*at].0.clone();
        for (names, want) in [
            (&[0][..], &[0][..]),
            (&[0, 2], &[0, 2, 1]),
            (&[1], &[1]),
            (&[3], &[3]),
        ] {
            let names = names.iter().map(image).collect();
            let want: Vec<_> = want.iter().map(image).collect();
            assert_eq!(with_places_of(&known, names), want);
        }
    }

    #[test]
    fn an_image_loses_its_last_name_when_no_other_leads_to_it() {
        let known = [
            named("a:1", "one"),
            named("a:2", "one"),
            named("b:1", "two"),
        ];
        for (going, losing) in [
            (&[][..], &[][..]),
            (&[0], &[]),
            (&[2], &[2]),
            (&[0, 1], &[0]),
            (&[0, 1, 2], &[0, 2]),
        ] {
            let going: Vec<_> = going
                .iter()
                .map(|at: &usize| known[*at].0.clone())
                .collect();
            let want: Vec<_> = losing.iter().map(|at: &usize| known[*at].clone()).collect();
            assert_eq!(losing_their_last(&known, &going), want);
        }
    }
}
