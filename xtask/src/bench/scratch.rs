//! Everything that measures share: a place on disk, the images in a registry, our binary.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Options;
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result, describe};
use crate::files;
use crate::images::{self, BuiltImage, Cache};
use crate::registry::{self, Registry};

/// The shared setting of a run; its directory is removed at the end.
#[derive(Debug)]
pub struct Scratch {
    cache: Cache,
    /// Started with the first image asked for.
    registry: Option<Registry>,
    lapstrake: PathBuf,
    worker: PathBuf,
    repeats: usize,
    moved_image: String,
    failures: Vec<String>,
    dir: tempfile::TempDir,
}

impl Scratch {
    /// Builds the programs to measure, in release.
    pub fn prepare(cache: &Cache, options: &Options) -> Result<Self> {
        let parent = options.scratch.clone().unwrap_or_else(std::env::temp_dir);
        files::make_dir(&parent)?;
        let dir = tempfile::Builder::new()
            .prefix("lapstrake-bench-")
            .tempdir_in(&parent)
            .io("create a directory in", &parent)?;
        Ok(Self {
            cache: cache.clone(),
            registry: None,
            lapstrake: release_binary("lapstrake-cli", "lapstrake")?,
            worker: release_binary("xtask", "xtask")?,
            repeats: options.repeats.max(1),
            moved_image: options.image.clone(),
            failures: Vec::new(),
            dir,
        })
    }

    /// An image in the registry, made and pushed if need be; and its reference there.
    pub fn image(&mut self, name: &str) -> Result<(BuiltImage, String)> {
        let built = images::build(&self.cache, &[images::catalog::find(name)?])?;
        let registry = match self.registry.take() {
            Some(registry) => {
                registry::fill(&self.cache, &registry, &built)?;
                registry
            }
            None => registry::serve(&self.cache, &built, 0)?,
        };
        let reference = registry.reference(name);
        self.registry = Some(registry);
        let image = built.into_iter().next().ok_or_else(|| Error::Unexpected {
            what: name.to_owned(),
            why: "was not built".to_owned(),
        })?;
        Ok((image, reference))
    }

    /// A directory of this run; made if it is not there.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        files::make_dir(&self.dir.path().join(name))
    }

    /// Takes note of a subject that failed: the others are measured all the same, and the run fails
    /// in the end.
    pub fn failed(&mut self, subject: &str, error: &Error) {
        eprintln!("bench: {subject} FAILED: {}", describe(error));
        self.failures.push(subject.to_owned());
    }

    /// Every subject that failed.
    pub fn failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// How often each subject runs.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// The image that is loaded, saved and pushed.
    pub fn moved_image(&self) -> &str {
        &self.moved_image
    }

    /// Our command, built in release.
    pub fn lapstrake(&self) -> &Path {
        &self.lapstrake
    }

    /// This program, built in release: it does the timed work.
    pub fn worker(&self) -> &Path {
        &self.worker
    }
}

/// Builds a binary in release and says where it is.
pub fn release_binary(package: &str, binary: &str) -> Result<PathBuf> {
    binary_of(package, binary, &["--release"])
}

/// Builds a binary with these flags and says where it is.
pub fn binary_of(package: &str, binary: &str, flags: &[&str]) -> Result<PathBuf> {
    build(package, ["--bin", binary], flags)
}

/// Builds an example in release and says where it is.
pub fn release_example(package: &str, example: &str) -> Result<PathBuf> {
    build(package, ["--example", example], &["--release"])
}

fn build(package: &str, target: [&str; 2], flags: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let said = Tool::new(cargo)
        .args(["build", "--locked", "--quiet", "--message-format=json"])
        .args(flags)
        .args(["--package", package])
        .args(target)
        .dir(files::repository())
        .output()?;
    let path = said.lines().rev().find_map(|line| {
        let message = serde_json::from_str::<serde_json::Value>(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    path.ok_or_else(|| Error::Unexpected {
        what: format!("cargo build of {}", target[1]),
        why: "named no executable".to_owned(),
    })
}

/// Everything dirty to disk, then nothing of files in memory.
pub fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    let path = Path::new("/proc/sys/vm/drop_caches");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .io("open", path)?;
    std::io::Write::write_all(&mut file, b"3\n").io("write", path)
}

/// Seconds that something took, and what it returned.
pub fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let started = Instant::now();
    let value = what()?;
    Ok((value, started.elapsed().as_secs_f64()))
}

/// Allocated bytes below a directory, by `du`.
pub fn disk_bytes(dir: &Path) -> Result<f64> {
    let said = Tool::new("du")
        .args(["-s", "-x", "--block-size=1"])
        .arg(dir)
        .output()?;
    said.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Error::Unexpected {
            what: format!("du of {}", dir.display()),
            why: said.clone(),
        })
}
