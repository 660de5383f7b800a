//! A root with busybox, and a runtime to run it with.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lapstrake_container::settings::Settings;
use lapstrake_container::spec::{self, Facts, Files, HostDevices, HostMount, Join, Request, user};
use lapstrake_container::usage::cgroup::Groups;

const BUSYBOX: &str = "/bin/busybox";
/// Names another runtime than runc.
pub(crate) const RUNTIME: &str = "LAPSTRAKE_TEST_RUNTIME";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n";
const GROUP: &str = "root:x:0:root\nstaff:x:50:app\ngames:x:60:app\napp:x:1001:\n";

/// What runs containers.
pub(crate) fn runtime() -> String {
    std::env::var(RUNTIME).unwrap_or_else(|_| "runc".to_owned())
}

/// A root, a bundle and the runtime's state, gone when dropped.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    id: String,
    pub(crate) facts: Facts,
    pub(crate) files: Files,
    pub(crate) join: Join,
    pub(crate) mounts: Vec<HostMount>,
}

impl Scene {
    /// Nothing if this machine has no busybox or runtime.
    pub(crate) fn new() -> Option<Self> {
        if !Path::new(BUSYBOX).exists()
            || Command::new(runtime()).arg("--version").output().is_err()
        {
            eprintln!(
                "SKIPPED: install busybox-static and {} to run this test",
                runtime()
            );
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
            id: format!("lapstrake-spec-{}-{number}", std::process::id()),
            facts: Facts::gather().unwrap(),
            files: Files::default(),
            join: Join::default(),
            mounts: Vec::new(),
        };
        scene.fill();
        Some(scene)
    }

    fn fill(&self) {
        let root = self.root();
        for dir in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        let list = Command::new(BUSYBOX).arg("--list").output().unwrap();
        for name in String::from_utf8(list.stdout).unwrap().lines() {
            if name != "busybox" {
                symlink("busybox", root.join("bin").join(name)).unwrap();
            }
        }
        std::fs::write(root.join("etc/passwd"), PASSWD).unwrap();
        std::fs::write(root.join("etc/group"), GROUP).unwrap();
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("rootfs")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a file beside the root.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn settings(&self, line: &str) -> Settings {
        let mut settings = Settings::default();
        settings.execution.cmd = Some(["sh", "-c", line].map(str::to_owned).to_vec());
        settings
    }

    /// Runs a container to its end: what it wrote to both outputs.
    pub(crate) fn run(&self, settings: &Settings) -> String {
        self.configure(settings);
        let output = self.runtime(&["run", "--bundle", self.dir.path().to_str().unwrap()]);
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8(both).unwrap()
    }

    /// Starts a container that goes on.
    pub(crate) fn start(&self, settings: &Settings) -> Running<'_> {
        self.configure(settings);
        let mut command = Command::new(runtime());
        command.arg("--root").arg(self.path("state"));
        command
            .args(["run", "--detach", "--bundle"])
            .arg(self.dir.path());
        command.arg("--pid-file").arg(self.path("pid"));
        // What it writes goes nowhere, or the output of the runtime would not end.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.arg(&self.id).status().unwrap().success());
        Running(self)
    }

    fn configure(&self, settings: &Settings) {
        spec::validate(settings, &self.facts).unwrap();
        let who = settings.execution.user.as_deref().unwrap_or_default();
        let user = user::resolve(&self.root(), who, &settings.host.security.groups).unwrap();
        let request = Request {
            id: &self.id,
            settings,
            hostname: "box",
            root: &self.root(),
            user: &user,
            mounts: &self.mounts,
            files: &self.files,
            join: &self.join,
            devices: &HostDevices::find(&settings.host).unwrap(),
        };
        let config = spec::config(&request, &self.facts).unwrap();
        let text = serde_json::to_vec_pretty(&config).unwrap();
        std::fs::write(self.path("config.json"), text).unwrap();
    }

    fn runtime(&self, words: &[&str]) -> Output {
        let mut command = Command::new(runtime());
        command.arg("--root").arg(self.path("state"));
        command.args(words).arg(&self.id).output().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.runtime(&["delete", "--force"]));
    }
}

/// A container that runs, until its scene is dropped.
pub(crate) struct Running<'a>(&'a Scene);

impl Running<'_> {
    pub(crate) fn pid(&self) -> u32 {
        let text = std::fs::read_to_string(self.0.path("pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// Runs one more process: what it wrote to both outputs.
    pub(crate) fn exec(&self, process: &serde_json::Value) -> String {
        let path = self.0.file("process.json", &process.to_string());
        let output = self
            .0
            .runtime(&["exec", "--process", path.to_str().unwrap()]);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    pub(crate) fn update(&self, resources: &serde_json::Value) {
        let path = self.0.file("resources.json", &resources.to_string());
        self.order(&["update", "--resources", path.to_str().unwrap()]);
    }

    pub(crate) fn order(&self, words: &[&str]) {
        let output = self.0.runtime(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words:?}: {said}", runtime());
    }

    /// Its processes, when there are so many.
    pub(crate) fn wait_for(&self, count: usize, groups: &Groups) -> Vec<u32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let pids = groups.processes().unwrap();
            assert!(Instant::now() < deadline, "{pids:?}");
            if pids.len() == count {
                return pids;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
