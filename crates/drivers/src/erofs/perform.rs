//! Carries out a plan, without further choices.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lapstrake_sys::loopdev::LoopDevice;
use lapstrake_sys::mount::{self, Context, Detached, Restrictions};
use lapstrake_sys::parallel;
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::error::io;
use super::facts::OverlayApi;
use super::plan::{Backing, LayerPlan, Lower, Plan};
use super::run_dir::{Locked, open_dir, open_dir_at};
use super::survey::{OpenFile, OpenLayer, Survey};
use super::{Error, Mounted, Result, Writable, one_page};

/// Of layers: they are read through overlay only.
const INERT: Restrictions = Restrictions {
    read_only: true,
    inert: true,
};

pub(super) fn perform(locked: &Locked<'_>, plan: &Plan, survey: &Survey) -> Result<Mounted> {
    if mount::is_mount_root(CWD, &plan.target).map_err(io("stat", &plan.target))? {
        return Err(Error::TargetTaken {
            target: plan.target.clone(),
        });
    }
    let dir = locked.layers()?;
    let layers = parallel::map(&plan.layers, |layer| {
        let files = &survey.layers()[layer.position];
        find_or_make(dir.as_fd(), layer, files)
    })?;
    let fresh = layers
        .iter()
        .filter(|layer| matches!(layer, Layer::Fresh(_)))
        .count();
    let shared = layers.len() - fresh;
    // One after the other: attaching takes the lock of all mounts, and threads that wait for it
    // cost more than it does.
    let mut roots = Vec::with_capacity(layers.len());
    for (layer, plan) in layers.into_iter().zip(&plan.layers) {
        roots.push(Some(layer.into_root(dir.as_fd(), &plan.name)?));
    }
    let lowers = plan
        .lowers
        .iter()
        .map(|lower| match *lower {
            Lower::Layer(at) => {
                let root = roots[at].take().expect("a plan names a layer once");
                Ok(LowerDir {
                    name: plan.layers[at].name.clone(),
                    root,
                })
            }
            Lower::Empty(number) => empty(dir.as_fd(), number),
        })
        .collect::<Result<Vec<_>>>()?;
    let root = overlay(locked, plan, &lowers)?;
    let stat = rustix::fs::fstat(&root).map_err(io("stat", &plan.target))?;
    let names: Vec<&str> = lowers.iter().map(|lower| lower.name.as_str()).collect();
    locked.record(rustix::fs::minor(stat.st_dev), &plan.target, &names)?;
    root.attach_at(&plan.target)
        .map_err(named(plan.target.display().to_string()))?;
    Ok(Mounted {
        target: plan.target.clone(),
        fresh,
        shared,
    })
}

/// A lower directory, open.
#[derive(Debug)]
pub(super) struct LowerDir {
    /// Its name in the directory of layer mounts.
    pub(super) name: String,
    pub(super) root: OwnedFd,
}

/// A layer's mount.
enum Layer {
    /// Attached by an earlier stack.
    Shared(OwnedFd),
    /// Made now, attached nowhere.
    Fresh(Detached),
}

impl Layer {
    /// The root directory, after the mount has its place.
    fn into_root(self, dir: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
        let mounted = match self {
            Self::Shared(root) => return Ok(root),
            Self::Fresh(mounted) => mounted,
        };
        match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
            // There already: a mount point that a crash or another namespace left.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(io("create directory", name)(errno)),
        }
        mounted.attach(dir, Path::new(name)).map_err(named(name))?;
        Ok(mounted.into_root())
    }
}

fn find_or_make(dir: BorrowedFd<'_>, layer: &LayerPlan, files: &OpenLayer) -> Result<Layer> {
    let name = Path::new(&layer.name);
    match mount::is_mount_root(dir, name) {
        Ok(true) => return Ok(Layer::Shared(open_dir_at(dir, name)?)),
        Ok(false) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(io("stat", name)(errno)),
    }
    match layer.backing {
        Backing::File { directio } => {
            let data = files.data.as_ref().map(OpenFile::descriptor_path);
            erofs(
                &layer.name,
                &files.index.descriptor_path(),
                data.as_deref(),
                directio,
            )
        }
        Backing::Loop(reads) => {
            let device = |file: &OpenFile| {
                LoopDevice::attach(file.as_fd(), reads).map_err(|source| Error::Loop {
                    path: file.path.clone(),
                    source,
                })
            };
            // The mount keeps the devices once it is made; until then these do.
            let index = device(&files.index)?;
            let data = files.data.as_ref().map(device).transpose()?;
            let path = |device: &LoopDevice| device.path().display().to_string();
            erofs(
                &layer.name,
                &path(&index),
                data.as_ref().map(path).as_deref(),
                false,
            )
        }
    }
    .map(Layer::Fresh)
}

fn erofs(layer: &str, index: &str, data: Option<&str>, directio: bool) -> Result<Detached> {
    let configure = || {
        let erofs = Context::open("erofs")?;
        erofs.string("source", index)?;
        if let Some(data) = data {
            erofs.string("device", data)?;
        }
        // Or the kernel opens loop devices for writing, which they refuse.
        erofs.flag("ro")?;
        if directio {
            erofs.flag("directio")?;
        }
        erofs.create(INERT)
    };
    configure().map_err(named(layer))
}

/// Makes an empty lower directory. It is the root of a stack without layers, so anybody may look.
fn empty(dir: BorrowedFd<'_>, number: usize) -> Result<LowerDir> {
    let name = format!("empty-{number}");
    let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
    match rustix::fs::mkdirat(dir, &name, mode) {
        Ok(()) => rustix::fs::chmodat(dir, &name, mode, rustix::fs::AtFlags::empty())
            .map_err(io("change the mode of", &name))?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(io("create directory", &name)(errno)),
    }
    Ok(LowerDir {
        root: open_dir_at(dir, Path::new(&name))?,
        name,
    })
}

fn overlay(locked: &Locked<'_>, plan: &Plan, lowers: &[LowerDir]) -> Result<Detached> {
    let writable = plan.writable.as_ref().map(OpenWritable::open).transpose()?;
    let restrictions = Restrictions {
        read_only: writable.is_none(),
        inert: false,
    };
    if plan.api == OverlayApi::OnePage {
        return one_page::overlay(locked, plan, lowers, writable.as_ref(), restrictions);
    }
    let by_descriptor = plan.api == OverlayApi::Descriptors;
    let layers_path = locked.layers_path();
    let configure = || {
        let overlay = Context::open("overlay")?;
        overlay.string("source", "lapstrake")?;
        let directory = |key: &str, path: &Path, fd: &OwnedFd| match by_descriptor {
            true => overlay.fd(key, fd.as_fd()),
            false => overlay.string(key, short_path(path, fd)),
        };
        for lower in lowers {
            directory("lowerdir+", &layers_path.join(&lower.name), &lower.root)?;
        }
        if let Some(writable) = &writable {
            directory("upperdir", &writable.paths.upper, &writable.upper)?;
            directory("workdir", &writable.paths.work, &writable.work)?;
        }
        for (key, value) in &plan.options {
            overlay.string(key, value)?;
        }
        overlay.create(restrictions)
    };
    configure().map_err(named(plan.target.display().to_string()))
}

/// The directories of a writable layer, open.
#[derive(Debug)]
pub(super) struct OpenWritable<'a> {
    pub(super) paths: &'a Writable,
    pub(super) upper: OwnedFd,
    pub(super) work: OwnedFd,
}

impl<'a> OpenWritable<'a> {
    fn open(paths: &'a Writable) -> Result<Self> {
        Ok(Self {
            paths,
            upper: open_dir(&paths.upper)?,
            work: open_dir(&paths.work)?,
        })
    }
}

/// The path itself where the kernel takes it as it is; else one by descriptor. The path is what an
/// administrator reads in the table of mounts.
pub(super) fn short_path(path: &Path, fd: &OwnedFd) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    let plain = bytes.starts_with(b"/") && !bytes.iter().any(|b| b"\\,:\"".contains(b));
    if plain && bytes.len() < 256 {
        return bytes.to_vec();
    }
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd()).into_bytes()
}

/// Says what was being mounted.
pub(super) fn named(object: impl Into<String>) -> impl FnOnce(mount::Error) -> Error {
    let object = object.into();
    move |source| Error::Mount { object, source }
}
