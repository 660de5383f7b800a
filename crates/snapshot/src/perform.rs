//! Carries out what a driver described, without further choices: the one function that mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lapstrake_oci::DiffId;
use lapstrake_sys::loopdev::LoopDevice;
use lapstrake_sys::mount::{self, Context, Detached, Restrictions};
use lapstrake_sys::parallel;
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use crate::error::io;
use crate::record::{Inode, Record, RootKey};
use crate::run_dir::{Locked, open_dir_at};
use crate::{
    Error, Lower, Mounted, Mounts, OpenDir, Overlay, OverlayApi, Rendered, Result, Root, Shared,
};
use crate::{Value, one_page, overlay, place};

/// Of layers: they are read through overlay only.
const INERT: Restrictions = Restrictions {
    read_only: true,
    inert: true,
};

/// Half of a sha256: short in the table of mounts, and beyond anyone's power to collide with a
/// given layer.
const NAME_DIGITS: usize = 32;

/// What a layer's mount point is called.
pub(crate) fn name(layer: &DiffId) -> String {
    layer.0.hex().chars().take(NAME_DIGITS).collect()
}

pub(crate) fn perform(
    locked: &Locked<'_>,
    driver: &str,
    mounts: &Mounts,
    place: Option<&Path>,
    target: &Path,
) -> Result<Mounted> {
    if mount::is_mount_root(CWD, target).map_err(io("stat", target))? {
        return Err(Error::TargetTaken {
            target: target.to_owned(),
        });
    }
    let dir = locked.layers()?;
    let made = share(locked, dir.as_fd(), mounts)?;
    let mut record = record(locked, driver, mounts, place, target);
    let root = match &mounts.root {
        Root::Overlay(overlay) => {
            let empty = empties(locked, dir.as_fd(), overlay)?;
            record
                .mounts
                .extend(empty.iter().map(|(name, _)| name.clone()));
            let lowers = lowers(overlay, &made.roots, &empty);
            let root = mount_overlay(locked, overlay, &lowers, target)?;
            record.inode = Inode::of(&root).map_err(io("stat", target))?;
            let key = RootKey::of_overlay(&root).map_err(io("stat", target))?;
            locked.record(&key.expect("an overlay was made"), &record)?;
            root
        }
        Root::Bind { source, read_only } => {
            let root = Detached::copy_of_open(source.as_fd(), *read_only)
                .map_err(named(source.path().display().to_string()))?;
            record.inode = Inode::of(&root).map_err(io("stat", target))?;
            let key = RootKey::of_mount(&root).map_err(io("stat", target))?;
            locked.record(&key, &record)?;
            root
        }
    };
    root.attach_at(target)
        .map_err(named(target.display().to_string()))?;
    Ok(Mounted {
        target: target.to_owned(),
        fresh: made.fresh,
        shared: made.roots.len() - made.fresh,
    })
}

/// All but the root itself, which somebody else will mount: what it is made from is there, and in
/// use under `key`. The answer says how to mount it.
pub(crate) fn hold(
    locked: &Locked<'_>,
    driver: &str,
    mounts: &Mounts,
    place: Option<&Path>,
    key: &RootKey,
) -> Result<Rendered> {
    let dir = locked.layers()?;
    let mut record = record(locked, driver, mounts, place, Path::new(""));
    // Whatever comes of it, a sweep leaves what is made from here on alone.
    let empty = match &mounts.root {
        Root::Overlay(overlay) => empties(locked, dir.as_fd(), overlay)?,
        Root::Bind { .. } => Vec::new(),
    };
    let names = empty.iter().map(|(name, _)| name.clone());
    record.mounts.extend(names);
    locked.record(key, &record)?;
    let made = share(locked, dir.as_fd(), mounts)?;
    match &mounts.root {
        Root::Overlay(overlay) => {
            let lowers = lowers(overlay, &made.roots, &empty);
            if let Some(upper) = &overlay.upper {
                place::take_root(upper, lowers[0])?;
            }
            Rendered::overlay(overlay, &lowers)
        }
        Root::Bind { source, read_only } => Ok(Rendered::bind(source, *read_only)),
    }
}

/// The shared file systems, mounted.
struct Made {
    roots: Vec<OpenDir>,
    fresh: usize,
}

fn share(locked: &Locked<'_>, dir: BorrowedFd<'_>, mounts: &Mounts) -> Result<Made> {
    let layers = parallel::map(&mounts.shared, |shared| find_or_make(dir, shared))?;
    let fresh = layers
        .iter()
        .filter(|layer| matches!(layer, Layer::Fresh(_)))
        .count();
    // One after the other: attaching takes the lock of all mounts, and threads that wait for it
    // cost more than it does.
    let mut roots = Vec::with_capacity(layers.len());
    for (layer, shared) in layers.into_iter().zip(&mounts.shared) {
        let name = name(&shared.layer);
        let path = locked.layers_path().join(&name);
        roots.push(OpenDir::of(layer.into_root(dir, &name)?, path));
    }
    Ok(Made { roots, fresh })
}

fn record(
    locked: &Locked<'_>,
    driver: &str,
    mounts: &Mounts,
    place: Option<&Path>,
    target: &Path,
) -> Record {
    Record {
        namespace: locked.namespace(),
        driver: driver.to_owned(),
        mounts: mounts.shared.iter().map(|s| name(&s.layer)).collect(),
        layers: mounts.layers.clone(),
        inode: Inode::default(),
        place: place.map(Path::to_owned).unwrap_or_default(),
        target: target.to_owned(),
    }
}

/// A layer's mount.
enum Layer {
    /// Attached by an earlier root.
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

fn find_or_make(dir: BorrowedFd<'_>, shared: &Shared) -> Result<Layer> {
    let name = name(&shared.layer);
    let path = Path::new(&name);
    match mount::is_mount_root(dir, path) {
        Ok(true) => return Ok(Layer::Shared(open_dir_at(dir, path)?)),
        Ok(false) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(io("stat", path)(errno)),
    }
    // A mount keeps its loop devices once it is made; until then these do.
    let mut devices = Vec::new();
    for (_, value) in &shared.options {
        if let Value::Block(file, reads) = value {
            let device = LoopDevice::attach(file.as_fd(), *reads);
            devices.push(device.map_err(|source| Error::Loop {
                path: file.path().to_owned(),
                source,
            })?);
        }
    }
    let mut paths = devices
        .iter()
        .map(|device| device.path().display().to_string());
    let mut configure = || {
        let context = Context::open(shared.filesystem)?;
        for (key, value) in &shared.options {
            match value {
                Value::Flag => context.flag(key)?,
                Value::File(file) => context.string(key, file.descriptor_path())?,
                Value::Block(..) => {
                    context.string(key, paths.next().expect("one device for each"))?;
                }
            }
        }
        context.create(INERT)
    };
    configure().map(Layer::Fresh).map_err(named(&name))
}

/// Makes as many empty lower directories as overlay wants beside what there is: two in all where
/// there is no upper one, one where there is.
fn empties(
    locked: &Locked<'_>,
    dir: BorrowedFd<'_>,
    overlay: &Overlay,
) -> Result<Vec<(String, OpenDir)>> {
    let least = if overlay.upper.is_some() { 1 } else { 2 };
    let missing = least.max(overlay.lowers.len()) - overlay.lowers.len();
    let empty = |number| {
        let name = format!("empty-{number}");
        // It is the root of a stack without layers, so anybody may look.
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        match rustix::fs::mkdirat(dir, &name, mode) {
            Ok(()) => rustix::fs::chmodat(dir, &name, mode, rustix::fs::AtFlags::empty())
                .map_err(io("change the mode of", &name))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(io("create directory", &name)(errno)),
        }
        let path = locked.layers_path().join(&name);
        let root = OpenDir::of(open_dir_at(dir, Path::new(&name))?, path);
        Ok((name, root))
    };
    (0..missing).map(empty).collect()
}

/// All lower directories, top first. Empty ones lie at the bottom: the root's owner and mode are
/// the topmost layer's.
fn lowers<'a>(
    overlay: &'a Overlay,
    shared: &'a [OpenDir],
    empty: &'a [(String, OpenDir)],
) -> Vec<&'a OpenDir> {
    let lowers = overlay.lowers.iter().map(|lower| match lower {
        Lower::Shared(at) => &shared[*at],
        Lower::Directory(dir) => dir,
    });
    lowers.chain(empty.iter().map(|(_, dir)| dir)).collect()
}

fn mount_overlay(
    locked: &Locked<'_>,
    overlay: &Overlay,
    lowers: &[&OpenDir],
    target: &Path,
) -> Result<Detached> {
    let upper = overlay.upper.as_ref();
    if let Some(upper) = upper {
        place::take_root(upper, lowers[0])?;
    }
    let restrictions = Restrictions {
        read_only: upper.is_none(),
        inert: false,
    };
    if overlay.api == OverlayApi::OnePage {
        return one_page::overlay(locked, lowers, upper, restrictions, target);
    }
    let by_descriptor = overlay.api == OverlayApi::Descriptors;
    let configure = || {
        let context = Context::open("overlay")?;
        context.string("source", "lapstrake")?;
        let directory = |key: &str, dir: &OpenDir| match by_descriptor {
            true => context.fd(key, dir.as_fd()),
            false => context.string(key, dir.short_path()),
        };
        for lower in lowers {
            directory("lowerdir+", lower)?;
        }
        if let Some(upper) = upper {
            directory("upperdir", &upper.upper)?;
            directory("workdir", &upper.work)?;
        }
        for (key, value) in overlay::options(upper) {
            context.string(key, value)?;
        }
        context.create(restrictions)
    };
    configure().map_err(named(target.display().to_string()))
}

/// Says what was being mounted.
pub(crate) fn named(object: impl Into<String>) -> impl FnOnce(mount::Error) -> Error {
    let object = object.into();
    move |source| Error::Mount { object, source }
}
