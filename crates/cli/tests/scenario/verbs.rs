//! Names, lists, details and the disk's use, as they are typed and printed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use super::{Scene, image, text};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn privileged_scenario_names_and_lists() {
    let Some(scene) = Scene::new("names") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    scene.done(&["tag", &reference, "mine:1"]);
    let id = scene.done(&["images", "-q"]).trim().to_owned();
    assert_eq!(id.len(), 12, "an image with two names has one id");

    // Every verb takes a name, an id, its beginning.
    let whole = scene.done(&["images", "-q", "--no-trunc", "mine"]);
    for name in ["mine:1", &id, &id[..6], whole.trim()] {
        let found: Value = serde_json::from_str(&scene.done(&["inspect", name])).unwrap();
        assert_eq!(found[0]["Id"], whole.trim(), "{name}");
        assert_eq!(found[0]["RepoTags"].as_array().unwrap().len(), 2);
        assert_eq!(found[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);
        let layers = &found[0]["Lapstrake"]["Layers"];
        assert_eq!(layers[0]["Sources"].as_array().unwrap().len(), 1);
        assert!(Path::new(layers[0]["Files"]["Data"].as_str().unwrap()).exists());
    }
    let at = scene.path("mounted");
    scene.done(&["mount", &id, text(&at)]);
    assert_eq!(fs::read_to_string(at.join("etc/kept")).unwrap(), "kept\n");
    scene.done(&["umount", text(&at)]);
    assert_eq!(scene.done(&["run", &id]), "kept\n");

    // What is not there is told from what is nearly there.
    let missing = scene.lapstrake(&["inspect", "mime:1", "mine:1"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    assert!(
        said(&missing).contains("did you mean mine:1?"),
        "{missing:?}"
    );
    let found: Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!(
        scene.lapstrake(&["history", "nothing"]).status.code(),
        Some(3)
    );
    assert_eq!(scene.lapstrake(&["history", "!"]).status.code(), Some(2));

    let listed = scene.done(&["images", "--json", "--filter", "reference=m*"]);
    let listed = objects(&listed);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["tag"], "1");
    assert_eq!(
        scene.done(&["images", "-q", "--filter", "dangling=true"]),
        ""
    );
    assert_eq!(scene.done(&["images", "-q", "--filter", "label=x"]), "");
    let unknown = scene.lapstrake(&["images", "--filter", "size=1"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    let history = objects(&scene.done(&["history", "--json", "mine:1"]));
    assert_eq!(history.len(), 2);
    assert!(scene.done(&["history", "mine:1"]).contains("<missing>"));
}

#[test]
fn privileged_scenario_tables_fit() {
    let Some(scene) = Scene::new("fit") else {
        return;
    };
    let reference = format!("{}/a/path/that/is/long/enough/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    for arguments in [
        &["images"][..],
        &["images", "--digests"],
        &["history", &reference],
        &["df"],
        &["df", "--tree"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(scene.path("root"))
            .arg("--run-dir")
            .arg(scene.path("run"))
            .args(arguments)
            .env("COLUMNS", "80")
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let widest = shown.lines().map(|line| line.chars().count()).max();
        assert!((20..=80).contains(&widest.unwrap_or(0)), "{shown}");
    }
    assert!(
        scene
            .done(&["images"])
            .contains("/a/path/that/is/long/enough/app ")
    );
}

#[test]
fn privileged_scenario_df() {
    let Some(scene) = Scene::new("df") else {
        return;
    };
    let reference = format!("{}/app:1", scene.registry.host());
    image::push(&scene.path("image"), &reference, &[]);
    scene.done(&["pull", &reference]);
    scene.done(&["create", &reference, "mine"]);
    let du = Command::new("du")
        .args(["-s", "--block-size=1"])
        .arg(scene.path("root"))
        .output()
        .unwrap();
    let du = String::from_utf8(du.stdout).unwrap();
    let du: u64 = du.split_whitespace().next().unwrap().parse().unwrap();
    let tree = objects(&scene.done(&["df", "--tree", "--json"])).remove(0);
    // A reader has a shared memory of SQLite's beside the database while it looks.
    let reader = 32 << 10;
    assert_eq!(tree["total"]["bytes"], du + reader);
    assert_eq!(tree["images"][0]["writable_layers"][0], "mine");
    let rows = objects(&scene.done(&["df", "--json"]));
    let sum: u64 = (rows.iter())
        .filter(|row| row["type"] != "all")
        .map(|row| row["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, du + reader);
    assert_eq!(rows[0]["active"], 1);
    assert_eq!(rows[0]["reclaimable"], 0, "a writable layer lies on it");

    let details: Value = serde_json::from_str(&scene.done(&["inspect", "mine"])).unwrap();
    assert_eq!(details[0]["State"]["Status"], "idle");
    scene.done(&["rm", "--settle", "mine"]);
    let rows = objects(&scene.done(&["df", "--json"]));
    let would =
        objects(&scene.done(&["prune", "--json", "--filter", "dangling=false", "--dry-run"]));
    assert_eq!(rows[0]["reclaimable"], would[0]["bytes"]);
    for (filter, code) in [
        ("dangling=maybe", 2),
        ("label=x", 0),
        ("label!=x", 0),
        ("until=yesterday", 2),
        ("name=x", 2),
        ("dangling=true", 0),
    ] {
        let output = scene.lapstrake(&["prune", "--dry-run", "--filter", filter]);
        assert_eq!(output.status.code(), Some(code), "{filter}: {output:?}");
    }
    let both = scene.lapstrake(&["prune", "--all", "--filter", "dangling=true"]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    let did = objects(&scene.done(&["prune", "--all", "--json"]));
    assert_eq!(did[0]["bytes"], would[0]["bytes"]);
    assert_eq!(scene.done(&["images", "-q"]), "");
}
