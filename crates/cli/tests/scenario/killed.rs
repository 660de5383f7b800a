//! What a daemon that is killed leaves half done, one thing at a time.

use std::fs;
use std::process::Command;

use crate::chaos::settles;
use crate::daemon::{Daemon, text};

fn daemon_with_busybox(test: &str) -> Option<Daemon> {
    Daemon::start(test).filter(|daemon| daemon.busybox(test))
}

#[test]
fn privileged_scenario_killed_in_a_pause_that_nobody_was_told_of() {
    let Some(mut daemon) = daemon_with_busybox("killed_in_a_pause") else {
        return;
    };
    let run = ["run", "-d", "--network=none", "busybox", "sleep", "1000"];
    let id = daemon.done(&run).trim().to_owned();
    let state = |daemon: &Daemon| daemon.done(&["inspect", "-f", "{{.State.Status}}", &id]);
    let of_runtime = daemon.path("run/runtime");
    let pause = || {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(&of_runtime).args(["pause", &id]);
        assert!(runc.status().unwrap().success());
    };
    // As if the daemon had got no further.
    pause();
    daemon.kill();
    daemon.again();
    assert_eq!(state(&daemon), "running\n");
    assert_eq!(daemon.done(&["exec", &id, "echo", "goes on"]), "goes on\n");

    // A pause that lasts, since a client was told of it.
    daemon.done(&["pause", &id]);
    daemon.kill();
    daemon.again();
    assert_eq!(state(&daemon), "paused\n");
    daemon.done(&["unpause", &id]);

    // One that comes after the daemon looked does not keep a container from being killed.
    pause();
    daemon.done(&["rm", "-f", &id]);
}

#[test]
fn privileged_scenario_killed_beside_containers_with_limits() {
    let Some(mut daemon) = daemon_with_busybox("killed_beside_limits") else {
        return;
    };
    let limited = ["--network=none", "--storage-opt=size=32m"];
    let new = |verb: &[&str], rest: &[&str]| {
        let id = daemon.done(&[verb, &limited, &["busybox"], rest].concat());
        id.trim().to_owned()
    };
    new(&["create"], &["true"]);
    let runs = new(&["run", "-d"], &["sleep", "1000"]);
    new(&["run"], &["sh", "-c", "echo words >/file"]);
    // Whatever limits them here: those that do not run have nothing mounted.
    let mounted = |daemon: &Daemon| [daemon.loop_devices(), daemon.names_in("run/rooms")].concat();
    let is_idle = |lines: &[String]| lines.iter().all(|line| line.contains(&runs));
    assert!(is_idle(&mounted(&daemon)), "{:?}", mounted(&daemon));
    daemon.kill();
    daemon.again();
    assert!(is_idle(&mounted(&daemon)), "{:?}", mounted(&daemon));
    daemon.done(&["rm", "-f", &runs]);
    settles(
        || mounted(&daemon).is_empty(),
        || format!("{:?}", mounted(&daemon)),
    );
    daemon.remove_everything();
}

#[test]
fn privileged_scenario_killed_and_its_store_and_records_deleted_by_hand() {
    let Some(mut daemon) = daemon_with_busybox("store_deleted") else {
        return;
    };
    let run = ["run", "-d", "--network=none", "busybox", "sleep", "1000"];
    let id = daemon.done(&run).trim().to_owned();
    daemon.kill();
    fs::remove_dir_all(daemon.path("root")).unwrap();
    for record in fs::read_dir(daemon.path("run/roots/live/stacks")).unwrap() {
        fs::remove_file(record.unwrap().path()).unwrap();
    }
    // Nobody's.
    let foreign = daemon.path("run/containers").join("a".repeat(64));
    let in_the_way = foreign.join("rootfs");
    fs::create_dir_all(&in_the_way).unwrap();
    let mount = |arguments: &[&str]| {
        let done = Command::new(arguments[0]).args(&arguments[1..]).status();
        assert!(done.unwrap().success(), "{arguments:?}");
    };
    mount(&["mount", "-t", "tmpfs", "mine", text(&in_the_way)]);
    daemon.again();
    let image = daemon.path("busybox.tar");
    daemon.done(&["import", text(&image), "busybox"]);
    assert!(!daemon.path("run/containers").join(&id).exists());
    let log = daemon.log();
    let why = "is in the way: a file system of type tmpfs (mine) is mounted there, and no record says by whom: unmount it (umount ";
    assert!(log.contains(why), "{log}");
    mount(&["umount", text(&in_the_way)]);
    daemon.kill();
    daemon.again();
    assert!(!foreign.exists());
}
