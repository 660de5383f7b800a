//! What we are compared with for reading and writing: overlay2 over files that dockerd unpacked.
//!
//! dockerd pulls and creates a container; then it ends, and its layer directories are mounted here
//! with its own lower list and options, so that nothing but the file systems is measured.

use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::Group;
use super::peers::{Docker, Engine as _};
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

/// An image as dockerd unpacked it.
#[derive(Debug)]
pub struct Unpacked {
    /// dockerd's `overlay2` directory.
    layers: PathBuf,
    /// Lower directories as short links relative to it.
    lower: String,
}

impl Unpacked {
    /// Has dockerd unpack an image below `dir`.
    pub fn pull(dir: &Path, reference: &str) -> Result<Self> {
        let group = Group::new("unpack")?;
        let daemon = Docker
            .start(dir, &group)
            .inspect_err(|_| drop(Docker.clean(dir)))?;
        Docker.pull(dir, &group, reference)?;
        let create = Docker
            .client(dir)
            .args(["create", "--network", "none", reference, "true"]);
        let container = create.output()?;
        let format = "{{.GraphDriver.Data.UpperDir}}";
        let upper = Docker
            .client(dir)
            .args(["inspect", "-f", format, container.trim()])
            .output()?;
        drop(daemon);
        Docker.clean(dir)?;
        let own = Path::new(upper.trim())
            .parent()
            .unwrap_or(Path::new("/"))
            .to_owned();
        let lower = own.join("lower");
        let lower = fs::read_to_string(&lower).io("read", &lower)?;
        Ok(Self {
            layers: dir.join("root/overlay2"),
            lower: lower.trim().to_owned(),
        })
    }

    /// Mounts it at `at`, with a writable layer below `writable`.
    pub fn mount(&self, at: &Path, writable: &Path) -> Result<Mounted> {
        let upper = files::make_dir(&writable.join("diff"))?;
        let work = files::make_dir(&writable.join("work"))?;
        files::make_dir(at)?;
        let (upper, work) = (upper.display(), work.display());
        let options = format!(
            "lowerdir={},upperdir={upper},workdir={work},index=off",
            self.lower
        );
        Tool::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(at)
            .dir(&self.layers)
            .output()?;
        Ok(Mounted {
            at: at.to_owned(),
            ours: None,
            took_ms: None,
        })
    }
}

/// A mount that ends with its value.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
    ours: Option<Ours>,
    took_ms: Option<f64>,
}

/// What made a mount of ours.
#[derive(Debug)]
struct Ours {
    binary: PathBuf,
    root: PathBuf,
}

impl Mounted {
    /// A mount of any kind at `at`.
    pub fn at(at: &Path) -> Self {
        Self {
            at: at.to_owned(),
            ours: None,
            took_ms: None,
        }
    }

    /// A mount made by our command with its store at `root`.
    pub fn by_lapstrake(at: &Path, binary: &Path, root: &Path) -> Self {
        Self {
            at: at.to_owned(),
            ours: Some(Ours {
                binary: binary.to_owned(),
                root: root.to_owned(),
            }),
            took_ms: None,
        }
    }

    /// With how long its maker said that mounting took, in milliseconds.
    pub fn that_took(mut self, milliseconds: f64) -> Self {
        self.took_ms = Some(milliseconds);
        self
    }

    /// How long its maker said that mounting took, in milliseconds.
    pub fn took_ms(&self) -> Option<f64> {
        self.took_ms
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Unmounts, and says so if that fails.
    pub fn end(mut self) -> Result<()> {
        let result = self.unmount();
        self.at = PathBuf::new();
        result
    }

    fn unmount(&self) -> Result<()> {
        match &self.ours {
            Some(Ours { binary, root }) => {
                let tool = Tool::new(binary)
                    .arg("--root")
                    .arg(root)
                    .arg("umount")
                    .arg(&self.at);
                tool.output().map(drop)
            }
            None => Tool::new("umount").arg(&self.at).output().map(drop),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.at.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = self.unmount() {
            eprintln!("bench: {}", crate::error::describe(&error));
            // Nothing of ours may stay mounted, also when our own command cannot do it.
            drop(
                Tool::new("umount")
                    .args(["--recursive", "--lazy"])
                    .arg(&self.at)
                    .output(),
            );
        }
    }
}

/// Unmounts what is mounted exactly at `path`, if anything is.
pub fn unmount_if_mounted(path: &Path) -> Result<()> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(table).io("read", table)?;
    let wanted = path.display().to_string();
    let mounted = text
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(wanted.as_str()));
    if mounted {
        Tool::new("umount").arg(path).output().map(drop)
    } else {
        Ok(())
    }
}

/// A fresh xfs in a sparse file below `dir`, mounted.
pub fn xfs(dir: &Path, gigabytes: u64) -> Result<Mounted> {
    let image = dir.join("xfs.img");
    let file = fs::File::create(&image).io("create", &image)?;
    file.set_len(gigabytes << 30).io("grow", &image)?;
    drop(file);
    Tool::new("mkfs.xfs").arg("-q").arg(&image).output()?;
    let at = files::make_dir(&dir.join("xfs"))?;
    Tool::new("mount")
        .args(["-o", "loop"])
        .arg(&image)
        .arg(&at)
        .output()
        .map_err(|error| Error::Unexpected {
            what: "xfs on a loop device".to_owned(),
            why: error.to_string(),
        })?;
    Ok(Mounted::at(&at))
}
