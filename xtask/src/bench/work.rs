//! The timed work itself, done by a process of its own (`xtask work …`, in release), which prints
//! its result as JSON.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use super::bound;
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

/// A piece of work.
#[derive(Debug, Subcommand)]
pub enum Work {
    /// Read every regular file below a directory.
    Read {
        /// The directory.
        dir: PathBuf,
    },
    /// Stat everything below a directory.
    Stat {
        /// The directory.
        dir: PathBuf,
    },
    /// Read every `.py` file by lines, with the buffer that stdio would take.
    Lines {
        /// The directory.
        dir: PathBuf,
    },
    /// Read shared libraries again and again.
    Again {
        /// The directory.
        dir: PathBuf,
        /// How often.
        rounds: usize,
    },
    /// Change one byte in each of the largest files.
    Touch {
        /// The directory.
        dir: PathBuf,
        /// How many.
        count: usize,
    },
    /// Create small files.
    Create {
        /// The directory.
        dir: PathBuf,
        /// How many.
        count: usize,
    },
    /// Write one big file.
    Write {
        /// The file.
        file: PathBuf,
        /// Its length in MiB.
        megabytes: usize,
    },
    /// Gunzip, hash and write blobs.
    Bound {
        /// Where to write.
        to: PathBuf,
        /// The blobs.
        blobs: Vec<PathBuf>,
    },
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Done {
    /// Seconds.
    pub seconds: f64,
    /// Bytes of contents that were read or written.
    pub bytes: u64,
    /// Files or entries.
    pub count: u64,
}

/// Runs a piece of work in another process and reads what it took.
pub fn run(tool: Tool) -> Result<Done> {
    let said = tool.output()?;
    serde_json::from_str(&said).map_err(|source| Error::Json {
        what: "the result of a piece of work".to_owned(),
        source,
    })
}

/// Does a piece of work in this process.
pub fn carry_out(work: &Work) -> Result<Done> {
    match work {
        Work::Read { dir } => {
            let mut buffer = vec![0; 256 << 10];
            walk_timed(dir, |path, meta| {
                if meta.is_file() {
                    read_file(path, &mut buffer)
                } else {
                    Ok(0)
                }
            })
        }
        Work::Stat { dir } => walk_timed(dir, |_, _| Ok(0)),
        Work::Lines { dir } => {
            let files = listed(dir, |path, _| {
                path.extension().is_some_and(|end| end == "py")
            })?;
            over(&files, read_lines)
        }
        Work::Again { dir, rounds } => {
            let is_library = |path: &Path| path.to_string_lossy().contains(".so");
            let files = listed(dir, |path, meta| meta.is_file() && is_library(path))?;
            let files = std::iter::repeat_n(files, *rounds)
                .flatten()
                .collect::<Vec<_>>();
            let mut buffer = vec![0; 256 << 10];
            over(&files, |path| read_file(path, &mut buffer))
        }
        Work::Touch { dir, count } => {
            let mut sized = Vec::new();
            for path in listed(dir, |_, meta| meta.is_file() && meta.len() > 0)? {
                let size = fs::symlink_metadata(&path).io("stat", &path)?.len();
                sized.push((std::cmp::Reverse(size), path));
            }
            sized.sort();
            let files = sized
                .into_iter()
                .take(*count)
                .map(|(_, path)| path)
                .collect::<Vec<_>>();
            over(&files, touch)
        }
        Work::Create { dir, count } => {
            let started = Instant::now();
            let contents = [b'x'; 1024];
            for number in 0..*count {
                let place = dir.join(format!("d{:03}", number / 500));
                if number % 500 == 0 {
                    files::make_dir(&place)?;
                }
                let path = place.join(format!("f{number}"));
                let mut file = File::create(&path).io("create", &path)?;
                file.write_all(&contents).io("write", &path)?;
            }
            Ok(done(started, *count as u64 * 1024, *count as u64))
        }
        Work::Write {
            file: path,
            megabytes,
        } => {
            let started = Instant::now();
            let mut file = File::create(path).io("create", path)?;
            let block = vec![b'x'; 1 << 20];
            for _ in 0..*megabytes {
                file.write_all(&block).io("write", path)?;
            }
            file.sync_all().io("sync", path)?;
            Ok(done(started, (*megabytes as u64) << 20, 1))
        }
        Work::Bound { to, blobs } => over(blobs, |blob| bound::unpack(blob, to)),
    }
}

fn done(started: Instant, bytes: u64, count: u64) -> Done {
    Done {
        seconds: started.elapsed().as_secs_f64(),
        bytes,
        count,
    }
}

fn over(files: &[PathBuf], mut each: impl FnMut(&Path) -> Result<u64>) -> Result<Done> {
    let started = Instant::now();
    let mut bytes = 0;
    for path in files {
        bytes += each(path)?;
    }
    Ok(done(started, bytes, files.len() as u64))
}

fn walk_timed(
    dir: &Path,
    mut each: impl FnMut(&Path, &fs::Metadata) -> Result<u64>,
) -> Result<Done> {
    let started = Instant::now();
    let (mut bytes, mut count) = (0, 0);
    walk(dir, &mut |path, meta| {
        bytes += each(path, meta)?;
        count += 1;
        Ok(())
    })?;
    Ok(done(started, bytes, count))
}

/// Visits everything below `dir`, each directory in the order of names.
fn walk(dir: &Path, each: &mut impl FnMut(&Path, &fs::Metadata) -> Result<()>) -> Result<()> {
    let entries = fs::read_dir(dir).io("list", dir)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .io("list", dir)?;
    paths.sort();
    for path in paths {
        let meta = fs::symlink_metadata(&path).io("stat", &path)?;
        each(&path, &meta)?;
        if meta.is_dir() {
            walk(&path, each)?;
        }
    }
    Ok(())
}

fn listed(dir: &Path, wanted: impl Fn(&Path, &fs::Metadata) -> bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(dir, &mut |path, meta| {
        if meta.is_file() && wanted(path, meta) {
            found.push(path.to_owned());
        }
        Ok(())
    })?;
    Ok(found)
}

fn read_file(path: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut file = File::open(path).io("open", path)?;
    let mut bytes = 0;
    loop {
        match file.read(buffer).io("read", path)? {
            0 => return Ok(bytes),
            count => bytes += count as u64,
        }
    }
}

/// As fgets does: a buffer of `st_blksize`.
fn read_lines(path: &Path) -> Result<u64> {
    let file = File::open(path).io("open", path)?;
    let size = file.metadata().io("stat", path)?.blksize();
    let mut reader = BufReader::with_capacity(usize::try_from(size).unwrap_or(4096), file);
    let (mut line, mut bytes) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line).io("read", path)? > 0 {
        bytes += line.len() as u64;
        line.clear();
    }
    Ok(bytes)
}

fn touch(path: &Path) -> Result<u64> {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .io("open", path)?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).io("read", path)?;
    file.write_all_at(&byte, 0).io("write", path)?;
    Ok(1)
}
