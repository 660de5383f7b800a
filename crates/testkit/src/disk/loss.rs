//! What is lost of all that may be lost.

use std::collections::BTreeMap;

use super::database::Snapshot;
use super::model::{Change, Contents, Node, Slot};

const PAGE: usize = 4096;

/// Names that changed and were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// All changes happened.
    Changed,
    /// None did.
    AsBefore,
    /// Some did, and not the first ones only.
    Some,
}

/// Bytes that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytes {
    /// All are there.
    Kept,
    /// The file ends where it was synced; it is empty if it never was.
    CutOff,
    /// The file has its length, and zeros.
    Zeros,
    /// Some pages of it.
    Some,
}

/// Commits that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// All are there.
    Kept,
    /// None is.
    Lost,
    /// Some of the first ones, and perhaps half of the next.
    Some,
}

/// One way to lose what was not synced.
#[derive(Debug, Clone)]
pub struct Loss {
    /// What becomes of names.
    pub names: Names,
    /// What becomes of bytes.
    pub bytes: Bytes,
    /// What becomes of commits.
    pub commits: Commits,
    /// What decides where something is left to chance.
    pub seed: u64,
}

impl Loss {
    /// Those that leave nothing to chance.
    pub fn plain() -> Vec<Self> {
        let mut all = Vec::new();
        for names in [Names::Changed, Names::AsBefore] {
            for bytes in [Bytes::Kept, Bytes::CutOff, Bytes::Zeros] {
                for commits in [Commits::Kept, Commits::Lost] {
                    all.push(Self {
                        names,
                        bytes,
                        commits,
                        seed: 0,
                    });
                }
            }
        }
        all
    }

    /// One by chance, the same for the same seed.
    pub fn random(seed: u64) -> Self {
        let mut chance = Chance(seed);
        Self {
            names: chance.one_of(&[Names::Changed, Names::Some, Names::Some, Names::Some]),
            bytes: chance.one_of(&[Bytes::CutOff, Bytes::Zeros, Bytes::Some, Bytes::Some]),
            commits: chance.one_of(&[Commits::Kept, Commits::Some, Commits::Some]),
            seed: chance.next(),
        }
    }

    /// The names that are left.
    pub(super) fn names(
        &self,
        chance: &mut Chance,
        safe: &BTreeMap<Slot, Node>,
        pending: &[Change],
    ) -> BTreeMap<Slot, Node> {
        let mut names = safe.clone();
        let mut lost: Vec<&Change> = Vec::new();
        let parts = 1 + chance.below(8);
        for change in pending {
            let happened = match self.names {
                Names::Changed => true,
                Names::AsBefore => false,
                Names::Some => {
                    !lost.iter().any(|earlier| change.rests_on(earlier)) && chance.below(parts) > 0
                }
            };
            if happened {
                change.apply(&mut names);
            } else {
                lost.push(change);
            }
        }
        names
    }

    /// The bytes that are left of a file.
    pub(super) fn bytes(&self, chance: &mut Chance, contents: &Contents) -> Vec<u8> {
        let (now, safe) = (&*contents.now, contents.safe.as_deref().unwrap_or_default());
        if now == safe {
            return now.to_vec();
        }
        // What was synced and overwritten in place is there, old or new, page by page.
        let mut bytes = now.to_vec();
        match self.bytes {
            Bytes::Kept => {}
            Bytes::CutOff => {
                bytes.truncate(safe.len());
                restore(&mut bytes, safe, |_page| true);
            }
            Bytes::Zeros => {
                restore(&mut bytes, safe, |_page| true);
                if let Some(beyond) = bytes.get_mut(safe.len()..) {
                    beyond.fill(0);
                }
            }
            Bytes::Some => {
                let length = safe.len() + chance.below(1 + now.len().saturating_sub(safe.len()));
                bytes.truncate(length.max(safe.len().min(now.len())));
                restore(&mut bytes, safe, |_page| chance.below(2) == 0);
                for (at, page) in bytes.chunks_mut(PAGE).enumerate() {
                    if at * PAGE >= safe.len() && chance.below(3) == 0 {
                        page.fill(0);
                    }
                }
            }
        }
        bytes
    }

    /// The files that are left of a database.
    pub(super) fn database(&self, chance: &mut Chance, snapshots: &[Snapshot]) -> Snapshot {
        let last = snapshots.len() - 1;
        let at = match self.commits {
            Commits::Kept => last,
            Commits::Lost => 0,
            Commits::Some => chance.below(snapshots.len()),
        };
        let mut kept = snapshots[at].clone();
        if let (Commits::Some, Some(next)) = (self.commits, snapshots.get(at + 1))
            && next.main == kept.main
            && let Some(added) = next.wal.strip_prefix(&*kept.wal)
        {
            // The next commit was being written.
            let mut wal = kept.wal.to_vec();
            wal.extend_from_slice(&added[..chance.below(1 + added.len())]);
            if chance.below(2) == 0 {
                let from = kept.wal.len() + chance.below(1 + wal.len() - kept.wal.len());
                wal[from..].fill(0);
            }
            kept.wal = wal.into();
        }
        kept
    }
}

/// Puts back what was synced, in the pages that `old` chooses.
fn restore(bytes: &mut [u8], safe: &[u8], mut old: impl FnMut(usize) -> bool) {
    for (at, (page, safe)) in bytes.chunks_mut(PAGE).zip(safe.chunks(PAGE)).enumerate() {
        if old(at) {
            let length = safe.len().min(page.len());
            page[..length].copy_from_slice(&safe[..length]);
        }
    }
}

/// Numbers by chance (splitmix64), the same for the same seed.
#[derive(Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("usize has no more than 64 bits");
        usize::try_from(self.next() % end).expect("less than a usize")
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
