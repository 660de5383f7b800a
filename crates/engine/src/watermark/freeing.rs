//! What is freed as one candidate after the other goes, as the file system will give it back.

use std::collections::HashMap;

use lapstrake_store::FileUse;

use super::decide::{Candidate, Facts, Object};
use super::decision::Subject;
use crate::df::Held;

/// What is freed as one after the other goes.
pub(super) struct Freeing<'a> {
    objects: &'a [Object],
    /// How many candidates hold each object.
    holders: Vec<usize>,
    /// How many names of a file are gone.
    names: HashMap<(u64, u64), u64>,
}

impl<'a> Freeing<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        let mut holders = vec![0; facts.objects.len()];
        for at in facts.candidates.iter().flat_map(|one| &one.holds) {
            holders[*at] += 1;
        }
        Self {
            objects: &facts.objects,
            holders,
            names: HashMap::new(),
        }
    }

    /// What nothing holds goes.
    pub(super) fn loose(&mut self) -> Held {
        let loose = self.objects.iter().zip(&self.holders);
        let loose = loose.filter(|(object, holders)| !object.held && **holders == 0);
        gone(&mut self.names, loose.flat_map(|(object, _)| &object.files))
    }

    /// A candidate goes.
    pub(super) fn let_go(&mut self, one: &Candidate) -> Held {
        let mut freed = one.own;
        for at in &one.holds {
            self.holders[*at] -= 1;
            if self.holders[*at] == 0 && !self.objects[*at].held {
                freed.add(gone(&mut self.names, &self.objects[*at].files));
            }
        }
        freed
    }

    /// Whether it is the last that holds a layer, or takes room of its own.
    pub(super) fn frees_layer(&self, one: &Candidate) -> bool {
        let mut holds = one.holds.iter();
        matches!(one.subject, Subject::Container { .. })
            || holds.any(|at| {
                let object = &self.objects[*at];
                object.is_layer && !object.held && self.holders[*at] == 1
            })
    }

    /// What it would free if it went first.
    pub(super) fn alone(&self, one: &Candidate) -> Held {
        let only = |at: &&usize| self.holders[**at] == 1 && !self.objects[**at].held;
        let files = one.holds.iter().filter(only);
        let files = files.flat_map(|at| &self.objects[*at].files);
        let mut freed = one.own;
        freed.add(gone(&mut HashMap::new(), files));
        freed
    }
}

/// These names are gone, after those that are counted: a file is free with its last.
fn gone<'a>(
    names: &mut HashMap<(u64, u64), u64>,
    files: impl IntoIterator<Item = &'a FileUse>,
) -> Held {
    let mut freed = Held::default();
    for file in files {
        let seen = names.entry(file.inode).or_insert(0);
        *seen += 1;
        if *seen == file.links {
            freed.add(Held {
                bytes: file.bytes,
                inodes: 1,
            });
        }
    }
    freed
}
