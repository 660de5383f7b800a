//! Partial layers: stages that somebody may go on with, in this process or the next.
//!
//! ```text
//! tmp/<host>/of-<hex of the blob>-<unique>/data     as far as it came
//!                                          note     how far that is, and what it takes to go on
//! ```
//!
//! A note appears whole, in the place of the one before. It is the writer's; the store only adds how
//! many bytes of `data` it speaks of, and a checksum:
//!
//! ```text
//! "LPPART1\n" · data length u64, little endian · the writer's bytes · BLAKE3 of all before it, 32
//! ```
//!
//! Nothing here is synced, so that after a crash of the machine `data` may have holes and zeros: who
//! goes on checks what is there. A stage without a note is swept like any other; one with a note when that
//! was not written for [`KEEP`], or by `prune`. A stage's lock says that somebody works on it.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapstrake_oci::Digest;

use crate::disk::{Disk, remove_tree};
use crate::error::{Result, io_error};
use crate::stage::{LayerStage, lock_dir};

/// How long what was left is kept for somebody to go on with it.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

const MAGIC: &[u8; 8] = b"LPPART1\n";
const PREFIX: &str = "of-";
const NOTE: &str = "note";
const NEW_NOTE: &str = "note.new";

/// How the names of a blob's partial layers begin.
pub(crate) fn prefix(blob: &Digest) -> String {
    format!("{PREFIX}{}-", blob.hex())
}

/// Notes how far the layer in `dir` is.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, data_len: u64, note: &[u8]) -> Result<()> {
    let (new, path) = (dir.join(NEW_NOTE), dir.join(NOTE));
    let length = data_len.to_le_bytes();
    let mut hasher = blake3::Hasher::new();
    let mut written = || {
        let mut file = disk.create(&new)?;
        for part in [&MAGIC[..], &length, note] {
            hasher.update(part);
            file.write_all(part)?;
        }
        file.write_all(hasher.finalize().as_bytes())?;
        disk.replace(&new, &path)
    };
    written().map_err(io_error("write", &path))
}

/// The length of `data` that a note speaks of, and the writer's bytes; `None` if there is no sound one.
fn read(dir: &Path) -> Option<(u64, Vec<u8>)> {
    let mut bytes = std::fs::read(dir.join(NOTE)).ok()?;
    let end = bytes.len().checked_sub(blake3::OUT_LEN)?;
    if blake3::hash(&bytes[..end]).as_bytes() != &bytes[end..] {
        return None;
    }
    bytes.truncate(end);
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, note) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*length), note.to_vec()))
}

pub(crate) fn has_note(dir: &Path) -> bool {
    dir.join(NOTE).exists()
}

/// Takes the note away before the layer gets its name.
pub(crate) fn remove_note(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let path = dir.join(NOTE);
    match disk.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

/// Whether a sweep leaves what is in `tmp`.
pub(crate) fn is_kept(path: &Path, now: SystemTime) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let noted = std::fs::metadata(path.join(NOTE)).and_then(|note| note.modified());
    // One from the future is kept: clocks are set back now and then.
    name.starts_with(PREFIX)
        && noted
            .is_ok_and(|noted| now.duration_since(noted).is_ok_and(|age| age < KEEP) || noted > now)
}

/// What was left, or is being written so that it can be left.
pub(crate) fn all(tmp: &Path) -> Result<Vec<PathBuf>> {
    let names = crate::content::names(tmp)?.into_iter();
    let names = names.filter(|name| name.starts_with(PREFIX));
    Ok(names.map(|name| tmp.join(name)).collect())
}

/// Goes on with what was left of a blob's layer.
pub(crate) fn take(
    disk: &Arc<dyn Disk>,
    tmp: &Path,
    blob: &Digest,
) -> Result<Option<(LayerStage, Vec<u8>)>> {
    let prefix = prefix(blob);
    let mut best: Option<(LayerStage, Vec<u8>)> = None;
    for name in crate::content::names(tmp)? {
        if !name.starts_with(&prefix) {
            continue;
        }
        let path = tmp.join(name);
        let Some((data_len, note)) = read(&path) else {
            // If nobody works on it, it is good for nothing.
            if let Some(_lock) = lock_dir(&path)? {
                drop(remove_tree(&**disk, &path));
            }
            continue;
        };
        let Some(stage) = LayerStage::take(Arc::clone(disk), &path, data_len)? else {
            continue;
        };
        // What a writer that was killed had not finished.
        drop(remove_tree(&**disk, &path.join(NEW_NOTE)));
        let is_longer = |best: &(LayerStage, _)| best.0.data_len() < data_len;
        if best.as_ref().is_none_or(is_longer) {
            best = Some((stage, note));
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::HostId;
    use crate::content::Content;
    use crate::disk::RealDisk;

    fn content(dir: &Path) -> Content {
        let host = HostId::from_hostname("h");
        Content::open(Arc::new(RealDisk), &dir.join("content"), &host).unwrap()
    }

    fn blob(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    fn left(content: &Content, text: &str, length: usize) -> PathBuf {
        let mut stage = content.stage_layer_of(&blob(text)).unwrap();
        stage.append(&vec![7; length]).unwrap();
        stage.note(b"an earlier one").unwrap();
        stage.note(b"how far").unwrap();
        // Behind the note: not counted.
        stage.append(b"more").unwrap();
        let dir = stage.data().parent().unwrap().to_owned();
        stage.leave();
        dir
    }

    fn taken(content: &Content, text: &str) -> Option<(u64, Vec<u8>)> {
        let taken = content.resume_layer(&blob(text)).unwrap();
        taken.map(|(stage, note)| (stage.data_len(), note))
    }

    #[test]
    fn what_was_left_is_gone_on_with_where_the_note_says_also_by_the_next_owner() {
        let dir = tempfile::tempdir().unwrap();
        let content = self::content(dir.path());
        left(&content, "a", 300_000);
        let content = self::content(dir.path());
        assert_eq!(taken(&content, "b"), None);
        let (mut stage, note) = content.resume_layer(&blob("a")).unwrap().unwrap();
        assert_eq!((stage.data_len(), &*note), (300_000, &b"how far"[..]));
        assert_eq!(taken(&content, "a"), None, "somebody works on it");
        stage.append(b"end").unwrap();
        let staged = stage.finish(b"skeleton", b"spans").unwrap();
        let data = std::fs::read(staged.files().data).unwrap();
        assert_eq!((data.len(), &data[300_000..]), (300_003, &b"end"[..]));
        let files = std::fs::read_dir(staged.files().data.parent().unwrap()).unwrap();
        assert_eq!(files.count(), 3);
        drop(staged);
        assert_eq!(all(content.tmp()).unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn without_a_note_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let content = content(dir.path());
        let mut stage = content.stage_layer_of(&blob("a")).unwrap();
        stage.append(&[7; 100]).unwrap();
        stage.leave();
        assert_eq!(all(content.tmp()).unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn of_several_the_longest_is_taken_and_the_others_go() {
        let dir = tempfile::tempdir().unwrap();
        let content = content(dir.path());
        for length in [1000, 3000, 2000] {
            left(&content, "a", length);
        }
        assert_eq!(taken(&content, "a").unwrap().0, 3000);
        assert_eq!(all(content.tmp()).unwrap(), [] as [PathBuf; 0]);
    }

    #[test]
    fn what_is_damaged_is_not_gone_on_with() {
        for (file, bytes) in [("note", &b"LPPART1\nxxxxxxxx"[..]), ("data", b"short")] {
            let dir = tempfile::tempdir().unwrap();
            let content = self::content(dir.path());
            let path = left(&content, "a", 1000).join(file);
            std::fs::File::create(path)
                .unwrap()
                .write_all(bytes)
                .unwrap();
            assert_eq!(taken(&content, "a"), None, "{file}");
        }
    }

    #[test]
    fn what_is_old_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let content = content(dir.path());
        let path = left(&content, "a", 1000);
        let now = SystemTime::now();
        assert!(is_kept(&path, now));
        assert!(is_kept(&path, now - Duration::from_secs(3600)));
        assert!(!is_kept(&path, now + KEEP + Duration::from_secs(1)));
        assert!(!is_kept(&path.join("none"), now));
    }
}
