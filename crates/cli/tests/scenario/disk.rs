//! Who holds what of the disk, and what comes back: our own look against what the docker command is told, and
//! both against `du`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::reclaim::reclaimed;

/// Bytes and inodes that these take, as `du` counts; nothing for what is not there.
pub(crate) fn du(paths: &[PathBuf]) -> (u64, u64) {
    let count = |how: &str| {
        let there = paths.iter().filter(|path| path.exists());
        let du = Command::new("du")
            .args(["--summarize", "--total", how])
            .args(there)
            .output()
            .unwrap();
        let shown = String::from_utf8(du.stdout).unwrap();
        let total = shown.lines().last().and_then(|line| line.split_once('\t'));
        total.unwrap().0.parse().unwrap()
    };
    (count("--block-size=1"), count("--inodes"))
}

/// Beside the daemon, or after it.
fn lapstrake(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
        .arg("--root")
        .arg(daemon.path("root"))
        .arg("--run-dir")
        .arg(daemon.path("run"))
        .args(arguments)
        .env("COLUMNS", "80")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn tree(daemon: &Daemon) -> Value {
    serde_json::from_str(&lapstrake(daemon, &["df", "--tree", "--json"])).unwrap()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// That which has this under this key.
fn with<'a>(all: &'a Value, key: &str, is: &str) -> &'a Value {
    let has = |one: &&Value| {
        one[key] == is
            || one[key]
                .as_array()
                .is_some_and(|all| all.contains(&json!(is)))
    };
    let found = list(all).iter().find(has);
    found.unwrap_or_else(|| panic!("no {is} in {all}"))
}

/// Every part that counts, once.
fn sum(tree: &Value, of: &str) -> u64 {
    let unique = ["images", "containers", "writable_layers", "volumes"];
    let unique = unique.iter().flat_map(|kind| list(&tree[*kind]));
    let unique = unique.map(|one| number(&one["unique"][of]));
    let flat = ["loose", "unknown"]
        .iter()
        .flat_map(|kind| list(&tree[*kind]));
    let flat = flat.map(|one| number(&one[of]));
    let areas = tree["areas"].as_object().unwrap().values();
    let areas = areas.map(|area| number(&area[of]));
    unique.chain(flat).chain(areas).sum::<u64>() + number(&tree["shared"][of])
}

fn write(path: &Path, bytes: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    file.write_all(&vec![b'x'; bytes]).unwrap();
    file.sync_all().unwrap();
}

/// Images that share layers, containers that wrote, volumes with and without names.
fn fill(daemon: &Daemon) {
    let run = |arguments: &[&str], script: &str| {
        let run = ["run", "--network", "none"];
        daemon.done(&[&run[..], arguments, &["busybox", "sh", "-c", script]].concat());
    };
    run(&["--name", "base"], "head -c 400000 /dev/zero > /in-both");
    daemon.done(&["commit", "base", "derived:1"]);
    daemon.done(&["tag", "derived:1", "again:1"]);
    daemon.done(&[
        "run",
        "--network",
        "none",
        "--name",
        "more",
        "derived:1",
        "sh",
        "-c",
        "head -c 90000 /dev/zero > /only-here",
    ]);
    daemon.done(&["commit", "more", "derived:2"]);
    daemon.import("apart:1", "words");
    daemon.done(&["rm", "base", "more"]);

    let wrote =
        "head -c 3000000 /dev/zero > /some; head -c 70000 /dev/zero > /data/more; echo said";
    run(
        &["--name", "wrote", "-v", "data:/data", "-v", "/nameless"],
        wrote,
    );
    daemon.done(&["create", "--name", "new", "derived:2"]);
    daemon.done(&["volume", "create", "lone"]);
    let live = [
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "live",
        "-v",
        "data:/data",
    ];
    daemon.done(&[&live[..], &["derived:1", "sleep", "600"]].concat());
    daemon.done(&[
        "exec",
        "live",
        "sh",
        "-c",
        "mkdir /d; head -c 500000 /dev/zero > /d/f",
    ]);
    // Its image loses its names.
    daemon.done(&["commit", "wrote", "lost:1"]);
    daemon.done(&["create", "--name", "keeps", "lost:1"]);
    daemon.done(&["rmi", "-f", "lost:1"]);
}

#[test]
fn privileged_scenario_docker_disk_usage_is_that_of_the_tree_and_of_du() {
    let Some(mut daemon) = Daemon::start("disk_usage") else {
        return;
    };
    if !daemon.busybox("disk_usage") {
        return;
    }
    fill(&daemon);
    let odd = [
        "odd",
        "state/volumes/nobody's/data",
        "content/layers/sha256/00/odd",
    ];
    for path in odd {
        write(&daemon.path("root").join(path), 5000);
    }
    // What was removed is freed, and volumes were looked at.
    daemon.done(&["container", "prune", "-f", "--filter", "label=none"]);
    rustix::fs::sync();

    let found = tree(&daemon);
    let root = [daemon.path("root")];
    assert_eq!(number(&found["total"]["bytes"]), du(&root).0, "{found}");
    assert_eq!(number(&found["total"]["inodes"]), du(&root).1, "{found}");
    for of in ["bytes", "inodes"] {
        assert_eq!(number(&found["total"][of]), sum(&found, of), "{found}");
    }
    let unknown = list(&found["unknown"]).iter().map(|one| &one["path"]);
    let mut unknown: Vec<_> = unknown.filter_map(Value::as_str).collect();
    unknown.sort_unstable();
    assert_eq!(
        unknown,
        [
            "content/layers/sha256/00/odd",
            "odd",
            "state/volumes/nobody's"
        ]
    );

    let (_, usage) = daemon.raw("GET /v1.50/system/df");
    let usage: Value = serde_json::from_str(&usage).unwrap();
    let shown = daemon.done(&["system", "df", "-v", "--format", "json"]);
    let shown: Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    images_agree(&daemon, &found, &usage, &shown);
    containers_agree(&daemon, &found, &usage);
    volumes_agree(&daemon, &found, &usage, &shown);

    let people = lapstrake(&daemon, &["df", "--tree"]);
    let widest = people.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{people}");
    for words in [
        "derived:1",
        "wrote ",
        " exited over busybox",
        "data, used by live, wrote",
        "lone, not used",
    ] {
        assert!(people.contains(words), "{words}: {people}");
    }

    // What is said to come back does, and nothing else changes hands.
    let gone = |kind: &str, goes: &dyn Fn(&Value) -> bool| -> u64 {
        let goes = list(&found[kind]).iter().filter(|one| goes(one));
        goes.map(|one| number(&one["unique"]["bytes"])).sum()
    };
    let stands = gone("containers", &|one| {
        one["state"] != "running" && one["name"] != "keeps"
    });
    let keeps = with(&found["containers"], "name", "keeps");
    let pruned = reclaimed(&daemon, "POST /containers/prune");
    let room = number(&keeps["unique"]["bytes"]) - number(&keeps["content"]["bytes"]);
    assert_eq!(pruned, stands + room, "{found}");
    let lone = gone("volumes", &|one| one["name"] != "data");
    let all = "POST /volumes/prune?filters=%7B%22all%22:%5B%22true%22%5D%7D";
    assert_eq!(reclaimed(&daemon, all), lone, "{found}");

    // Without a daemon, too.
    daemon.done(&["rm", "-f", "live"]);
    let checked = daemon.stop_and_check();
    assert!(checked.status.success(), "{checked:?}");
    let left = tree(&daemon);
    assert_eq!(
        (&left["containers"], list(&left["volumes"]).len()),
        (&json!([]), 1)
    );
    assert_eq!(number(&left["total"]["bytes"]), sum(&left, "bytes"));
}

fn images_agree(daemon: &Daemon, found: &Value, usage: &Value, shown: &Value) {
    assert_eq!(list(&found["images"]).len(), list(&usage["Images"]).len());
    for image in list(&found["images"]) {
        let tars = |which: &dyn Fn(&Value) -> bool| -> u64 {
            let layers = list(&image["objects"]).iter();
            let layers = layers.filter(|one| one["kind"] == "layer" && which(one));
            layers.map(|layer| number(&layer["tar_bytes"])).sum()
        };
        let id = image["id"].as_str().unwrap();
        let told = with(&usage["Images"], "Id", id);
        assert_eq!(told["Size"], tars(&|_| true), "{image}");
        assert_eq!(
            told["SharedSize"],
            tars(&|one| number(&one["images"]) > 1),
            "{image}"
        );
        assert_eq!(
            told["Containers"],
            list(&image["writable_layers"]).len(),
            "{image}"
        );
        let names = told["RepoTags"].as_array().unwrap().len();
        assert_eq!(list(&image["names"]).len(), names, "{image} {told}");
        let line = with(&shown["Images"], "ID", id);
        assert_eq!(line["Containers"], told["Containers"].to_string());
        let size = daemon.done(&["inspect", "-f", "{{.Size}}", id]);
        assert_eq!(size.trim(), told["Size"].to_string());
    }
    let both = with(&found["images"], "names", "derived:1");
    assert_eq!(both["names"], json!(["again:1", "derived:1"]));
    // A container lies on it, so nothing comes back when it alone goes but its name.
    assert_eq!(both["unique"]["bytes"], 0);
    let apart = with(&found["images"], "names", "apart:1");
    assert_eq!(
        (&apart["shared"]["bytes"], &apart["shared"]["inodes"]),
        (&json!(0), &json!(0))
    );
}

fn containers_agree(daemon: &Daemon, found: &Value, usage: &Value) {
    let names: Vec<_> = list(&found["containers"])
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["keeps", "live", "new", "wrote"]);
    for container in list(&found["containers"]) {
        let id = container["id"].as_str().unwrap();
        let told = with(&usage["Containers"], "Id", id);
        let inspected = daemon.done(&["inspect", "-s", "-f", "{{json .}}", id]);
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        assert_eq!(
            inspected["Name"],
            format!("/{}", container["name"].as_str().unwrap())
        );
        assert_eq!(inspected["State"]["Status"], container["state"]);
        assert_eq!(inspected["Image"], container["image_id"]);
        assert_eq!(told["State"], container["state"]);
        if container["state"] != "running" {
            assert_eq!(inspected["SizeRw"], container["written"]);
            assert_eq!(
                told["SizeRw"].as_u64().unwrap_or(0),
                number(&container["written"])
            );
        }
        let state = daemon.path("root/state");
        let room = du(&[state.join("containers").join(id)]);
        let said = &container["writable_layer"];
        assert_eq!((number(&said["bytes"]), number(&said["inodes"])), room);
        let files = du(&[state.join("container-files").join(id)]);
        let said = ["logs", "files"].map(|kind| &container[kind]);
        let said = |of: &str| said.iter().map(|held| number(&held[of])).sum::<u64>();
        assert_eq!((said("bytes"), said("inodes")), files, "{container}");
    }
    let wrote = with(&found["containers"], "name", "wrote");
    assert!(number(&wrote["written"]) >= 3_000_000, "{wrote}");
    assert!(number(&wrote["logs"]["bytes"]) > 0, "{wrote}");
    let keeps = with(&found["containers"], "name", "keeps");
    assert!(number(&keeps["content"]["bytes"]) >= 3_000_000, "{keeps}");
    let live = with(&found["containers"], "name", "live");
    let told = with(&usage["Containers"], "Id", live["id"].as_str().unwrap());
    let (at_least, at_most) = (
        number(&told["SizeRw"]),
        number(&live["writable_layer"]["bytes"]),
    );
    assert!((500_000..at_most).contains(&at_least), "{live} {told}");
}

fn volumes_agree(daemon: &Daemon, found: &Value, usage: &Value, shown: &Value) {
    // The image of `keeps` has a volume, too.
    assert_eq!(list(&found["volumes"]).len(), 4);
    assert_eq!(list(&usage["Volumes"]).len(), 4);
    for volume in list(&found["volumes"]) {
        let name = volume["name"].as_str().unwrap();
        let told = &with(&usage["Volumes"], "Name", name)["UsageData"];
        assert_eq!(told["Size"], volume["unique"]["bytes"], "{volume}");
        assert_eq!(
            told["RefCount"],
            list(&volume["containers"]).len(),
            "{volume}"
        );
        let line = with(&shown["Volumes"], "Name", name);
        assert_eq!(line["Links"], told["RefCount"].to_string());
        let labels = daemon.done(&["volume", "inspect", "-f", "{{json .Labels}}", name]);
        let anonymous = labels.contains("com.docker.volume.anonymous");
        assert_eq!(volume["anonymous"], anonymous, "{labels}");
        let on_disk = du(&[daemon.path("root/state/volumes").join(name)]);
        let said = &volume["unique"];
        assert_eq!((number(&said["bytes"]), number(&said["inodes"])), on_disk);
    }
    let data = with(&found["volumes"], "name", "data");
    assert_eq!(data["containers"], json!(["live", "wrote"]));
    let wrote = with(&found["containers"], "name", "wrote");
    assert_eq!(list(&wrote["volumes"]).len(), 2);
}
