//! Containers' files, volumes and what takes room, by the docker command.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::daemon::{Daemon, text};

/// A daemon with the image `busybox`, and a container `box` of it that runs.
fn running(test: &str, more: &[&str]) -> Option<Daemon> {
    let daemon = Daemon::start(test)?;
    if !daemon.busybox(test) {
        return None;
    }
    let run = ["run", "-d", "--network", "none", "--name", "box"];
    let sleeps = ["busybox", "sleep", "600"];
    daemon.done(&[&run[..], more, &sleeps].concat());
    Some(daemon)
}

#[test]
fn privileged_scenario_docker_copies_files_in_and_out() {
    let Some(daemon) = running("copies", &["-v", "data:/data"]) else {
        return;
    };
    let out = daemon.path("out");
    fs::create_dir(&out).unwrap();
    let copied = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    daemon.done(&[
        "exec",
        "box",
        "sh",
        "-c",
        "echo one > /root/a; echo two > /data/b; chown 5:6 /root/a",
    ]);
    daemon.done(&["cp", "box:/root/a", text(&out)]);
    daemon.done(&["cp", "box:/data/b", text(&out)]);
    daemon.done(&["cp", "box:/etc/hostname", text(&out)]);
    assert_eq!((&*copied("a"), &*copied("b")), ("one\n", "two\n"));
    let id = daemon.done(&["inspect", "-f", "{{.Id}}", "box"]);
    assert_eq!(copied("hostname").trim(), &id[..12]);

    // In, whole directories and through volumes, with whose they are.
    let tree = daemon.path("tree");
    fs::create_dir_all(tree.join("deep/er")).unwrap();
    let mut file = File::create(tree.join("deep/er/file")).unwrap();
    file.write_all(b"three\n").unwrap();
    symlink("er/file", tree.join("deep/link")).unwrap();
    daemon.done(&["cp", text(&tree), "box:/root"]);
    daemon.done(&["cp", &format!("{}/.", text(&tree)), "box:/data"]);
    let seen = daemon.done(&[
        "exec",
        "box",
        "cat",
        "/root/tree/deep/link",
        "/data/deep/er/file",
    ]);
    assert_eq!(seen, "three\nthree\n");

    // A link in the container leads nowhere but in the container.
    daemon.done(&["exec", "box", "ln", "-s", "/etc", "/root/away"]);
    let words = daemon.path("words");
    File::create(&words).unwrap().write_all(b"words\n").unwrap();
    daemon.done(&["cp", text(&words), "box:/root/away/words"]);
    assert_eq!(
        daemon.done(&["exec", "box", "cat", "/etc/words"]),
        "words\n"
    );
    assert!(!std::path::Path::new("/etc/words").exists());
    let missing = daemon.refused(&["cp", "box:/none", text(&out)]);
    assert!(
        missing.contains("Could not find the file /none in container box"),
        "{missing}"
    );

    // One that stands still, too.
    daemon.done(&["stop", "-t", "1", "box"]);
    daemon.done(&["cp", text(&words), "box:/data/still"]);
    daemon.done(&["cp", "box:/data/still", text(&out)]);
    assert_eq!(copied("still"), "words\n");
    let tar = daemon.path("a.tar");
    let sent = daemon.docker(&["cp", "box:/root/a", "-"]).stdout;
    File::create(&tar).unwrap().write_all(&sent).unwrap();
    let listed = Command::new("tar")
        .args(["--numeric-owner", "-tvf", text(&tar)])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains(" 5/6 ") && listed.ends_with(" a\n"),
        "{listed}"
    );
    daemon.done(&["start", "box"]);
    assert_eq!(
        daemon.done(&["exec", "box", "cat", "/data/still"]),
        "words\n"
    );
    daemon.done(&["rm", "-f", "box"]);
}

#[test]
fn privileged_scenario_docker_volumes_come_and_go() {
    let volumes = ["-v", "named:/data", "-v", "/nameless"];
    let Some(daemon) = running("volumes", &volumes) else {
        return;
    };
    let names = |arguments: &[&str]| {
        let listed = daemon.done(&[&["volume", "ls", "-q"], arguments].concat());
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    };
    assert_eq!(
        daemon.done(&["volume", "create", "--label", "a=b", "mine"]),
        "mine\n"
    );
    assert_eq!(daemon.done(&["volume", "create", "mine"]), "mine\n");
    let all = names(&[]);
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(names(&["--filter", "dangling=true"]), ["mine"]);
    assert_eq!(names(&["--filter", "label=a=b"]), ["mine"]);
    let shown = daemon.done(&["volume", "inspect", "-f", "{{.Driver}} {{.Labels}}", "mine"]);
    assert_eq!(shown, "local map[a:b]\n");
    let used = daemon.refused(&["volume", "rm", "named"]);
    assert!(
        used.contains("remove named: volume is in use - ["),
        "{used}"
    );
    let missing = daemon.refused(&["volume", "rm", "none"]);
    assert!(missing.contains("get none: no such volume"), "{missing}");
    let mounts = daemon.done(&[
        "inspect",
        "-f",
        "{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}\n{{end}}",
        "box",
    ]);
    assert!(mounts.contains("volume named /data true\n"), "{mounts}");
    daemon.done(&[
        "exec",
        "box",
        "dd",
        "if=/dev/zero",
        "of=/data/big",
        "bs=1M",
        "count=8",
    ]);
    let from = [
        "run",
        "--rm",
        "--network",
        "none",
        "--volumes-from",
        "box",
        "busybox",
    ];
    let seen = daemon.done(&[&from[..], &["ls", "/data"]].concat());
    assert_eq!(seen, "big\n");

    let usage = daemon.done(&[
        "system",
        "df",
        "--format",
        "{{.Type}} {{.TotalCount}} {{.Active}}",
    ]);
    assert_eq!(
        usage,
        "Images 1 1\nContainers 1 1\nLocal Volumes 3 2\nBuild Cache 0 0\n"
    );
    let verbose = daemon.done(&[
        "system",
        "df",
        "-v",
        "--format",
        "{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}\n{{end}}",
    ]);
    assert!(
        verbose.lines().any(|line| line.starts_with("named 1 8.")),
        "{verbose}"
    );
    let info = daemon.done(&[
        "info",
        "-f",
        "{{.Containers}} {{.ContainersRunning}} {{.Images}}",
    ]);
    assert_eq!(info, "1 1 1\n");

    // The nameless one goes with its container, the named ones when they are meant.
    let refused = daemon.refused(&["rmi", "busybox"]);
    assert!(refused.contains("(must force) - container "), "{refused}");
    daemon.done(&["rm", "-f", "-v", "box"]);
    assert_eq!(names(&[]), ["mine", "named"]);
    let pruned = daemon.done(&["volume", "prune", "-f"]);
    assert_eq!(pruned, "Total reclaimed space: 0B\n");
    let pruned = daemon.done(&["volume", "prune", "-a", "-f", "--filter", "label!=a"]);
    assert!(
        pruned.starts_with("Deleted Volumes:\nnamed\n\nTotal reclaimed space: 8."),
        "{pruned}"
    );
    daemon.done(&["volume", "rm", "mine"]);
    assert_eq!(names(&[]), [""; 0]);
    daemon.done(&["system", "prune", "-a", "-f", "--volumes"]);
    assert_eq!(daemon.done(&["images", "-aq"]), "");
}

#[test]
fn privileged_scenario_docker_is_told_when_a_container_has_its_volumes() {
    let test = "volume events";
    let Some(daemon) = Daemon::start(test) else {
        return;
    };
    if !daemon.busybox(test) {
        return;
    }
    let bound = format!("{}:/bound", text(&daemon.path("busybox")));
    let network = "--network=none";
    let volumes = ["-v", "named:/data", "-v", "named:/again:ro", "-v", &bound];
    let run = ["run", "-d", network, "--name=box"];
    daemon.done(&[&run[..], &volumes, &["busybox", "sleep", "600"]].concat());
    // It has them already.
    let file = daemon.path("busybox.tar");
    daemon.done(&["cp", text(&file), "box:/data/"]);
    let from = ["run", "--rm", network, "--volumes-from=box", "busybox"];
    daemon.done(&[&from[..], &["true"]].concat());
    let fails = daemon.docker(&[&from[..], &["no such command"]].concat());
    assert_eq!(fails.status.code(), Some(127), "{fails:?}");
    daemon.done(&["rm", "-f", "box"]);
    daemon.done(&[
        "create",
        network,
        "--name=still",
        "-v=named:/data",
        "busybox",
    ]);
    let copied = daemon.path("copied");
    daemon.done(&["cp", "still:/data/busybox.tar", text(&copied)]);
    daemon.done(&["rm", "still"]);

    std::thread::sleep(std::time::Duration::from_millis(1100));
    let about = ["create", "mount", "unmount", "start", "die", "archive-path"];
    let filters = about.map(|one| format!("--filter=event={one}"));
    let mut told = vec!["events", "--since=5m", "--until=0s", "--format"];
    told.push("{{.Type}} {{.Action}} {{.Actor.ID}} {{if eq .Type \"volume\"}}{{.Actor.Attributes}}{{end}}");
    told.extend(filters.iter().map(String::as_str));
    let told = daemon.done(&told);
    // Of containers, which one it is in the order in which they were made.
    let mut ids: Vec<&str> = Vec::new();
    let mut numbered = told.clone();
    for line in told.lines() {
        if let Some(id) = line.trim_end().strip_prefix("container create ") {
            ids.push(id);
            numbered = numbered.replace(id, &ids.len().to_string());
        }
    }
    let mount = |container: u32, at: &str, writable: bool| {
        format!(
            "volume mount named map[container:{container} destination:{at} driver:local propagation: read/write:{writable}]\n"
        )
    };
    let both = |container| mount(container, "/again", false) + &mount(container, "/data", true);
    let unmount =
        |container: u32| format!("volume unmount named map[container:{container} driver:local]\n");
    let of = |what: &str, container: u32| format!("container {what} {container} \n");
    let none = "volume create named map[driver:local]\n".to_owned();
    let want = [
        none,
        of("create", 1),
        both(1),
        of("start", 1),
        // A run that comes to its end.
        of("create", 2),
        both(2),
        of("start", 2),
        unmount(2).repeat(2),
        of("die", 2),
        // One that does not begin.
        of("create", 3),
        both(3),
        unmount(3).repeat(2),
        unmount(1).repeat(2),
        of("die", 1),
        // A copy out of one that does not run.
        of("create", 4),
        mount(4, "/data", true),
        unmount(4),
        of("archive-path", 4),
    ];
    assert_eq!(numbered, want.concat());
}

#[test]
fn privileged_scenario_docker_sees_what_a_container_uses() {
    let Some(daemon) = running("uses", &["--memory", "64m", "--label", "protected"]) else {
        return;
    };
    let top = daemon.done(&["top", "box"]);
    assert!(top.starts_with("UID") && top.contains("sleep 600"), "{top}");
    let top = daemon.done(&["top", "box", "-o", "pid,comm"]);
    assert!(top.contains("COMMAND") && top.contains("sleep"), "{top}");
    let stats = [
        "stats",
        "--no-stream",
        "--format",
        "{{.Name}} {{.MemUsage}} {{.PIDs}}",
    ];
    let used = daemon.done(&[&stats[..], &["box"]].concat());
    assert!(
        used.starts_with("box ") && used.contains(" / 64MiB 1"),
        "{used}"
    );
    daemon.done(&["stop", "-t", "1", "box"]);
    let used = daemon.done(&[&stats[..], &["box"]].concat());
    assert!(used.starts_with("box 0B / 0B"), "{used}");
    let refused = daemon.refused(&["top", "box"]);
    assert!(refused.contains("is not running"), "{refused}");

    // What is protected stays.
    daemon.done(&["create", "--name", "other", "busybox"]);
    let prune = [
        "system",
        "prune",
        "-a",
        "-f",
        "--filter",
        "label!=protected",
    ];
    let pruned = daemon.done(&prune);
    assert!(pruned.contains("Deleted Containers:\n"), "{pruned}");
    let left = daemon.done(&["ps", "-a", "--format", "{{.Names}}"]);
    assert_eq!(left, "box\n");
    assert_eq!(
        daemon.done(&["images", "--format", "{{.Repository}}"]),
        "busybox\n"
    );
    daemon.done(&["rm", "box"]);
}

/// Bytes that what belongs to containers and volumes takes below a store's root, as `du` counts.
fn taken(daemon: &Daemon) -> u64 {
    let state = daemon.path("root/state");
    let dirs = ["containers", "container-files", "volumes"].map(|name| state.join(name));
    crate::disk::du(&dirs).0
}

#[test]
fn privileged_scenario_docker_reclaims_what_it_says() {
    let Some(daemon) = running("reclaims", &["-v", "nowhere:/data"]) else {
        return;
    };
    let fill = "head -c 3000000 /dev/zero > /some; head -c 70000 /dev/zero > /data/more; mkdir /d; echo said";
    daemon.done(&["exec", "box", "sh", "-c", fill]);
    daemon.done(&["stop", "-t", "1", "box"]);
    daemon.done(&["create", "--name", "untouched", "busybox"]);
    let sizes = daemon.done(&["ps", "-a", "--size", "--format", "{{.Names}} {{.Size}}"]);
    assert!(sizes.contains("untouched 0B ("), "{sizes}");
    assert!(sizes.contains("box 3MB ("), "{sizes}");
    for (what, request) in [
        ("containers", "POST /containers/prune"),
        (
            "volumes",
            "POST /volumes/prune?filters=%7B%22all%22:%5B%22true%22%5D%7D",
        ),
    ] {
        let before = taken(&daemon);
        let (_, body) = daemon.raw(request);
        let said = body.split("\"SpaceReclaimed\":").nth(1).unwrap_or_default();
        let digits = said.split(|c: char| !c.is_ascii_digit()).next();
        let said: u64 = digits.unwrap_or_default().parse().unwrap();
        assert!(said > 70_000, "{what}: {body}");
        assert_eq!(before - taken(&daemon), said, "{what}: {body}");
    }
}
