//! Saved images and exported roots, and what skopeo, podman and dockerd make of them.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::docker::Docker;
use super::{Scene, image, text};

/// Runs a program that must succeed, and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn skopeo(arguments: &[&str]) -> String {
    run(Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments))
}

fn podman(scene: &Scene) -> Command {
    let mut podman = Command::new("podman");
    podman
        .args(["--storage-driver", "vfs", "--root"])
        .arg(scene.path("podman"));
    podman.arg("--runroot").arg(scene.path("podman-run"));
    podman
}

/// What the store has under a name: `id` and `manifest`.
fn record(scene: &Scene, name: &str) -> (String, String) {
    let images = scene.done(&["images", "--json"]);
    let found = images.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let is_it = line["reference"].as_str().unwrap().ends_with(name);
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        is_it.then(|| (text("id"), text("manifest")))
    });
    found.unwrap_or_else(|| panic!("{name} is not in {images}"))
}

/// A store with an image of two layers as `app:1` below a registry's name, and one of three that was
/// committed over it as `made:1`.
fn with_images(test: &str) -> Option<(Scene, String)> {
    let scene = Scene::new(test)?;
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    let at = scene.path("mounted");
    scene.done(&["mount", &reference, text(&at), "--writable", "mine"]);
    fs::create_dir(at.join("new")).unwrap();
    fs::remove_file(at.join("etc/kept")).unwrap();
    File::create(at.join("new/file"))
        .unwrap()
        .write_all(b"more\n")
        .unwrap();
    scene.done(&["umount", text(&at)]);
    scene.done(&["commit", "mine", "made:1"]);
    Some((scene, reference))
}

/// The documents of a directory that skopeo made: the config's digest, and the layers'.
fn copied(dir: &Path) -> (String, Vec<String>) {
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.join("manifest.json")).unwrap()).unwrap();
    let text = |value: &Value| value["digest"].as_str().unwrap().to_owned();
    let layers = manifest["layers"].as_array().unwrap();
    (text(&manifest["config"]), layers.iter().map(text).collect())
}

fn diff_ids(scene: &Scene, id: &str) -> Vec<String> {
    let hex = id.strip_prefix("sha256:").unwrap();
    let path = scene
        .path("root/content/blobs/sha256")
        .join(&hex[..2])
        .join(hex);
    let config: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    ids.iter()
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn privileged_scenario_saved_images_are_read_by_skopeo_and_podman() {
    let Some((scene, reference)) = with_images("save") else {
        return;
    };
    let (tar, dir) = (scene.path("images.tar"), scene.path("layout"));
    let said = scene.done(&["save", "--json", "-o", text(&tar), &reference, "made"]);
    let (app, made) = (record(&scene, "/app:1"), record(&scene, "/made:1"));
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["event"] == "image" || line["event"] == "saved")
        .collect();
    assert_eq!(lines[0]["id"], json!(app.0));
    assert_eq!(lines[0]["same_manifest"], json!(false));
    assert_eq!(lines[1]["names"], json!(["docker.io/library/made:1"]));
    assert_eq!(lines[2]["layers"], json!(3));
    assert_eq!(
        fs::metadata(&tar).unwrap().permissions().mode() & 0o7777,
        0o600
    );

    // The same bytes again, to a pipe.
    let output = scene.lapstrake(&["save", &reference, "made:1"]);
    assert!(output.status.success() && output.stdout == fs::read(&tar).unwrap());

    let copy = |from: String, to: &str| {
        let to = scene.path(to);
        skopeo(&["copy", "--quiet", &from, &format!("dir:{}", to.display())]);
        copied(&to)
    };
    for (number, (name, id)) in [(reference.as_str(), &app.0), ("made:1", &made.0)]
        .into_iter()
        .enumerate()
    {
        let from = format!("docker-archive:{}:{name}", tar.display());
        let want = (id.clone(), diff_ids(&scene, id));
        assert_eq!(copy(from, &format!("docker-{number}")), want);
    }
    let one = scene.path("one.tar");
    scene.done(&["save", "-o", text(&one), "made:1"]);
    let want = (made.0.clone(), diff_ids(&scene, &made.0));
    assert_eq!(
        copy(format!("oci-archive:{}:1", one.display()), "oci-archive"),
        want
    );
    scene.done(&["save", "--format", "oci-dir", "-o", text(&dir), "made:1"]);
    assert_eq!(copy(format!("oci:{}:1", dir.display()), "oci"), want);

    let ids = |podman: &str| {
        podman
            .lines()
            .filter(|line| line.contains("Loaded image"))
            .count()
    };
    let loaded = run(podman(&scene).args(["load", "-i"]).arg(&tar));
    assert_eq!(ids(&loaded), 2, "{loaded}");
    let inspect = ["image", "inspect", "--format", "{{.Id}}"];
    for (name, (id, _)) in [(reference.as_str(), &app), ("localhost/made:1", &made)] {
        let found = run(podman(&scene).args(inspect).arg(name));
        assert_eq!(format!("sha256:{}", found.trim()), *id, "{name}");
    }
    run(podman(&scene).args(["rmi", "--all", "--force"]));
}

#[test]
fn privileged_scenario_dockerd_reads_what_is_saved_and_exported() {
    let Some((scene, reference)) = with_images("docker load") else {
        return;
    };
    let Some(docker) = Docker::start("docker load", &scene.path("docker")) else {
        return;
    };
    let tar = scene.path("images.tar");
    scene.done(&["save", "-o", text(&tar), &reference, "made:1"]);
    run(docker.client().args(["load", "-i"]).arg(&tar));
    for (name, short) in [(reference.as_str(), "/app:1"), ("made:1", "/made:1")] {
        let (id, _) = record(&scene, short);
        let format = "{{.Id}} {{json .RootFS.Layers}}";
        let found = run(docker
            .client()
            .args(["image", "inspect", "--format", format, name]));
        let want = format!("{id} {}\n", json!(diff_ids(&scene, &id)));
        assert_eq!(found, want, "{name}");
    }
    // By its id an image comes without a name.
    let (id, _) = record(&scene, "/made:1");
    run(docker.client().args(["rmi", "--force", "made:1"]));
    scene.done(&["save", "-o", text(&tar), &id]);
    let loaded = run(docker.client().args(["load", "-i"]).arg(&tar));
    assert!(
        loaded.contains(&format!("Loaded image ID: {id}")),
        "{loaded}"
    );

    let root = scene.path("root.tar");
    scene.done(&["export", "mine", "-o", text(&root)]);
    run(docker.client().arg("import").arg(&root).arg("flat:1"));
    let list = docker
        .client()
        .args(["save", "flat:1"])
        .stdout(Stdio::piped())
        .spawn();
    let mut list = list.unwrap();
    let mut bytes = Vec::new();
    list.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    assert!(list.wait().unwrap().success());
    let found = bytes.windows(9).any(|window| window == b"new/file\0");
    assert!(found, "the import has the container's file");

    run(podman(&scene).arg("import").arg(&root).arg("flat:1"));
    let at = run(podman(&scene).args(["image", "mount", "localhost/flat:1"]));
    let seen = |path: &str| fs::read_to_string(Path::new(at.trim()).join(path)).ok();
    let read = [
        seen("new/file"),
        seen("etc/replaced"),
        seen("etc/kept"),
        seen("etc/removed"),
    ];
    run(podman(&scene).args(["image", "unmount", "--all"]));
    run(podman(&scene).args(["rmi", "--all", "--force"]));
    let want = [Some("more\n"), Some("new\n"), None, None];
    assert_eq!(read, want.map(|text| text.map(str::to_owned)));
}

#[test]
fn privileged_scenario_save_and_export_fail_in_good_order() {
    let Some((scene, reference)) = with_images("save fails") else {
        return;
    };
    let tar = scene.path("x.tar");
    let missing = scene.lapstrake(&["save", "-o", text(&tar), "nothing:1"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    let usage = scene.lapstrake(&["save", "--format", "oci-dir", &reference]);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let full = scene.lapstrake(&["save", "-o", "/dev/full", &reference]);
    assert_eq!(full.status.code(), Some(7), "{full:?}");

    // A reader that goes away: nothing is said.
    for verb in [
        &["save", &reference][..],
        &["export", "mine"],
        &["export", "--image", "made:1"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(scene.path("root"))
            .arg("--run-dir")
            .arg(scene.path("run"))
            .args(verb)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut start = [0; 100];
        child.stdout.take().unwrap().read_exact(&mut start).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(141), "{ended:?}");
        assert_eq!(ended.stderr, b"", "{ended:?}");
    }

    // A damaged layer: the file is as it was before.
    File::create(&tar).unwrap().write_all(b"before").unwrap();
    let found = run(Command::new("find")
        .arg(scene.path("root/content/layers"))
        .args(["-name", "data", "-size", "+100k"]));
    let data = File::options().write(true).open(found.trim()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&data, &[1; 4096], 20_000).unwrap();
    let damaged = scene.lapstrake(&["save", "-o", text(&tar), &reference]);
    assert_eq!(damaged.status.code(), Some(6), "{damaged:?}");
    let said = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(said.contains("check --repair"), "{said}");
    assert_eq!(fs::read(&tar).unwrap(), b"before");
    let to = scene.path("layout");
    let damaged = scene.lapstrake(&["save", "--format", "oci-dir", "-o", text(&to), &reference]);
    assert_eq!(damaged.status.code(), Some(6), "{damaged:?}");
    let names = fs::read_dir(scene.dir.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names
        .filter(|name| name.starts_with(".lapstrake") || name == "layout")
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn privileged_scenario_what_is_saved_is_loaded_and_saved_the_same() {
    let Some((scene, reference)) = with_images("save and load") else {
        return;
    };
    let (tar, dir) = (scene.path("images.tar"), scene.path("layout"));
    let saved = scene.done(&["save", "--json", "-o", text(&tar), &reference, "made:1"]);
    let manifests: Vec<_> = (saved.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["manifest"].clone())
        .filter(|manifest| !manifest.is_null())
        .collect();
    scene.done(&[
        "save",
        "--format",
        "oci-dir",
        "-o",
        text(&dir),
        &reference,
        "made:1",
    ]);
    let (first, ids) = (fs::read(&tar).unwrap(), ["/app:1", "/made:1"]);
    let ids = ids.map(|name| record(&scene, name).0);

    for from in [&tar, &dir] {
        fs::remove_dir_all(scene.path("root")).unwrap();
        scene.done(&["load", "-i", text(from)]);
        for (at, name) in ["/app:1", "/made:1"].into_iter().enumerate() {
            let (id, manifest) = record(&scene, name);
            assert_eq!(
                (&id, &json!(manifest)),
                (&ids[at], &manifests[at]),
                "{name}"
            );
        }
        let again = scene.lapstrake(&["save", &reference, "made:1"]);
        assert!(again.status.success(), "{again:?}");
        assert!(again.stdout == first, "other bytes");
        assert_eq!(scene.done(&["check", "--deep"]), "");
        assert_eq!(scene.done(&["run", &reference]), "kept\n");
    }
}
