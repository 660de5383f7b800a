//! Loading one docker-archive into an empty store: until a command could run, and until all is on disk.

use std::path::{Path, PathBuf};

use crate::bench::cgroup::Group;
use crate::bench::peers::{self, Engine};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, drop_caches, timed};
use crate::bench::tally::{Cost, Tally, costed};
use crate::command::Tool;
use crate::error::Result;
use crate::files;
use crate::images::BuiltImage;

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let name = scratch.moved_image().to_owned();
    let (image, reference) = scratch.image(&name)?;
    let archive = archive(scratch, &image, &reference)?;
    let engines = peers::all(scratch.lapstrake());
    let mut tally = Tally::new(&format!("load of {name}"));
    for round in 0..scratch.repeats() {
        for engine in &engines {
            for cache in [Cache::Cold, Cache::Warm] {
                let dir = scratch.dir(&format!("load-{}-{round}-{cache:?}", engine.name()))?;
                let result = once(engine.as_ref(), &dir, &archive, cache);
                engine.clean(&dir)?;
                files::remove_tree(&dir)?;
                match result {
                    Ok(loaded) => loaded.count(&mut tally, engine.name(), cache),
                    Err(error) => scratch.failed(engine.name(), &error),
                }
            }
        }
    }
    files::remove_file(&archive)?;
    Ok(tally.rows())
}

/// The image as an archive that none of the subjects made.
pub(super) fn archive(scratch: &Scratch, image: &BuiltImage, reference: &str) -> Result<PathBuf> {
    let to = scratch.dir("archives")?.join(format!("{}.tar", image.name));
    files::remove_file(&to)?;
    Tool::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet"])
        .arg(format!("oci:{}:{}", image.layout.display(), image.name))
        .arg(format!("docker-archive:{}:{reference}", to.display()))
        .output()?;
    Ok(to)
}

/// Whether the archive is in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cache {
    Cold,
    Warm,
}

struct Loaded {
    cost: Cost,
    ready: f64,
    durable: f64,
}

impl Loaded {
    fn count(&self, tally: &mut Tally, subject: &str, cache: Cache) {
        let word = match cache {
            Cache::Cold => "cold",
            Cache::Warm => "warm",
        };
        tally.saw(&format!("archive {word}, ready, s"), subject, self.ready);
        tally.saw(
            &format!("archive {word}, durable, s"),
            subject,
            self.durable,
        );
        if cache == Cache::Warm {
            tally.saw("CPU, s", subject, self.cost.cpu);
            tally.saw("memory, MB", subject, self.cost.memory);
        }
    }
}

fn once(engine: &dyn Engine, dir: &Path, archive: &Path, cache: Cache) -> Result<Loaded> {
    let group = Group::new(engine.name())?;
    let daemon = engine.start(dir, &group)?;
    drop_caches()?;
    if cache == Cache::Warm {
        Tool::new("cksum").arg(archive).output()?;
    }
    let (load, cost) = costed(&group, || engine.load(dir, &group, archive))?;
    // Whoever does not sync leaves that to `sync`; both are seconds from the start of the load.
    let (_, sync) = timed(|| Tool::new("sync").arg("-f").arg(dir).run())?;
    drop(daemon);
    let client = cost.seconds;
    Ok(Loaded {
        cost,
        ready: load.ready.unwrap_or(client),
        durable: if load.durable { client } else { client + sync },
    })
}
