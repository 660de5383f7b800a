//! Python in the image.

use std::path::Path;

use super::roots::{Pair, Roots, Which};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::command::Tool;
use crate::error::Result;

const IMPORT: &str = "import scipy.linalg, scipy.stats";
const LINES: &str = "import glob\nfor f in glob.glob('/usr/lib/python3/**/*.py', recursive=True):\n  for l in open(f, 'rb'): pass";

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("python")?;
    let roots = Roots::pull(scratch, "science", &dir)?;
    let [mut cold, mut warm, mut lines] = [Pair::default(), Pair::default(), Pair::default()];
    for round in 0..scratch.repeats() {
        for which in Which::BOTH {
            let mounted = roots.mount(which, &format!("python{round}"))?;
            drop_caches()?;
            cold.push(which, timed(|| python(mounted.path(), IMPORT))?.1);
            warm.push(which, timed(|| python(mounted.path(), IMPORT))?.1);
            python(mounted.path(), LINES)?;
            lines.push(which, timed(|| python(mounted.path(), LINES))?.1);
            mounted.end()?;
        }
    }
    roots.remove()?;
    let rows = [
        cold.rows("python imports scipy", "cold, s"),
        warm.rows("python imports scipy", "warm, s"),
        lines.rows("python reads lines", "warm, s"),
    ];
    Ok(rows.into_iter().flatten().collect())
}

/// Runs a program in the root; it writes no byte code, so that every run is like the first.
fn python(root: &Path, program: &str) -> Result<()> {
    let tool = Tool::new("chroot")
        .arg(root)
        .args(["/usr/bin/python3", "-B", "-c", program]);
    tool.output().map(drop)
}
