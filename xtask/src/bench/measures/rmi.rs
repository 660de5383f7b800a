//! Removing an image: until the command ends, and until the file system has the space back.

use std::path::Path;
use std::time::{Duration, Instant};

use super::roots::{Pair, Which};
use crate::bench::cgroup::Group;
use crate::bench::peers::{Docker, Engine, Lapstrake};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, disk_bytes, drop_caches, timed};
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

/// Other writers of the same file system make `statfs` a little uncertain.
const ENOUGH: f64 = 0.95;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for image in ["science", "files50k"] {
        let (_, reference) = scratch.image(image)?;
        let [mut answered, mut freed] = [Pair::default(), Pair::default()];
        for round in 0..scratch.repeats() {
            for which in Which::BOTH {
                let dir = scratch.dir(&format!("rmi-{}-{round}", which.name()))?;
                let seconds = once(scratch, which, &dir, &reference);
                if which == Which::Overlay2 {
                    Docker.clean(&dir)?;
                }
                files::remove_tree(&dir)?;
                let (answer, free) = seconds?;
                answered.push(which, answer);
                freed.push(which, free);
            }
        }
        let measure = format!("rmi of {image}");
        rows.extend(answered.rows_beside("dockerd", &measure, "command ended, s"));
        rows.extend(freed.rows_beside("dockerd", &measure, "space is back, s"));
    }
    Ok(rows)
}

/// Pulls, removes, and waits for the space. The seconds of the command, and those of all.
fn once(scratch: &Scratch, which: Which, dir: &Path, reference: &str) -> Result<(f64, f64)> {
    let group = Group::new("rmi")?;
    let ours = Lapstrake::new(scratch.lapstrake());
    let engine: &dyn Engine = match which {
        Which::Ours => &ours,
        Which::Overlay2 => &Docker,
    };
    let _daemon = engine.start(dir, &group)?;
    engine.pull(dir, &group, reference)?;
    drop_caches()?;
    let before = free_bytes(dir)?;
    let wanted = before + disk_bytes(dir)? * ENOUGH;
    drop_caches()?;
    let started = Instant::now();
    let remove = match which {
        Which::Ours => Tool::new(scratch.lapstrake())
            .arg("--root")
            .arg(dir.join("root"))
            .args(["rmi", reference]),
        Which::Overlay2 => Docker.client(dir).args(["rmi", reference]),
    };
    let (_, answer) = timed(|| remove.output())?;
    loop {
        let free = free_bytes(dir)?;
        if free >= wanted {
            return Ok((answer, started.elapsed().as_secs_f64()));
        }
        if started.elapsed() > PATIENCE {
            return Err(Error::Unexpected {
                what: format!("rmi by {}", which.name()),
                why: format!(
                    "after {} s {:.0} MB are missing still",
                    PATIENCE.as_secs(),
                    (wanted - free) / 1e6
                ),
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[expect(clippy::cast_precision_loss, reason = "to be compared roughly")]
fn free_bytes(dir: &Path) -> Result<f64> {
    let told = rustix::fs::statvfs(dir)
        .map_err(std::io::Error::from)
        .io("ask for the free space of", dir)?;
    Ok((told.f_bfree * told.f_frsize) as f64)
}
