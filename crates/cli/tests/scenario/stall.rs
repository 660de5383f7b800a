//! Containers whose volumes are on file systems that do not answer: they hang, and nobody else does.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lapstrake_sys::fuse::{Ask, Device, Kind, REQUEST_BYTES, ROOT};
use lapstrake_sys::mount::{Unmount, unmount};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::daemon::{Daemon, text};

/// How long anything may take that does not need what is stalled.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What a container does that never ends by itself, and soon waits for its volume.
const TOUCH: &str = "trap '' TERM; while :; do ls /stalled/x; sleep 0.2; done";

/// An empty file system, mounted until this is dropped: then whoever waits for it waits no longer.
struct Stalling {
    at: std::path::PathBuf,
    device: Option<Arc<Device>>,
    answers: Arc<AtomicBool>,
}

impl Stalling {
    /// One that answers until it is stalled, or never.
    fn mount(at: &Path, answers: bool) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let device = Arc::new(Device::open().unwrap());
        let answers = Arc::new(AtomicBool::new(answers));
        device.mount().unwrap().attach_at(at).unwrap();
        let (served, goes_on) = (Arc::clone(&device), Arc::clone(&answers));
        if goes_on.load(Ordering::SeqCst) {
            std::thread::spawn(move || serve(&served, &goes_on));
        }
        Self {
            at: at.to_owned(),
            device: Some(device),
            answers,
        }
    }

    fn stall(&self) {
        self.answers.store(false, Ordering::SeqCst);
    }
}

impl Drop for Stalling {
    fn drop(&mut self) {
        self.answers.store(false, Ordering::SeqCst);
        drop(unmount(&self.at, Unmount::Lazy));
        // The kernel ends the file system with its last server.
        self.device = None;
    }
}

/// Answers that nothing is there, as long as it is to. It takes no request that it does not answer: the kernel kills
/// nobody who waits for the answer to one that was taken.
fn serve(device: &Device, goes_on: &AtomicBool) {
    let mut buffer = [0; REQUEST_BYTES];
    let requests = device.share().unwrap();
    let look = Timespec::try_from(Duration::from_millis(20)).unwrap();
    while goes_on.load(Ordering::SeqCst) {
        let mut waiting = [PollFd::new(&requests, PollFlags::IN)];
        if poll(&mut waiting, Some(&look)).unwrap() == 0 || !goes_on.load(Ordering::SeqCst) {
            continue;
        }
        let Ok(Some(request)) = device.receive(&mut buffer) else {
            return;
        };
        let unique = request.unique;
        let answered = match request.ask {
            Ask::Init { .. } => device.reply_init(unique),
            Ask::Attributes => device.reply_attributes(unique, ROOT, Kind::Directory),
            Ask::OpenDirectory => device.reply_open(unique),
            Ask::Statfs => device.reply_statfs(unique),
            Ask::ReadDirectory | Ask::Release => device.reply(unique, &[]),
            Ask::Forget | Ask::Interrupt { .. } | Ask::Destroy => Ok(()),
            Ask::Lookup { .. } => device.refuse(unique, rustix::io::Errno::NOENT),
            Ask::Open | Ask::Read { .. } | Ask::Other => {
                device.refuse(unique, rustix::io::Errno::NOSYS)
            }
        };
        answered.unwrap();
    }
}

/// A client in the background, which waits for what does not answer.
struct Waiting(Child);

impl Waiting {
    fn docker(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut client: Command = daemon.client();
        client
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(client.spawn().unwrap())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a command that must succeed at once.
fn at_once(daemon: &Daemon, arguments: &[&str]) -> String {
    within(
        AT_ONCE,
        || daemon.done(arguments),
        &format!("{arguments:?}"),
    )
}

fn within<T>(limit: Duration, step: impl FnOnce() -> T, what: &str) -> T {
    let began = Instant::now();
    let value = step();
    let took = began.elapsed();
    assert!(took < limit, "{what} took {took:?}");
    value
}

/// A daemon with busybox's image, where file systems can stall.
fn start(test: &str) -> Option<Daemon> {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED {test}: needs /dev/fuse");
        return None;
    }
    let daemon = Daemon::start(test)?;
    daemon.busybox(test).then_some(daemon)
}

#[test]
fn privileged_scenario_stalled_volumes_hang_nobody_else() {
    let test = "stalled volumes";
    let Some(mut daemon) = start(test) else {
        return;
    };
    // They go before the daemon does: its threads and its containers' processes wait for them.
    let stalling = Stalling::mount(&daemon.path("stalling"), true);
    let silent = Stalling::mount(&daemon.path("silent"), false);
    let over = |at: &Stalling| format!("{}:/stalled", text(&at.at));
    let device = format!("device={}", text(&stalling.at));
    daemon.done(&[
        "volume",
        "create",
        "-o",
        "type=none",
        "-o",
        "o=bind",
        "-o",
        &device,
        "named",
    ]);
    let network = "--network=none";
    let touch = ["busybox", "sh", "-c", TOUCH];
    let bound = over(&stalling);
    daemon.done(
        &[
            &["run", "-d", network, "--name=bound", "-v", &bound],
            &touch[..],
        ]
        .concat(),
    );
    daemon.done(
        &[
            &["run", "-d", network, "--name=named", "-v", "named:/stalled"],
            &touch[..],
        ]
        .concat(),
    );
    daemon.done(&[
        "run",
        "-d",
        network,
        "--name=other",
        "busybox",
        "sleep",
        "1000",
    ]);
    let unstarted = over(&silent);
    daemon.done(&[
        "create",
        network,
        "--name=begun",
        "-v",
        &unstarted,
        "busybox",
        "true",
    ]);
    stalling.stall();
    let _begun = Waiting::docker(&daemon, &["start", "begun"]);
    std::thread::sleep(Duration::from_millis(500));

    others_go_on(&daemon);
    daemon.kill();
    within(
        Duration::from_secs(2),
        || daemon.again(),
        "the daemon's start",
    );
    let _begun = Waiting::docker(&daemon, &["start", "begun"]);
    std::thread::sleep(Duration::from_millis(500));
    others_go_on(&daemon);

    // And they themselves, as far as the kernel lets them.
    at_once(&daemon, &["kill", "begun"]);
    at_once(&daemon, &["rm", "-f", "begun"]);
    at_once(&daemon, &["kill", "bound"]);
    at_once(&daemon, &["stop", "-t", "0", "named"]);
    let states = at_once(&daemon, &["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(states, "other running\nnamed exited\nbound exited\n");
    at_once(&daemon, &["rm", "-f", "bound", "named"]);
    at_once(&daemon, &["volume", "rm", "named"]);
    at_once(&daemon, &["rm", "-f", "other"]);
    drop((stalling, silent));
    let found = daemon.stop_and_check();
    assert!(found.status.success(), "{found:?}");
}

#[test]
fn privileged_scenario_a_copy_that_hangs_hides_no_end() {
    let test = "stalled copy";
    let Some(mut daemon) = start(test) else {
        return;
    };
    let stalling = Stalling::mount(&daemon.path("stalling"), true);
    let bound = format!("{}:/stalled", text(&stalling.at));
    let run = ["run", "-d", "--network=none", "--name=box"];
    let volumes = ["-v", &bound, "-v", "data:/data"];
    daemon.done(&[&run[..], &volumes, &["busybox", "sleep", "1000"]].concat());
    stalling.stall();
    let copied = daemon.path("copied");
    let _copy = Waiting::docker(&daemon, &["cp", "box:/stalled/x", text(&copied)]);
    std::thread::sleep(Duration::from_millis(500));

    at_once(&daemon, &["kill", "box"]);
    let state = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}"];
    let state = |daemon| at_once(daemon, &[&state[..], &["box"]].concat());
    assert_eq!(state(&daemon), "exited 137\n");
    let listed = at_once(&daemon, &["ps", "-a", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(listed, "box exited\n");
    at_once(&daemon, &["rename", "box", "still"]);
    at_once(&daemon, &["rename", "still", "box"]);
    // What the copy may have in hand stays.
    let refused = within(
        Duration::from_secs(15),
        || daemon.refused(&["rm", "-f", "box"]),
        "rm -f",
    );
    let why = "docker cp copies /stalled/x out of it, and that did not end within 10 s";
    assert!(refused.contains(why), "{refused}");
    let _start = Waiting::docker(&daemon, &["start", "box"]);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(state(&daemon), "exited 137\n");

    // The copy ends, and what waited for it goes on.
    drop(stalling);
    let deadline = Instant::now() + Duration::from_secs(10);
    while state(&daemon) != "running 0\n" {
        assert!(Instant::now() < deadline, "{}", state(&daemon));
        std::thread::sleep(Duration::from_millis(50));
    }
    daemon.done(&["rm", "-f", "box"]);
    daemon.done(&["volume", "rm", "data"]);
    let found = daemon.stop_and_check();
    assert!(found.status.success(), "{found:?}");
}

/// What has nothing to do with the stalled file systems is done at once, and what lists all.
fn others_go_on(daemon: &Daemon) {
    let states = at_once(daemon, &["ps", "-as", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(
        states,
        "begun created\nother running\nnamed running\nbound running\n"
    );
    for arguments in [
        &["system", "df"][..],
        &["system", "df", "-v"],
        &["info"],
        &["inspect", "-s", "bound", "named", "begun"],
        &["volume", "ls"],
        &["volume", "inspect", "named"],
        &["logs", "bound"],
        &["top", "bound"],
        &["events", "--since", "1m", "--until", "0s"],
        &["run", "--rm", "--network=none", "busybox", "true"],
        &["kill", "other"],
        &["start", "other"],
        &["exec", "other", "true"],
        &["container", "prune", "-f", "--filter", "label=none"],
        &["volume", "prune", "-a", "-f"],
        &["image", "prune", "-f"],
    ] {
        at_once(daemon, arguments);
    }
    let refused = within(
        AT_ONCE,
        || daemon.refused(&["volume", "rm", "named"]),
        "volume rm",
    );
    assert!(refused.contains("volume is in use"), "{refused}");
}
