//! A place to mount in, layers from tar entries, and cleaning up whatever a test did.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lapstrake_drivers::erofs::{
    self, CopyUp, LayerFiles, Mounted, PageCache, Request, RunDir, Writable,
};
use lapstrake_erofs::{IndexOptions, write_index};
use lapstrake_tree::limits::Limits;
use lapstrake_tree::split::Splitter;
use tempfile::TempDir;

/// Whether tests may mount. Says so when not.
pub(crate) fn privileged(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}

/// A scratch directory with everything a stack needs. When dropped, whatever is mounted beneath it
/// is unmounted, top first.
pub(crate) struct Scene {
    pub(crate) dir: TempDir,
    pub(crate) run: RunDir,
    /// Where layers and writable layers are kept: on the file system under test.
    pub(crate) store: PathBuf,
}

impl Scene {
    /// Everything on the file system of temporary files.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lapstrake-")
            .tempdir_in("/var/tmp")
            .unwrap();
        let store = dir.path().join("store");
        fs::create_dir(&store).unwrap();
        Self {
            run: RunDir::at(dir.path().join("run")).unwrap(),
            store,
            dir,
        }
    }

    /// The store on a file system of its own: `mkfs` and its arguments, `None` for tmpfs.
    pub(crate) fn on(mkfs: Option<&[&str]>, sector: u32) -> Self {
        let scene = Self::new();
        let Some(mkfs) = mkfs else {
            run("mount", &["-t", "tmpfs", "none", text(&scene.store)]);
            return scene;
        };
        let disk = scene.dir.path().join("disk");
        File::create(&disk).unwrap().set_len(1 << 30).unwrap();
        let losetup = ["-f", "--show", "-b", &sector.to_string(), text(&disk)];
        let device = Command::new("losetup").args(losetup).output().unwrap();
        assert!(device.status.success(), "losetup: {device:?}");
        let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
        let made = Command::new(mkfs[0])
            .args(&mkfs[1..])
            .arg(&device)
            .output()
            .unwrap();
        let mounted = made.status.success()
            && Command::new("mount")
                .args([&device, text(&scene.store)])
                .status()
                .unwrap()
                .success();
        // Detached now, the device goes with the mount, whatever happens to the test.
        run("losetup", &["-d", &device]);
        assert!(
            mounted,
            "{mkfs:?}: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        scene
    }

    /// A layer of the tar `bytes`.
    pub(crate) fn layer(&self, tar: &[u8]) -> LayerFiles {
        let number = fs::read_dir(&self.store).unwrap().count();
        let id = format!("{number:08x}").repeat(8);
        let dir = self.store.join(&id);
        fs::create_dir(&dir).unwrap();
        let mut data = Vec::new();
        let mut splitter = Splitter::new(Limits::DEFAULT);
        splitter.feed(tar, &mut data).unwrap();
        let layer = splitter.finish(&mut data).unwrap();
        let mut uuid = [7; 16];
        uuid[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let options = IndexOptions {
            uuid,
            data_len: layer.data_len,
        };
        let mut index = Vec::new();
        write_index(&layer.tree, &options, &mut index).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            File::create(&path).unwrap().write_all(bytes).unwrap();
            (path, bytes.len() as u64)
        };
        let index_blake3 = blake3::hash(&index).to_hex().to_string();
        let (index, index_len) = write("index", &index);
        let (data, data_len) = write("data", &data);
        LayerFiles {
            id,
            index,
            data: (data_len > 0).then_some(data),
            index_len,
            index_blake3,
            data_len,
        }
    }

    /// A layer with one file for each pair of path and contents, directories implied. A name that
    /// begins with `.wh.` is a whiteout, as in any image.
    pub(crate) fn files(&self, files: &[(&str, &str)]) -> LayerFiles {
        let mut tar = Tar::default();
        for (path, contents) in files {
            tar.file(path, 0o644, contents.as_bytes());
        }
        self.layer(&tar.finish())
    }

    pub(crate) fn target(&self, name: &str) -> PathBuf {
        let target = self.dir.path().join(name);
        fs::create_dir_all(&target).unwrap();
        target
    }

    pub(crate) fn writable(&self, copy_up: CopyUp) -> Writable {
        let (upper, work) = (self.store.join("upper"), self.store.join("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        Writable {
            upper,
            work,
            copy_up,
        }
    }

    pub(crate) fn request(&self, layers: &[LayerFiles], target: &str) -> Request {
        Request {
            layers: layers.to_vec(),
            writable: None,
            target: self.target(target),
            cache: PageCache::Direct,
        }
    }

    pub(crate) fn mount(&self, request: &Request) -> Mounted {
        erofs::mount(&self.run, request).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn unmount(&self, request: &Request) {
        erofs::unmount(&self.run, &request.target)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }

    /// What is mounted beneath the scene.
    pub(crate) fn mounts(&self) -> Vec<PathBuf> {
        let table = lapstrake_sys::mount::table().unwrap();
        let targets = table
            .into_iter()
            .map(|mounted| mounted.target.into_path_buf());
        targets
            .filter(|t| t.starts_with(self.dir.path()) && *t != self.store)
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let table = lapstrake_sys::mount::table().unwrap_or_default();
        for mounted in table
            .iter()
            .rev()
            .filter(|m| m.target.starts_with(self.dir.path()))
        {
            let how = lapstrake_sys::mount::Unmount::Lazy;
            if let Err(error) = lapstrake_sys::mount::unmount(&mounted.target, how) {
                eprintln!("left behind: {error}");
            }
        }
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A tar under construction.
#[derive(Default)]
pub(crate) struct Tar(Vec<u8>);

impl Tar {
    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> &mut Self {
        self.entry(path, mode, b'0', contents)
    }

    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> &mut Self {
        self.entry(path, mode, b'5', b"")
    }

    /// Attributes of the next entry.
    pub(crate) fn attributes(&mut self, attributes: &[(&str, &[u8])]) -> &mut Self {
        let mut records = Vec::new();
        for (name, value) in attributes {
            let rest = [b" SCHILY.xattr.", name.as_bytes(), b"=", *value, b"\n"].concat();
            let mut length = rest.len();
            while length != rest.len() + length.to_string().len() {
                length = rest.len() + length.to_string().len();
            }
            records.extend(length.to_string().into_bytes());
            records.extend(rest);
        }
        self.entry("pax", 0o644, b'x', &records)
    }

    fn entry(&mut self, path: &str, mode: u32, kind: u8, contents: &[u8]) -> &mut Self {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000001");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        std::mem::take(&mut self.0)
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Every file below `root` with its contents, in order of paths; directories end in `/`.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        for name in names {
            let (path, shown) = (dir.join(&name), format!("{prefix}{name}"));
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                out.push(format!("{shown}/"));
                walk(&path, &format!("{shown}/"), out);
            } else {
                out.push(format!("{shown}={}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, "", &mut out);
    out
}
