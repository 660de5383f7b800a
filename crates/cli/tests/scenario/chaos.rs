//! The daemon is killed with -9 at random moments while clients work, and started again. What was acknowledged is
//! there, what ran runs and its log has every line, and nothing leaks.
//!
//! `LAPSTRAKE_CHAOS_KILLS` says how often (default: 8), `LAPSTRAKE_CHAOS_SEED` from which seed.

mod client;
mod images;
mod known;
mod leaks;
pub(crate) mod wares;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use client::Client;
use known::Known;
use wares::Wares;

/// Clients at work at a time.
const CLIENTS: u64 = 4;

/// Images in the registry that are there to be pulled.
const PULLED: u32 = 4;

/// A small generator (xorshift): what happens can be had again from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// One of some, if there is any.
    fn one<T>(&mut self, mut of: Vec<T>) -> Option<T> {
        let len = u64::try_from(of.len()).unwrap();
        let index = (len > 0).then(|| self.below(len))?;
        Some(of.swap_remove(usize::try_from(index).unwrap()))
    }
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
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
    let wares = Wares::make(&daemon, PULLED);
    let kills = number("LAPSTRAKE_CHAOS_KILLS", 8);
    let seed = number("LAPSTRAKE_CHAOS_SEED", u64::from(std::process::id()));
    eprintln!("chaos: {kills} kills from seed {seed}");
    let mut random = Random(seed * 2 + 1);
    let known = Mutex::new(Known {
        absent: wares.absent(&BTreeSet::new()),
        ..Known::default()
    });
    let began = Instant::now();
    for kill in 0..kills {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let number = kill * CLIENTS + client;
                let client = Client {
                    daemon: &daemon,
                    wares: &wares,
                    known: &known,
                    over: &over,
                    random: Random(seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                    number,
                };
                scope.spawn(move || client.work());
            }
            std::thread::sleep(Duration::from_millis(50 + random.below(1200)));
            daemon.kill();
            over.store(true, Ordering::SeqCst);
        });
        // A daemon that tidies up may be killed, too.
        while random.below(4) == 0 {
            daemon.begin_again();
            std::thread::sleep(Duration::from_millis(random.below(120)));
            daemon.kill();
        }
        daemon.again();
        let mut known = known.lock().unwrap();
        known.check(&daemon, &wares);
        leaks::check(&daemon, &wares);
        known.forget_unacknowledged(&daemon, &wares);
        if kill % 20 == 19 {
            eprintln!("chaos: {} kills, {:?}", kill + 1, began.elapsed());
        }
    }
    let known = known.into_inner().unwrap();
    eprintln!("chaos: acknowledged: {:?}", known.acknowledged);
    eprintln!(
        "chaos: after {:?}: {}",
        began.elapsed(),
        daemon.use_of_machine()
    );
    known.check_contents(&daemon);
    let refused = known.refused;
    assert!(refused.is_empty(), "{refused:#?}");
    daemon.remove_everything();
    leaks::nothing_left(&daemon, &wares);
    let found = daemon.stop_and_check();
    assert!(found.status.success(), "{found:?}");
}

pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Waits until something holds, but not for long.
pub(crate) fn settles(holds: impl Fn() -> bool, words: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{}", words());
        std::thread::sleep(Duration::from_millis(50));
    }
}
