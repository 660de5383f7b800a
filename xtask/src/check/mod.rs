//! What "green" means: the same for a developer and for CI.
//!
//! The tidy rules (arrows between crates, unsafe, module docs, dependencies) are tests in
//! `xtask/tests/tidy`, so the test runner runs them too.

use std::time::Instant;

use crate::command::{self, Tool};
use crate::error::{Error, Result, describe};
use crate::files;

/// One step of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
}

const FORMAT: Step = cargo("format", &["fmt", "--all", "--check"]);
const CLIPPY: Step = cargo(
    "clippy",
    &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ],
);
const DOCS: Step = Step {
    name: "docs",
    arguments: &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
    variables: &[("RUSTDOCFLAGS", "-D warnings")],
};
const DOC_TESTS: Step = cargo(
    "doc tests",
    &["test", "--workspace", "--doc", "--locked", "--quiet"],
);
/// Tests that others wrote, against our daemon.
const JUDGE: Step = cargo(
    "judge",
    &[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "xtask",
        "--",
        "judge",
    ],
);
const NEXTEST: Step = cargo(
    "tests",
    &[
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--no-fail-fast",
    ],
);
const TESTS: Step = cargo(
    "tests",
    &[
        "test",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--locked",
        "--no-fail-fast",
    ],
);

const fn cargo(name: &'static str, arguments: &'static [&'static str]) -> Step {
    Step {
        name,
        arguments,
        variables: &[],
    }
}

/// Runs every step, also after one has failed; the test runner's lines come last.
pub fn run() -> Result<()> {
    let mut failed = Vec::new();
    for step in plan(command::exists("cargo-nextest")) {
        let started = Instant::now();
        eprintln!("check: {}", step.name);
        let result = carry_out(step);
        let word = if result.is_ok() { "passed" } else { "FAILED" };
        eprintln!(
            "check: {} {word} in {:.1} s",
            step.name,
            started.elapsed().as_secs_f64()
        );
        if let Err(error) = result {
            eprintln!("check: {}", describe(&error));
            failed.push(step.name.to_owned());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Check { steps: failed })
    }
}

fn plan(has_nextest: bool) -> Vec<Step> {
    if has_nextest {
        return vec![FORMAT, CLIPPY, DOCS, DOC_TESTS, JUDGE, NEXTEST];
    }
    vec![FORMAT, CLIPPY, DOCS, DOC_TESTS, JUDGE, TESTS]
}

fn carry_out(step: Step) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tool = Tool::new(cargo)
        .args(step.arguments)
        .dir(files::repository());
    for (name, value) in step.variables {
        tool = tool.env(name, value);
    }
    if step == TESTS {
        // Without nextest's groups, tests that mount would run side by side.
        tool = tool.env("RUST_TEST_THREADS", "1");
    }
    tool.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_nextest_cargo_runs_the_same_tests() {
        let names = |plan: Vec<Step>| plan.iter().map(|step| step.name).collect::<Vec<_>>();
        assert_eq!(names(plan(true)), names(plan(false)));
        assert_eq!(plan(false).last(), Some(&TESTS));
    }
}
