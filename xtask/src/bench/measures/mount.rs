//! Mounting many layers from nothing: the whole command, and what of it is not starting a program.

use super::roots::{Pair, Roots, Which};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::error::Result;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("mount")?;
    let roots = Roots::pull(scratch, "layers100", &dir)?;
    let (mut cold, mut warm) = (Pair::default(), Pair::default());
    let (mut alone_cold, mut alone_warm) = (Pair::default(), Pair::default());
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            drop_caches()?;
            for (state, whole, alone) in [
                ("cold", &mut cold, &mut alone_cold),
                ("warm", &mut warm, &mut alone_warm),
            ] {
                let (mounted, seconds) = timed(|| roots.mount(which, &format!("{state}{round}")))?;
                whole.push(which, seconds * 1e3);
                // mount(8) does little more than the system call.
                alone.push(which, mounted.took_ms().unwrap_or(seconds * 1e3));
                mounted.end()?;
            }
        }
    }
    roots.remove()?;
    let (whole, alone) = ("mount of layers100, whole command", "mount of layers100");
    let rows = [
        alone_cold.rows(alone, "cold, ms"),
        alone_warm.rows(alone, "warm, ms"),
        cold.rows(whole, "cold, ms"),
        warm.rows(whole, "warm, ms"),
    ];
    Ok(rows.into_iter().flatten().collect())
}
