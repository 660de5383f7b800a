//! Removing a writable layer of 50,000 files: until the command has answered, and until the last file is
//! unlinked, which gives the space back; beside `rm -rf` of the same files.

use std::path::Path;
use std::time::{Duration, Instant};

use super::roots::work;
use crate::bench::report::{OURS, Row};
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::bench::series::Series;
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

const FILES: &str = "50000";
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let (_, reference) = scratch.image("debian")?;
    let dir = scratch.dir("remove")?;
    let root = dir.join("root");
    let tool = || Tool::new(scratch.lapstrake()).arg("--root").arg(&root);
    tool().args(["pull", &reference]).output()?;
    let [mut answered, mut ours, mut rm] = [(); 3].map(|()| Series::default());
    for round in 0..scratch.repeats() {
        for by_us in [true, false] {
            let name = format!("r{round}-{by_us}");
            let at = files::make_dir(&dir.join("at"))?;
            let mount = tool().arg("mount").arg(&reference).arg(&at);
            mount.args(["--writable", &name]).output()?;
            let place = files::make_dir(&at.join("srv/new"))?;
            let created = work(scratch, "create", &place, &[FILES]);
            tool().arg("umount").arg(&at).output()?;
            created?;
            let layer = root.join("state/containers").join(&name);
            drop_caches()?;
            let started = Instant::now();
            if by_us {
                answered.push(timed(|| tool().args(["rm", &name]).output())?.1);
                ours.push(until_empty(&root.join("state/containers/.trash"), started)?);
            } else {
                Tool::new("rm").arg("-rf").arg(&layer).output()?;
                rm.push(started.elapsed().as_secs_f64());
                tool().args(["rm", &name]).output()?;
            }
        }
    }
    files::remove_tree(&dir)?;
    let measure = "remove a writable layer of 50,000 files";
    Ok(vec![
        Row::new(measure, "command ended, s", OURS, answered),
        Row::new(measure, "space is back, s", OURS, ours),
        Row::new(measure, "space is back, s", "rm -rf", rm),
    ])
}

/// Waits until nothing is left in a directory; the seconds since the start.
fn until_empty(dir: &Path, started: Instant) -> Result<f64> {
    loop {
        let left = std::fs::read_dir(dir).io("list", dir)?.count();
        let since = started.elapsed();
        if left == 0 {
            return Ok(since.as_secs_f64());
        }
        if since > PATIENCE {
            return Err(Error::Unexpected {
                what: "removing a writable layer".to_owned(),
                why: format!("it is not freed after {} s", PATIENCE.as_secs()),
            });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
