//! Reading again and again under a tight memory limit.

use super::roots::{Pair, Roots, Which, work};
use crate::bench::cgroup::Group;
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches};
use crate::bench::work as worker;
use crate::error::Result;

const ROUNDS: &str = "4";

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("limited")?;
    let roots = Roots::pull(scratch, "science", &dir)?;
    let mut seconds = Pair::default();
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("limited{round}"))?;
            let usr = mounted.path().join("usr/lib");
            let set = work(scratch, "again", &usr, &["1"])?.bytes;
            drop_caches()?;
            let group = Group::new("limited")?;
            group.limit_memory(set / 10 * 13)?;
            let tool = group.tool(&scratch.worker().display().to_string());
            let tool = tool.args(["work", "again"]).arg(&usr).arg(ROUNDS);
            seconds.push(which, worker::run(tool)?.seconds);
            drop(group);
            mounted.end()?;
        }
    }
    roots.remove()?;
    let measure = "libraries of science read 4 times, limit 1.3 times their size";
    Ok(seconds.rows(measure, "s").to_vec())
}
