//! Pushed images, and what skopeo, podman and dockerd make of them.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use super::docker::Docker;
use super::registry::DockerRegistry;
use super::{Scene, image, text};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A manifest as a registry has it, to the byte.
fn raw(reference: &str) -> String {
    run(Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false"])
        .arg(format!("docker://{reference}")))
}

/// Pushes, and returns the object at the end.
fn pushed(scene: &Scene, arguments: &[&str]) -> Value {
    let said = scene.done(&[&["push", "--json"], arguments].concat());
    let last = said.lines().last().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["event"], "pushed", "{said}");
    last
}

fn ways(pushed: &Value) -> Vec<&str> {
    let layers = pushed["layers"].as_array().unwrap();
    let ways = layers.iter().map(|layer| layer["way"].as_str().unwrap());
    ways.collect()
}

/// A pulled image, and another registry.
fn with_image(test: &str) -> Option<(Scene, String, DockerRegistry)> {
    let scene = Scene::new(test)?;
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    let other = DockerRegistry::start(&scene.path("other"));
    Some((scene, reference, other))
}

#[test]
fn privileged_scenario_a_push_keeps_digests() {
    let Some((scene, reference, other)) = with_image("push") else {
        return;
    };
    let to = format!("{}/moved/app:1", other.host());
    let first = pushed(&scene, &["--same-digest", &reference, &to]);
    assert_eq!(ways(&first), ["copied", "copied"]);
    assert_eq!(first["same_manifest"], json!(true));
    assert_eq!(raw(&to), raw(&reference));

    let again = pushed(&scene, &["--same-digest", &reference, &to]);
    assert_eq!(ways(&again), ["existing", "existing"]);
    assert_eq!(again["sent_bytes"], json!(0));

    // To another repository of either registry, blobs are mounted: nothing is sent.
    for host in [other.host(), scene.registry.host()] {
        let beside = format!("{host}/beside/app:2");
        let mounted = pushed(&scene, &["--same-digest", &reference, &beside]);
        assert_eq!(ways(&mounted), ["mounted", "mounted"], "{mounted}");
        assert_eq!(mounted["sent_bytes"], json!(0));
        assert_eq!(raw(&beside), raw(&reference));
    }
}

#[test]
fn privileged_scenario_without_its_source_a_pushed_image_has_other_digests_and_the_same_id() {
    let Some((scene, reference, other)) = with_image("push without source") else {
        return;
    };
    let Scene { dir, registry } = scene;
    let was = raw(&reference);
    drop(registry);
    let scene = Scene {
        dir,
        registry: other,
    };
    let to = format!("{}/app:1", scene.registry.host());
    let refused = scene.lapstrake(&["push", "--same-digest", &reference, &to]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("can't be kept") && said.contains("cannot reach"),
        "{said}"
    );

    let output = scene.lapstrake(&["push", "--quiet", &reference, &to]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("compressed anew").count(), 2, "{said}");
    let manifests = [was, raw(&to)].map(|raw| serde_json::from_str::<Value>(&raw).unwrap());
    assert_eq!(manifests[0]["config"], manifests[1]["config"]);
    assert_ne!(manifests[0]["layers"], manifests[1]["layers"]);
}

#[test]
fn privileged_scenario_a_committed_image_is_pushed_and_read_by_others() {
    let Some((scene, reference, other)) = with_image("push a commit") else {
        return;
    };
    let at = scene.path("mounted");
    scene.done(&["mount", &reference, text(&at), "--writable", "mine"]);
    let big: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    File::create(at.join("big"))
        .unwrap()
        .write_all(&big)
        .unwrap();
    fs::remove_file(at.join("etc/kept")).unwrap();
    scene.done(&["umount", text(&at)]);
    scene.done(&["commit", "mine", "made:1"]);

    let docker = Docker::start("push a commit", &scene.path("docker"));
    for compression in ["gzip", "zstd", "none"] {
        let to = format!("{}/made:{compression}", other.host());
        let made = pushed(&scene, &["--compression", compression, "made:1", &to]);
        let last = if compression == "none" {
            "made"
        } else {
            "compressed"
        };
        assert_eq!(ways(&made).last(), Some(&last), "{made}");
        let again = pushed(&scene, &["--compression", compression, "made:1", &to]);
        assert_eq!(again["manifest"], made["manifest"]);
        assert_eq!(again["sent_bytes"], json!(0), "{again}");

        // skopeo reads every byte, and checks it against the digests.
        let copy = scene.path(&format!("copy-{compression}"));
        run(Command::new("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--quiet",
                "--src-tls-verify=false",
            ])
            .arg(format!("docker://{to}"))
            .arg(format!("dir:{}", copy.display())));

        let mut podman = podman(&scene);
        run(podman.args(["pull", "--quiet", "--tls-verify=false", &to]));
        let mounted = run(self::podman(&scene).args(["image", "mount", &to]));
        let seen = fs::read(std::path::Path::new(mounted.trim()).join("big")).unwrap();
        let kept = std::path::Path::new(mounted.trim())
            .join("etc/kept")
            .exists();
        run(self::podman(&scene).args(["image", "unmount", "--all"]));
        run(self::podman(&scene).args(["rmi", "--all", "--force"]));
        assert!(seen == big && !kept, "{compression}");

        // Docker 20.10 does not know zstd.
        if let Some(docker) = docker.as_ref().filter(|_| compression != "zstd") {
            run(docker.client().args(["pull", "--quiet", &to]));
            let id = ["image", "inspect", "--format", "{{.Id}}"];
            let id = run(docker.client().args(id).arg(&to));
            assert_eq!(id.trim(), made["id"].as_str().unwrap());
        }
    }
}

fn podman(scene: &Scene) -> Command {
    let mut podman = Command::new("podman");
    podman
        .args(["--storage-driver", "vfs", "--root"])
        .arg(scene.path("podman"));
    podman.arg("--runroot").arg(scene.path("podman-run"));
    podman
}

#[test]
fn privileged_scenario_push_what_is_not_there_or_makes_no_sense() {
    let Some((scene, reference, _other)) = with_image("push fails") else {
        return;
    };
    scene.done_with(&["push", "nothing:1"], 3);
    scene.done_with(&["push", "--level", "40", &reference], 2);
    scene.done_with(&["push", "--same-digest", "--recompress", &reference], 2);
    scene.done_with(&["push", &reference, "127.0.0.1:1/app:1"], 5);
}
