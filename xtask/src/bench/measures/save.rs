//! Saving an image as an archive, beside `cat` of as many bytes on the same file system.
//!
//! Every subject reads from this file system and writes to it, and none has to sync. Cold, nothing
//! that is read is in the page cache; warm is the same once more, right after.

use std::path::{Path, PathBuf};

use crate::bench::cgroup::Group;
use crate::bench::peers::{self, Engine, Lapstrake};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches};
use crate::bench::tally::{Tally, costed, megabytes};
use crate::error::{IoContext as _, Result};
use crate::files;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let image = scratch.moved_image().to_owned();
    let (_, reference) = scratch.image(&image)?;
    let dir = scratch.dir("save")?;
    let mut tally = Tally::new(&format!("save of {image}"));
    let ours = Lapstrake::new(scratch.lapstrake());
    let original = dir.join("original.tar");
    let engines = peers::all(scratch.lapstrake());
    for round in 0..scratch.repeats() {
        for engine in &engines {
            let save = Save {
                engine: engine.as_ref(),
                dir: dir.join(engine.name()),
                reference: &reference,
                out: dir.join("out.tar"),
            };
            let result = save.observe(round, &mut tally);
            engine.clean(&save.dir)?;
            if let Err(error) = result {
                scratch.failed(engine.name(), &error);
            }
        }
        if round == 0 {
            let group = Group::new("save-original")?;
            ours.save(&dir.join(ours.name()), &group, &reference, &original)?;
        }
        cat(&original, &dir.join("out.tar"), &mut tally)?;
    }
    files::remove_tree(&dir)?;
    Ok(tally.rows())
}

/// One engine's part.
struct Save<'run> {
    engine: &'run dyn Engine,
    dir: PathBuf,
    reference: &'run str,
    out: PathBuf,
}

impl Save<'_> {
    /// Pulls in the first round, and saves twice. The daemon starts in between, so that what a pull
    /// took does not count as memory of a save.
    fn observe(&self, round: usize, tally: &mut Tally) -> Result<()> {
        let Self {
            engine,
            dir,
            reference,
            out,
        } = self;
        if round == 0 {
            let group = Group::new("save-pull")?;
            let _daemon = engine.start(dir, &group)?;
            engine.pull(dir, &group, reference)?;
        }
        let group = Group::new(engine.name())?;
        let _daemon = engine.start(dir, &group)?;
        let save = || engine.save(dir, &group, reference, out);
        twice(&group, out, engine.name(), tally, save)
    }
}

fn cat(from: &Path, out: &Path, tally: &mut Tally) -> Result<()> {
    let group = Group::new("cat")?;
    twice(&group, out, "cat", tally, || {
        let shell = group.tool("sh").args(["-c", "exec cat \"$0\" >\"$1\""]);
        shell.arg(from).arg(out).output().map(drop)
    })
}

/// Cold, then warm; the archive is removed, and gone from the disk, each time.
fn twice(
    group: &Group,
    out: &Path,
    subject: &str,
    tally: &mut Tally,
    save: impl Fn() -> Result<()>,
) -> Result<()> {
    files::remove_file(out)?;
    drop_caches()?;
    let (_, cold) = costed(group, &save)?;
    tally.saw("cold, s", subject, cold.seconds);
    files::remove_file(out)?;
    rustix::fs::sync();
    let (_, warm) = costed(group, &save)?;
    tally.saw("warm, s", subject, warm.seconds);
    tally.saw("CPU, s", subject, warm.cpu);
    tally.saw("memory, MB", subject, cold.memory.max(warm.memory));
    let meta = std::fs::metadata(out).io("stat", out)?;
    tally.saw("archive, MB", subject, megabytes(meta.len()));
    files::remove_file(out)
}
