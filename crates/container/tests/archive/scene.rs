//! A root, a volume, and something outside that must not be touched.

use std::fs;
use std::path::{Path, PathBuf};

use lapstrake_container::archive::{Attachment, Error, PutOptions, View};
use lapstrake_tree::archive::{Archive, EntryKind};
use lapstrake_tree::model::{Metadata, Timestamp, Xattrs};
use lapstrake_tree::write::{Kind, TarWriter};

pub(crate) const OPTIONS: PutOptions = PutOptions {
    replace_across_kinds: false,
    owner: None,
};

pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        for name in ["root", "volume", "outside"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        Self { dir }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.dir.path().join("volume")
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// The root with nothing mounted in it.
    pub(crate) fn view(&self) -> View {
        View::open(&self.root(), &[], false).unwrap()
    }

    /// The root with the volume mounted at a path.
    pub(crate) fn view_with(&self, destination: &str, writable: bool) -> View {
        View::open(&self.root(), &[self.attached(destination, writable)], false).unwrap()
    }

    pub(crate) fn attached(&self, destination: &str, writable: bool) -> Attachment {
        Attachment {
            source: self.volume(),
            destination: destination.into(),
            writable,
        }
    }

    /// Whether nothing outside was changed.
    pub(crate) fn is_intact(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.outside()).unwrap().collect();
        names.len() == 1 && fs::read(self.outside().join("secret")).unwrap() == b"secret"
    }
}

pub(crate) fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What a tar of a path has: `name` of directories, `name=content`, `name->target`, `name==target`.
pub(crate) fn got(view: &View, path: &str) -> Result<Vec<String>, Error> {
    let mut tar = Vec::new();
    view.get(path)?.write(&mut tar)?;
    Ok(listed(&tar))
}

pub(crate) fn listed(tar: &[u8]) -> Vec<String> {
    use std::io::Read as _;
    let mut archive = Archive::new(tar);
    let mut lines = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let name = text(&entry.name);
        lines.push(match entry.kind {
            EntryKind::Directory => name,
            EntryKind::File { .. } => {
                let mut content = Vec::new();
                archive.body().read_to_end(&mut content).unwrap();
                format!("{name}={}", text(&content))
            }
            EntryKind::Symlink(target) => format!("{name}->{}", text(&target)),
            EntryKind::HardLink(target) => format!("{name}=={}", text(&target)),
            _ => format!("{name}?"),
        });
    }
    lines
}

/// An entry of a tar to be made, in the same form.
pub(crate) fn tar(lines: &[&str]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    let metadata = |mode| Metadata {
        mode,
        uid: owner().0,
        gid: owner().1,
        mtime: Timestamp {
            seconds: 1_600_000_000,
            nanoseconds: 0,
        },
        xattrs: Xattrs::new(),
    };
    for line in lines {
        if let Some((name, target)) = line.split_once("->") {
            let kind = Kind::Symlink(target.as_bytes());
            tar.entry(name.as_bytes(), &metadata(0o777), kind).unwrap();
        } else if let Some((name, target)) = line.split_once("==") {
            let kind = Kind::HardLink(target.as_bytes());
            tar.entry(name.as_bytes(), &metadata(0o644), kind).unwrap();
        } else if let Some((name, content)) = line.split_once('=') {
            let (name, content) = (name.as_bytes(), content.as_bytes());
            tar.file(name, &metadata(0o640), content.len() as u64, content)
                .unwrap();
        } else {
            let name = line.trim_end_matches('/').as_bytes();
            tar.entry(name, &metadata(0o750), Kind::Directory).unwrap();
        }
    }
    tar.finish().unwrap()
}

/// Who runs the test, so that it need not be root.
pub(crate) fn owner() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}
