//! The whole way, from the outside: an image pushed by skopeo into docker-registry, pulled, mounted
//! and run by the command as it is built.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

mod access;
mod careless;
mod chaos;
mod commands;
mod containers;
mod daemon;
mod disk;
mod docker;
mod files;
mod hostile;
mod image;
mod killed;
mod load;
mod machine;
mod many;
mod nameless;
mod push;
mod reclaim;
mod registry;
mod save;
mod shape;
mod stall;
mod transcript;
mod unified;
mod verbs;
mod watermark;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use registry::DockerRegistry;

struct Scene {
    dir: tempfile::TempDir,
    registry: DockerRegistry,
}

impl Scene {
    /// `None` says why on standard error.
    fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {test}: needs root");
            return None;
        }
        for tool in ["skopeo", "docker-registry", "runc", "tar", "gzip"] {
            if Command::new(tool).arg("--version").output().is_err() {
                eprintln!("SKIPPED {test}: needs {tool}");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let registry = DockerRegistry::start(&dir.path().join("registry"));
        Some(Self { dir, registry })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn lapstrake(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(self.path("root"))
            .arg("--run-dir")
            .arg(self.path("run"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Runs a command that must end with this code, and returns what it printed.
    fn done_with(&self, arguments: &[&str], code: i32) -> String {
        let output = self.lapstrake(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.lapstrake(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// With these arguments for skopeo's push.
fn check(test: &str, push: &[&str]) {
    let Some(scene) = Scene::new(test) else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, push);

    scene.done(&["pull", &reference]);
    assert!(scene.done(&["images"]).contains("app"));

    let root = scene.path("mounted");
    scene.done(&["mount", &reference, text(&root)]);
    let seen = |path: &str| fs::read_to_string(root.join(path)).ok();
    assert_eq!(seen("etc/kept").as_deref(), Some("kept\n"));
    assert_eq!(seen("etc/replaced").as_deref(), Some("new\n"));
    assert_eq!(seen("etc/removed"), None);
    assert_eq!(seen("made/anew/old"), None);
    assert_eq!(seen("made/anew/new").as_deref(), Some("new\n"));
    scene.done(&["umount", text(&root)]);

    let said = scene.done(&["run", &reference, "/bin/cat", "/etc/kept", "/etc/replaced"]);
    assert_eq!(said, "kept\nnew\n");
    let failed = scene.lapstrake(&["run", &reference, "/bin/cat", "/etc/removed"]);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(text(scene.dir.path())), "{mounts}");
}

#[test]
fn privileged_scenario_gzip() {
    check("gzip", &[]);
}

#[test]
fn privileged_scenario_zstd() {
    check("zstd", &["--dest-compress-format", "zstd"]);
}

#[test]
fn privileged_scenario_docker_schema_2() {
    check("schema_2", &["--format", "v2s2"]);
}

#[test]
fn privileged_scenario_what_is_not_there() {
    let Some(scene) = Scene::new("not_there") else {
        return;
    };
    let reference = format!("{}/nothing:1", scene.registry.host());
    // `run` pulls what is not here.
    for verb in [&["pull"][..], &["run"]] {
        let output = scene.lapstrake(&[verb, &[&reference]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            said.contains("does not have the manifest nothing:1"),
            "{said}"
        );
    }
    let at = scene.path("mounted");
    let output = scene.lapstrake(&["mount", &reference, text(&at)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("pull it first"), "{said}");
    assert_eq!(scene.done(&["images", "--json"]), "");
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn privileged_scenario_remove() {
    let Some(scene) = Scene::new("remove") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    // A writable layer keeps its image from being removed, and its name from being the only thing.
    let at = scene.path("mounted");
    scene.done(&["mount", &reference, text(&at), "--writable", "mine"]);
    let refused = scene.lapstrake(&["rmi", &reference]);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("used by the writable layer mine"),
        "{refused:?}"
    );
    assert_eq!(scene.done(&["prune", "--all", "--dry-run"]), "");
    scene.done(&["rmi", "--force", &reference]);
    assert_eq!(scene.done(&["images"]).lines().count(), 1);
    let kept = fs::read_to_string(at.join("etc/kept")).unwrap();
    assert_eq!(kept, "kept\n");
    scene.done(&["umount", text(&at)]);
}

#[test]
fn privileged_scenario_prune() {
    let Some(scene) = Scene::new("prune") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    scene.done(&["run", &reference, "/bin/cat", "/etc/kept"]);
    let at = scene.path("mounted");
    // A mounted layer stays although nothing else keeps it.
    scene.done(&["mount", &reference, text(&at)]);
    assert!(scene.done(&["prune", "--all"]).contains("untagged: "));
    assert_eq!(
        fs::read_to_string(at.join("etc/replaced")).unwrap(),
        "new\n"
    );
    assert!(scene.done(&["prune", "--json"]).contains("\"layers\":0"));
    scene.done(&["umount", text(&at)]);
    let would = scene.done(&["prune", "--json", "--dry-run"]);
    assert_eq!(
        scene.done(&["prune", "--json"]),
        would.replace("true", "false")
    );
    let layers = scene.path("root/content/layers/sha256");
    let left: usize = fs::read_dir(&layers)
        .unwrap()
        .map(|shard| entries(&shard.unwrap().path()))
        .sum();
    assert_eq!(left, 0);
    assert_eq!(entries(&scene.path("root/state/index")), 0);
    assert_eq!(entries(&scene.path("root/content/trash")), 0);

    let missing = scene.lapstrake(&["rmi", &reference]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
}

#[test]
fn privileged_scenario_changes_become_an_image() {
    let Some(scene) = Scene::new("changes") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    assert_eq!(scene.done(&["create", &reference, "mine"]), "mine\n");
    let at = scene.path("mounted");
    scene.done(&["mount", &reference, text(&at), "--writable", "mine"]);
    let mut file = File::options()
        .append(true)
        .open(at.join("etc/kept"))
        .unwrap();
    file.write_all(b"and changed\n").unwrap();
    drop(file);
    fs::remove_file(at.join("etc/replaced")).unwrap();
    fs::create_dir(at.join("new")).unwrap();
    let changes = "C /etc\nC /etc/kept\nD /etc/replaced\nA /new\n";
    assert_eq!(scene.done(&["diff", "mine"]), changes);

    let listed = scene.done(&["containers"]);
    assert!(
        listed.contains("mine") && listed.contains("mounted"),
        "{listed}"
    );
    let busy = scene.lapstrake(&["rm", "mine"]);
    assert!(!busy.status.success(), "{busy:?}");
    scene.done(&["umount", text(&at)]);

    let change = "CMD [\"/bin/cat\", \"/etc/kept\"]";
    scene.done(&["commit", "mine", "made:1", "--change", change]);
    assert_eq!(scene.done(&["run", "made:1"]), "kept\nand changed\n");
    assert_eq!(scene.done(&["rm", "--settle", "mine"]), "mine\n");
    assert_eq!(scene.done(&["containers", "--json"]), "");
    assert_eq!(entries(&scene.path("root/state/containers/.trash")), 0);
    let gone = scene.lapstrake(&["diff", "mine"]);
    assert_eq!(gone.status.code(), Some(3), "{gone:?}");
}

#[test]
fn privileged_scenario_limits() {
    let Some(scene) = Scene::new("limits") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    let said = scene.done(&["run", "--storage-opt", "size=16M", &reference]);
    assert_eq!(said, "kept\n");

    let at = scene.path("mounted");
    let size = ["--writable", "mine", "--storage-opt", "size=16M"];
    scene.done(&[&["mount", &reference, text(&at)], &size[..]].concat());
    let fill = |name: &str| {
        let mut file = File::create(at.join(name)).unwrap();
        let full = (0..1024).find_map(|_| file.write_all(&[1; 1 << 16]).err());
        assert!(full.is_some(), "64 MB fit in 16");
        file.metadata().unwrap().len() >> 20
    };
    assert!((14..17).contains(&fill("a")));
    let listed = scene.done(&["containers", "--json"]);
    assert!(listed.contains("\"limit_bytes\":16777216"), "{listed}");
    scene.done(&["umount", text(&at)]);
    scene.done(&["resize", "mine", "--storage-opt", "size=0.03125G"]);
    scene.done(&["mount", &reference, text(&at), "--writable", "mine"]);
    assert!((14..19).contains(&fill("b")));
    scene.done(&["umount", text(&at)]);

    for bad in ["size=much", "sise=1G", "inodes=x"] {
        let refused = scene.lapstrake(&["create", &reference, "x", "--storage-opt", bad]);
        assert!(!refused.status.success(), "{bad}: {refused:?}");
    }
    scene.done(&["rm", "--settle", "mine"]);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(text(scene.dir.path())), "{mounts}");
}

#[test]
fn privileged_scenario_a_running_container_leaves_the_store_to_others() {
    let Some(scene) = Scene::new("running") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    // It runs until its input ends.
    let mut running = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
        .arg("--root")
        .arg(scene.path("root"))
        .arg("--run-dir")
        .arg(scene.path("run"))
        .args(["run", &reference, "/bin/cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = running.stdin.take().unwrap();
    let mut output = running.stdout.take().unwrap();
    input.write_all(b"here\n").unwrap();
    let mut said = [0; 5];
    output.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"here\n");
    let refused = scene.lapstrake(&["rmi", &reference]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("is used by the writable layer"), "{why}");
    assert!(!why.contains("waiting"), "{why}");
    drop(input);
    assert!(running.wait().unwrap().success());
    scene.done(&["rmi", &reference]);
}

#[test]
fn privileged_scenario_check() {
    let Some(scene) = Scene::new("check") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    for how in [&["check"][..], &["check", "--deep"], &["check", "--scrub"]] {
        assert_eq!(scene.done(how), "");
    }

    // The largest file of the store is a layer's data.
    let layers = scene.path("root/content/layers");
    let found = Command::new("find")
        .arg(layers)
        .args(["-name", "data", "-size", "+100k"])
        .output()
        .unwrap();
    let data = String::from_utf8(found.stdout).unwrap();
    let file = fs::File::options().write(true).open(data.trim()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], 20_000).unwrap();

    assert_eq!(scene.done(&["check"]), "");
    let code = |how: &[&str]| scene.lapstrake(how).status.code();
    let deep = scene.lapstrake(&["check", "--deep", "--rate", "1G"]);
    let said = String::from_utf8_lossy(&deep.stdout).into_owned();
    assert_eq!(deep.status.code(), Some(6), "{said}");
    assert!(said.starts_with("damage: data of layer sha256:"), "{said}");
    assert!(
        said.contains(&format!("part of image {reference}")),
        "{said}"
    );
    assert_eq!(code(&["check", "--repair"]), Some(8));
    assert_eq!(scene.done(&["check", "--deep"]), "");
    assert_eq!(scene.done(&["run", &reference]), "kept\n");

    // A store that can't be opened can be checked.
    fs::File::create(scene.path("root/content/format.json")).unwrap();
    fs::File::create(scene.path("root/state/state.db")).unwrap();
    assert_eq!(code(&["images"]), Some(1));
    let quick = scene.done_with(&["check", "--json"], 6);
    assert!(quick.contains("format.json"), "{quick}");
    let repaired = scene.lapstrake(&["check", "--repair"]);
    let said = String::from_utf8_lossy(&repaired.stdout).into_owned();
    assert!(said.contains("names of images"), "{said}");
    scene.done(&["pull", &reference]);
    assert_eq!(scene.done(&["check", "--deep"]), "");
    assert_eq!(scene.done(&["run", &reference]), "kept\n");
}
