//! Looking at all that cuts may leave.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::{Cut, Loss, scratch};

/// Ask for all losses with this variable: `LAPSTRAKE_CRASH_FULL=1`.
const FULL: &str = "LAPSTRAKE_CRASH_FULL";

/// Writes out each cut with several losses, and lets `look` see the number of the cut and the directory.
/// Usually these are some of the plain losses, others for the next cut, and two random ones; all plain
/// ones and a dozen random ones if the environment has `LAPSTRAKE_CRASH_FULL`. Returns how many
/// states that were.
///
/// # Panics
/// When all are done, if `look` panicked: with each message, how often it came, and where first.
pub fn survey(cuts: &[Cut], look: impl Fn(usize, &Path)) -> usize {
    let full = is_full();
    let mut states = 0;
    let mut failures = BTreeMap::<String, (usize, String)>::new();
    for (step, cut) in cuts.iter().enumerate() {
        for loss in losses(step, full) {
            let left = scratch();
            cut.write_to(left.path(), &loss);
            states += 1;
            if let Err(why) = catch_unwind(AssertUnwindSafe(|| look(step, left.path()))) {
                let why = message(&*why).replace(&*left.path().to_string_lossy(), "<disk>");
                let first = || (0, format!("cut {step}, after: {}, {loss:?}", cut.after));
                failures.entry(why).or_insert_with(first).0 += 1;
            }
        }
    }
    let lines = failures
        .iter()
        .map(|(why, (times, first))| format!("{times} times: {why}\n  first at {first}"));
    let lines = lines.collect::<Vec<_>>().join("\n");
    assert!(lines.is_empty(), "of {states} states:\n{lines}");
    states
}

/// Whether the environment asks for all losses.
pub fn is_full() -> bool {
    std::env::var_os(FULL).is_some()
}

fn losses(step: usize, full: bool) -> Vec<Loss> {
    let plain = Loss::plain();
    let (some, random) = if full { (plain.len(), 12) } else { (3, 2) };
    // A step that shares no factor with their number, so that all have their turn.
    let turns = (0..some).map(|turn| plain[(step * 5 + turn * 7) % plain.len()].clone());
    let seed = |of: usize| u64::try_from(step * 100 + of).expect("a small number");
    turns
        .chain((0..random).map(|of| Loss::random(seed(of))))
        .collect()
}

fn message(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| why.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
