//! Reading: every file, every inode, many small files, lines.

use super::roots::{Pair, Roots, Which, work};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches};
use crate::error::Result;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("read")?;
    let mut rows = Vec::new();

    let roots = Roots::pull(scratch, "science", &dir)?;
    let [mut cold, mut warm, mut stat, mut lines] = [
        Pair::default(),
        Pair::default(),
        Pair::default(),
        Pair::default(),
    ];
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("read{round}"))?;
            let usr = mounted.path().join("usr");
            drop_caches()?;
            cold.push(which, work(scratch, "read", &usr, &[])?.seconds);
            warm.push(which, work(scratch, "read", &usr, &[])?.seconds);
            lines.push(which, work(scratch, "lines", &usr, &[])?.seconds);
            drop_caches()?;
            stat.push(which, work(scratch, "stat", &usr, &[])?.seconds);
            mounted.end()?;
        }
    }
    roots.remove()?;
    rows.extend(cold.rows("every file of science", "cold, s"));
    rows.extend(warm.rows("every file of science", "warm, s"));
    rows.extend(stat.rows("stat walk of science", "cold, s"));
    rows.extend(lines.rows("lines of science's Python files", "warm, s"));

    let roots = Roots::pull(scratch, "files50k", &dir)?;
    let mut small = Pair::default();
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("small{round}"))?;
            drop_caches()?;
            small.push(
                which,
                work(scratch, "read", &mounted.path().join("srv"), &[])?.seconds,
            );
            mounted.end()?;
        }
    }
    roots.remove()?;
    rows.extend(small.rows("50,000 small files", "cold, s"));
    Ok(rows)
}
