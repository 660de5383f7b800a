//! Changing files that are below: owners of all, one byte of the largest.

use std::path::Path;

use super::roots::{Pair, Roots, Which, work};
use crate::bench::overlay;
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::command::Tool;
use crate::error::Result;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("copy-up")?;
    let mut rows = on(scratch, &dir, "here")?;
    let xfs = overlay::xfs(&dir, 16)?;
    let place = xfs.path().to_owned();
    rows.extend(on(scratch, &place, "xfs")?);
    xfs.end()?;
    Ok(rows)
}

fn on(scratch: &mut Scratch, dir: &Path, place: &str) -> Result<Vec<Row>> {
    let roots = Roots::pull(scratch, "science", dir)?;
    let (mut chown, mut touch) = (Pair::default(), Pair::default());
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("touch{round}"))?;
            drop_caches()?;
            touch.push(
                which,
                work(scratch, "touch", &mounted.path().join("usr"), &["500"])?.seconds,
            );
            mounted.end()?;
            let mounted = roots.mount(which, &format!("chown{round}"))?;
            drop_caches()?;
            let change = || {
                let tool = Tool::new("chown").args(["-R", "-h", "1000:1000"]);
                tool.arg(mounted.path().join("usr")).output()
            };
            chown.push(which, timed(change)?.1);
            mounted.end()?;
        }
    }
    roots.remove()?;
    let chown = chown.rows(&format!("chown -R of science ({place})"), "s");
    let touch = touch.rows(&format!("one byte of each of 500 files ({place})"), "s");
    Ok(chown.into_iter().chain(touch).collect())
}
