//! The same image twice: in our store, and as dockerd unpacked it, on one file system.

use std::path::{Path, PathBuf};

use crate::bench::overlay::{Mounted, Unpacked};
use crate::bench::report::{OURS, Row};
use crate::bench::scratch::Scratch;
use crate::bench::series::Series;
use crate::bench::work::{self, Done};
use crate::command::Tool;
use crate::error::{Error, Result};
use crate::files;

/// Both roots of one image.
#[derive(Debug)]
pub(super) struct Roots {
    dir: PathBuf,
    lapstrake: PathBuf,
    reference: String,
    unpacked: Unpacked,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Ours,
    Overlay2,
}

impl Which {
    pub(super) const BOTH: [Self; 2] = [Self::Ours, Self::Overlay2];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => OURS,
            Self::Overlay2 => "overlay2",
        }
    }
}

impl Roots {
    /// Pulls the image into both, below `dir`.
    pub(super) fn pull(scratch: &mut Scratch, image: &str, dir: &Path) -> Result<Self> {
        let (_, reference) = scratch.image(image)?;
        let dir = files::make_dir(&dir.join(format!("roots-{image}")))?;
        let unpacked = Unpacked::pull(&dir.join("docker"), &reference)?;
        let lapstrake = scratch.lapstrake().to_owned();
        let roots = Self {
            dir,
            lapstrake,
            reference,
            unpacked,
        };
        roots.ours().args(["pull", &roots.reference]).output()?;
        Ok(roots)
    }

    fn ours(&self) -> Tool {
        Tool::new(&self.lapstrake).arg("--root").arg(self.store())
    }

    fn store(&self) -> PathBuf {
        self.dir.join("lapstrake")
    }

    /// Mounts one of them with a fresh writable layer of this name.
    pub(super) fn mount(&self, which: Which, name: &str) -> Result<Mounted> {
        let at = files::make_dir(&self.dir.join(format!("at-{}-{name}", which.name())))?;
        match which {
            Which::Overlay2 => self
                .unpacked
                .mount(&at, &self.dir.join(format!("writable-{name}"))),
            Which::Ours => {
                let tool = self.ours().arg("mount").arg(&self.reference).arg(&at);
                let said = tool.args(["--writable", name, "--json"]).output()?;
                let took_ms = serde_json::from_str::<serde_json::Value>(&said)
                    .ok()
                    .and_then(|mounted| mounted["mount_ms"].as_f64())
                    .ok_or_else(|| Error::Unexpected {
                        what: "what `mount --json` said".to_owned(),
                        why: format!("no mount_ms in {said}"),
                    })?;
                let binary = &self.lapstrake;
                Ok(Mounted::by_lapstrake(&at, binary, &self.store()).that_took(took_ms))
            }
        }
    }

    /// Removes both.
    pub(super) fn remove(self) -> Result<()> {
        files::remove_tree(&self.dir)
    }
}

/// Seconds of one quantity for both roots.
#[derive(Debug, Default)]
pub(super) struct Pair {
    ours: Series,
    overlay2: Series,
}

impl Pair {
    pub(super) fn push(&mut self, which: Which, value: f64) {
        match which {
            Which::Ours => self.ours.push(value),
            Which::Overlay2 => self.overlay2.push(value),
        }
    }

    pub(super) fn rows(self, measure: &str, quantity: &str) -> [Row; 2] {
        self.rows_beside(Which::Overlay2.name(), measure, quantity)
    }

    /// The same where not the file system is compared but the engine that uses it.
    pub(super) fn rows_beside(self, peer: &str, measure: &str, quantity: &str) -> [Row; 2] {
        [
            Row::new(measure, quantity, Which::Ours.name(), self.ours),
            Row::new(measure, quantity, peer, self.overlay2),
        ]
    }
}

/// Has the worker do something to a directory.
pub(super) fn work(scratch: &Scratch, kind: &str, dir: &Path, more: &[&str]) -> Result<Done> {
    work::run(
        Tool::new(scratch.worker())
            .args(["work", kind])
            .arg(dir)
            .args(more),
    )
}
