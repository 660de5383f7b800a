//! Our own command.

use std::path::{Path, PathBuf};

use super::{Daemon, Engine, Pull};
use crate::bench::cgroup::Group;
use crate::command::Tool;
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

    fn tool(&self, dir: &Path, group: &Group) -> Tool {
        let tool = group.tool(&self.binary.display().to_string());
        tool.arg("--root").arg(dir.join("root"))
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
        let tool = self.tool(dir, group);
        let said = tool.args(["pull", "--json", reference]).output()?;
        Told::by(&said).map(|told| Pull {
            ready: Some(told.ready),
            durable: true,
        })
    }

    /// What is loaded has no other source, so it is on disk before the command ends.
    fn load(&self, dir: &Path, group: &Group, archive: &Path) -> Result<Pull> {
        let tool = self.tool(dir, group).args(["load", "-i"]);
        tool.arg(archive).output()?;
        Ok(Pull {
            ready: None,
            durable: true,
        })
    }

    fn save(&self, dir: &Path, group: &Group, reference: &str, archive: &Path) -> Result<()> {
        let tool = self.tool(dir, group).args(["save", "-o"]);
        tool.arg(archive).arg(reference).output().map(drop)
    }

    fn tag(&self, dir: &Path, group: &Group, image: &str, name: &str) -> Result<()> {
        let tool = self.tool(dir, group);
        tool.args(["tag", image, name]).output().map(drop)
    }

    fn push(&self, dir: &Path, group: &Group, name: &str) -> Result<()> {
        let tool = self.tool(dir, group);
        tool.args(["push", name]).output().map(drop)
    }

    fn clean(&self, _dir: &Path) -> Result<()> {
        Ok(())
    }
}

/// What a pull's events say, in seconds from its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// When a command could run.
    pub ready: f64,
    /// When everything was on disk.
    pub durable: f64,
}

impl Told {
    /// Reads the events that `pull --json` printed.
    pub fn by(events: &str) -> Result<Self> {
        let find = |name: &str| {
            let objects = events
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let mut numbers = objects.filter_map(|event: serde_json::Value| event[name].as_f64());
            numbers
                .next_back()
                .map(|milliseconds| milliseconds / 1e3)
                .ok_or_else(|| Error::Unexpected {
                    what: "events of a pull".to_owned(),
                    why: format!("no {name}"),
                })
        };
        Ok(Self {
            ready: find("ready_ms")?,
            durable: find("durable_ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_among_other_events() {
        let events = "{\"event\":\"started\"}\n{\"ready_ms\":1500}\n{\"durable_ms\":2000.0}\n";
        assert_eq!(
            Told::by(events).unwrap(),
            Told {
                ready: 1.5,
                durable: 2.0
            }
        );
        assert!(Told::by("").is_err());
    }
}
