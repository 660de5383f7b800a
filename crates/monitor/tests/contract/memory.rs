//! Processes that the kernel kills for want of memory.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;

use lapstrake_monitor::Client;
use lapstrake_monitor::exit::Exit;
use lapstrake_monitor::time::Timestamp;
use lapstrake_monitor::wire::{Answer, SOCKET, State};

use crate::scene::Scene;

/// A process that wants more at once than there is.
const TOO_MUCH: &str = "dd if=/dev/zero of=/dev/null bs=64M count=1";

fn limited(script: &str) -> Scene {
    let mut scene = Scene::new(script);
    scene.memory_limit = Some(16 << 20);
    scene
}

pub(crate) fn privileged_memory_that_is_missing_is_told_at_the_exit() {
    let (_, _, exit) = limited(TOO_MUCH).run();
    assert_eq!((exit.oom_killed, exit.oom_times), (true, 1), "{exit:?}");
}

pub(crate) fn privileged_memory_that_is_missing_is_told_while_the_container_lives() {
    // The pause is longer than the monitor looks after a ring.
    let script = format!("{TOO_MUCH}; sleep 2; {TOO_MUCH}; sleep 1000");
    let scene = limited(&script);
    let client = scene.launch();
    let mut watch = client.watch().unwrap();
    let mut wait = client.wait().unwrap();
    client.start().unwrap();
    for times in [1, 2] {
        assert_eq!(watch.hear().unwrap(), Answer::OutOfMemory { times });
        assert!(matches!(client.state().unwrap(), State::Running { .. }));
    }
    // Who comes later hears it too.
    let mut late = client.watch().unwrap();
    assert_eq!(late.hear().unwrap(), Answer::OutOfMemory { times: 2 });
    client.signal(9).unwrap();
    let exit = wait.exit().unwrap();
    assert_eq!((exit.oom_killed, exit.oom_times), (true, 2), "{exit:?}");
    assert_eq!(watch.hear().unwrap(), Answer::Exited(exit));
    assert_eq!(late.hear().unwrap(), Answer::Exited(exit));
    assert_eq!(scene.record(), Some(exit));
    late.cleaned().unwrap();
}

pub(crate) fn privileged_memory_of_an_older_monitor_is_watched_to_the_exit() {
    let scene = Scene::new("true");
    let dir = scene.path("old");
    std::fs::create_dir(&dir).unwrap();
    let listener = UnixListener::bind(dir.join(SOCKET)).unwrap();
    let exit = Exit::with_code(3, Timestamp::now());
    // It knows no `watch`.
    let monitor = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in [
            Answer::Refused {
                reason: "that is no request to a monitor".to_owned(),
            },
            Answer::Exited(exit),
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            asked.push(line);
            serde_json::to_writer(&mut stream, &answer).unwrap();
            stream.write_all(b"\n").unwrap();
        }
        asked
    });
    let mut watch = Client::new(&dir).watch().unwrap();
    assert_eq!(watch.exit().unwrap(), exit);
    assert_eq!(monitor.join().unwrap(), ["\"watch\"\n", "\"wait\"\n"]);
}

/// What a guest does: the tests of this file with control groups of the second version.
const SCRIPT: &str = r#"
[ "$IN_VM" = tcg ] || [ "$IN_VM" = uml ] || { echo "this is no guest" >&2; exit 99; }
umount -R /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99
exec "$0" privileged_memory
"#;

pub(crate) fn vm_memory_is_counted_in_version_2() {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED vm_memory_is_counted_in_version_2: LAPSTRAKE_VM_RUN names no vm-run");
        return;
    };
    let mut guest = Command::new(vm_run);
    guest.args(["--kernel", "6.12", "--timeout", "80", "--"]);
    guest.args(["/bin/sh", "-c", SCRIPT]);
    let status = guest.arg(std::env::current_exe().unwrap()).status();
    assert!(status.unwrap().success(), "see above");
}
