//! Pushing an image to a registry that has nothing.
//!
//! *Loaded* has no compressed blobs anywhere, so whoever pushes gzip must compress it. *Pulled* came from
//! a registry that still runs: its blobs could be sent on as they are.

use std::path::Path;

use super::load;
use crate::bench::cgroup::Group;
use crate::bench::peers::{self, Engine};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, disk_bytes, drop_caches};
use crate::bench::tally::{Tally, costed};
use crate::error::Result;
use crate::files;
use crate::registry::Registry;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let name = scratch.moved_image().to_owned();
    let (image, reference) = scratch.image(&name)?;
    let archive = load::archive(scratch, &image, &reference)?;
    let engines = peers::all(scratch.lapstrake());
    let mut rows = Vec::new();
    for from in [From::Archive(&archive), From::Registry] {
        let mut tally = Tally::new(&format!("push of {name}, {}", from.word()));
        for round in 0..scratch.repeats() {
            for engine in &engines {
                let dir = scratch.dir(&format!("push-{}-{round}", engine.name()))?;
                let result = once(engine.as_ref(), &dir, from, &reference, &mut tally);
                engine.clean(&dir)?;
                files::remove_tree(&dir)?;
                if let Err(error) = result {
                    scratch.failed(engine.name(), &error);
                }
            }
        }
        rows.extend(tally.rows());
    }
    files::remove_file(&archive)?;
    Ok(rows)
}

/// Where the image comes from.
#[derive(Debug, Clone, Copy)]
enum From<'archive> {
    Archive(&'archive Path),
    Registry,
}

impl From<'_> {
    fn word(self) -> &'static str {
        match self {
            Self::Archive(_) => "loaded",
            Self::Registry => "pulled",
        }
    }
}

fn once(
    engine: &dyn Engine,
    dir: &Path,
    from: From<'_>,
    reference: &str,
    tally: &mut Tally,
) -> Result<()> {
    let storage = dir.join("registry");
    let registry = Registry::start(&storage, 0)?;
    let target = registry.reference("pushed");
    let dir = dir.join("engine");
    let group = Group::new(engine.name())?;
    // The daemon starts anew, so that its memory of the pull or load is not counted.
    {
        let _daemon = engine.start(&dir, &group)?;
        match from {
            From::Archive(path) => engine.load(&dir, &group, path)?,
            From::Registry => engine.pull(&dir, &group, reference)?,
        };
        engine.tag(&dir, &group, reference, &target)?;
    }
    let _daemon = engine.start(&dir, &group)?;
    drop_caches()?;
    let (_, cost) = costed(&group, || engine.push(&dir, &group, &target))?;
    tally.saw_cost(engine.name(), &cost);
    let stored = disk_bytes(&storage)? / 1e6;
    tally.saw("in the registry, MB", engine.name(), stored);
    Ok(())
}
