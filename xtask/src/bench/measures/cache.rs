//! How much memory the files of an image take after they were read.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::roots::{Pair, Roots, Which, work};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches};
use crate::error::{Error, IoContext as _, Result};

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("cache")?;
    let roots = Roots::pull(scratch, "science", &dir)?;
    let mut ratio = Pair::default();
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("cache{round}"))?;
            drop_caches()?;
            let before = cached()?;
            let read = work(scratch, "read", &mounted.path().join("usr"), &[])?;
            std::thread::sleep(Duration::from_secs(10));
            #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
            ratio.push(which, (cached()? - before) / read.bytes as f64);
            mounted.end()?;
        }
    }
    roots.remove()?;
    Ok(ratio
        .rows("page cache after reading science", "per file byte")
        .to_vec())
}

/// Bytes of page cache on this machine.
fn cached() -> Result<f64> {
    let path = Path::new("/proc/meminfo");
    let text = fs::read_to_string(path).io("read", path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("Cached:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024.0)
        .ok_or_else(|| Error::Unexpected {
            what: path.display().to_string(),
            why: "has no line `Cached: N kB`".to_owned(),
        })
}
