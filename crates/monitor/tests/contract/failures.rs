//! What can't be done is said, in the right words, and leaves nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use lapstrake_monitor::wire::{State, Stream};
use lapstrake_monitor::{Error, Orders};

use crate::scene::{BOTH, Output, Scene};

/// What the runtime said when the command could not be started.
fn failure(scene: &Scene) -> String {
    let client = scene.launch();
    let output = Output::of(client.attach(BOTH).unwrap());
    let mut wait = client.wait().unwrap();
    let message = match client.start() {
        Err(Error::Runtime { message }) => message,
        other => panic!("{other:?}"),
    };
    assert!(matches!(wait.exit(), Err(Error::Gone(_))));
    // What the runtime wrote is no output of the process.
    assert_eq!(output.all().text(Stream::Stderr), "");
    assert_eq!(scene.log(), "");
    assert_eq!(scene.record(), None);
    message
}

pub(crate) fn privileged_a_command_that_is_missing_is_told_in_the_runtimes_words() {
    let missing = failure(&Scene::with_command(&["no-such-command"]));
    assert!(
        missing.contains("executable file not found in $PATH"),
        "{missing}"
    );
    let missing = failure(&Scene::with_command(&["/no/such/command"]));
    assert!(missing.contains("no such file or directory"), "{missing}");
    let denied = failure(&Scene::with_command(&["/tmp"]));
    assert!(
        denied.contains("permission denied") || denied.contains("is a directory"),
        "{denied}"
    );
}

pub(crate) fn privileged_a_runtime_that_is_missing_is_told() {
    let mut scene = Scene::new("true");
    scene.orders.runtime.program = "no-such-runtime".into();
    let client = scene.launch();
    let message = client.start().unwrap_err().to_string();
    assert!(message.contains("no-such-runtime"), "{message}");
    std::fs::remove_file(scene.path("monitor.0/monitor.err")).unwrap();
}

pub(crate) fn privileged_a_start_that_hangs_can_be_killed_with_all_that_it_began() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut scene = Scene::new("true");
    let (program, pid) = (scene.path("runtime"), scene.path("begun"));
    let begun = pid.display();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *' run '*) sleep 1000 & echo $! >{begun}; wait;; esac\n"
    );
    let mut file = std::fs::File::create(&program).unwrap();
    file.write_all(script.as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o755))
        .unwrap();
    drop(file);
    scene.orders.runtime.program = program;
    let client = scene.launch();
    let starting = client.clone();
    let start = std::thread::spawn(move || starting.start());
    let begun = loop {
        let text = std::fs::read_to_string(&pid).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert_eq!(client.state().unwrap(), State::Starting);
    assert!(matches!(client.signal(15), Err(Error::Refused { .. })));
    client.signal(9).unwrap();
    let message = start.join().unwrap().unwrap_err().to_string();
    assert!(message.contains("was killed by signal 9"), "{message}");
    let mut wait = client.wait();
    assert!(matches!(
        wait.as_mut().map(|wait| wait.exit()),
        Err(Error::Gone(_)) | Ok(Err(_))
    ));
    assert!(!std::fs::exists(format!("/proc/{}/exe", begun.trim())).unwrap());
    // The runtime has no container to remove; its complaint is told.
    drop(std::fs::remove_file(scene.path("monitor.0/monitor.err")));
}

pub(crate) fn privileged_another_runtime_state_is_left_alone() {
    let scene = Scene::new("echo ready; sleep 1000");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    output.until("ready");
    let second = scene.launch_with(&scene.orders).unwrap();
    let message = second.start().unwrap_err().to_string();
    assert!(message.contains(&scene.id), "{message}");
    assert!(matches!(client.state().unwrap(), State::Running { .. }));
    client.signal(9).unwrap();
}

pub(crate) fn privileged_a_launch_that_fails_says_why() {
    let scene = Scene::new("true");
    let mut orders = scene.orders.clone();
    orders.log.as_mut().unwrap().path = scene.path("no/such/directory");
    match scene.launch_with(&orders) {
        Err(Error::NotStarted { reason, .. }) => {
            assert!(reason.contains("no/such/directory"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    // Orders that are none.
    std::fs::create_dir(scene.path("empty")).unwrap();
    let monitor = Command::new(std::env::current_exe().unwrap())
        .arg("monitor")
        .arg(scene.path("empty"))
        .output();
    assert!(!monitor.unwrap().status.success());
    assert!(Orders::read(&scene.path("empty")).is_err());
}

pub(crate) fn privileged_nonsense_is_refused() {
    let scene = Scene::new("true");
    let client = scene.launch();
    let long = vec![b'x'; 100_000];
    for nonsense in [&b"\n"[..], b"{\"start\":1}\n", b"\"start\"\nmore", &long] {
        let mut stream = UnixStream::connect(scene.path("monitor.0/monitor.sock")).unwrap();
        // It may be refused before all of it was sent.
        drop(stream.write_all(nonsense));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("{\"refused\""), "{answer}");
    }
    // A client that breaks the framing is thrown out, and nobody else.
    let mut stream = client.attach(BOTH).unwrap();
    stream.write_all(b"nonsense").unwrap();
    assert_eq!(stream.read(&mut [0; 10]).unwrap_or(0), 0);
    assert_eq!(client.state().unwrap(), State::NotStarted);
    // Without a terminal there is nothing to resize: clients ask anyhow.
    let size = lapstrake_monitor::orders::Size {
        height: 1,
        width: 1,
    };
    client.resize(size).unwrap();
    client.dismiss().unwrap();
}

pub(crate) fn privileged_who_asks_too_late_is_told_so() {
    let scene = Scene::new("sleep 0.2");
    let client = scene.launch();
    client.start().unwrap();
    assert!(matches!(client.start(), Err(Error::Refused { .. })));
    assert!(matches!(client.dismiss(), Err(Error::Refused { .. })));
    let mut wait = client.wait().unwrap();
    assert_eq!(wait.exit().unwrap().code, 0);
    wait.cleaned().unwrap();
    assert!(matches!(client.wait(), Err(Error::Gone(_))));
    assert!(matches!(client.attach(BOTH), Err(Error::Gone(_))));
}
