//! Monitors with a real runtime, from the outside.
//!
//! This program has no test harness, because it is also the monitor: a monitor must be the first thing in a program
//! that has no threads. It lists and runs its tests as test runners ask for it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]
#![expect(
    clippy::print_stdout,
    reason = "test runners read the list of tests from there"
)]

mod failures;
mod lives;
mod memory;
mod scene;
mod streams;
mod terminals;

use std::ffi::OsStr;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;

/// A name and what it runs.
type Test = (&'static str, fn());

/// Names and functions that are called alike.
macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        const TESTS: &[Test] = &[$($((stringify!($name), $module::$name)),*),*];
    };
}

tests! {
    lives:
        privileged_a_process_is_started_and_its_exit_told
        privileged_exit_codes_and_signals_are_those_of_docker
        privileged_a_second_command_has_its_own_exit
        privileged_fifty_commands_run_at_once
        privileged_a_container_is_started_again_at_once
        privileged_who_is_not_started_can_be_dismissed
        privileged_signals_reach_the_process
        privileged_nothing_is_lost_when_the_daemon_is_killed
        privileged_a_monitor_is_not_ended_by_signals
        privileged_the_guard_is_called_while_the_process_lives
        privileged_the_container_gets_nothing_of_the_monitor
        privileged_a_monitor_is_quick_and_small;
    memory:
        privileged_memory_that_is_missing_is_told_at_the_exit
        privileged_memory_that_is_missing_is_told_while_the_container_lives
        privileged_memory_of_an_older_monitor_is_watched_to_the_exit
        vm_memory_is_counted_in_version_2;
    failures:
        privileged_a_command_that_is_missing_is_told_in_the_runtimes_words
        privileged_a_runtime_that_is_missing_is_told
        privileged_a_start_that_hangs_can_be_killed_with_all_that_it_began
        privileged_another_runtime_state_is_left_alone
        privileged_a_launch_that_fails_says_why
        privileged_nonsense_is_refused
        privileged_who_asks_too_late_is_told_so;
    streams:
        privileged_ten_megabytes_come_through_whole
        privileged_who_attached_before_the_start_misses_nothing
        privileged_two_clients_get_the_same
        privileged_clients_come_and_go
        privileged_the_end_of_input_reaches_the_process
        privileged_a_client_without_once_is_detached_at_its_end
        privileged_a_client_that_hangs_up_is_the_end_of_input_once
        privileged_a_slow_client_slows_the_process_and_a_gone_one_does_not
        privileged_a_child_with_the_pipe_does_not_hold_up_the_exit
        privileged_input_before_the_start_is_kept;
    terminals:
        privileged_a_terminal_has_its_size_and_can_be_resized
        privileged_a_terminal_that_is_closed_can_be_opened_again
        privileged_a_terminal_echoes_and_detaches
        privileged_a_long_path_is_no_obstacle
        privileged_a_second_command_can_have_a_terminal;
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("monitor") => return scene::monitor(Path::new(&arguments[2])),
        Some("daemon") => return lives::daemon(Path::new(&arguments[2])),
        _ => {}
    }
    let has = |flag: &str| {
        arguments
            .iter()
            .any(|argument| argument == OsStr::new(flag))
    };
    if has("--list") {
        // None is ignored unless asked for.
        for (name, _) in TESTS.iter().filter(|_| !has("--ignored")) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filter = arguments[1..]
        .iter()
        .filter_map(|argument| argument.to_str())
        .find(|argument| !argument.starts_with('-'));
    let mut code = ExitCode::SUCCESS;
    for (name, test) in TESTS {
        let chosen = filter.is_none_or(|filter| {
            if has("--exact") {
                *name == filter
            } else {
                name.contains(filter)
            }
        });
        if !chosen || !scene::is_possible(name) {
            continue;
        }
        scene::watch(name);
        if catch_unwind(test).is_ok() {
            println!("test {name} ... ok");
        } else {
            println!("test {name} ... FAILED");
            code = ExitCode::FAILURE;
        }
    }
    code
}
