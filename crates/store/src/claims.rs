//! Claims: what threads of this process rely on right now.
//!
//! Whoever is about to make something a root (a name, a writable layer, a mount, a lease) claims
//! what it will refer to, **then** looks it up, and lets go when the root is there. A collection
//! keeps its hands off everything that was claimed at any moment since it began to look for roots,
//! so it doesn't matter whether it saw the root.
//!
//! ```text
//! collection:  begin ── roots, edges, mounts ── plan ── condemn (all but what was claimed since begin)
//! anyone else:    claim ── look up ── make the root ── let go
//! ```
//!
//! Condemning happens under the lock, so that a claim comes either before it, and is respected, or
//! after it, and then finds nothing. Lock order: claims, then the state database. Never claim while
//! holding the state.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::object::Object;

/// The claims of a process on one store.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    table: Mutex<Table>,
    /// Held by the one collection that there may be at a time.
    collecting: Mutex<()>,
}

#[derive(Debug, Default)]
struct Table {
    held: HashMap<Object, usize>,
    /// What was claimed since the running collection began.
    seen: Option<HashSet<Object>>,
}

/// A claim; ends when dropped.
#[derive(Debug)]
#[must_use = "dropping it lets go of what it claims"]
pub struct Claim {
    claims: Arc<Claims>,
    objects: Vec<Object>,
}

impl Claims {
    pub(crate) fn claim(self: &Arc<Self>, objects: impl IntoIterator<Item = Object>) -> Claim {
        let objects: Vec<_> = objects.into_iter().collect();
        let mut table = lock(&self.table);
        for object in &objects {
            *table.held.entry(object.clone()).or_default() += 1;
            if let Some(seen) = &mut table.seen {
                seen.insert(object.clone());
            }
        }
        Claim {
            claims: Arc::clone(self),
            objects,
        }
    }

    /// Begins a collection, after the one that is running.
    pub(crate) fn begin(&self) -> Watch<'_> {
        let one = lock(&self.collecting);
        let mut table = lock(&self.table);
        table.seen = Some(table.held.keys().cloned().collect());
        Watch {
            claims: self,
            _one: one,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut table = lock(&self.claims.table);
        for object in &self.objects {
            if let Some(count) = table.held.get_mut(object) {
                *count -= 1;
                if *count == 0 {
                    table.held.remove(object);
                }
            }
        }
    }
}

/// The watch of a collection over claims, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    claims: &'a Claims,
    _one: MutexGuard<'a, ()>,
}

impl Watch<'_> {
    /// Calls `condemn` with a test of what was claimed. Nobody can claim anything meanwhile.
    pub(crate) fn condemn<T>(&self, condemn: impl FnOnce(&dyn Fn(&Object) -> bool) -> T) -> T {
        let table = lock(&self.claims.table);
        let seen = table
            .seen
            .as_ref()
            .expect("set when the watch began, until it ends");
        condemn(&|object| seen.contains(object))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        lock(&self.claims.table).seen = None;
    }
}

/// A panic elsewhere leaves these tables whole: every change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;

    fn blob(text: &str) -> Object {
        Object::Blob(Algorithm::Sha256.digest(text.as_bytes()))
    }

    #[test]
    fn what_was_claimed_since_the_beginning_is_spared_also_when_it_was_let_go() {
        let claims = Arc::new(Claims::default());
        drop(claims.claim([blob("before")]));
        let held = claims.claim([blob("held"), blob("twice"), blob("twice")]);
        let watch = claims.begin();
        drop(held);
        drop(claims.claim([blob("meanwhile")]));
        let spared = |text| watch.condemn(|claimed| claimed(&blob(text)));
        assert_eq!(
            ["before", "held", "twice", "meanwhile", "never"].map(spared),
            [false, true, true, true, false]
        );
        drop(watch);
        let watch = claims.begin();
        assert!(!watch.condemn(|claimed| claimed(&blob("held"))));
    }
}
