//! Mounting many layers from nothing.

use super::roots::{Pair, Roots, Which};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::error::Result;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("mount")?;
    let roots = Roots::pull(scratch, "layers100", &dir)?;
    let (mut cold, mut warm) = (Pair::default(), Pair::default());
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            drop_caches()?;
            let (mounted, seconds) = timed(|| roots.mount(which, &format!("cold{round}")))?;
            mounted.end()?;
            cold.push(which, seconds * 1e3);
            let (mounted, seconds) = timed(|| roots.mount(which, &format!("warm{round}")))?;
            mounted.end()?;
            warm.push(which, seconds * 1e3);
        }
    }
    roots.remove()?;
    let measure = "mount of layers100, whole command";
    let rows = [
        cold.rows(measure, "cold, ms"),
        warm.rows(measure, "warm, ms"),
    ];
    Ok(rows.into_iter().flatten().collect())
}
