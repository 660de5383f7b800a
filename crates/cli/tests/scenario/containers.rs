//! Containers' lives by the docker command: run, exec, logs, attach, signals, limits, memory that is missing, and a daemon
//! that is killed.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;

/// A daemon with the image `busybox`.
fn scene(test: &str) -> Option<Daemon> {
    let daemon = Daemon::start(test)?;
    daemon.busybox(test).then_some(daemon)
}

/// Runs a container without a network; what came of it.
fn run(daemon: &Daemon, arguments: &[&str]) -> Output {
    daemon.docker(&[&["run", "--network", "none"], arguments].concat())
}

/// Its exit code, and what it said on both streams.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

/// Asks until the answer is this.
fn until(daemon: &Daemon, arguments: &[&str], want: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let said = daemon.done(arguments);
        if said == want {
            return;
        }
        assert!(Instant::now() < deadline, "{arguments:?}: {said}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a docker command at a terminal that types this, and returns what was shown.
fn at_a_terminal(daemon: &Daemon, command: &str, typed: &str) -> Option<(i32, String)> {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED what is typed at a terminal: needs script (bsdutils)");
        return None;
    }
    let mut child = Command::new("timeout")
        .args(["20", "script", "-qec", command, "/dev/null"])
        .envs(daemon.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // A shell must be there before it is spoken to.
    std::thread::sleep(Duration::from_millis(1200));
    input.write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(input);
    let (code, shown, _) = told(&output);
    Some((code, shown))
}

#[test]
fn privileged_scenario_docker_gives_containers_what_they_ask_for() {
    let Some(daemon) = scene("runs") else {
        return;
    };
    let said = |arguments: &[&str]| told(&run(&daemon, &[&["--rm"], arguments].concat()));
    for (settings, script, want) in [
        (
            &["--tmpfs", "/t:size=1m"][..],
            "dd if=/dev/zero of=/t/x bs=1M count=2 2>/dev/null || echo full",
            "full\n",
        ),
        (
            &["--storage-opt", "size=16m", "-v", "data:/data"],
            "dd if=/dev/zero of=/x bs=1M count=40 2>/dev/null || echo full; \
             dd if=/dev/zero of=/data/x bs=1M count=24 2>/dev/null && echo free; rm /data/x",
            "full\nfree\n",
        ),
    ] {
        let (code, output, why) = said(&[settings, &["busybox", "sh", "-c", script]].concat());
        assert_eq!((code, &*output), (0, want), "{settings:?}: {why}");
    }
    let capabilities = |settings: &[&str]| {
        let look = ["busybox", "cat", "/proc/self/status"];
        let (_, status, _) = said(&[settings, &look].concat());
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("CapEff:\t"));
        line.unwrap().to_owned()
    };
    assert_eq!(capabilities(&[]), "00000000a80425fb");
    assert_ne!(capabilities(&["--privileged"]), "00000000a80425fb");
    assert_eq!(daemon.done(&["ps", "-aq"]), "");
}

#[test]
fn privileged_scenario_docker_follows_a_container() {
    let Some(daemon) = scene("follows") else {
        return;
    };
    // To its end.
    let counts = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done";
    let counting = ["-d", "--name", "counts", "busybox", "sh", "-c", counts];
    assert!(run(&daemon, &counting).status.success());
    assert_eq!(daemon.done(&["logs", "-f", "counts"]), "1\n2\n3\n4\n5\n");

    // Commands in it one after the other, and it itself stopped and started.
    let echoes = "while read line; do echo got $line; done";
    let echo = ["-d", "-i", "--name", "echo", "busybox", "sh", "-c", echoes];
    assert!(run(&daemon, &echo).status.success());
    for _ in 0..20 {
        let code = daemon.docker(&["exec", "echo", "true"]).status.code();
        assert_eq!(code, Some(0));
    }
    for _ in 0..3 {
        daemon.done(&["stop", "-t", "0", "echo"]);
        daemon.done(&["start", "echo"]);
    }
    daemon.done(&["rm", "-f", "echo", "counts"]);
}

/// A client that is attached to a container, and said all it had to say.
fn attached(daemon: &Daemon, upgrade: &str) -> UnixStream {
    let mut client = UnixStream::connect(daemon.socket()).unwrap();
    let request = "POST /containers/later/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: d\r\n";
    write!(client, "{request}{upgrade}Content-Length: 0\r\n\r\n").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101") || head.starts_with(b"HTTP/1.1 200"));
    client
}

#[test]
fn privileged_scenario_clients_that_wait_for_a_start_and_go_are_let_go() {
    let Some(daemon) = scene("waits") else {
        return;
    };
    let create = ["create", "--network=none", "--name=later", "busybox"];
    daemon.done(&[&create[..], &["echo", "begun"]].concat());
    let sockets = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap();
        let links = open.filter_map(|one| std::fs::read_link(one.unwrap().path()).ok());
        links
            .filter(|to| to.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let is = |want: usize| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while sockets() != want {
            assert!(Instant::now() < deadline, "{} for {want}", sockets());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let before = sockets();
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let stays = attached(&daemon, upgrade);
    // As the docker command does that sends no input.
    stays.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let with_one = sockets();
    assert!(with_one > before);
    for how in [upgrade, ""] {
        let goes: Vec<_> = (0..5).map(|_| attached(&daemon, how)).collect();
        assert!(sockets() >= with_one + 5);
        drop(goes);
        is(with_one);
    }
    daemon.done(&["start", "later"]);
    let mut heard = Vec::new();
    (&stays).read_to_end(&mut heard).unwrap();
    assert!(heard.ends_with(b"begun\n"), "{heard:?}");
    drop(stays);
    is(before);
    daemon.done(&["rm", "later"]);
}

#[test]
fn privileged_scenario_docker_restarts_and_looks_after_containers() {
    let Some(daemon) = scene("restarts") else {
        return;
    };
    let fails = ["-d", "--name", "fails", "--restart", "on-failure:2"];
    let script = ["busybox", "sh", "-c", "echo run; exit 1"];
    assert!(
        run(&daemon, &[&fails[..], &script].concat())
            .status
            .success()
    );
    let health = [
        "-d",
        "--name",
        "ill",
        "--health-cmd",
        "test -e /ok",
        "--health-interval",
        "0.3s",
        "--health-retries",
        "2",
        "busybox",
        "sleep",
        "600",
    ];
    assert!(run(&daemon, &health).status.success());
    let state = |name| ["inspect", "-f", "{{.State.Status}} {{.RestartCount}}", name];
    let is = ["inspect", "-f", "{{.State.Health.Status}}", "ill"];
    until(&daemon, &is, "unhealthy\n");
    daemon.done(&["exec", "ill", "sh", "-c", "echo > /ok"]);
    until(&daemon, &is, "healthy\n");
    let listed = daemon.done(&[
        "ps",
        "--filter",
        "health=healthy",
        "--format",
        "{{.Status}}",
    ]);
    assert!(listed.ends_with(" (healthy)\n"), "{listed}");
    until(&daemon, &state("fails"), "exited 2\n");
    assert_eq!(daemon.done(&["logs", "fails"]), "run\nrun\nrun\n");
    daemon.done(&["rm", "-f", "ill", "fails"]);
}

#[test]
fn privileged_scenario_docker_at_a_terminal() {
    let Some(daemon) = scene("terminal") else {
        return;
    };
    let shell = "docker run -it --name tty --network none busybox sh";
    // The keys that leave it.
    let Some((code, shown)) = at_a_terminal(&daemon, shell, "echo $((20+1))\n\x10\x11") else {
        return;
    };
    assert_eq!(code, 0, "{shown}");
    assert_eq!(daemon.done(&["ps", "--format", "{{.Names}}"]), "tty\n");
    let again = at_a_terminal(&daemon, "docker attach tty", "echo $((30+1)); exit 5\n");
    let (code, shown) = again.unwrap();
    assert_eq!(code, 5, "{shown}");
    assert!(shown.contains("31\r\n"), "{shown}");
    assert!(daemon.done(&["logs", "tty"]).contains("21\r\n"));
    daemon.done(&["rm", "tty"]);
}

#[test]
fn privileged_scenario_docker_finds_containers_again_after_a_killed_daemon() {
    let Some(mut daemon) = scene("killed") else {
        return;
    };
    let start = |more: &[&str], script: &str| {
        let arguments = [&["-d"], more, &["busybox", "sh", "-c", script]].concat();
        let (code, _, why) = told(&run(&daemon, &arguments));
        assert_eq!(code, 0, "{why}");
    };
    let counts = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done";
    start(&["--name", "counts"], counts);
    start(&["--name", "ends"], "sleep 1; exit 6");
    start(&["--name", "always", "--restart", "always"], "sleep 1");
    start(&["--name", "gone", "--rm"], "sleep 1");
    start(
        &["--name", "echo", "-i"],
        "read line; echo got $line; exit 8",
    );
    daemon.kill();
    std::thread::sleep(Duration::from_secs(2));
    daemon.again();
    assert_eq!(daemon.done(&["wait", "ends"]), "6\n");
    let listed = daemon.done(&["ps", "-a", "--format", "{{.Names}}"]);
    let mut names: Vec<_> = listed.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["always", "counts", "echo", "ends"]);
    let is = ["inspect", "-f", "{{.State.Running}}"];
    assert_eq!(daemon.done(&[&is[..], &["counts"]].concat()), "true\n");
    until(&daemon, &[&is[..], &["always"]].concat(), "true\n");
    assert_eq!(daemon.done(&["exec", "counts", "echo", "here"]), "here\n");
    let logged = daemon.done(&["logs", "counts"]);
    let numbers = (1..).map(|number: i32| number.to_string());
    assert!(
        logged
            .lines()
            .zip(numbers)
            .all(|(line, number)| line == number),
        "{logged}"
    );
    assert!(logged.lines().count() > 30, "{logged}");

    // It is spoken to as before.
    let mut attach = Command::new("docker")
        .envs(daemon.environment())
        .args(["attach", "echo"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever ends its input is not shown what comes then, as with dockerd.
    let mut input = attach.stdin.take().unwrap();
    input.write_all(b"words\n").unwrap();
    attach.wait().unwrap();
    drop(input);
    let (code, said, _) = told(&attach.wait_with_output().unwrap());
    assert_eq!((code, &*said), (8, "got words\n"));
    daemon.done(&["stop", "-t", "0", "counts"]);
    daemon.done(&["start", "counts"]);
    let ids = daemon.done(&["ps", "-aq"]);
    let ids: Vec<_> = ids.lines().collect();
    daemon.done(&[&["rm", "-f"], &ids[..]].concat());
}

/// What wants more memory than these containers have.
const TOO_MUCH: &str = "dd if=/dev/zero of=/dev/null bs=128M count=1";

#[test]
fn privileged_scenario_docker_hears_of_missing_memory_while_a_container_runs() {
    let Some(mut daemon) = scene("memory") else {
        return;
    };
    let time = |daemon: &Daemon| daemon.done(&["info", "--format", "{{.SystemTime}}"]);
    // Whoever waits for an exit may know of it before the event goes out.
    let heard = |daemon: &Daemon, name: &str, since: &str, want: &str| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let until = time(daemon);
            let filter = format!("container={name}");
            let kinds = ["--filter", "event=oom", "--filter", "event=die"];
            let span = ["--since", since.trim(), "--until", until.trim()];
            let told = ["events", "--filter", &filter, "--format", "{{.Action}}"];
            let said = daemon.done(&[&told[..], &kinds, &span].concat());
            if said == want {
                return;
            }
            assert!(Instant::now() < deadline, "{name}: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let is = [
        "inspect",
        "-f",
        "{{.State.OOMKilled}} {{.State.Status}}",
        "hungry",
    ];
    let since = time(&daemon);
    let script = format!("while [ ! -e /go ]; do sleep 0.1; done; sleep 3; {TOO_MUCH}; sleep 1000");
    let limited = ["-m", "64m", "busybox", "sh", "-c"];
    let arguments = [&["-d", "--name", "hungry"], &limited[..], &[&script]].concat();
    let (code, _, why) = told(&run(&daemon, &arguments));
    assert_eq!(code, 0, "{why}");
    assert_eq!(daemon.done(&is), "false running\n");
    // A command in it is killed, and it lives on.
    let (code, _, _) = told(&daemon.docker(&["exec", "hungry", "sh", "-c", TOO_MUCH]));
    assert_eq!(code, 137);
    until(&daemon, &is, "true running\n");
    heard(&daemon, "hungry", &since, "oom\n");

    // What happens while no daemon is there is told by the next one, and only that.
    daemon.done(&["exec", "hungry", "sh", "-c", "echo > /go"]);
    daemon.kill();
    std::thread::sleep(Duration::from_secs(5));
    daemon.again();
    assert_eq!(daemon.done(&is), "true running\n");
    heard(&daemon, "hungry", &since, "oom\n");
    daemon.done(&["kill", "hungry"]);
    until(&daemon, &is, "true exited\n");
    heard(&daemon, "hungry", &since, "oom\ndie\n");
    daemon.done(&["start", "hungry"]);
    assert_eq!(daemon.done(&is), "false running\n");

    // One whose own process is killed says why it ended before it says that.
    let script = format!("exec {TOO_MUCH}");
    let arguments = [&["--name", "dies"], &limited[..], &[&script]].concat();
    assert_eq!(told(&run(&daemon, &arguments)).0, 137);
    heard(&daemon, "dies", &since, "oom\ndie\n");
    daemon.done(&["rm", "-f", "hungry", "dies"]);
}
