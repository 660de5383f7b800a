//! Reading everything in a store and comparing every digest, beside `sha256sum` of the same files.

use std::path::{Path, PathBuf};

use crate::bench::report::{OURS, Row};
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::bench::series::Series;
use crate::command::Tool;
use crate::error::{IoContext as _, Result};
use crate::files;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let dir = scratch.dir("check")?;
    let store = dir.join("store");
    let (_, reference) = scratch.image("science")?;
    let ours = || Tool::new(scratch.lapstrake()).arg("--root").arg(&store);
    ours().args(["pull", &reference]).output()?;
    let layers = files_below(&store.join("content").join("layers"))?;
    let mut rows = Vec::new();
    for (state, is_cold) in [("cold", true), ("warm", false)] {
        let (mut check, mut sum) = (Series::default(), Series::default());
        for _round in 0..scratch.repeats() {
            let settle = || if is_cold { drop_caches() } else { Ok(()) };
            settle()?;
            sum.push(timed(|| Tool::new("sha256sum").args(&layers).output())?.1);
            settle()?;
            check.push(timed(|| ours().args(["check", "--deep"]).output())?.1);
        }
        let row = |subject, values| {
            Row::new(
                "deep check of science",
                &format!("{state}, s"),
                subject,
                values,
            )
        };
        rows.push(row(OURS, check));
        rows.push(row("sha256sum", sum));
    }
    files::remove_tree(&dir)?;
    Ok(rows)
}

fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut todo) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).io("list", &dir)? {
            let path = entry.io("list", &dir)?.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path);
            }
        }
    }
    Ok(found)
}
