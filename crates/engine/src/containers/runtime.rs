//! The OCI runtime, as far as it is not the monitors' business.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Containers;
use super::error::{Error, Result};

/// A runtime with runc's command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub(crate) program: PathBuf,
    pub(crate) state: PathBuf,
}

impl Containers {
    /// The runtime of this name, or the default one.
    pub(crate) fn runtime(&self, name: Option<&str>) -> Result<Runtime> {
        let options = &self.inner.options;
        let name = name.filter(|name| !name.is_empty());
        let name = name.unwrap_or(&options.default_runtime);
        let program = options
            .runtimes
            .get(name)
            .ok_or_else(|| Error::Invalid(format!("unknown or invalid runtime name: {name}")))?;
        Ok(Runtime {
            program: PathBuf::from(program),
            state: self.runtime_state(),
        })
    }
}

impl Runtime {
    /// What it says it can do; nothing if it can't say.
    pub(crate) fn features(&self) -> Option<String> {
        let said = self.order(&["features"]).ok()?;
        String::from_utf8(said).ok()
    }

    /// Lets it do something; what it says when it does. Its own words are the error.
    pub(crate) fn order(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).args(arguments);
        let output = command.stdin(Stdio::null()).output().map_err(|error| {
            Error::Internal(format!(
                "cannot run the OCI runtime {}: {error}",
                self.program.display()
            ))
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::Internal(format!(
            "OCI runtime {} failed: {}",
            arguments.first().copied().unwrap_or_default(),
            said.trim()
        )))
    }
}
