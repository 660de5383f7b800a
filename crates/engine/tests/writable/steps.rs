//! Things that happen in a container's root. Those that make no sense just fail there.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, RenameFlags, Timespec, Timestamps, Uid,
    XattrFlags,
};

/// A path, chosen among those that are there when the step is taken.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    choice: Index,
    /// A name in that directory, or beside that file; else the path itself.
    name: Option<&'static str>,
}

impl Spot {
    fn at(&self, root: &Path) -> PathBuf {
        let mut all = Vec::new();
        list(root, &mut all);
        let path = &all[self.choice.index(all.len())];
        match self.name {
            None => path.clone(),
            Some(name) if path.is_dir() && !path.is_symlink() => path.join(name),
            Some(name) => path.with_file_name(name),
        }
    }
}

/// The directory and all below it, in order.
fn list(path: &Path, all: &mut Vec<PathBuf>) {
    all.push(path.to_owned());
    if !path.is_symlink() && path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for name in names {
            list(&name, all);
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Create(Spot, Vec<u8>),
    WriteAt(Spot, u32, Vec<u8>),
    Append(Spot, Vec<u8>),
    Truncate(Spot, u32),
    Punch(Spot, u32, u32),
    OpenToWrite(Spot),
    Rename(Spot, Spot),
    Exchange(Spot, Spot),
    MakeDirectory(Spot),
    Remove(Spot),
    RemoveAll(Spot),
    Link(Spot, Spot),
    Symlink(&'static str, Spot),
    Mode(Spot, u16),
    Owner(Spot, u32, u32),
    Times(Spot, i64, u32),
    SetAttribute(Spot, &'static str, Vec<u8>),
    RemoveAttribute(Spot, &'static str),
    Node(Spot, u8),
    /// Removed, and made again with some of what was there.
    Again(Spot),
    DirectoryToFile(Spot),
    FileToDirectory(Spot),
}

/// Something that is there.
fn there() -> impl Strategy<Value = Spot> {
    any::<Index>().prop_map(|choice| Spot { choice, name: None })
}

/// Something that may not be there.
fn new() -> impl Strategy<Value = Spot> {
    let name = select(vec!["a", "b", "c", "f", "g"]);
    (any::<Index>(), name).prop_map(|(choice, name)| Spot {
        choice,
        name: Some(name),
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..30),
        1 => (any::<u8>(), 1_usize..20_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), count)
}

fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![0_u32..100, 0_u32..300_000];
    let attribute = select(vec!["user.a", "user.b=c", "trusted.t", "security.s"]);
    let times = (
        select(vec![-1, 0, 1_700_000_000, 10_000_000_000]),
        select(vec![0, 1, 999_999_999]),
    );
    let id = select(vec![0_u32, 1000, 3_000_000]);
    prop_oneof![
        6 => (new(), bytes()).prop_map(|(a, b)| Step::Create(a, b)),
        2 => (there(), offset.clone(), bytes()).prop_map(|(a, b, c)| Step::WriteAt(a, b, c)),
        2 => (there(), bytes()).prop_map(|(a, b)| Step::Append(a, b)),
        2 => (there(), offset.clone()).prop_map(|(a, b)| Step::Truncate(a, b)),
        1 => (there(), offset.clone(), offset).prop_map(|(a, b, c)| Step::Punch(a, b, c)),
        2 => there().prop_map(Step::OpenToWrite),
        6 => (there(), new()).prop_map(|(a, b)| Step::Rename(a, b)),
        1 => (there(), there()).prop_map(|(a, b)| Step::Exchange(a, b)),
        6 => new().prop_map(Step::MakeDirectory),
        3 => there().prop_map(Step::Remove),
        2 => there().prop_map(Step::RemoveAll),
        3 => (there(), new()).prop_map(|(a, b)| Step::Link(a, b)),
        2 => (select(vec!["a", "../b/f", "/c"]), new()).prop_map(|(a, b)| Step::Symlink(a, b)),
        2 => (there(), 0_u16..0o10000).prop_map(|(a, b)| Step::Mode(a, b)),
        2 => (there(), id.clone(), id).prop_map(|(a, b, c)| Step::Owner(a, b, c)),
        2 => (there(), times).prop_map(|(a, (b, c))| Step::Times(a, b, c)),
        2 => (there(), attribute.clone(), bytes()).prop_map(|(a, b, c)| Step::SetAttribute(a, b, c)),
        1 => (there(), attribute).prop_map(|(a, b)| Step::RemoveAttribute(a, b)),
        2 => (new(), 0_u8..3).prop_map(|(a, b)| Step::Node(a, b)),
        2 => there().prop_map(Step::Again),
        1 => there().prop_map(Step::DirectoryToFile),
        1 => there().prop_map(Step::FileToDirectory),
    ]
}

impl Step {
    /// Takes the step in a root; whether it could be taken.
    pub(crate) fn take(&self, root: &Path) -> bool {
        self.attempt(root).is_ok()
    }

    fn attempt(&self, root: &Path) -> std::io::Result<()> {
        let at = |spot: &Spot| spot.at(root);
        match self {
            Self::Create(path, bytes) => File::create_new(at(path))?.write_all(bytes),
            Self::WriteAt(path, offset, bytes) => {
                write(&at(path))?.write_all_at(bytes, u64::from(*offset))
            }
            Self::Append(path, bytes) => append(&at(path))?.write_all(bytes),
            Self::Truncate(path, length) => write(&at(path))?.set_len(u64::from(*length)),
            Self::Punch(path, offset, length) => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let (offset, length) = (u64::from(*offset), u64::from(*length));
                Ok(rustix::fs::fallocate(
                    write(&at(path))?,
                    flags,
                    offset,
                    length,
                )?)
            }
            Self::OpenToWrite(path) => append(&at(path)).map(drop),
            Self::Rename(from, to) => fs::rename(at(from), at(to)),
            Self::Exchange(from, to) => Ok(rustix::fs::renameat_with(
                CWD,
                at(from),
                CWD,
                at(to),
                RenameFlags::EXCHANGE,
            )?),
            Self::MakeDirectory(path) => fs::create_dir(at(path)),
            Self::Remove(path) => remove(&at(path)),
            Self::RemoveAll(path) => remove_all(&not_root(at(path), root)?),
            Self::Link(from, to) => fs::hard_link(at(from), at(to)),
            Self::Symlink(target, path) => symlink(target, at(path)),
            Self::Mode(path, mode) => {
                let path = at(path);
                // Not through a link, which may lead out of the root.
                if fs::symlink_metadata(&path)?.is_symlink() {
                    return Err(std::io::ErrorKind::InvalidInput.into());
                }
                Ok(rustix::fs::chmod(
                    path,
                    Mode::from_raw_mode(u32::from(*mode)),
                )?)
            }
            Self::Owner(path, uid, gid) => {
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                Ok(rustix::fs::chownat(
                    CWD,
                    at(path),
                    Some(uid),
                    Some(gid),
                    flags,
                )?)
            }
            Self::Times(path, tv_sec, nanoseconds) => {
                let time = Timespec {
                    tv_sec: *tv_sec,
                    tv_nsec: i64::from(*nanoseconds),
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                Ok(rustix::fs::utimensat(
                    CWD,
                    at(path),
                    &times,
                    AtFlags::SYMLINK_NOFOLLOW,
                )?)
            }
            Self::SetAttribute(path, name, value) => Ok(rustix::fs::lsetxattr(
                at(path),
                *name,
                value,
                XattrFlags::empty(),
            )?),
            Self::RemoveAttribute(path, name) => Ok(rustix::fs::lremovexattr(at(path), *name)?),
            Self::Node(path, kind) => node(&at(path), *kind),
            Self::Again(path) => again(&not_root(at(path), root)?),
            Self::DirectoryToFile(path) => {
                let path = not_root(at(path), root)?;
                fs::read_dir(&path)?;
                remove_all(&path)?;
                fs::write(path, "was a directory")
            }
            Self::FileToDirectory(path) => {
                let path = at(path);
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
                fs::write(path.join("f"), "in what was a file")
            }
        }
    }
}

fn not_root(path: PathBuf, root: &Path) -> std::io::Result<PathBuf> {
    if path == root {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    Ok(path)
}

/// Opens a regular file that is no link.
fn write(path: &Path) -> std::io::Result<File> {
    regular(path)?;
    File::options().write(true).open(path)
}

fn append(path: &Path) -> std::io::Result<File> {
    regular(path)?;
    File::options().append(true).open(path)
}

fn regular(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_file() {
        Ok(())
    } else {
        Err(std::io::ErrorKind::InvalidInput.into())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir(path)
    } else {
        fs::remove_file(path)
    }
}

fn remove_all(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn node(path: &Path, kind: u8) -> std::io::Result<()> {
    let (kind, device) = match kind {
        0 => (FileType::Fifo, 0),
        1 => (FileType::CharacterDevice, rustix::fs::makedev(1, 7)),
        _ => (FileType::BlockDevice, rustix::fs::makedev(259, 70_000)),
    };
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    Ok(rustix::fs::mknodat(
        CWD,
        &path,
        kind,
        Mode::from_raw_mode(0o640),
        device,
    )?)
}

fn again(path: &Path) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        fs::remove_dir_all(path)?;
        fs::create_dir(path)?;
        fs::write(path.join("g"), "new")
    } else if metadata.is_file() {
        let bytes = fs::read(path)?;
        fs::remove_file(path)?;
        fs::write(path, bytes)
    } else {
        Err(std::io::ErrorKind::InvalidInput.into())
    }
}
