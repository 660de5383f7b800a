//! Tests that others wrote, against our daemon: bollard's and docker-py's, fetched from their registries.
//!
//! Nothing of them is kept in the repository but the names of those that we don't pass, with reasons (`*.misses`). One
//! that fails without being listed, or passes though it is, is a failure. Without the registries there is nothing
//! to judge by: that is said, and is no failure.

mod expected;
mod images;
mod scene;
mod suite;

use crate::command::Tool;
use crate::error::{Error, Result};
use crate::images::Cache;
use expected::Expected;
use scene::Scene;
use suite::Suite;

/// Runs the suites of these names, or all.
pub fn run(cache: &Cache, names: &[String]) -> Result<()> {
    let mut surprises = Vec::new();
    for suite in Suite::ALL {
        if names.is_empty() || names.iter().any(|name| name == suite.name()) {
            surprises.extend(judge(cache, suite)?);
        }
    }
    if surprises.is_empty() {
        return Ok(());
    }
    Err(Error::Check { steps: surprises })
}

/// What was not as expected of a suite.
fn judge(cache: &Cache, suite: Suite) -> Result<Vec<String>> {
    let place = crate::files::make_dir(&cache.judge())?;
    if !suite.fetch(&place)? {
        eprintln!(
            "judge: {} is SKIPPED: its registry is out of reach",
            suite.name()
        );
        return Ok(Vec::new());
    }
    suite.prepare(&place)?;
    let scene = Scene::set()?;
    let outcomes = suite.outcomes(&place, &scene);
    scene.strike()?;
    let outcomes = outcomes?;
    if outcomes.is_empty() {
        return Err(Error::Unexpected {
            what: format!("the tests of {}", suite.name()),
            why: "none were run".to_owned(),
        });
    }
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    eprintln!(
        "judge: {}: {passed} of {} passed",
        suite.name(),
        outcomes.len()
    );
    Ok(Expected::read(suite.misses()).surprises(suite.name(), &outcomes))
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) passed: bool,
}

fn docker(scene_socket: &str) -> Tool {
    Tool::new("docker").env("DOCKER_HOST", scene_socket)
}
