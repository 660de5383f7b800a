//! In which order a layer's blob is to be had: a pure function of what is known.

use lapstrake_oci::{Compression, Descriptor, Repo};

use super::Digests;
use super::facts::{Facts, Found};
use super::make::Recipe;
use crate::encode::Encoding;

/// A way to have a layer in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Only its publisher hands it on: the manifest says where it is.
    Leave,
    /// It is there.
    There(Descriptor),
    /// Ask the registry for it.
    Mount(Descriptor, Repo),
    /// Make it again.
    Make(Descriptor, Recipe),
    /// Copy it through.
    Copy(Descriptor, Repo),
    /// Compress the layer.
    Compress,
}

/// The ways to have a layer, best first; none if it can't be had as is asked.
pub(super) fn steps(facts: &Facts, digests: Digests, encoding: Encoding) -> Vec<Step> {
    if facts.is_foreign {
        return vec![Step::Leave];
    }
    let compress = facts.has_tar.then_some(Step::Compress);
    // Docker does not send a tar as it is either; but one that a registry had stays what it is.
    let to_compress = facts.is_new_tar && encoding.compression() != Compression::None;
    match digests {
        Digests::Insist => exact(&facts.exact),
        Digests::Renew => compress.into_iter().collect(),
        Digests::Keep => {
            let exact = exact(&facts.exact);
            if let [Step::There(_)] = exact[..] {
                return exact;
            }
            let exact = if to_compress { Vec::new() } else { exact };
            let others = facts.others.iter().flat_map(self::exact);
            exact.into_iter().chain(others).chain(compress).collect()
        }
    }
}

/// The ways to have one blob.
fn exact(found: &Found) -> Vec<Step> {
    let blob = &found.blob;
    if found.is_there {
        return vec![Step::There(blob.clone())];
    }
    let mounts = found
        .mounts
        .iter()
        .map(|repo| Step::Mount(blob.clone(), repo.clone()));
    let made = found.recipe.map(|recipe| Step::Make(blob.clone(), recipe));
    let copies = found
        .copies
        .iter()
        .map(|repo| Step::Copy(blob.clone(), repo.clone()));
    mounts.chain(made).chain(copies).collect()
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::{Algorithm, DiffId, media_type};

    use super::*;

    /// Facts as words: of the exact blob `there`, `mount`, `made`, `copy`; of a recorded gzip of it
    /// `other-there`, `other-copy`; `foreign`, `new-tar`, `no-tar`.
    fn facts(words: &str) -> Facts {
        let has = |word: &str| words.split(' ').any(|given| given == word);
        let repo = |name: &str| format!("r/{name}").parse::<Repo>().unwrap();
        let found = |name: &str, prefix: &str| Found {
            blob: Descriptor::new(
                media_type::OCI_LAYER_GZIP,
                Algorithm::Sha256.digest(name.as_bytes()),
                1,
            ),
            is_there: has(&format!("{prefix}there")),
            mounts: has(&format!("{prefix}mount"))
                .then(|| repo("m"))
                .into_iter()
                .collect(),
            recipe: has(&format!("{prefix}made")).then_some(Recipe::Tar),
            copies: has(&format!("{prefix}copy"))
                .then(|| repo("c"))
                .into_iter()
                .collect(),
            why_not: Vec::new(),
        };
        let has_other = words.contains("other-");
        Facts {
            diff_id: DiffId(Algorithm::Sha256.digest(b"tar")),
            tar_len: 1,
            is_foreign: has("foreign"),
            is_new_tar: has("new-tar"),
            has_tar: !has("no-tar"),
            exact: found("exact", ""),
            others: has_other
                .then(|| found("other", "other-"))
                .into_iter()
                .collect(),
        }
    }

    fn check(words: &str, digests: Digests, expected: &str) {
        let facts = facts(words);
        let name = |blob: &Descriptor| {
            if *blob == facts.exact.blob {
                ""
            } else {
                "other-"
            }
        };
        let steps: Vec<_> = steps(&facts, digests, Encoding::DOCKER)
            .iter()
            .map(|step| match step {
                Step::Leave => "leave".to_owned(),
                Step::There(blob) => format!("{}there", name(blob)),
                Step::Mount(blob, _) => format!("{}mount", name(blob)),
                Step::Make(blob, _) => format!("{}make", name(blob)),
                Step::Copy(blob, _) => format!("{}copy", name(blob)),
                Step::Compress => "compress".to_owned(),
            })
            .collect();
        assert_eq!(steps.join(" "), expected, "{words} {digests:?}");
    }

    #[test]
    fn what_is_there_is_all_that_is_needed() {
        check("there mount made copy", Digests::Keep, "there");
        check("there mount made copy", Digests::Insist, "there");
        check("there no-tar", Digests::Insist, "there");
    }

    #[test]
    fn ways_are_tried_in_order_and_compressing_is_the_last() {
        check("mount made copy", Digests::Keep, "mount make copy compress");
        check("copy", Digests::Keep, "copy compress");
        check("", Digests::Keep, "compress");
        check("other-there", Digests::Keep, "other-there compress");
        check("copy other-copy", Digests::Keep, "copy other-copy compress");
    }

    #[test]
    fn who_insists_gets_the_exact_blob_or_nothing() {
        check(
            "mount made copy other-there",
            Digests::Insist,
            "mount make copy",
        );
        check("other-there", Digests::Insist, "");
        check("", Digests::Insist, "");
    }

    #[test]
    fn a_layer_that_is_not_here_is_not_compressed() {
        check("copy no-tar", Digests::Keep, "copy");
        check("no-tar", Digests::Keep, "");
        check("no-tar copy", Digests::Renew, "");
    }

    #[test]
    fn a_tar_that_was_made_here_is_compressed_once() {
        check("new-tar made", Digests::Keep, "compress");
        check(
            "new-tar made other-there",
            Digests::Keep,
            "other-there compress",
        );
        check("new-tar made there", Digests::Keep, "there");
        check("new-tar made", Digests::Insist, "make");
        let plain = Encoding::new(Compression::None, None).unwrap();
        let steps = steps(&facts("new-tar made"), Digests::Keep, plain);
        assert!(
            matches!(steps[..], [Step::Make(..), Step::Compress]),
            "{steps:?}"
        );
    }

    #[test]
    fn foreign_layers_are_left_and_renewed_ones_compressed() {
        for digests in [Digests::Keep, Digests::Insist, Digests::Renew] {
            check("foreign there", digests, "leave");
        }
        check("there mount made copy", Digests::Renew, "compress");
    }
}
