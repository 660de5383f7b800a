//! A few threads over a list of things that wait for the disk.
//!
//! Opening, checking and mounting a cold layer is mostly waiting, one small read after the other;
//! several layers at once wait together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// More threads than this only queue: measured with 100 cold layers on two cores (one thread
/// 20 ms, four 10 ms, eight 10 ms, thirty-two 12 ms).
const THREADS: usize = 8;

/// Calls `work` on every item and returns the results in order; of several errors, the first in
/// the order of items. After an error, items not yet begun are left out.
pub fn map<T, U, E>(items: &[T], work: impl Fn(&T) -> Result<U, E> + Sync) -> Result<Vec<U>, E>
where
    T: Sync,
    U: Send,
    E: Send,
{
    let threads = THREADS.min(items.len().div_ceil(4));
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.push((at, result));
        }
    };
    let mut all = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut all = run();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_items() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = map(&items, |n| Ok::<_, ()>(n * 2)).expect("no errors");
        assert_eq!(doubled, (0..100).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_wins_over_results() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(
            map(&items, |n| if *n == 40 { Err(*n) } else { Ok(*n) }),
            Err(40)
        );
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(map(&[] as &[u32], |n| Ok::<_, ()>(*n)), Ok(vec![]));
    }
}
