//! What skopeo, podman, dockerd and `save` write is loaded, and what they export is imported: the tree
//! is the same as when the image is pulled.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::docker::Docker;
use super::{Scene, image, text};

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}

/// Another store.
struct Other<'a> {
    scene: &'a Scene,
    name: &'static str,
}

impl Other<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
        command.arg("--root").arg(self.scene.path(self.name));
        let run = format!("{}-run", self.name);
        command.arg("--run-dir").arg(self.scene.path(&run));
        command.args(arguments);
        command
    }

    fn done(&self, arguments: &[&str]) -> String {
        String::from_utf8(run(&mut self.command(arguments))).unwrap()
    }

    /// With standard input from a file.
    fn fed(&self, arguments: &[&str], from: &Path) -> Output {
        let from = std::fs::File::open(from).unwrap();
        self.command(arguments).stdin(from).output().unwrap()
    }

    /// Everything in the root of an image: its tar, in an order that depends on nothing.
    fn tree(&self, name: &str) -> String {
        let at = self.scene.path(&format!("{}-mounted", self.name));
        self.done(&["mount", name, text(&at)]);
        let tree = tree(&at);
        self.done(&["umount", text(&at)]);
        tree
    }

    fn record(&self, name: &str) -> (String, String) {
        let images = self.done(&["images", "--json"]);
        let found = images.lines().find_map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let is_it = line["reference"].as_str().unwrap().contains(name);
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            is_it.then(|| (text("id"), text("manifest")))
        });
        found.unwrap_or_else(|| panic!("{name} is not in {images}"))
    }
}

/// All but the attributes of the topmost directory, which not every tar has.
fn tree(at: &Path) -> String {
    let tar = "ls -A | tar --sort=name --format=posix --xattrs --numeric-owner \
               --pax-option=delete=atime,delete=ctime -c -T - | sha256sum";
    let sum = run(Command::new("sh").args(["-ec", tar]).current_dir(at));
    String::from_utf8(sum).unwrap()
}

/// A store into which an image was pulled as HOST/app:1; its name, tree and id.
fn pulled(test: &str) -> Option<(Scene, String, String, String)> {
    let scene = Scene::new(test)?;
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    let store = Other {
        scene: &scene,
        name: "root",
    };
    let tree = store.tree(&reference);
    let (id, _) = store.record("/app:1");
    Some((scene, reference, tree, id))
}

fn skopeo_copy(reference: &str, to: &str) {
    run(Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
        ])
        .arg(format!("docker://{reference}"))
        .arg(to));
}

#[test]
fn privileged_scenario_archives_of_skopeo_podman_and_save_are_loaded() {
    let Some((scene, reference, tree, id)) = pulled("load") else {
        return;
    };
    let file = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let (docker, oci) = (file("docker.tar"), file("oci.tar"));
    let (dir, saved) = (file("layout"), file("saved.tar"));
    skopeo_copy(&reference, &format!("docker-archive:{docker}:loaded:1"));
    skopeo_copy(
        &reference,
        &format!("oci-archive:{oci}:example.com/loaded:1"),
    );
    skopeo_copy(&reference, &format!("oci:{dir}:loaded:1"));
    scene.done(&["tag", &reference, "loaded:1"]);
    scene.done(&["save", "-o", &saved, "loaded:1"]);

    for (name, input) in [
        ("from-docker", &docker),
        ("from-oci", &oci),
        ("from-dir", &dir),
        ("from-save", &saved),
    ] {
        let other = Other {
            scene: &scene,
            name,
        };
        let said = other.done(&["load", "-i", input]);
        let is_oci = name == "from-oci";
        let full = if is_oci {
            "example.com/loaded:1"
        } else {
            "loaded:1"
        };
        assert_eq!(said, format!("Loaded image: {full}\n"), "{name}");
        assert_eq!(other.tree(full), tree, "{name}");
        assert_eq!(other.record("loaded:1").0, id, "{name}");
        // Again: nothing new, and nothing wrong.
        assert_eq!(other.done(&["load", "-i", input]), said, "{name}");
        other.done(&["check", "--deep"]);
    }
    // A layout's manifest is kept.
    let inspect = run(Command::new("skopeo")
        .args(["inspect", "--raw"])
        .arg(format!("oci:{dir}")));
    let from_dir = Other {
        scene: &scene,
        name: "from-dir",
    };
    let digest = lapstrake_oci::Algorithm::Sha256.digest(&inspect);
    assert_eq!(from_dir.record("loaded:1").1, digest.to_string());

    let podman = || {
        let mut podman = Command::new("podman");
        podman
            .args(["--storage-driver", "vfs", "--root"])
            .arg(scene.path("podman"));
        podman.arg("--runroot").arg(scene.path("podman-run"));
        podman
    };
    run(podman().args(["load", "-i", &docker]));
    for (name, form) in [
        ("podman-docker", "docker-archive"),
        ("podman-oci", "oci-archive"),
    ] {
        let to = file(name);
        run(podman().args([
            "save",
            "--format",
            form,
            "-o",
            &format!("{to}.tar"),
            "loaded:1",
        ]));
        let other = Other {
            scene: &scene,
            name,
        };
        // From a pipe, and compressed.
        run(Command::new("xz").args(["-0", "-k", &format!("{to}.tar")]));
        let output = other.fed(&["load"], Path::new(&format!("{to}.tar.xz")));
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let full = said
            .trim()
            .strip_prefix("Loaded image: ")
            .unwrap()
            .to_owned();
        assert!(full.ends_with("loaded:1"), "{said}");
        assert_eq!(other.tree(&full), tree, "{name}");
        // For the other form podman writes another config.
        if form == "docker-archive" {
            assert_eq!(other.record("loaded:1").0, id);
        }
    }
    run(podman().args(["rmi", "--all", "--force"]));
}

#[test]
fn privileged_scenario_what_dockerd_saves_and_exports_is_loaded_and_imported() {
    let Some((scene, reference, tree, id)) = pulled("load of dockerd's") else {
        return;
    };
    let Some(docker) = Docker::start("load of dockerd's", &scene.path("docker")) else {
        return;
    };
    let file = |name: &str| scene.path(name).to_str().unwrap().to_owned();
    let (given, saved) = (file("given.tar"), file("saved.tar"));
    skopeo_copy(&reference, &format!("docker-archive:{given}:app:1"));
    run(docker.client().args(["load", "-i", &given]));
    run(docker.client().args(["tag", "app:1", "other:2"]));
    run(docker
        .client()
        .args(["save", "-o", &saved, "app:1", "other:2"]));
    let other = Other {
        scene: &scene,
        name: "loaded",
    };
    let said = other.done(&["load", "-i", &saved]);
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["Loaded image: app:1", "Loaded image: other:2"]);
    assert_eq!(other.tree("app:1"), tree);
    assert_eq!(other.record("/app:1").0, id);
    assert_eq!(other.record("/other:2").0, id);

    // What was saved by its id has no name.
    run(docker.client().args(["save", "-o", &saved, &id]));
    let nameless = Other {
        scene: &scene,
        name: "nameless",
    };
    let said = nameless.done(&["load", "-i", &saved]);
    assert_eq!(said, format!("Loaded image ID: {id}\n"));

    let root = file("root.tar");
    run(docker
        .client()
        .args(["create", "--network=none", "--name=one", "app:1"]));
    run(docker.client().args(["export", "-o", &root, "one"]));
    let unpacked = scene.path("unpacked");
    std::fs::create_dir(&unpacked).unwrap();
    run(Command::new("tar")
        .args(["--xattrs", "--numeric-owner", "-xpf", &root, "-C"])
        .arg(&unpacked));
    let imported = Other {
        scene: &scene,
        name: "imported",
    };
    let change = "CMD [\"/bin/cat\", \"/etc/kept\"]";
    let first = imported.done(&["import", "-c", change, "-m", "mine", &root, "flat:1"]);
    assert_eq!(imported.tree("flat:1"), self::tree(&unpacked));
    assert_eq!(imported.done(&["run", "flat:1"]), "kept\n");
    assert_eq!(first.trim(), imported.record("/flat:1").0);
    for (tool, name) in [
        ("gzip", "flat:2"),
        ("bzip2", "flat:3"),
        ("zstd", "flat:4"),
        ("xz", "flat:5"),
    ] {
        let packed = file(&format!("root.tar.{tool}"));
        let out = std::fs::File::create(&packed).unwrap();
        let status = Command::new(tool)
            .args(["-1", "-c", &root])
            .stdout(out)
            .status();
        assert!(status.unwrap().success());
        let output = imported.fed(&["import", "-", name], Path::new(&packed));
        assert!(output.status.success(), "{tool}: {output:?}");
    }
    // One layer for all of them, and Docker's words in the config.
    let layers = scene.path("imported/content/layers/sha256");
    assert_eq!(std::fs::read_dir(layers).unwrap().count(), 1);
    let hex = imported.record("/flat:2").0;
    let hex = hex.strip_prefix("sha256:").unwrap();
    let config = scene
        .path("imported/content/blobs/sha256")
        .join(&hex[..2])
        .join(hex);
    let config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    assert_eq!(config["comment"], "Imported from -");
    assert_eq!(config["history"][0]["comment"], "Imported from -");
}

#[test]
fn privileged_scenario_what_cannot_be_loaded_or_imported_is_told() {
    let Some(scene) = Scene::new("refused loads") else {
        return;
    };
    let check = |arguments: &[&str], code: i32, words: &str| {
        let output = scene.lapstrake(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{said}");
    };
    let missing = scene.path("missing");
    let files = scene.path("files.tar");
    run(Command::new("tar").args(["-cf", text(&files), "/etc/hostname"]));
    check(&["load", "-i", text(&missing)], 3, "cannot open");
    check(&["load", "-i", text(&files)], 1, "lapstrake import");
    check(
        &["load", "-i", text(scene.dir.path())],
        1,
        "holds no images",
    );
    check(&["import", "https://example.com/x.tar"], 2, "curl");
    check(&["import", text(scene.dir.path())], 2, "is a directory");
    check(&["import", "-c", "RUN x", text(&files)], 1, "RUN");
    assert_eq!(scene.done(&["images", "--json"]), "");
}

#[test]
fn privileged_scenario_a_full_disk_ends_a_load_and_leaves_nothing() {
    let Some(scene) = Scene::new("load onto a full disk") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    let archive = scene.path("app.tar");
    skopeo_copy(&reference, &format!("docker-archive:{}", text(&archive)));
    let full = Mounted(scene.path("full"));
    std::fs::create_dir(&full.0).unwrap();
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1500k", "tmpfs"])
        .arg(&full.0));
    let other = Other {
        scene: &scene,
        name: "full/root",
    };
    let output = other.fed(&["load"], &archive);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    let left = run(Command::new("find")
        .args(["-path", "*/content/*", "-name", "data"])
        .current_dir(&full.0));
    assert_eq!(left, b"");
}

/// Unmounted when dropped.
struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}
