//! Content: blobs and layers, immutable and named by their digest.
//!
//! A published name never changes its bytes, so reading needs no lock. Who removes one moves it
//! to the trash, after its records are gone ([`crate::Collection`]).

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest};
use lapstrake_sys::publish::{Published, StagedFile};

use crate::HostId;
use crate::collect::{Leftover, Quarantined};
use crate::disk::{Disk, ReadOnlyDisk, make_dirs, make_dirs_synced};
use crate::error::{Error, Result, io_error};
use crate::object::Object;
use crate::partial;
use crate::stage::{self, LayerStage};
use crate::trash;
use crate::usage;

/// Whether bytes must be on disk before their name appears (invariant 2 of the design).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// They have a source from which they can come again: a later sync will do.
    HasSource,
    /// Only we have them: sync first.
    OnlyHere,
}

/// The files of a published layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFiles {
    /// Contents of the layer's files, each at a 4 KiB boundary.
    pub data: PathBuf,
    /// Every other byte of the tar.
    pub skeleton: PathBuf,
    /// How ranges can be made again from the compressed blob.
    pub spans: PathBuf,
}

impl LayerFiles {
    pub(crate) fn below(dir: &Path) -> Self {
        Self {
            data: dir.join("data"),
            skeleton: dir.join("skeleton"),
            spans: dir.join("spans"),
        }
    }

    fn all(&self) -> [&Path; 3] {
        [&self.data, &self.skeleton, &self.spans]
    }
}

/// A content directory.
#[derive(Debug, Clone)]
pub struct Content {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    tmp: PathBuf,
}

impl Content {
    /// Opens a content directory, making it if there is none.
    ///
    /// # Errors
    /// If the directory cannot be used or has an unknown format.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, host: &HostId) -> Result<Self> {
        let tmp = dir.join("tmp").join(host.as_str());
        for needed in [
            dir,
            &dir.join("blobs"),
            &dir.join("layers"),
            &dir.join("trash"),
            &dir.join("quarantine"),
            &tmp,
        ] {
            make_dirs_synced(&*disk, needed)?;
        }
        crate::format::ensure(&*disk, dir, "lapstrake-content")?;
        stage::sweep(&*disk, &tmp, &dir.join("trash"), SystemTime::now())?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            tmp,
        })
    }

    /// Opens the content directory `dir` of the store at `root` to read it.
    ///
    /// # Errors
    /// If it is not there or has an unknown format.
    pub(crate) fn open_read_only(root: &Path, dir: &Path, host: &HostId) -> Result<Self> {
        crate::format::check_readable(root, dir, "lapstrake-content")?;
        Ok(Self {
            disk: Arc::new(ReadOnlyDisk),
            dir: dir.to_owned(),
            tmp: dir.join("tmp").join(host.as_str()),
        })
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn tmp(&self) -> &Path {
        &self.tmp
    }

    fn sharded(&self, kind: &str, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.dir
            .join(kind)
            .join(digest.algorithm().name())
            .join(&hex[..2])
            .join(hex)
    }

    /// Stores a small blob, such as a manifest or a config. One that is there and damaged, as a crash
    /// may leave it, is replaced.
    ///
    /// # Errors
    /// If the bytes do not hash to `digest`, or the file system refuses.
    pub fn put_blob(&self, bytes: &[u8], digest: &Digest, durability: Durability) -> Result<()> {
        let got = digest.algorithm().digest(bytes);
        if got != *digest {
            return Err(Error::Mismatch {
                want: digest.clone(),
                got,
            });
        }
        let path = self.sharded("blobs", digest);
        let published = match holds(&path, bytes)? {
            Some(true) => Published::Existed,
            Some(false) => return self.replace_blob(bytes, &path),
            None => self.publish_blob(bytes, &path, durability)?,
        };
        match (durability, published) {
            (Durability::HasSource, _) => Ok(()),
            (Durability::OnlyHere, Published::New) => self.sync_names(&path),
            // Whoever stored it may have had a source for it, and not have synced it.
            (Durability::OnlyHere, Published::Existed) => self.prove_blob(digest),
        }
    }

    fn publish_blob(&self, bytes: &[u8], path: &Path, durability: Durability) -> Result<Published> {
        let shard = path.parent().expect("a sharded path has a parent");
        make_dirs(&*self.disk, shard)?;
        let unique = stage::unique_name();
        let mut staged = StagedFile::create(&self.tmp, &unique, 0o644)
            .map_err(io_error("create a file in", &self.tmp))?;
        staged
            .file()
            .write_all(bytes)
            .map_err(io_error("write", path))?;
        if durability == Durability::OnlyHere {
            self.disk
                .sync_file(staged.file())
                .map_err(io_error("sync", path))?;
        }
        self.disk
            .publish(staged, path)
            .map_err(io_error("publish", path))
    }

    /// Puts right bytes in the place of damaged ones. They are synced whatever their source: another
    /// thread may do the same, and have acknowledged its copy as durable.
    fn replace_blob(&self, bytes: &[u8], path: &Path) -> Result<()> {
        self.replace(path.to_owned(), bytes)?;
        self.sync_names(path)
    }

    /// Reads a small blob and checks it. A blob of more than `max_bytes` is refused.
    ///
    /// # Errors
    /// If it isn't there, can't be read, or no longer hashes to its name.
    pub fn read_blob(&self, digest: &Digest, max_bytes: u64) -> Result<Vec<u8>> {
        let path = self.sharded("blobs", digest);
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing(digest.clone()));
            }
            Err(error) => return Err(io_error("open", &path)(error)),
        };
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(io_error("read", &path))?;
        if digest.algorithm().digest(&bytes) != *digest {
            return Err(Error::Damaged(digest.clone()));
        }
        Ok(bytes)
    }

    /// Waits until a blob is on disk under its name.
    ///
    /// # Errors
    /// If the blob isn't there or a sync failed.
    pub fn prove_blob(&self, digest: &Digest) -> Result<()> {
        self.prove_files(&[&self.sharded("blobs", digest)])
    }

    /// Where a layer's files are, or would be.
    pub fn layer_files(&self, id: &DiffId) -> LayerFiles {
        LayerFiles::below(&self.sharded("layers", &id.0))
    }

    /// Whether a layer was published.
    pub fn has_layer(&self, id: &DiffId) -> bool {
        self.layer_files(id).data.exists()
    }

    /// Starts to write a layer.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn stage_layer(&self) -> Result<LayerStage> {
        LayerStage::create(Arc::clone(&self.disk), &self.tmp, "")
    }

    /// Starts to write the layer of a blob so that it can be gone on with later, once it has a
    /// [`LayerStage::note`] and even if this process is killed.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn stage_layer_of(&self, blob: &Digest) -> Result<LayerStage> {
        let prefix = partial::prefix(blob);
        LayerStage::create(Arc::clone(&self.disk), &self.tmp, &prefix)
    }

    /// A layer of a blob that was left unfinished, with its last note. After a crash its `data` may
    /// be anything. Of several, the longest is taken and the others are removed.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn resume_layer(&self, blob: &Digest) -> Result<Option<(LayerStage, Vec<u8>)>> {
        partial::take(&self.disk, &self.tmp, blob)
    }

    /// The layers that were left unfinished, and their files.
    pub(crate) fn partials(&self) -> Result<Vec<Leftover>> {
        let mut partials = Vec::new();
        for path in partial::all(&self.tmp)? {
            let mut files = Vec::new();
            usage::measure(&path, &mut files)?;
            partials.push(Leftover { path, files });
        }
        Ok(partials)
    }

    /// Takes an unfinished layer away, unless somebody works on it; whether it is gone.
    pub(crate) fn remove_partial(&self, path: &Path) -> Result<bool> {
        let Some(_lock) = stage::lock_dir(path)? else {
            return Ok(false);
        };
        let moved = trash::move_aside(&*self.disk, path, &self.dir.join("trash"))?;
        Ok(moved.is_some())
    }

    /// Waits until a published layer is on disk: its bytes, its files' names and its own name.
    ///
    /// # Errors
    /// If a sync failed: the layer must then be checked before it is trusted.
    pub fn prove_layer(&self, id: &DiffId) -> Result<()> {
        self.prove_files(&self.layer_files(id).all())
    }

    /// Drops what the page cache has of a layer, so that the next look is at the disk. Pages that
    /// somebody uses at the moment stay.
    pub(crate) fn drop_cache(&self, id: &DiffId) {
        for path in self.layer_files(id).all() {
            // Advice: if it can't be given, the look is at the cache.
            if let Ok(file) = std::fs::File::open(path) {
                let _advice = lapstrake_sys::file::drop_cache(file.as_fd());
            }
        }
    }

    /// Moves a layer that turned out to be damaged out of sight, keeping its bytes for a look.
    ///
    /// # Errors
    /// If the file system refuses, or the layer is gone.
    pub fn quarantine_layer(&self, id: &DiffId) -> Result<PathBuf> {
        let from = self.sharded("layers", &id.0);
        let to = trash::move_aside(&*self.disk, &from, &self.dir.join("quarantine"))?;
        to.ok_or_else(|| Error::Missing(id.0.clone()))
    }

    /// Moves a blob that turned out to be damaged out of sight, keeping its bytes for a look.
    ///
    /// # Errors
    /// If the file system refuses, or the blob is gone.
    pub fn quarantine_blob(&self, digest: &Digest) -> Result<PathBuf> {
        let from = self.sharded("blobs", digest);
        let to = trash::move_aside(&*self.disk, &from, &self.dir.join("quarantine"))?;
        to.ok_or_else(|| Error::Missing(digest.clone()))
    }

    /// What was moved aside because it was damaged.
    pub(crate) fn quarantined(&self) -> Result<Vec<Quarantined>> {
        let dir = self.dir.join("quarantine");
        let mut quarantined = Vec::new();
        for name in names(&dir)? {
            let (path, mut files) = (dir.join(name), Vec::new());
            usage::measure(&path, &mut files)?;
            quarantined.push(Quarantined { path, files });
        }
        Ok(quarantined)
    }

    /// Where an object is, or would be: a file or a directory.
    pub(crate) fn path(&self, object: &Object) -> PathBuf {
        match object {
            Object::Blob(digest) => self.sharded("blobs", digest),
            Object::Layer(DiffId(digest)) => self.sharded("layers", digest),
        }
    }

    /// Every object that is here.
    pub(crate) fn objects(&self) -> Result<BTreeSet<Object>> {
        let mut objects = BTreeSet::new();
        objects.extend(self.digests("blobs")?.into_iter().map(Object::Blob));
        let layers = self.digests("layers")?.into_iter().map(DiffId);
        objects.extend(layers.map(Object::Layer));
        Ok(objects)
    }

    fn digests(&self, kind: &str) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        let dir = self.dir.join(kind);
        for algorithm in names(&dir)? {
            let dir = dir.join(&algorithm);
            for shard in names(&dir)? {
                let hexes = names(&dir.join(shard))?.into_iter();
                // What isn't named by a digest is not ours.
                digests.extend(hexes.filter_map(|hex| format!("{algorithm}:{hex}").parse().ok()));
            }
        }
        Ok(digests)
    }

    /// Gives a staged layer its name, unless that is taken.
    pub(crate) fn publish_layer(&self, staged: &Path, id: &DiffId) -> Result<Published> {
        let to = self.sharded("layers", &id.0);
        let shard = to.parent().expect("a sharded path has a parent");
        make_dirs(&*self.disk, shard)?;
        self.disk
            .rename_new(staged, &to)
            .map_err(io_error("publish", &to))
    }

    /// Waits until a layer that has no name yet is on disk.
    pub(crate) fn sync_staged(&self, staged: &Path) -> Result<()> {
        self.sync_files(&LayerFiles::below(staged).all())?;
        self.disk.sync_dir(staged).map_err(io_error("sync", staged))
    }

    /// Waits until a layer's name is on disk.
    pub(crate) fn sync_layer_names(&self, id: &DiffId) -> Result<()> {
        self.sync_names(&self.layer_files(id).data)
    }

    /// Whether all files of a layer are there, whatever is in them.
    pub(crate) fn is_complete(&self, id: &DiffId) -> bool {
        self.layer_files(id).all().iter().all(|path| path.exists())
    }

    fn sync_files(&self, files: &[&Path]) -> Result<()> {
        for path in files {
            let file = std::fs::File::open(path).map_err(io_error("open", path))?;
            self.disk.sync_file(&file).map_err(io_error("sync", path))?;
        }
        Ok(())
    }

    fn prove_files(&self, files: &[&Path]) -> Result<()> {
        self.sync_files(files)?;
        files.first().map_or(Ok(()), |path| self.sync_names(path))
    }

    /// Syncs every directory between a published file and the content directory.
    fn sync_names(&self, path: &Path) -> Result<()> {
        for dir in path
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(&self.dir))
        {
            self.disk.sync_dir(dir).map_err(io_error("sync", dir))?;
        }
        Ok(())
    }
}

/// Names in a directory that are text; none if it is not there.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Whether a file has these bytes, if it is there.
fn holds(path: &Path, bytes: &[u8]) -> Result<Option<bool>> {
    let read = || {
        let file = std::fs::File::open(path)?;
        let mut found = Vec::with_capacity(bytes.len());
        file.take(bytes.len() as u64 + 1).read_to_end(&mut found)?;
        Ok(found == bytes)
    };
    match read() {
        Ok(same) => Ok(Some(same)),
        Err(error) if std::io::Error::kind(&error) == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::disk::RealDisk;

    fn open(dir: &tempfile::TempDir) -> Result<Content> {
        let path = dir.path().join("content");
        Content::open(Arc::new(RealDisk), &path, &HostId::from_hostname("h"))
    }

    fn content() -> (tempfile::TempDir, Content) {
        let dir = tempfile::tempdir().unwrap();
        let content = open(&dir).unwrap();
        (dir, content)
    }

    fn names(content: &Content) -> usize {
        std::fs::read_dir(&content.tmp).unwrap().count()
    }

    #[test]
    fn a_blob_comes_back_as_it_went_in() {
        let (_dir, content) = content();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = algorithm.digest(b"manifest");
            for _twice in 0..2 {
                content
                    .put_blob(b"manifest", &digest, Durability::OnlyHere)
                    .unwrap();
            }
            assert_eq!(content.read_blob(&digest, 100).unwrap(), b"manifest");
        }
    }

    #[test]
    fn bytes_under_a_wrong_name_never_appear() {
        let (_dir, content) = content();
        let digest = Algorithm::Sha256.digest(b"a");
        let error = content
            .put_blob(b"b", &digest, Durability::HasSource)
            .unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }));
        assert!(matches!(
            content.read_blob(&digest, 100),
            Err(Error::Missing(_))
        ));
        assert_eq!(names(&content), 0);
    }

    #[test]
    fn a_blob_that_changed_on_disk_is_not_served_and_is_replaced_by_the_next_one() {
        let (_dir, content) = content();
        let digest = Algorithm::Sha256.digest(b"a");
        content
            .put_blob(b"a", &digest, Durability::HasSource)
            .unwrap();
        std::fs::File::create(content.sharded("blobs", &digest)).unwrap();
        assert!(matches!(
            content.read_blob(&digest, 100),
            Err(Error::Damaged(_))
        ));
        content
            .put_blob(b"a", &digest, Durability::HasSource)
            .unwrap();
        assert_eq!(content.read_blob(&digest, 100).unwrap(), b"a");
        assert_eq!(names(&content), 0);
    }

    #[test]
    fn the_next_open_sweeps_what_a_crash_left_but_not_what_is_being_written() {
        let (dir, content) = content();
        let running = content.stage_layer().unwrap();
        std::fs::create_dir(content.tmp.join("crashed")).unwrap();
        std::fs::File::create(content.tmp.join("crashed/data")).unwrap();
        std::fs::File::create(content.tmp.join("crashed-blob")).unwrap();
        open(&dir).unwrap();
        assert_eq!(names(&content), 1);
        drop(running);
        assert_eq!(names(&content), 0);
    }
}
