//! Every docker command that our users type, beside what dockerd 28.2.2 answers.
//!
//! The answers are in `transcripts`; see [`crate::transcript`] for how to read them.

use crate::transcript::check;

#[test]
fn privileged_scenario_commands_of_a_containers_life() {
    check("lives", false);
}

#[test]
fn privileged_scenario_commands_that_run_and_that_are_refused() {
    check("runs", false);
}

#[test]
fn privileged_scenario_commands_that_look_at_containers() {
    check("looks", false);
}

#[test]
fn privileged_scenario_commands_of_images() {
    check("images", true);
}

#[test]
fn privileged_scenario_commands_of_volumes() {
    check("volumes", false);
}

/// Not what the command shows but what it is sent: the names and kinds of all that is in the answers.
#[test]
fn privileged_scenario_requests_and_the_shapes_of_answers() {
    check("shapes", false);
}

#[test]
fn privileged_scenario_commands_that_prune() {
    check("prunes", false);
}
