//! The spike of docs/design/0001: a layer with holes, served through one FUSE file below EROFS
//! below overlay, by workers that are killed under verifying readers.
//!
//! The test's process is the keeper: it holds `/dev/fuse` and the mounts. Workers and readers are
//! this binary again, told by the environment what to be. `LAPSTRAKE_FILL_KILLS` says how many
//! workers die; 40 if it is not set.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(clippy::disallowed_methods, reason = "nothing here has to last")]

#[path = "shared/layer.rs"]
mod layer;

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lapstrake_erofs::{IndexOptions, write_index};
use lapstrake_fill::refill::Layer;
use lapstrake_fill::serve::{FILE_NAME, Options, greet, serve};
use lapstrake_fill::source::{FileSource, Source, SourceError};
use lapstrake_fill::spans::SpanTable;
use lapstrake_oci::Compression;
use lapstrake_sys::fuse::Device;
use lapstrake_sys::mount::{Context, Restrictions, Unmount, unmount};
use layer::{Made, compress, content, open, pull, tar_of};

const ROLE: &str = "LAPSTRAKE_FILL_ROLE";
const DIRECTORY: &str = "LAPSTRAKE_FILL_DIRECTORY";
const FILES: usize = 24;
/// Shorter than in earnest, so that a test can wait for it.
const DEADLINE_SECONDS: u64 = 5;

/// What this process is, if it was started by the test.
fn role(role: &str) -> Option<PathBuf> {
    (std::env::var(ROLE).ok()? == role).then(|| std::env::var_os(DIRECTORY).unwrap().into())
}

fn start(test: &str, role: &str, directory: &Path, stdin: Stdio) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .env(DIRECTORY, directory)
        .stdin(stdin)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A source with a network's latency, which gives nothing while a file `stall` exists.
struct Slow(FileSource, PathBuf);

impl Source for Slow {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        std::thread::sleep(Duration::from_millis(3));
        while self.1.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.0.read_at(offset, buffer)
    }
}

fn writable(path: PathBuf) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn worker_process() {
    let Some(directory) = role("worker") else {
        return;
    };
    let device: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let table = SpanTable::from_bytes(&std::fs::read(directory.join("spans")).unwrap()).unwrap();
    let blob = FileSource(File::open(directory.join("blob")).unwrap());
    let source = Slow(blob, directory.join("stall"));
    let skeleton = std::fs::read(directory.join("skeleton")).unwrap();
    let data = writable(directory.join("data"));
    let layer = Layer::new(table, skeleton, data, Box::new(source)).unwrap();
    let options = Options {
        fillers: 2,
        deadline: Duration::from_secs(DEADLINE_SECONDS),
    };
    serve(&Device::from(device), &layer, options).unwrap();
}

/// Reads every file again and again until it is told to stop: by read, by a map, by running it.
#[test]
fn reader_process() {
    let Some(directory) = role("reader") else {
        return;
    };
    let root = directory.join("root");
    let mut rounds = 0_u64;
    while !directory.join("stop").exists() {
        for index in 0..FILES {
            let path = root.join(format!("file-{index:02}"));
            let got = std::fs::read(&path).unwrap();
            assert!(got == expected(index), "wrong bytes in {}", path.display());
        }
        rounds += 1;
    }
    std::fs::write(
        directory.join(format!("rounds-{}", std::process::id())),
        rounds.to_string(),
    )
    .unwrap();
}

#[test]
fn mapper_process() {
    let Some(directory) = role("mapper") else {
        return;
    };
    let script = "import mmap, sys, hashlib\n\
        f = open(sys.argv[1], 'rb')\n\
        m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)\n\
        print(hashlib.sha256(m).hexdigest())";
    let mut rounds = 0_u64;
    while !directory.join("stop").exists() {
        for index in (0..FILES).step_by(5) {
            let path = directory.join(format!("root/file-{index:02}"));
            let output = Command::new("python3")
                .args(["-c", script])
                .arg(&path)
                .output()
                .unwrap();
            let want = lapstrake_oci::Algorithm::Sha256.digest(&expected(index));
            assert!(output.status.success(), "{output:?}");
            assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), want.hex());
            let run = Command::new(directory.join("root/program"))
                .arg("hello")
                .output()
                .unwrap();
            assert!(run.status.success(), "{run:?}");
            assert_eq!(run.stdout, b"hello\n");
        }
        rounds += 1;
    }
    std::fs::write(
        directory.join(format!("rounds-{}", std::process::id())),
        rounds.to_string(),
    )
    .unwrap();
}

fn expected(index: usize) -> Vec<u8> {
    content(index as u64, 20_000 + index * 37_777)
}

fn sample() -> Made {
    let tree = tempfile::tempdir().unwrap();
    for index in 0..FILES {
        std::fs::write(
            tree.path().join(format!("file-{index:02}")),
            expected(index),
        )
        .unwrap();
    }
    std::fs::copy("/bin/echo", tree.path().join("program")).unwrap();
    pull(compress(Compression::Gzip, &tar_of(tree.path())), 64 << 10)
}

/// The mounts and the device; all end with it.
struct Keeper {
    directory: tempfile::TempDir,
    device: Device,
    worker: Option<Child>,
    readers: Vec<Child>,
}

impl Keeper {
    fn new(made: &Made) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = directory.path();
        for (name, bytes) in [
            ("blob", &made.blob),
            ("skeleton", &made.skeleton),
            ("spans", &made.spans),
        ] {
            std::fs::write(path.join(name), bytes).unwrap();
        }
        let data = File::create(path.join("data")).unwrap();
        data.set_len(made.data.len() as u64).unwrap();
        let mut index = Vec::new();
        let options = IndexOptions {
            uuid: [7; 16],
            data_len: made.data.len() as u64,
        };
        write_index(&made.tree, &options, &mut index).unwrap();
        std::fs::write(path.join("index"), index).unwrap();
        for name in ["fuse", "erofs", "upper", "work", "root"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        let device = Device::open().unwrap();
        let fuse = device.mount().unwrap();
        greet(&device).unwrap();
        fuse.attach_at(&path.join("fuse")).unwrap();
        Self {
            directory,
            device,
            worker: None,
            readers: Vec::new(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn start_worker(&mut self) {
        let device = Stdio::from(self.device.share().unwrap());
        self.worker = Some(start("worker_process", "worker", self.path(), device));
    }

    fn kill_worker(&mut self) {
        if let Some(mut worker) = self.worker.take() {
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
    }

    fn start_reader(&mut self, test: &str, role: &str) {
        let reader = start(test, role, self.path(), Stdio::null());
        self.readers.push(reader);
    }

    /// EROFS over the FUSE file, overlay over that.
    fn mount_layer(&self) {
        let path = |name: &str| self.path().join(name).into_os_string().into_encoded_bytes();
        let layer = Context::open("erofs").unwrap();
        layer.string("source", path("index")).unwrap();
        layer
            .string("device", path(&format!("fuse/{FILE_NAME}")))
            .unwrap();
        let layer = layer
            .create(Restrictions {
                read_only: true,
                inert: false,
            })
            .unwrap();
        layer.attach_at(&self.path().join("erofs")).unwrap();
        let root = Context::open("overlay").unwrap();
        root.string("lowerdir", path("erofs")).unwrap();
        root.string("upperdir", path("upper")).unwrap();
        root.string("workdir", path("work")).unwrap();
        let root = root
            .create(Restrictions {
                read_only: false,
                inert: false,
            })
            .unwrap();
        root.attach_at(&self.path().join("root")).unwrap();
    }

    /// Makes holes of everything, and lets EROFS forget what it read. No worker may run: it would
    /// think that it still has what it had.
    fn make_holes(&self, length: usize) {
        assert!(self.worker.is_none());
        let data = writable(self.path().join("data"));
        data.set_len(0).unwrap();
        data.set_len(length as u64).unwrap();
        for entry in std::fs::read_dir(self.path().join("erofs")).unwrap() {
            let file = File::open(entry.unwrap().path()).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for child in self.readers.iter_mut().chain(&mut self.worker) {
            drop(child.kill());
        }
        for name in ["root", "erofs", "fuse"] {
            drop(unmount(&self.directory.path().join(name), Unmount::Lazy));
        }
        for child in self.readers.iter_mut().chain(&mut self.worker) {
            drop(child.wait());
        }
    }
}

#[test]
fn privileged_workers_are_killed_under_readers() {
    let kills = std::env::var("LAPSTRAKE_FILL_KILLS");
    let kills: u64 = kills.map_or(40, |count| count.parse().unwrap());
    let made = sample();
    let mut keeper = Keeper::new(&made);
    keeper.start_worker();
    keeper.mount_layer();
    for _ in 0..2 {
        keeper.start_reader("reader_process", "reader");
    }
    keeper.start_reader("mapper_process", "mapper");
    let begun = Instant::now();
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(20 + kill * 37 % 90));
        keeper.kill_worker();
        if kill % 3 == 0 {
            keeper.make_holes(made.data.len());
        }
        keeper.start_worker();
        for reader in &mut keeper.readers {
            assert!(
                reader.try_wait().unwrap().is_none(),
                "a reader failed after {kill} kills"
            );
        }
    }
    std::fs::write(keeper.path().join("stop"), "").unwrap();
    let mut rounds = Vec::new();
    for mut reader in std::mem::take(&mut keeper.readers) {
        assert!(reader.wait().unwrap().success(), "a reader failed");
        let rounds_file = keeper.path().join(format!("rounds-{}", reader.id()));
        rounds.push(std::fs::read_to_string(rounds_file).unwrap());
    }
    eprintln!(
        "{kills} kills in {:?}; rounds of the readers: {rounds:?}",
        begun.elapsed()
    );
    // The last hole is filled: the layer is its diff id, and equal to what a pull writes.
    keeper.kill_worker();
    let source = FileSource(File::open(keeper.path().join("blob")).unwrap());
    let data = writable(keeper.path().join("data"));
    let layer = open(&made, data, Box::new(source));
    for span in 0..layer.span_count() {
        if !layer.is_present(span).unwrap() {
            layer.fill(span).unwrap();
        }
    }
    assert!(layer.is_whole(&made.diff_id).unwrap());
    assert!(std::fs::read(keeper.path().join("data")).unwrap() == made.data);
}

#[test]
fn privileged_a_damaged_source_is_an_error_and_never_wrong_bytes() {
    let made = sample();
    let mut keeper = Keeper::new(&made);
    let mut blob = made.blob.clone();
    let middle = blob.len() / 2;
    blob[middle] ^= 0x55;
    std::fs::write(keeper.path().join("blob"), &blob).unwrap();
    keeper.start_worker();
    keeper.mount_layer();
    let mut failed = 0;
    for index in 0..FILES {
        match std::fs::read(keeper.path().join(format!("root/file-{index:02}"))) {
            Ok(got) => assert!(got == expected(index), "file {index}"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(5), "{error}");
                failed += 1;
            }
        }
    }
    assert!((1..FILES).contains(&failed), "{failed} files failed");
    // The source is well again, and so are reads: no error was kept.
    std::fs::write(keeper.path().join("blob"), &made.blob).unwrap();
    for index in 0..FILES {
        let got = std::fs::read(keeper.path().join(format!("root/file-{index:02}"))).unwrap();
        assert!(got == expected(index), "file {index}");
    }
}

#[test]
fn privileged_a_source_that_stalls_is_an_error_in_time_and_holds_up_nobody() {
    let made = sample();
    let mut keeper = Keeper::new(&made);
    keeper.start_worker();
    keeper.mount_layer();
    let file = |index: usize| keeper.path().join(format!("root/file-{index:02}"));
    assert!(std::fs::read(file(3)).unwrap() == expected(3));
    std::fs::write(keeper.path().join("stall"), "").unwrap();
    let begun = Instant::now();
    // One that is killed while it waits for a hole goes at once.
    let mut killed = Command::new("cat")
        .arg(file(20))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        killed.try_wait().unwrap().is_none(),
        "it waits for the hole"
    );
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2));
    // What is there is read while others wait, also when EROFS has forgotten it.
    let hole = file(10);
    let waiting = std::thread::spawn(move || (std::fs::read(hole), Instant::now()));
    let there = File::open(file(3)).unwrap();
    rustix::fs::fadvise(&there, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(std::fs::read(file(3)).unwrap() == expected(3));
    assert!(begun.elapsed() < Duration::from_secs(3));
    // The one that waits gets an error, and the file is right once the source is.
    let (outcome, at) = waiting.join().unwrap();
    assert_eq!(outcome.unwrap_err().raw_os_error(), Some(5));
    let waited = at - begun;
    assert!(
        waited >= Duration::from_secs(DEADLINE_SECONDS - 1),
        "{waited:?}"
    );
    assert!(
        waited < Duration::from_secs(3 * DEADLINE_SECONDS),
        "{waited:?}"
    );
    std::fs::remove_file(keeper.path().join("stall")).unwrap();
    assert!(std::fs::read(file(10)).unwrap() == expected(10));
    assert!(std::fs::read(file(20)).unwrap() == expected(20));
}
