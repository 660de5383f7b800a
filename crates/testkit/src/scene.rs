//! A place to mount in, layers from tars, and cleaning up whatever a test did.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lapstrake_erofs::{IndexOptions, write_index};
use lapstrake_oci::{Algorithm, DiffId};
use lapstrake_snapshot::{Driver, Layer, Mounted, RunDir, StoredFile};
use lapstrake_tree::limits::Limits;
use lapstrake_tree::split::Splitter;
use tempfile::TempDir;

use crate::tar::Tar;

/// Whether tests may mount. Says so when not.
pub fn privileged(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED {test}: needs root");
    }
    root
}

/// A scratch directory with everything a stack needs. When dropped, whatever is mounted beneath it
/// is unmounted, top first.
#[derive(Debug)]
pub struct Scene {
    /// The directory.
    pub dir: TempDir,
    /// Where mounts and their records are kept.
    pub run: RunDir,
    /// Where layers and writable layers are kept: on the file system under test.
    pub store: PathBuf,
}

impl Default for Scene {
    fn default() -> Self {
        Self::new()
    }
}

impl Scene {
    /// Everything on the file system of temporary files.
    ///
    /// # Panics
    /// If a directory can't be made, as all of this does.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("lapstrake-")
            .tempdir_in("/var/tmp")
            .expect("a temporary directory");
        let store = dir.path().join("store");
        fs::create_dir(&store).expect("a directory");
        Self {
            run: RunDir::at(dir.path().join("run")).expect("a run directory"),
            store,
            dir,
        }
    }

    /// The store on a file system of its own: `mkfs` and its arguments, `None` for tmpfs; sectors
    /// of so many bytes.
    pub fn on(mkfs: Option<&[&str]>, sector: u32) -> Self {
        let scene = Self::new();
        let Some(mkfs) = mkfs else {
            run("mount", &["-t", "tmpfs", "none", text(&scene.store)]);
            return scene;
        };
        let disk = scene.dir.path().join("disk");
        File::create(&disk)
            .and_then(|file| file.set_len(1 << 30))
            .expect("a sparse file");
        let losetup = ["-f", "--show", "-b", &sector.to_string(), text(&disk)];
        let device = run("losetup", &losetup).trim().to_owned();
        let make = || {
            let mut tool = Command::new(mkfs[0]);
            tool.args(&mkfs[1..]).arg(&device);
            tool.output().expect("mkfs starts")
        };
        let mut made = make();
        for _again in 0..5 {
            if made.status.success() {
                break;
            }
            // mkfs.btrfs looks at every loop device, and gives up if one goes away meanwhile: that
            // of another test.
            std::thread::sleep(std::time::Duration::from_millis(200));
            made = make();
        }
        let mounted = made.status.success()
            && Command::new("mount")
                .args([&device, text(&scene.store)])
                .status()
                .expect("mount starts")
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
    pub fn layer(&self, tar: &[u8]) -> Layer {
        let id = DiffId(Algorithm::Sha256.digest(tar));
        let dir = self.store.join("layers").join(id.0.hex());
        fs::create_dir_all(&dir).expect("a directory");
        let mut data = Vec::new();
        let mut splitter = Splitter::new(Limits::DEFAULT);
        splitter.feed(tar, &mut data).expect("a good tar");
        let layer = splitter.finish(&mut data).expect("a whole tar");
        let mut uuid = [7; 16];
        uuid.copy_from_slice(&id.0.hex().as_bytes()[..16]);
        let options = IndexOptions {
            uuid,
            data_len: layer.data_len,
        };
        let mut index = Vec::new();
        write_index(&layer.tree, &options, &mut index).expect("memory takes it");
        let write = |name: &str, bytes: &[u8]| {
            let path = dir.join(name);
            let len = bytes.len() as u64;
            File::create(&path)
                .and_then(|mut file| file.write_all(bytes))
                .expect("room for a layer");
            StoredFile { path, len }
        };
        Layer {
            id,
            index_blake3: blake3::hash(&index).to_hex().to_string(),
            index: write("index", &index),
            skeleton: write("skeleton", &layer.skeleton).path,
            data: Some(write("data", &data)).filter(|data| data.len > 0),
        }
    }

    /// A layer with one file for each pair of path and contents, directories implied. A whiteout's
    /// name makes a whiteout, as in any image.
    pub fn files(&self, files: &[(&str, &str)]) -> Layer {
        let mut tar = Tar::default();
        for (path, contents) in files {
            tar.file(path, 0o644, contents.as_bytes());
        }
        self.layer(&tar.finish())
    }

    /// An empty directory to mount at.
    pub fn target(&self, name: &str) -> PathBuf {
        let target = self.dir.path().join(name);
        fs::create_dir_all(&target).expect("a directory");
        target
    }

    /// A directory for a writable layer.
    pub fn place(&self, name: &str) -> PathBuf {
        let place = self.store.join("places").join(name);
        fs::create_dir_all(&place).expect("a directory");
        place
    }

    /// Realises a stack and mounts it at [`target`](Self::target) of that name.
    pub fn mount(&self, driver: &dyn Driver, stack: &[Layer], target: &str) -> Mounted {
        driver
            .realise(stack)
            .and_then(|()| self.run.mount(driver, stack, None, &self.target(target)))
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Realises a stack, makes a writable layer at [`place`](Self::place) of that name unless it is
    /// there, and mounts both at [`target`](Self::target) of that name.
    pub fn mount_writable(&self, driver: &dyn Driver, stack: &[Layer], name: &str) -> Mounted {
        let place = self.place(name);
        driver
            .realise(stack)
            .and_then(|()| driver.create(stack, &place))
            .and_then(|()| {
                self.run
                    .mount(driver, stack, Some(&place), &self.target(name))
            })
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Unmounts what is mounted at [`target`](Self::target) of that name.
    pub fn unmount(&self, target: &str) {
        self.run
            .unmount(&self.target(target))
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
    }

    /// What is mounted beneath the scene, but the store itself.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = lapstrake_sys::mount::table().expect("a table of mounts");
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
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Runs a program that must succeed; its output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Every file below `root` with its contents, in order of paths; directories end in `/`.
pub fn listing(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) {
        let mut names: Vec<_> = fs::read_dir(dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort_unstable();
        for name in names {
            let (path, shown) = (dir.join(&name), format!("{prefix}{}", name.display()));
            if fs::symlink_metadata(&path).expect("it is there").is_dir() {
                out.push(format!("{shown}/"));
                walk(&path, &format!("{shown}/"), out);
            } else {
                let contents = fs::read_to_string(&path).expect("text");
                out.push(format!("{shown}={contents}"));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, "", &mut out);
    out
}
