//! The watermark, on a small disk of its own that fills up.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, text};

const DISK_BYTES: u64 = 220 << 20;
const IMAGE_BYTES: u64 = 20 << 20;
/// Seven images of 20 MiB are in use of some 200 MiB: two must go to have 40 % again.
const SETTINGS: &str = "
[watermark]
keep-free = '35%'
until-free = '40%'
protect = ['label=protected']
min-age = '0s'
interval = '1s'
";

/// A disk at `root`; gone when the daemon is dropped, or this.
struct Disk {
    root: std::path::PathBuf,
}

impl Disk {
    fn mount(dir: &Path, make: &[&str], bytes: u64) -> Self {
        let (image, root) = (dir.join("disk"), dir.join("root"));
        File::create(&image).unwrap().set_len(bytes).unwrap();
        fs::create_dir(&root).unwrap();
        let make = [make, &[text(&image)]].concat();
        let mount = ["mount", "-o", "loop", text(&image), text(&root)];
        for line in [&make[..], &mount] {
            let done = Command::new(line[0]).args(&line[1..]).output().unwrap();
            assert!(done.status.success(), "{line:?}: {done:?}");
        }
        Self { root }
    }

    /// Takes all that is free.
    fn fill(&self) {
        let mut file = File::create(self.root.join("filler")).unwrap();
        for block in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; block]).is_ok() {}
            // What is written later can take the place that was only reserved for this.
            drop(file.sync_all());
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let detach = rustix::mount::UnmountFlags::DETACH;
        let _mounted = rustix::mount::unmount(&self.root, detach);
    }
}

/// An image that holds busybox and so many random bytes.
fn image(daemon: &Daemon, name: &str, label: Option<&str>) {
    let root = daemon.path("busybox");
    let mut random = File::open("/dev/urandom").unwrap().take(IMAGE_BYTES);
    let mut file = File::create(root.join("data")).unwrap();
    std::io::copy(&mut random, &mut file).unwrap();
    let tar = daemon.path("image.tar");
    let mut made = Command::new("tar");
    made.args(["-C", text(&root), "-cf", text(&tar), "."]);
    assert!(made.status().unwrap().success());
    let label = label.map(|label| format!("LABEL {label}"));
    let mut arguments = vec!["import", "-c", "CMD [\"sh\"]"];
    arguments.extend(label.iter().flat_map(|label| ["-c", label.as_str()]));
    arguments.extend([text(&tar), name]);
    daemon.done(&arguments);
    // Uses are known to the second.
    std::thread::sleep(Duration::from_millis(1100));
}

fn images(daemon: &Daemon) -> Vec<String> {
    let listed = daemon.done(&["images", "--format", "{{.Repository}}"]);
    let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Waits for a line of the log, and returns those of the watermark until there.
fn told(daemon: &Daemon, what: &str) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let log = daemon.log();
        let lines = log
            .lines()
            .filter_map(|line| line.split_once("watermark: "));
        let lines: Vec<_> = lines.map(|(_, line)| line.to_owned()).collect();
        if lines.iter().any(|line| line.starts_with(what)) {
            return lines;
        }
        assert!(Instant::now() < deadline, "{what}: {log}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The names of removed images, in order.
fn removed(lines: &[String]) -> Vec<&str> {
    let removed = lines
        .iter()
        .filter(|line| line.starts_with("removed image"));
    let names = removed.map(|line| line.split("names=").nth(1).unwrap());
    names.map(|rest| rest.split(':').next().unwrap()).collect()
}

fn dry_run(daemon: &Daemon) -> Vec<serde_json::Value> {
    let mut look = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
    look.arg("--config").arg(daemon.path("config.toml"));
    look.arg("--root").arg(daemon.path("root"));
    look.arg("--run-dir").arg(daemon.path("run"));
    look.args(["--json", "prune", "--dry-run", "--watermark"]);
    let output = look.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

#[test]
fn privileged_scenario_watermark() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED watermark: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::mount(dir.path(), &["mkfs.ext4", "-q", "-m", "0"], DISK_BYTES);
    let Some(mut daemon) = Daemon::start_in("watermark", dir) else {
        return;
    };
    if !daemon.busybox("watermark") {
        return;
    }
    daemon.done(&["rmi", "busybox"]);
    for name in ["a", "b", "held"] {
        image(&daemon, name, None);
    }
    let run = ["run", "-d", "--name=box", "--network=none", "held"];
    daemon.done(&[&run[..], &["sleep", "600"]].concat());
    std::thread::sleep(Duration::from_millis(1100));
    image(&daemon, "c", None);
    image(&daemon, "kept", Some("protected=yes"));
    image(&daemon, "d", None);
    image(&daemon, "e", None);
    // What is used again is not the oldest any more.
    daemon.done(&["run", "--rm", "--network=none", "a", "true"]);
    std::thread::sleep(Duration::from_millis(1100));
    daemon.done(&["tag", "b", "b:again"]);

    // It is off: nothing happens, however little is free.
    File::create(daemon.path("config.toml"))
        .and_then(|mut file| file.write_all(SETTINGS.as_bytes()))
        .unwrap();
    let would = dry_run(&daemon);
    let would_go: Vec<_> = (would.iter())
        .filter(|one| one["action"] == "goes")
        .map(|one| one["names"][0].as_str().unwrap())
        .collect();
    assert_eq!(would_go, ["c:latest", "d:latest"], "{would:#?}");
    assert_eq!(would.last().unwrap()["verdict"], "reached");
    // Another host that shares the content may have anything in use.
    let corner = daemon.path("root/content/tmp/elsewhere");
    fs::create_dir(&corner).unwrap();
    let shared = dry_run(&daemon);
    let (end, images_stay) = shared.split_last().unwrap();
    assert_eq!((&end["verdict"], images_stay.len()), (&"short".into(), 7));
    for one in images_stay {
        let why = one["why"].as_str().unwrap();
        assert!(
            why.starts_with("other hosts") && why.ends_with(": elsewhere"),
            "{one}"
        );
    }
    fs::remove_dir(&corner).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let all = ["a", "b", "b", "c", "d", "e", "held", "kept"];
    assert_eq!(images(&daemon), all);
    assert!(!daemon.log().contains("watermark"));

    // It is on: those go that it said would, and it says so.
    let since = daemon.done(&["info", "--format", "{{.SystemTime}}"]);
    daemon.kill();
    daemon.again();
    let lines = told(&daemon, "reached");
    assert_eq!(removed(&lines), ["c", "d"], "{lines:#?}");
    let left = ["a", "b", "b", "e", "held", "kept"];
    assert_eq!(images(&daemon), left);
    let stays = |name: &str, why: &str| {
        let named = format!("names={name}:latest");
        let found = lines
            .iter()
            .find(|line| line.starts_with("stays") && line.contains(&named));
        assert!(
            found.is_some_and(|line| line.contains(why)),
            "{name}: {lines:#?}"
        );
    };
    stays("held", "why=\"used by container box\"");
    stays("kept", "why=\"protected by label=protected\"");
    let until = daemon.done(&["info", "--format", "{{.SystemTime}}"]);
    let events = daemon.done(&[
        "events",
        "--since",
        since.trim(),
        "--until",
        until.trim(),
        "--format",
        "{{.Type}} {{.Action}}",
    ]);
    for (event, times) in [("image untag", 2), ("image delete", 2), ("image prune", 1)] {
        assert_eq!(
            events.lines().filter(|line| *line == event).count(),
            times,
            "{events}"
        );
    }
    let would = dry_run(&daemon);
    assert_eq!(would.last().unwrap()["verdict"], "enough");

    // The disk is full, to the last byte: what may go goes, and what is missing is told once.
    disk.fill();
    let lines = told(&daemon, "cannot reach");
    assert_eq!(removed(&lines)[2..], ["e", "a", "b"], "{lines:#?}");
    assert_eq!(images(&daemon), ["held", "kept"]);
    let protected = "why=\"protected by label=protected\"";
    assert!(
        lines.iter().any(|line| line.contains(protected)),
        "{lines:#?}"
    );
    std::thread::sleep(Duration::from_secs(3));
    let count = |what: &str| daemon.log().matches(what).count();
    assert_eq!(count("cannot reach"), 1);
    fs::remove_file(disk.root.join("filler")).unwrap();
    told(&daemon, "enough again");
    assert_eq!(count("failed"), 0, "{}", daemon.log());

    daemon.done(&["rm", "-f", "box"]);
    let check = daemon.stop_and_check();
    assert!(
        check.status.success() && check.stdout.is_empty(),
        "{check:?}"
    );
}

/// On a disk without a free byte, an image can be removed, and its space is there again.
fn check_full(test: &str, make: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED {test}: needs root");
        return;
    }
    if Command::new(make[0]).arg("-V").output().is_err() {
        eprintln!("SKIPPED {test}: needs {}", make[0]);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::mount(dir.path(), make, 330 << 20);
    let Some(mut daemon) = Daemon::start_in(test, dir) else {
        return;
    };
    if !daemon.busybox(test) {
        return;
    }
    image(&daemon, "large", None);
    daemon.done(&["create", "--name=box", "busybox", "true"]);
    disk.fill();
    let space = || rustix::fs::statvfs(&disk.root).unwrap();
    assert!(space().f_bavail * space().f_frsize < 1 << 20);
    // What is kept back for root was taken, too, and is given back first.
    let before = space().f_bfree * space().f_frsize;
    daemon.done(&["rmi", "large"]);
    assert_eq!(images(&daemon), ["busybox"]);
    daemon.done(&["rm", "box"]);
    // Some file systems count what is free a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while space().f_bfree * space().f_frsize < before + IMAGE_BYTES {
        assert!(Instant::now() < deadline, "{before}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let check = daemon.stop_and_check();
    assert!(
        check.status.success() && check.stdout.is_empty(),
        "{check:?}"
    );
}

#[test]
fn privileged_scenario_full_ext4() {
    check_full("full_ext4", &["mkfs.ext4", "-q"]);
}

#[test]
fn privileged_scenario_full_xfs() {
    check_full("full_xfs", &["mkfs.xfs", "-q"]);
}

#[test]
fn privileged_scenario_full_btrfs() {
    check_full("full_btrfs", &["mkfs.btrfs", "-q"]);
}
