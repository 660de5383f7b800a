//! Pulling one image: every engine from nothing, and the least that any of them must do.

use std::path::Path;

use crate::bench::cgroup::Group;
use crate::bench::peers::{self, Engine};
use crate::bench::report::Row;
use crate::bench::scratch::{Scratch, disk_bytes, drop_caches, timed};
use crate::bench::series::Series;
use crate::bench::work;
use crate::command::Tool;
use crate::error::Result;
use crate::files;

const MEASURE: &str = "pull of science";

#[derive(Debug, Default)]
struct Seen {
    ready: Series,
    durable: Series,
    cpu: Series,
    memory: Series,
    disk: Series,
}

pub(super) fn run(scratch: &mut Scratch) -> Result<Vec<Row>> {
    let (image, reference) = scratch.image("science")?;
    let blobs = image
        .layers
        .iter()
        .map(|layer| layer.blob(&image.layout))
        .collect::<Vec<_>>();
    let engines = peers::all(scratch.lapstrake());
    let mut seen = engines.iter().map(|_| Seen::default()).collect::<Vec<_>>();
    let mut bound = Seen::default();
    for round in 0..scratch.repeats() {
        for (engine, seen) in engines.iter().zip(&mut seen) {
            let dir = scratch.dir(&format!("pull-{}-{round}", engine.name()))?;
            let result = once(engine.as_ref(), &dir, &reference, seen);
            engine.clean(&dir)?;
            files::remove_tree(&dir)?;
            if let Err(error) = result {
                scratch.failed(engine.name(), &error);
            }
        }
        bound_once(scratch, &blobs, &mut bound)?;
    }
    let mut rows = Vec::new();
    let names = engines.iter().map(|engine| engine.name());
    let all = || names.clone().zip(&seen);
    for (name, seen) in all() {
        rows.push(Row::new(MEASURE, "ready, s", name, seen.ready.clone()));
    }
    rows.push(Row::new(
        MEASURE,
        "ready, s",
        "bound, one thread",
        bound.ready.clone(),
    ));
    for (name, seen) in all() {
        rows.push(Row::new(MEASURE, "durable, s", name, seen.durable.clone()));
    }
    for (name, seen) in all() {
        rows.push(Row::new(MEASURE, "CPU, s", name, seen.cpu.clone()));
    }
    rows.push(Row::new(MEASURE, "CPU, s", "bound, one thread", bound.cpu));
    for (name, seen) in all() {
        rows.push(Row::new(MEASURE, "memory, MB", name, seen.memory.clone()));
    }
    for (name, seen) in all() {
        rows.push(Row::new(MEASURE, "disk, MB", name, seen.disk.clone()));
    }
    Ok(rows)
}

fn once(engine: &dyn Engine, dir: &Path, reference: &str, seen: &mut Seen) -> Result<()> {
    let group = Group::new(engine.name())?;
    let daemon = engine.start(dir, &group)?;
    drop_caches()?;
    let cpu = group.cpu_seconds()?;
    let memory = group.watch_memory();
    let (pull, client) = timed(|| engine.pull(dir, &group, reference))?;
    seen.memory.push(megabytes(memory.peak()));
    // Whoever does not sync leaves that to `sync`; both are seconds from the start of the pull.
    let (_, sync) = timed(|| Tool::new("sync").arg("-f").arg(dir).run())?;
    seen.ready.push(pull.ready.unwrap_or(client));
    seen.durable
        .push(if pull.durable { client } else { client + sync });
    seen.cpu.push(group.cpu_seconds()? - cpu);
    drop(daemon);
    seen.disk.push(disk_bytes(dir)? / 1e6);
    Ok(())
}

fn bound_once(scratch: &Scratch, blobs: &[std::path::PathBuf], seen: &mut Seen) -> Result<()> {
    let to = scratch.dir("bound")?.join("tar");
    let group = Group::new("bound")?;
    drop_caches()?;
    let worker = group.tool(&scratch.worker().display().to_string());
    let done = work::run(worker.args(["work", "bound"]).arg(&to).args(blobs))?;
    seen.ready.push(done.seconds);
    seen.cpu.push(group.cpu_seconds()?);
    files::remove_file(&to)
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
