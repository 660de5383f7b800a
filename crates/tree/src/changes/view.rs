//! What is asked of a tree of files, wherever it is: on disk, or in a test's memory.

use std::io;

use crate::{
    model::{Device, Metadata},
    write::FileBytes,
};

/// Names a file among all of its file system: two names with one id are one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file in it.
    pub inode: u64,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// A regular file of so many bytes.
    File {
        /// In bytes.
        size: u64,
    },
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// A file that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Mode, owner, time of last change, and all attributes.
    pub metadata: Metadata,
    /// What it is.
    pub kind: FileKind,
    /// Which.
    pub id: FileId,
    /// How many names it has.
    pub links: u64,
}

/// A tree of files. Paths are relative to its root, whose own is empty; symbolic links in them are not
/// followed, wherever they stand.
pub trait View {
    /// A file's contents.
    type File: FileBytes;

    /// What has that path, if anything has; a path that goes through something other than a directory
    /// is nobody's.
    fn look(&self, path: &[u8]) -> io::Result<Option<Found>>;

    /// The names in a directory, in any order.
    fn list(&self, directory: &[u8]) -> io::Result<Vec<Box<[u8]>>>;

    /// The contents of a regular file.
    fn open(&self, path: &[u8]) -> io::Result<Self::File>;
}
