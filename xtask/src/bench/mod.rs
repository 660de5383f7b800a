//! Benchmarks beside Debian's own engines, and beside overlay2 over unpacked files.
//!
//! Every measure runs its subjects alternately in one go, several times, and reports medians. What
//! is timed runs in programs of its own ([`work`], the engines' clients), never in this process.

pub mod bound;
pub mod cgroup;
mod http;
pub mod measures;
pub mod overlay;
pub mod peers;
pub mod report;
pub mod scratch;
pub mod series;
pub mod tally;
pub mod work;
pub mod write_up;

use std::path::PathBuf;

pub use report::Row;
use scratch::Scratch;

use crate::error::{Error, Result, describe};
use crate::files;
use crate::images::Cache;

/// What to measure and how.
#[derive(Debug)]
pub struct Options {
    /// Names of measures; none means all.
    pub what: Vec<String>,
    /// How often each subject runs.
    pub repeats: usize,
    /// The image that measures of moving images move.
    pub image: String,
    /// A directory on the file system to measure on; a fresh one in the temporary directory if
    /// not given.
    pub scratch: Option<PathBuf>,
    /// Where rows are kept as JSON; what earlier runs left there stays, unless measured again.
    pub json: Option<PathBuf>,
    /// Whether to bring docs/benchmarks.md up to date.
    pub write_docs: bool,
}

/// Runs the measures and reports them. One that cannot run is named at the end, not hidden.
pub fn run(cache: &Cache, options: &Options) -> Result<()> {
    let chosen = measures::select(&options.what)?;
    let mut scratch = Scratch::prepare(cache, options)?;
    let mut rows = match &options.json {
        Some(path) => files::read_json(path)?.unwrap_or_default(),
        None => Vec::new(),
    };
    let mut failed = Vec::new();
    for measure in chosen {
        eprintln!("bench: {}: {}", measure.name, measure.about);
        match (measure.run)(&mut scratch) {
            Ok(new) => {
                report::print(&new);
                report::merge(&mut rows, new);
            }
            Err(error) => {
                eprintln!("bench: {} FAILED: {}", measure.name, describe(&error));
                failed.push(measure.name.to_owned());
            }
        }
        if let Some(path) = &options.json {
            files::write_json(path, &rows)?;
        }
    }
    failed.extend(scratch.failures());
    drop(scratch);
    if options.write_docs {
        write_up::update(&rows)?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Check { steps: failed })
    }
}
