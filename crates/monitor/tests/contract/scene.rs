//! A container's bundle, a directory for monitors, and an end without leftovers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lapstrake_monitor::client::launch;
use lapstrake_monitor::logs::{Format, Query, Reader, Settings};
use lapstrake_monitor::orders::{Runtime, Stdin, Terminal, Work};
use lapstrake_monitor::process::Guard;
use lapstrake_monitor::wire::{Attach, HEADER, Stream, header, parse_header};
use lapstrake_monitor::{Client, Exit, Orders};
use serde_json::json;

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "sh", "cat", "sleep", "stty", "head", "true", "kill", "echo", "printf", "seq", "ls", "wc",
    "dd", "readlink",
];

/// What a test wants of both streams.
pub(crate) const BOTH: Attach = Attach {
    stdin: false,
    stdout: true,
    stderr: true,
};

/// The same, and to feed it.
pub(crate) const ALL: Attach = Attach {
    stdin: true,
    ..BOTH
};

/// Is the monitor. Its guard counts its calls in the file that the orders name.
pub(crate) fn monitor(dir: &Path) -> ExitCode {
    let guard = |orders: &serde_json::Value| -> Guard {
        let path = orders.as_str().map(PathBuf::from).unwrap();
        Box::new(move || {
            let file = File::options().append(true).create(true).open(&path);
            let counted = file.and_then(|mut file| file.write_all(b"."));
            counted
                .map(|()| Duration::from_millis(200))
                .map_err(|error| error.to_string())
        })
    };
    match lapstrake_monitor::process::run(dir, guard) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Says why not on standard error.
pub(crate) fn is_possible(test: &str) -> bool {
    let has_runc = || Command::new("runc").arg("--version").output().is_ok();
    let missing = if !rustix::process::geteuid().is_root() {
        "root"
    } else if !Path::new(BUSYBOX).exists() {
        "a static /bin/busybox"
    } else if !has_runc() {
        "runc"
    } else {
        return true;
    };
    eprintln!("SKIPPED {test}: needs {missing}");
    false
}

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// What to remove if the test hangs: containers with the roots of their runtime's state.
static CONTAINERS: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());

/// Ends the test if it hangs, before its runner does and its containers stay.
pub(crate) fn watch(test: &'static str) {
    static LATEST: AtomicUsize = AtomicUsize::new(0);
    let this = LATEST.fetch_add(1, Ordering::SeqCst) + 1;
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE);
        if LATEST.load(Ordering::SeqCst) == this {
            eprintln!("{test} hangs");
            for (root, id) in CONTAINERS.lock().unwrap().iter() {
                delete(root, id);
            }
            std::process::abort();
        }
    });
}

fn delete(root: &Path, id: &str) {
    let mut delete = Command::new("runc");
    // It may have ended by itself.
    drop(
        delete
            .arg("--root")
            .arg(root)
            .args(["delete", "--force", id])
            .output(),
    );
}

pub(crate) struct Scene {
    dir: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) orders: Orders,
    /// Added to the bundle's configuration.
    pub(crate) memory_limit: Option<u64>,
    names: std::cell::Cell<u32>,
}

impl Scene {
    /// A container that runs a shell script.
    pub(crate) fn new(script: &str) -> Self {
        Self::with_command(&["/bin/sh", "-c", script])
    }

    pub(crate) fn with_command(command: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("monitor-")
            .tempdir()
            .unwrap();
        let path = |name: &str| dir.path().join(name);
        let id = format!("monitor-test-{}", dir.path().file_name().unwrap().display());
        let bin = path("bundle/rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        for name in ["proc", "dev", "tmp"] {
            fs::create_dir(path("bundle/rootfs").join(name)).unwrap();
        }
        fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let orders = Orders {
            id: id.clone(),
            runtime: Runtime {
                program: "runc".into(),
                arguments: Vec::new(),
                root: path("runc"),
            },
            work: Work::Container {
                bundle: path("bundle"),
            },
            terminal: None,
            stdin: Stdin::Closed,
            log: Some(Settings::defaults(Format::JsonFile, path("log"))),
            exit_record: path("exit"),
            cgroup: Some(format!("/monitor-test/{id}")),
            guard: None,
        };
        CONTAINERS.lock().unwrap().push((path("runc"), id.clone()));
        let scene = Self {
            dir,
            id,
            orders,
            memory_limit: None,
            names: std::cell::Cell::new(0),
        };
        scene.write_json("process.json", &scene.process(command));
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn has_terminal(&mut self, terminal: Terminal) {
        self.orders.terminal = Some(terminal);
        self.orders.stdin = Stdin::Open;
    }

    fn process(&self, command: &[&str]) -> serde_json::Value {
        json!({
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": ["PATH=/bin", "TERM=xterm"],
            "cwd": "/",
        })
    }

    fn write_json(&self, name: &str, value: &serde_json::Value) {
        let mut file = File::create(self.path(name)).unwrap();
        file.write_all(value.to_string().as_bytes()).unwrap();
    }

    pub(crate) fn write_bundle(&self) {
        let mut process = String::new();
        let file = File::open(self.path("process.json"));
        file.unwrap().read_to_string(&mut process).unwrap();
        let mut process: serde_json::Value = serde_json::from_str(&process).unwrap();
        process["terminal"] = self.orders.terminal.is_some().into();
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({ "type": kind }));
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": process,
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["newinstance", "ptmxmode=0666"]},
            ],
            "linux": {"namespaces": namespaces, "cgroupsPath": self.orders.cgroup},
        });
        if let Some(limit) = self.memory_limit {
            config["linux"]["resources"] = json!({"memory": {"limit": limit, "swap": limit}});
        }
        self.write_json("bundle/config.json", &config);
    }

    /// Launches the container's monitor.
    pub(crate) fn launch(&self) -> Client {
        self.write_bundle();
        self.launch_with(&self.orders).unwrap()
    }

    pub(crate) fn launch_with(&self, orders: &Orders) -> lapstrake_monitor::Result<Client> {
        let number = self.names.replace(self.names.get() + 1);
        let dir = self.path(&format!("monitor.{number}"));
        fs::create_dir(&dir).unwrap();
        self.launch_in(&dir, orders)
    }

    /// Launches a monitor in a directory that is there.
    pub(crate) fn launch_in(
        &self,
        dir: &Path,
        orders: &Orders,
    ) -> lapstrake_monitor::Result<Client> {
        let program = std::env::current_exe().unwrap();
        launch(&program, &[OsStr::new("monitor")], dir, orders)
    }

    /// Removes the directories of all monitors.
    pub(crate) fn forget_monitors(&self) {
        for number in 0..self.names.replace(0) {
            fs::remove_dir_all(self.path(&format!("monitor.{number}"))).unwrap();
        }
    }

    /// Launches the monitor of a further command.
    pub(crate) fn launch_exec(&self, change: impl FnOnce(&mut Orders), script: &str) -> Client {
        let number = self.names.get();
        let mut orders = Orders {
            id: format!("{}-exec", self.id),
            work: Work::Exec {
                container: self.id.clone(),
                process: self.path(&format!("exec.{number}.json")),
            },
            log: None,
            exit_record: self.path(&format!("exec.{number}.exit")),
            cgroup: None,
            ..self.orders.clone()
        };
        orders.terminal = None;
        orders.stdin = Stdin::Closed;
        change(&mut orders);
        let mut process = self.process(&["/bin/sh", "-c", script]);
        process["terminal"] = orders.terminal.is_some().into();
        self.write_json(&format!("exec.{number}.json"), &process);
        self.launch_with(&orders).unwrap()
    }

    /// Runs the container to its end: output, error output and exit.
    pub(crate) fn run(&self) -> (String, String, Exit) {
        let client = self.launch();
        let output = Output::of(client.attach(BOTH).unwrap());
        let mut wait = client.wait().unwrap();
        client.start().unwrap();
        let output = output.all();
        let exit = wait.exit().unwrap();
        wait.cleaned().unwrap();
        (
            output.text(Stream::Stdout),
            output.text(Stream::Stderr),
            exit,
        )
    }

    /// Everything that is in the log.
    pub(crate) fn log(&self) -> String {
        let reader = Reader::open(&self.path("log"), Format::JsonFile, Query::ALL).unwrap();
        let bytes = reader.flat_map(|entry| entry.unwrap().line).collect();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn record(&self) -> Option<Exit> {
        Exit::read(&self.orders.exit_record).unwrap()
    }

    /// What any of the monitors complained of.
    fn complaints(&self) -> String {
        let numbers = 0..self.names.get();
        let files = numbers.map(|n| self.path(&format!("monitor.{n}/monitor.err")));
        files
            .filter_map(|file| fs::read_to_string(file).ok())
            .collect()
    }

    /// Processes whose command line names the scene's directory.
    fn processes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Ok(command) = fs::read(entry.path().join("cmdline")) else {
                continue;
            };
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            if command.contains(self.dir.path().to_str().unwrap()) {
                found.push(format!("{} {command}", entry.file_name().display()));
            }
        }
        found
    }

    fn leftovers(&self) -> Vec<String> {
        let mut left = self.processes();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.dir.path().to_str().unwrap();
        left.extend(
            mounts
                .lines()
                .filter(|line| line.contains(dir))
                .map(str::to_owned),
        );
        let cgroup = Path::new("/sys/fs/cgroup/memory/monitor-test").join(&self.id);
        left.extend(cgroup.exists().then(|| cgroup.display().to_string()));
        left
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("the monitors complained: {}", self.complaints());
            delete(&self.path("runc"), &self.id);
            for number in 0..self.names.get() {
                let client = Client::new(&self.path(&format!("monitor.{number}")));
                drop(client.dismiss());
            }
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.leftovers().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !failed {
            assert_eq!(self.leftovers(), [""; 0]);
            assert_eq!(self.complaints(), "");
        }
    }
}

/// A client's end of an attach stream.
pub(crate) struct Output {
    stream: UnixStream,
    got: BTreeMap<Stream, Vec<u8>>,
}

impl Output {
    pub(crate) fn of(stream: UnixStream) -> Self {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            stream,
            got: BTreeMap::new(),
        }
    }

    /// Reads one frame; `false` at the end.
    pub(crate) fn frame(&mut self) -> bool {
        let mut head = [0; HEADER];
        match self.stream.read(&mut head[..1]).unwrap() {
            0 => return false,
            _ => self.stream.read_exact(&mut head[1..]).unwrap(),
        }
        let (stream, length) = parse_header(head).unwrap();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut bytes).unwrap();
        self.got.entry(stream).or_default().extend(bytes);
        true
    }

    /// Reads to the end.
    pub(crate) fn all(mut self) -> Self {
        while self.frame() {}
        self
    }

    /// Reads until standard output has this text.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.text(Stream::Stdout).contains(text) {
            assert!(self.frame(), "no {text:?} in {:?}", self.got);
        }
    }

    pub(crate) fn text(&self, stream: Stream) -> String {
        let bytes = self.got.get(&stream).cloned().unwrap_or_default();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn feed(&mut self, text: &str) {
        let length = u32::try_from(text.len()).unwrap();
        self.stream
            .write_all(&header(Stream::Stdin, length))
            .unwrap();
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn end_input(&mut self) {
        self.stream.write_all(&header(Stream::Stdin, 0)).unwrap();
    }
}
