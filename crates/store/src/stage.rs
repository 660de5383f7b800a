//! Staging: where a layer is written before it has a name.
//!
//! A stage is a directory of its own below `tmp/<host>/`, locked while its writer lives, so a
//! sweep can tell what a crash left from what is being written. Dropping a stage removes it, unless its
//! writer wants to go on with it later (-> partial).
//!
//! Bytes reach `data` through one buffer in pieces of [`BUFFER_BYTES`], and the kernel is asked to write
//! them back as they come, so that the sync at the end is short.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags};

use lapstrake_sys::publish;

use crate::content::LayerFiles;
use crate::disk::{Disk, remove_tree};
use crate::error::{Result, io_error};
use crate::partial;
use crate::trash::move_aside;

/// Large enough that the cost of a system call does not matter, small enough to stay in cache.
const BUFFER_BYTES: usize = 256 * 1024;
/// How often writeback is asked for.
const WRITEBACK_BYTES: u64 = 8 * 1024 * 1024;

/// What only this process puts into names: its pid, and when it began to make names. A pid alone will
/// not do, for after a crash another process may have it: in a container it is 1 every time.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    format!(
        "{}-{:x}",
        std::process::id(),
        since.unwrap_or_default().as_nanos()
    )
});
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A name that nothing else has, on this host and for all time.
pub(crate) fn unique_name() -> String {
    format!("{}-{}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A moment between the makings of two unique names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        Self(NEXT.load(Ordering::Relaxed))
    }

    /// Whether a name that ends with a unique one was made before this moment, perhaps by another process.
    /// One that ends otherwise was.
    pub(crate) fn is_after(self, name: &str) -> bool {
        let ours = name
            .rsplit_once('-')
            .filter(|(process, _)| process.ends_with(&*PROCESS));
        let number = ours.and_then(|(_, number)| number.parse::<u64>().ok());
        number.is_none_or(|number| number < self.0)
    }
}

/// A locked directory that is removed when dropped.
#[derive(Debug)]
struct StageDir {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Whether it stays when it is dropped.
    stays: bool,
    _lock: File,
}

impl StageDir {
    /// Makes one of which the name begins so.
    fn create(disk: Arc<dyn Disk>, tmp: &Path, prefix: &str) -> Result<Self> {
        loop {
            let path = tmp.join(format!("{prefix}{}", unique_name()));
            match disk.make_dir(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(io_error("create the directory", &path)(error)),
            }
            // A sweep between the creation and the lock takes the directory away; try again.
            if let Some(lock) = lock_dir(&path)?
                && path.exists()
            {
                return Ok(Self {
                    disk,
                    path,
                    stays: false,
                    _lock: lock,
                });
            }
        }
    }

    /// One that was left, if nobody else takes it.
    fn take(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Option<Self>> {
        Ok(lock_dir(&path)?.map(|lock| Self {
            disk,
            path,
            stays: false,
            _lock: lock,
        }))
    }
}

impl Drop for StageDir {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // Published stages are no longer here; what cannot be removed is left to the next sweep.
        drop(remove_tree(&*self.disk, &self.path));
    }
}

/// Locks a directory, if nobody else has and it is still there.
pub(crate) fn lock_dir(path: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(io_error("open", path)(error.into())),
    };
    match rustix::fs::flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(dir)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(io_error("lock", path)(error.into())),
    }
}

/// Moves what dead writers left in `tmp` to the trash, but for what can be gone on with.
pub(crate) fn sweep(disk: &dyn Disk, tmp: &Path, trash: &Path, now: SystemTime) -> Result<()> {
    for name in crate::content::names(tmp)? {
        let path = tmp.join(name);
        // What is not a directory is a named stage of a single file (no O_TMPFILE here): it is
        // written in one go.
        let _lock = if path.is_dir() {
            match lock_dir(&path)? {
                Some(lock) => Some(lock),
                None => continue,
            }
        } else {
            None
        };
        if partial::is_kept(&path, now) {
            continue;
        }
        move_aside(disk, &path, trash)?;
    }
    Ok(())
}

/// A layer being written.
#[derive(Debug)]
pub struct LayerStage {
    dir: StageDir,
    files: LayerFiles,
    data: File,
    buffer: Vec<u8>,
    written: u64,
    writeback_from: u64,
}

impl LayerStage {
    pub(crate) fn create(disk: Arc<dyn Disk>, tmp: &Path, prefix: &str) -> Result<Self> {
        let dir = StageDir::create(disk, tmp, prefix)?;
        let files = LayerFiles::below(&dir.path);
        let data = dir
            .disk
            .create(&files.data)
            .map_err(io_error("create", &files.data))?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Self {
            dir,
            files,
            data,
            buffer,
            written: 0,
            writeback_from: 0,
        })
    }

    /// Goes on with one that was left, behind so many bytes of `data`; `None` if it has fewer, or somebody
    /// else took it.
    pub(crate) fn take(disk: Arc<dyn Disk>, path: &Path, data_len: u64) -> Result<Option<Self>> {
        let Some(dir) = StageDir::take(disk, path.to_owned())? else {
            return Ok(None);
        };
        let files = LayerFiles::below(&dir.path);
        let data = File::options().read(true).write(true).open(&files.data);
        let mut data = data.map_err(io_error("open", &files.data))?;
        let mut cut = || {
            if data.metadata()?.len() < data_len {
                return Ok(false);
            }
            data.set_len(data_len)?;
            data.seek(io::SeekFrom::Start(data_len)).map(|_| true)
        };
        if !cut().map_err(io_error("cut", &files.data))? {
            return Ok(None);
        }
        Ok(Some(Self {
            dir,
            files,
            data,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: data_len,
            writeback_from: data_len,
        }))
    }

    /// Where `data` is, to be read as far as it was written.
    pub fn data(&self) -> &Path {
        &self.files.data
    }

    /// How many bytes were appended.
    pub fn data_len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Notes how far the layer is, and what it takes to go on from here: see
    /// [`crate::Content::resume_layer`]. The note before is replaced. Nothing waits for the disk.
    ///
    /// # Errors
    /// If the disk refuses; the stage is then of no more use.
    pub fn note(&mut self, note: &[u8]) -> Result<()> {
        self.flush().map_err(io_error("write", &self.files.data))?;
        partial::write(&*self.dir.disk, &self.dir.path, self.written, note)
    }

    /// Leaves the layer as it is for somebody who goes on with it, if there is a note to do so.
    pub fn leave(mut self) {
        self.dir.stays = partial::has_note(&self.dir.path);
    }

    /// Writes the next bytes of `data`.
    ///
    /// # Errors
    /// If the disk refuses; the stage is then of no more use.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let free = BUFFER_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at(free.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == BUFFER_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.data.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written - self.writeback_from >= WRITEBACK_BYTES {
            self.start_writeback();
        }
        Ok(())
    }

    fn start_writeback(&mut self) {
        let length = self.written - self.writeback_from;
        publish::start_writeback(&self.data, self.writeback_from, length);
        self.writeback_from = self.written;
    }

    /// Ends `data` and writes the other two files.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(mut self, skeleton: &[u8], spans: &[u8]) -> Result<StagedLayer> {
        self.flush().map_err(io_error("write", &self.files.data))?;
        self.start_writeback();
        partial::remove_note(&*self.dir.disk, &self.dir.path)?;
        for (path, bytes) in [(&self.files.skeleton, skeleton), (&self.files.spans, spans)] {
            let mut file = self
                .dir
                .disk
                .create(path)
                .map_err(io_error("create", path))?;
            file.write_all(bytes).map_err(io_error("write", path))?;
            publish::start_writeback(&file, 0, bytes.len() as u64);
        }
        Ok(StagedLayer { dir: self.dir })
    }
}

/// A layer that is complete, but has no name yet: see [`crate::Store::publish_layer`].
#[derive(Debug)]
pub struct StagedLayer {
    dir: StageDir,
}

impl StagedLayer {
    /// Its files, until it is published or dropped.
    pub fn files(&self) -> LayerFiles {
        LayerFiles::below(&self.dir.path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dead_processes_are_told_from_ours_also_if_the_pid_is_the_same() {
        let before = unique_name();
        let moment = Moment::now();
        let after = unique_name();
        let pid = std::process::id();
        for (name, is_old) in [
            (format!(".x-{before}"), true),
            (format!(".x-{after}"), false),
            (after, false),
            (format!("{pid}-1-99999999"), true),
            (format!("{pid}-99999999"), true),
            ("x".to_owned(), true),
        ] {
            assert_eq!(moment.is_after(&name), is_old, "{name}");
        }
    }
}
