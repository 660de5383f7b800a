//! From the launch to the exit, with and without a daemon.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use lapstrake_monitor::wire::{State, Stream};
use lapstrake_monitor::{Client, Error};

use crate::scene::{BOTH, Output, Scene};

pub(crate) fn privileged_a_process_is_started_and_its_exit_told() {
    let scene = Scene::new("echo out; echo err >&2; printf end; exit 7");
    let client = scene.launch();
    assert_eq!(client.state().unwrap(), State::NotStarted);
    let output = Output::of(client.attach(BOTH).unwrap());
    let mut wait = client.wait().unwrap();
    let pid = client.start().unwrap();
    assert!(pid > 1);
    let exit = wait.exit().unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    // Recorded before it was told.
    assert_eq!(scene.record(), Some(exit));
    let output = output.all();
    assert_eq!(output.text(Stream::Stdout), "out\nend");
    assert_eq!(output.text(Stream::Stderr), "err\n");
    wait.cleaned().unwrap();
    assert!(matches!(client.state(), Err(Error::Gone(_))));
    // The order of two streams is not known.
    let log = scene.log();
    assert!(
        ["out\nenderr\n", "out\nerr\nend", "err\nout\nend"].contains(&&log[..]),
        "{log}"
    );
}

pub(crate) fn privileged_exit_codes_and_signals_are_those_of_docker() {
    for (script, code, signal) in [
        ("exit 0", 0, None),
        ("exit 255", 255, None),
        // The first process of a namespace can't signal itself.
        ("sh -c 'kill -TERM $$'; exit $?", 143, None),
    ] {
        let (_, _, exit) = Scene::new(script).run();
        assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
    }
}

pub(crate) fn privileged_a_second_command_has_its_own_exit() {
    let scene = Scene::new("echo ready; sleep 1000");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    output.until("ready");
    for (script, code) in [("echo $$; exit 9", 9), ("kill -KILL $$", 137)] {
        let exec = scene.launch_exec(|_| {}, script);
        let said = Output::of(exec.attach(BOTH).unwrap());
        let mut wait = exec.wait().unwrap();
        exec.start().unwrap();
        assert_eq!(wait.exit().unwrap().code, code);
        if code == 9 {
            // Inside the container's namespace.
            let number: u32 = said.all().text(Stream::Stdout).trim().parse().unwrap();
            assert!(number < 100, "{number}");
        }
        wait.cleaned().unwrap();
    }
    // A command goes with its container.
    let exec = scene.launch_exec(|_| {}, "sleep 1000");
    exec.start().unwrap();
    let mut exec_wait = exec.wait().unwrap();
    let mut wait = client.wait().unwrap();
    // What was asked before this is answered has been heard.
    exec.state().unwrap();
    client.signal(9).unwrap();
    assert_eq!(exec_wait.exit().unwrap().signal, Some(9));
    assert_eq!(wait.exit().unwrap().signal, Some(9));
}

pub(crate) fn privileged_fifty_commands_run_at_once() {
    let scene = Scene::new("echo ready; sleep 1000");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    output.until("ready");
    let commands: Vec<_> = (0..50)
        .map(|number| scene.launch_exec(|_| {}, &format!("echo {number}; exit {number}")))
        .collect();
    let run = |(number, command): (u8, Client)| {
        let output = Output::of(command.attach(BOTH).unwrap());
        let mut wait = command.wait().unwrap();
        command.start().unwrap();
        let said = output.all().text(Stream::Stdout);
        assert_eq!(
            (said, wait.exit().unwrap().code),
            (format!("{number}\n"), number)
        );
        wait.cleaned().unwrap();
    };
    std::thread::scope(|scope| {
        for command in (0..).zip(commands) {
            scope.spawn(move || run(command));
        }
    });
    client.signal(9).unwrap();
}

pub(crate) fn privileged_a_container_is_started_again_at_once() {
    let scene = Scene::new("exit 2");
    for _ in 0..5 {
        let client = scene.launch();
        let mut wait = client.wait().unwrap();
        client.start().unwrap();
        assert_eq!(wait.exit().unwrap().code, 2);
        // Whoever is told of the exit needs not wait until the runtime's state is removed.
        scene.forget_monitors();
    }
}

pub(crate) fn privileged_who_is_not_started_can_be_dismissed() {
    let scene = Scene::new("true");
    let client = scene.launch();
    let output = Output::of(client.attach(BOTH).unwrap());
    let mut wait = client.wait().unwrap();
    client.dismiss().unwrap();
    assert!(matches!(wait.exit(), Err(Error::Gone(_))));
    assert_eq!(output.all().text(Stream::Stdout), "");
    assert!(matches!(client.state(), Err(Error::Gone(_))));
    assert_eq!(scene.record(), None);
}

pub(crate) fn privileged_signals_reach_the_process() {
    let scene =
        Scene::new("trap 'echo caught; exit 3' TERM; echo ready; while true; do sleep 0.05; done");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    assert!(matches!(client.signal(15), Err(Error::Refused { .. })));
    let mut wait = client.wait().unwrap();
    let pid = client.start().unwrap();
    assert_eq!(client.state().unwrap(), State::Running { pid });
    output.until("ready");
    assert!(matches!(client.signal(1000), Err(Error::Refused { .. })));
    client.signal(15).unwrap();
    output.until("caught");
    assert_eq!(wait.exit().unwrap().code, 3);
}

/// A daemon that launches a container, takes some of its output, and is then killed.
pub(crate) fn daemon(dir: &Path) -> ExitCode {
    let client = Client::new(dir);
    let mut output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    output.until("500\n");
    File::create(dir.join("reached")).unwrap();
    std::thread::sleep(Duration::from_secs(60));
    ExitCode::FAILURE
}

pub(crate) fn privileged_nothing_is_lost_when_the_daemon_is_killed() {
    let scene = Scene::new("seq 1 200000; echo done >&2; exit 5");
    let client = scene.launch();
    let dir = scene.path("monitor.0");
    let mut daemon = Command::new(std::env::current_exe().unwrap());
    let mut daemon = daemon.arg("daemon").arg(&dir).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !dir.join("reached").exists() {
        assert!(Instant::now() < deadline, "the daemon reaches nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The container is stuck: its client does not read. Another one sees that it lives.
    assert!(matches!(client.state().unwrap(), State::Running { .. }));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let exit = match client.wait().and_then(|mut wait| wait.exit()) {
        Ok(exit) => exit,
        Err(Error::Gone(_)) => scene.record().unwrap(),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(exit.code, 5);
    let log = scene.log();
    let numbers: Vec<_> = log.lines().filter(|line| *line != "done").collect();
    let expect: Vec<_> = (1..=200_000).map(|number| number.to_string()).collect();
    assert_eq!(numbers.len(), expect.len());
    assert!(numbers == expect, "a line is wrong");
    assert!(log.contains("done\n"));
}

pub(crate) fn privileged_a_monitor_is_not_ended_by_signals() {
    let scene = Scene::new("echo ready; sleep 0.3; exit 4");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    let mut wait = client.wait().unwrap();
    let pid = client.start().unwrap();
    output.until("ready");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .unwrap();
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1"] {
        let kill = Command::new("kill").args(["-s", signal, parent]).status();
        assert!(kill.unwrap().success());
    }
    assert_eq!(wait.exit().unwrap().code, 4);
}

pub(crate) fn privileged_the_guard_is_called_while_the_process_lives() {
    let mut scene = Scene::new("sleep 1.2");
    let calls = scene.path("calls");
    scene.orders.guard = Some(calls.to_str().unwrap().into());
    scene.run();
    let calls = fs::read_to_string(calls).unwrap().len();
    assert!((2..=5).contains(&calls), "{calls} calls in 1.2 s");
}

pub(crate) fn privileged_the_container_gets_nothing_of_the_monitor() {
    // The third descriptor is the directory that is listed.
    let (out, _, _) = Scene::with_command(&["/bin/ls", "/proc/self/fd"]).run();
    assert_eq!(out, "0\n1\n2\n3\n");
    let (out, _, _) = Scene::with_command(&["/bin/readlink", "/proc/self/fd/0"]).run();
    assert_eq!(out, "/dev/null\n");
    let (out, _, _) = Scene::with_command(&["/bin/cat", "/proc/self/oom_score_adj"]).run();
    assert_eq!(out, fs::read_to_string("/proc/self/oom_score_adj").unwrap());
    let (out, _, _) = Scene::with_command(&["/bin/cat", "/proc/self/status"]).run();
    let signals = |name: &str| {
        let line = out.lines().find_map(|line| line.strip_prefix(name));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    };
    // The C library has 32 and 33 for itself, and ignores them in what it spawns.
    let its_own = 3 << 31;
    assert_eq!((signals("SigBlk:"), signals("SigIgn:") & !its_own), (0, 0));
}

pub(crate) fn privileged_a_monitor_is_quick_and_small() {
    let scene = Scene::new("seq 1 100000; echo ready; sleep 1000");
    let begin = Instant::now();
    let client = scene.launch();
    let mode = fs::metadata(scene.path("monitor.0/monitor.sock"))
        .unwrap()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let launched = begin.elapsed();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    let pid = client.start().unwrap();
    let started = begin.elapsed();
    output.until("ready");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .unwrap();
    let rollup = fs::read_to_string(format!("/proc/{parent}/smaps_rollup")).unwrap();
    let field = |name: &str| -> u64 {
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let private = field("Private_Clean:") + field("Private_Dirty:");
    let (pss, dirty) = (field("Pss:"), field("Private_Dirty:"));
    client.signal(9).unwrap();
    let killed = Instant::now();
    client.wait().unwrap().exit().unwrap();
    let told = killed.elapsed();
    eprintln!(
        "launched {launched:?}, started {started:?}, exit told {told:?}, \
         Pss {pss} kB, private {private} kB, of which dirty {dirty} kB"
    );
    assert!(dirty < 2048, "{dirty} kB of its own");
    assert!(launched < Duration::from_millis(500), "{launched:?}");
}
