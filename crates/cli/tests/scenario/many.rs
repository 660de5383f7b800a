//! Many at a time: containers are started, commands are run in them, images are pulled, and what is not needed is
//! pruned. Nothing fails, and the daemon stays small.
//!
//! `LAPSTRAKE_MANY` says how many containers (default: 24); a tenth of them at a time, a quarter as many commands, and a
//! twentieth as many pulls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::chaos::wares::Wares;
use crate::chaos::{number, words};
use crate::daemon::Daemon;

/// What a daemon may have grown to: anonymous memory.
const MEMORY_KB_MAX: u64 = 192 << 10;
/// What a monitor may use for itself.
const MONITOR_KB_MAX: u64 = 4 << 10;

#[test]
fn privileged_scenario_many_at_a_time_are_served_and_the_daemon_stays_small() {
    let Some(daemon) = Daemon::start("many") else {
        return;
    };
    if !daemon.busybox("many") {
        return;
    }
    let many = usize::try_from(number("LAPSTRAKE_MANY", 24)).unwrap();
    let pulls = (many / 20).max(2);
    let wares = Wares::make(&daemon, u32::try_from(pulls).unwrap());
    let fresh = daemon.use_of_machine();
    let began = Instant::now();
    let run = |number: usize| {
        let name = format!("c{number}");
        let arguments = ["--network=none", "busybox", "sleep", "1000"];
        daemon.done(&[&["run", "-d", "--name", &name], &arguments[..]].concat());
    };
    at_a_time((many / 10).max(8), many, run);
    let started = began.elapsed();
    let running = words(&daemon.done(&["ps", "-q"]));
    assert_eq!(running.len(), many);
    let monitors = daemon.processes_with_memory();
    let largest = monitors.iter().copied().max().unwrap_or_default();

    let began = Instant::now();
    std::thread::scope(|scope| {
        let commands = scope.spawn(|| {
            let execute = |number: usize| {
                let name = format!("c{}", number % many);
                assert_eq!(daemon.done(&["exec", &name, "echo", "here"]), "here\n");
            };
            at_a_time(many / 4, many / 4, execute);
        });
        let pulling = scope.spawn(|| {
            let pull = |number: usize| drop(daemon.done(&["pull", "-q", &wares.pulled[number]]));
            at_a_time(pulls, pulls, pull);
        });
        daemon.done(&["system", "prune", "-f"]);
        commands.join().unwrap();
        pulling.join().unwrap();
    });
    let rest = began.elapsed();
    let used = daemon.use_of_machine();
    eprintln!("many: {many} containers in {started:?}, the rest in {rest:?}");
    eprintln!("many: daemon before: {fresh}\nmany: daemon after: {used}");
    eprintln!(
        "many: {} monitors, the largest {largest} kB",
        monitors.len()
    );
    assert!(daemon.anonymous_kb() < MEMORY_KB_MAX, "{used}");
    assert!(largest < MONITOR_KB_MAX, "{monitors:?}");
    let images = daemon.done(&["images", "-q"]);
    assert_eq!(words(&images).len(), pulls + 1);
    let began = Instant::now();
    at_a_time(8, many, |number| {
        drop(daemon.done(&["rm", "-f", &format!("c{number}")]))
    });
    eprintln!(
        "many: removed in {:?}: {}",
        began.elapsed(),
        daemon.use_of_machine()
    );
}

/// Does something for each number up to `all`, so many at a time.
fn at_a_time(threads: usize, all: usize, step: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= all {
                        return;
                    }
                    step(number);
                }
            });
        }
    });
}
