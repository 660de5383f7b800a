//! Our own command.

use std::path::{Path, PathBuf};

use super::{Daemon, Engine, Pull};
use crate::bench::cgroup::Group;
use crate::error::{Error, Result};
use crate::files;

/// `lapstrake`, built in release.
#[derive(Debug, Clone)]
pub struct Lapstrake {
    binary: PathBuf,
}

impl Lapstrake {
    /// The command at this path.
    pub fn new(binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
        }
    }
}

impl Engine for Lapstrake {
    fn name(&self) -> &'static str {
        crate::bench::report::OURS
    }

    fn start(&self, dir: &Path, _group: &Group) -> Result<Option<Daemon>> {
        files::make_dir(dir)?;
        Ok(None)
    }

    fn pull(&self, dir: &Path, group: &Group, reference: &str) -> Result<Pull> {
        let tool = group
            .tool(&self.binary.display().to_string())
            .arg("--root")
            .arg(dir.join("root"));
        let said = tool
            .args(["pull", "--json", "--plain-http", reference])
            .output()?;
        let last = said.lines().last().unwrap_or_default();
        let event =
            serde_json::from_str::<serde_json::Value>(last).map_err(|source| Error::Json {
                what: "the last event of a pull".to_owned(),
                source,
            })?;
        let ready = event["ready_ms"]
            .as_f64()
            .map(|milliseconds| milliseconds / 1e3);
        Ok(Pull {
            ready,
            durable: event["durable_ms"].is_number(),
        })
    }

    fn clean(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}
