//! An overlay upper directory as a layer tar.
//!
//! The same tree gives the same bytes: entries are sorted, owners are numbers, times are whole
//! seconds. A device 0:0 becomes a whiteout and an opaque directory gets its marker, as the OCI
//! image specification has them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lapstrake_oci::Digest;
use tar::{Builder, EntryType, Header};

use crate::error::{IoContext as _, Result};
use crate::hashing::Hashing;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";

/// Writes the tar and returns its digest and length.
pub(super) fn write(tree: &Path, to: &File) -> Result<(Digest, u64)> {
    let sink = Hashing::new(io::BufWriter::with_capacity(1 << 20, to));
    let mut writer = Writer {
        root: tree,
        tar: Builder::new(sink),
        links: HashMap::new(),
    };
    writer.children(Path::new(""))?;
    let sink = writer.tar.into_inner().io("write a tar of", tree)?;
    sink.finish().io("write a tar of", tree)
}

struct Writer<'a, W: Write> {
    root: &'a Path,
    tar: Builder<W>,
    /// First names of files with several.
    links: HashMap<u64, PathBuf>,
}

impl<W: Write> Writer<'_, W> {
    fn children(&mut self, dir: &Path) -> Result<()> {
        let full = self.root.join(dir);
        let mut names = fs::read_dir(&full)
            .io("list", &full)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<OsString>>>()
            .io("list", &full)?;
        names.sort();
        for name in names {
            self.entry(&dir.join(name))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path) -> Result<()> {
        let full = self.root.join(path);
        let meta = fs::symlink_metadata(&full).io("stat", &full)?;
        let kind = meta.file_type();
        if kind.is_char_device() && meta.rdev() == 0 {
            let mut name = OsString::from(WHITEOUT);
            name.push(path.file_name().unwrap_or_default());
            return self.marker(&path.with_file_name(name));
        }
        let mut header = header_of(&meta);
        if !kind.is_dir() && meta.nlink() > 1 {
            if let Some(first) = self.links.get(&meta.ino()) {
                header.set_entry_type(EntryType::Link);
                header.set_size(0);
                let first = first.clone();
                return self
                    .tar
                    .append_link(&mut header, path, first)
                    .io("add", &full);
            }
            self.links.insert(meta.ino(), path.to_owned());
        }
        let attributes = attributes(&full).io("read attributes of", &full)?;
        let pax = attributes
            .iter()
            .filter(|(name, _)| !name.starts_with("trusted."));
        let pax = pax.map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()));
        let pax = pax.collect::<Vec<_>>();
        if !pax.is_empty() {
            let pax = pax.iter().map(|(name, value)| (name.as_str(), *value));
            self.tar.append_pax_extensions(pax).io("add", &full)?;
        }
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            let mut name = path.as_os_str().to_owned();
            name.push("/");
            self.tar
                .append_data(&mut header, name, io::empty())
                .io("add", &full)?;
            let opaque =
                |(name, value): &(String, Vec<u8>)| name == OPAQUE_ATTRIBUTE && value == b"y";
            if attributes.iter().any(opaque) {
                self.marker(&path.join(OPAQUE))?;
            }
            return self.children(path);
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(meta.len());
            let file = File::open(&full).io("open", &full)?;
            return self
                .tar
                .append_data(&mut header, path, file)
                .io("add", &full);
        }
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(&full).io("read", &full)?;
            return self
                .tar
                .append_link(&mut header, path, target)
                .io("add", &full);
        }
        if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
        } else if kind.is_char_device() || kind.is_block_device() {
            let is_char = kind.is_char_device();
            header.set_entry_type(if is_char {
                EntryType::Char
            } else {
                EntryType::Block
            });
            header
                .set_device_major(rustix::fs::major(meta.rdev()))
                .io("add", &full)?;
            header
                .set_device_minor(rustix::fs::minor(meta.rdev()))
                .io("add", &full)?;
        } else {
            return Ok(()); // Sockets are never part of an image.
        }
        self.tar
            .append_data(&mut header, path, io::empty())
            .io("add", &full)
    }

    fn marker(&mut self, path: &Path) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(0);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.tar
            .append_data(&mut header, path, io::empty())
            .io("add", path)
    }
}

fn header_of(meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(meta.mode() & 0o7777);
    header.set_uid(u64::from(meta.uid()));
    header.set_gid(u64::from(meta.gid()));
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

/// Extended attributes, sorted by name.
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names)?;
    let mut found = Vec::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 64 << 10];
        let name = std::ffi::OsStr::from_bytes(name);
        let length = rustix::fs::lgetxattr(path, name, &mut value)?;
        value.truncate(length);
        found.push((name.to_string_lossy().into_owned(), value));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tar: File) -> Vec<String> {
        use std::io::Seek as _;
        let mut tar = tar;
        tar.rewind().unwrap();
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap();
        let entries = entries.map(|entry| {
            let entry = entry.unwrap();
            let kind = entry.header().entry_type();
            format!("{:?} {}", kind, entry.path().unwrap().display())
        });
        entries.collect()
    }

    #[test]
    fn entries_are_sorted_and_links_refer_to_the_first_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        File::create(dir.path().join("d/b")).unwrap();
        fs::hard_link(dir.path().join("d/b"), dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("c")).unwrap();
        let tar = tempfile::tempfile().unwrap();
        write(dir.path(), &tar).unwrap();
        assert_eq!(
            names(tar),
            ["Regular a", "Symlink c", "Directory d/", "Link d/b"]
        );
    }

    #[test]
    fn privileged_a_device_zero_is_a_whiteout_and_an_opaque_directory_has_its_marker() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        if crate::images::synthetic::whiteout(&gone).is_err() {
            eprintln!("SKIPPED: making a device 0:0 needs root");
            return;
        }
        fs::create_dir(dir.path().join("anew")).unwrap();
        crate::images::synthetic::opaque(&dir.path().join("anew")).unwrap();
        let tar = tempfile::tempfile().unwrap();
        write(dir.path(), &tar).unwrap();
        let expected = [
            "Directory anew/",
            "Regular anew/.wh..wh..opq",
            "Regular .wh.gone",
        ];
        assert_eq!(names(tar), expected);
    }
}
