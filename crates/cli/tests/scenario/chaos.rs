//! The daemon is killed with -9 at random moments while clients work, and started again. What was acknowledged is
//! there, what ran runs, and nothing leaks.
//!
//! `LAPSTRAKE_CHAOS_KILLS` says how often (default: 8), `LAPSTRAKE_CHAOS_SEED` from which seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;

/// Clients at work at a time.
const CLIENTS: u64 = 4;

/// What the daemon acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Containers that sleep: their ids and process numbers.
    run: BTreeMap<String, String>,
    /// Containers that were made and not asked to go.
    there: BTreeSet<String>,
    /// Containers that are gone.
    gone: BTreeSet<String>,
    volumes: BTreeSet<String>,
    images: BTreeSet<String>,
}

/// A small generator (xorshift): what happens can be had again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn number(name: &str, default: u64) -> u64 {
    let said = std::env::var(name).ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn privileged_scenario_chaos_kills_lose_and_leak_nothing() {
    let Some(mut daemon) = Daemon::start("chaos") else {
        return;
    };
    if !daemon.busybox("chaos") {
        return;
    }
    let kills = number("LAPSTRAKE_CHAOS_KILLS", 8);
    let seed = number("LAPSTRAKE_CHAOS_SEED", u64::from(std::process::id()));
    eprintln!("chaos: {kills} kills from seed {seed}");
    let mut random = Random(seed * 2 + 1);
    let known = Mutex::new(Acknowledged::default());
    for kill in 0..kills {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let own = Random(seed ^ (kill * CLIENTS + client + 1).wrapping_mul(0x9e37_79b9));
                let (daemon, known, over) = (&daemon, &known, &over);
                scope.spawn(move || work(daemon, known, over, own, kill * CLIENTS + client));
            }
            std::thread::sleep(Duration::from_millis(50 + random.below(900)));
            daemon.kill();
            over.store(true, Ordering::SeqCst);
        });
        daemon.again();
        check(&daemon, &mut known.lock().unwrap());
    }
    let ids: Vec<String> = words(&daemon.done(&["ps", "-aq", "--no-trunc"]));
    for id in &ids {
        daemon.done(&["rm", "-f", "-v", id]);
    }
    settles(
        || daemon.processes().is_empty(),
        || format!("{:?}", daemon.processes()),
    );
    for dir in [
        "run/containers",
        "run/runtime",
        "root/state/container-files",
        "root/state/containers",
    ] {
        assert_eq!(daemon.names_in(dir), Vec::<String>::new(), "{dir}");
    }
    let found = daemon.stop_and_check();
    assert!(found.status.success(), "{found:?}");
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// What a client does until the daemon is gone. What was asked and not answered may be done or not.
fn work(
    daemon: &Daemon,
    known: &Mutex<Acknowledged>,
    over: &AtomicBool,
    mut random: Random,
    number: u64,
) {
    let done = |arguments: &[&str]| {
        let output = daemon.docker(arguments);
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(printed)
    };
    for step in 0.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("c{number}-{step}");
        match random.below(6) {
            0 | 1 => {
                let run = [
                    "run",
                    "-d",
                    "--network=none",
                    "--name",
                    &name,
                    "busybox",
                    "sleep",
                    "1000",
                ];
                let Some(id) = done(&run) else { continue };
                let pid = done(&["inspect", "-f", "{{.State.Pid}}", &id]);
                let mut known = known.lock().unwrap();
                known.there.insert(id.clone());
                known.run.extend(pid.map(|pid| (id, pid)));
            }
            2 => {
                let create = [
                    "create",
                    "--network=none",
                    "-v",
                    "/data",
                    "--name",
                    &name,
                    "busybox",
                    "true",
                ];
                let Some(id) = done(&create) else { continue };
                known.lock().unwrap().there.insert(id.clone());
                let words = format!("{id}:/copied");
                done(&["cp", "/etc/hostname", &words]);
                let image = format!("made:{name}");
                if done(&["commit", &id, &image]).is_some() {
                    known.lock().unwrap().images.insert(image);
                }
            }
            3 => {
                let victim = {
                    let mut known = known.lock().unwrap();
                    let victim = known.there.pop_first();
                    if let Some(id) = &victim {
                        known.run.remove(id);
                    }
                    victim
                };
                if let Some(id) = victim
                    && done(&["rm", "-f", "-v", &id]).is_some()
                {
                    known.lock().unwrap().gone.insert(id);
                }
            }
            4 => {
                if done(&["volume", "create", &name]).is_some() {
                    known.lock().unwrap().volumes.insert(name);
                }
            }
            _ => {
                done(&["run", "--rm", "--network=none", "busybox", "true"]);
                done(&["image", "prune", "-f"]);
            }
        }
    }
}

/// Compares what is there with what was acknowledged.
fn check(daemon: &Daemon, known: &mut Acknowledged) {
    let listed = daemon.done(&["ps", "-a", "--no-trunc", "--format", "{{.ID}}"]);
    let there: BTreeSet<String> = words(&listed).into_iter().collect();
    let lost: Vec<_> = known.there.difference(&there).collect();
    assert!(lost.is_empty(), "lost: {lost:?}\n{}", daemon.log());
    let undead: Vec<_> = known.gone.intersection(&there).collect();
    assert!(
        undead.is_empty(),
        "removed and there: {undead:?}\n{}",
        daemon.log()
    );
    for (id, pid) in &known.run {
        let now = daemon.done(&["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", id]);
        assert_eq!(
            now.trim(),
            format!("running {pid}"),
            "{id}\n{}",
            daemon.log()
        );
        assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "{id}");
    }
    let volumes: BTreeSet<String> = words(&daemon.done(&["volume", "ls", "-q"]))
        .into_iter()
        .collect();
    assert!(
        known.volumes.is_subset(&volumes),
        "{:?} {volumes:?}",
        known.volumes
    );
    let images = daemon.done(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    let images: BTreeSet<String> = words(&images).into_iter().collect();
    assert!(
        known.images.is_subset(&images),
        "{:?} {images:?}",
        known.images
    );
    // A monitor goes a moment after it told of the end, and so does a run directory.
    let leaks = || {
        let running = words(&daemon.done(&["ps", "-q", "--no-trunc"]));
        let dirs = daemon.names_in("run/containers");
        let leaked: Vec<_> = (dirs.iter()).filter(|dir| !running.contains(dir)).collect();
        let monitors = daemon.processes();
        let lonely = monitors
            .iter()
            .filter(|line| !running.iter().any(|id| line.contains(id)));
        format!("{leaked:?} {:?}", lonely.collect::<Vec<_>>())
    };
    settles(
        || leaks() == "[] []",
        || format!("{}\n{}", leaks(), daemon.log()),
    );
}

/// Waits until something holds, but not for long.
fn settles(holds: impl Fn() -> bool, words: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "{}", words());
        std::thread::sleep(Duration::from_millis(50));
    }
}
