//! The suites: where they come from, and how they are run and read.

use std::path::Path;

use lapstrake_oci::Algorithm;

use super::Outcome;
use super::scene::Scene;
use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result, describe};
use crate::files;

/// A suite, of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suite {
    /// bollard 0.19.4, in Rust.
    Bollard,
    /// docker-py 6.1.3.
    DockerPy,
}

/// What a suite is fetched as.
struct Source {
    file: &'static str,
    sha256: &'static str,
}

const CRATE: &str = "https://static.crates.io/crates/bollard/bollard-0.19.4.crate";
const BOLLARD: Source = Source {
    file: "bollard-0.19.4.crate",
    sha256: "87a52479c9237eb04047ddb94788c41ca0d26eaff8b697ecfbb4c32f7fdc3b1b",
};
const DOCKER_PY: Source = Source {
    file: "docker-6.1.3.tar.gz",
    sha256: "aa6d17830045ba5ef0168d5eaa34d37beeb113948c413affe1d5991fc11f9a20",
};
const BOLLARD_TESTS: &[&str] = &[
    "container_test",
    "image_test",
    "volume_test",
    "system_test",
    "version_test",
    "exec_test",
    "race_test",
    "distribution",
];
const DOCKER_PY_TESTS: &[&str] = &[
    "api_client",
    "api_container",
    "api_exec",
    "api_healthcheck",
    "api_image",
    "api_volume",
    "client",
    "errors",
    "models_containers",
    "models_images",
    "models_resources",
    "models_volumes",
    "regression",
];
const DOCKER_PY_NEEDS: &[&str] = &[
    "requests<2.32",
    "urllib3<2",
    "setuptools<81",
    "packaging",
    "pytest==9.2.0",
    "pytest-timeout==2.4.0",
    "paramiko",
    "websocket-client",
];

impl Suite {
    /// Every suite.
    pub(super) const ALL: [Self; 2] = [Self::Bollard, Self::DockerPy];

    /// What it is called on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bollard => "bollard",
            Self::DockerPy => "docker-py",
        }
    }

    /// The list of what we don't pass.
    pub(super) const fn misses(self) -> &'static str {
        match self {
            Self::Bollard => include_str!("bollard.misses"),
            Self::DockerPy => include_str!("docker-py.misses"),
        }
    }

    /// Fetches it, if that was not done yet; false if its registry is out of reach.
    pub(super) fn fetch(self, place: &Path) -> Result<bool> {
        let file = match self {
            Self::Bollard => BOLLARD.file,
            Self::DockerPy => {
                let venv = place.join("venv");
                let make = Tool::new("python3").args(["-m", "venv"]);
                make.arg(&venv).output()?;
                DOCKER_PY.file
            }
        };
        if place.join(file).is_file() {
            return Ok(true);
        }
        let fetched = match self {
            Self::Bollard => fetch_crate(place),
            Self::DockerPy => fetch_sdist(place),
        };
        match fetched {
            Err(error @ Error::Failed { .. }) => {
                eprintln!("judge: {}", describe(&error));
                Ok(false)
            }
            fetched => fetched.map(|()| true),
        }
    }

    /// Unpacks what was fetched, and fetches what it needs.
    pub(super) fn prepare(self, place: &Path) -> Result<()> {
        match self {
            Self::Bollard => {
                unpack(place, &BOLLARD)?;
                cargo(place).args(["fetch", "--locked"]).output()?;
            }
            Self::DockerPy => {
                unpack(place, &DOCKER_PY)?;
                let pip = Tool::new(place.join("venv/bin/pip"));
                pip.args(["install", "--quiet"])
                    .args(DOCKER_PY_NEEDS)
                    .output()?;
            }
        }
        Ok(())
    }

    /// Runs it; how each test ended, without those that were skipped.
    pub(super) fn outcomes(self, place: &Path, scene: &Scene) -> Result<Vec<Outcome>> {
        let log = place.join(format!("{}.log", self.name()));
        let tool = match self {
            Self::Bollard => bollard(place)
                .env("REGISTRY_HTTP_ADDR", scene.registry())
                .args(["--no-fail-fast", "--", "--test-threads", "1"]),
            Self::DockerPy => docker_py(place),
        };
        let tool = tool.env("DOCKER_HOST", scene.host());
        let limited = limited(tool);
        // That tests fail is expected: what counts is which.
        let mut child = limited.spawn(&log)?;
        child.wait().io("wait for", Path::new(self.name()))?;
        eprintln!("judge: what {} printed is {}", self.name(), log.display());
        let text = std::fs::read(&log).io("read", &log)?;
        let text = String::from_utf8_lossy(&text);
        let read = match self {
            Self::Bollard => of_cargo,
            Self::DockerPy => of_pytest,
        };
        Ok(text.lines().filter_map(read).collect())
    }
}

/// A test that hangs must not hang us.
fn limited(tool: Tool) -> Tool {
    let inner = tool.into_inner();
    let mut limited = Tool::new("timeout").args(["--kill-after=10", "900"]);
    limited = limited.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let (Some(name), Some(value)) = (name.to_str(), value) {
            limited = limited.env(name, value);
        }
    }
    match inner.get_current_dir() {
        Some(dir) => limited.dir(dir),
        None => limited,
    }
}

fn bollard(place: &Path) -> Tool {
    let tests = BOLLARD_TESTS.iter().flat_map(|test| ["--test", test]);
    cargo(place).args(["test", "--locked"]).args(tests)
}

fn cargo(place: &Path) -> Tool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Tool::new(cargo)
        .env("CARGO_TARGET_DIR", place.join("target"))
        .env("CARGO_NET_OFFLINE", "false")
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .dir(&place.join("bollard-0.19.4"))
}

fn docker_py(place: &Path) -> Tool {
    let root = place.join("docker-6.1.3");
    let tests = DOCKER_PY_TESTS.iter();
    let tests = tests.map(|test| format!("tests/integration/{test}_test.py"));
    Tool::new(place.join("venv/bin/python"))
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .args(["--timeout", "60", "-q", "-rA", "--show-capture=no"])
        .args(tests)
        .env("PYTHONPATH", &root)
        .env("DOCKER_TEST_API_VERSION", "1.41")
        .dir(&root)
}

/// Fetches bollard's crate, with its tests.
fn fetch_crate(place: &Path) -> Result<()> {
    let path = place.join(BOLLARD.file);
    let part = path.with_extension("part");
    Tool::new("curl")
        .args(["-fsSL", "--retry", "2", "--max-time", "120"])
        .args(["--user-agent", "lapstrake-judge", "--output"])
        .arg(&part)
        .arg(CRATE)
        .output()?;
    files::rename(&part, &path)
}

/// Fetches docker-py's source, with its tests.
fn fetch_sdist(place: &Path) -> Result<()> {
    Tool::new(place.join("venv/bin/pip"))
        .args(["download", "--quiet", "--no-deps", "--no-binary=docker"])
        .arg("--dest")
        .arg(place)
        .arg("docker==6.1.3")
        .output()?;
    Ok(())
}

/// Checks an archive and unpacks it beside; one that is another is removed.
fn unpack(place: &Path, source: &Source) -> Result<()> {
    let path = place.join(source.file);
    let bytes = std::fs::read(&path).io("read", &path)?;
    let digest = Algorithm::Sha256.digest(&bytes);
    if digest.hex() != source.sha256 {
        files::remove_file(&path)?;
        return Err(Error::Unexpected {
            what: source.file.to_owned(),
            why: format!("it has the sha256 {}", digest.hex()),
        });
    }
    Tool::new("tar")
        .args(["--no-same-owner", "-xzf"])
        .arg(&path)
        .arg("-C")
        .arg(place)
        .output()?;
    Ok(())
}

/// `test NAME ... ok`.
fn of_cargo(line: &str) -> Option<Outcome> {
    let (name, how) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let passed = match how {
        "ok" => true,
        "FAILED" => false,
        _ => return None,
    };
    let name = name.to_owned();
    Some(Outcome { name, passed })
}

/// `PASSED FILE::CLASS::NAME`, and after others a reason.
fn of_pytest(line: &str) -> Option<Outcome> {
    let (how, rest) = line.split_once(' ')?;
    let passed = match how {
        "PASSED" => true,
        "FAILED" | "ERROR" => false,
        _ => return None,
    };
    let path = rest.split(' ').next()?;
    let name = path.split_once("::")?.1.to_owned();
    Some(Outcome { name, passed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_from_what_is_printed() {
        let outcome = |name: &str, passed| {
            Some(Outcome {
                name: name.to_owned(),
                passed,
            })
        };
        assert_eq!(of_cargo("test a_b ... ok"), outcome("a_b", true));
        assert_eq!(of_cargo("test a_b ... FAILED"), outcome("a_b", false));
        assert_eq!(of_cargo("test a_b ... ignored"), None);
        assert_eq!(of_cargo("test result: FAILED. 14 passed"), None);
        assert_eq!(of_pytest("PASSED t/x.py::A::b"), outcome("A::b", true));
        let failed = "FAILED t/x.py::A::b - assert False";
        assert_eq!(of_pytest(failed), outcome("A::b", false));
        assert_eq!(of_pytest("39 failed, 161 passed"), None);
    }
}
