//! What a container that runs uses, and which processes are in it.

use std::time::SystemTime;

use lapstrake_container::usage::cgroup::{self, Groups, HostCpu, Usage};
use lapstrake_container::usage::network::{self, Interface};
use lapstrake_container::usage::top::{self, Processes};

use super::Containers;
use super::error::Result;

/// What a container uses at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When.
    pub at: SystemTime,
    /// Of memory, processors and the like.
    pub usage: Usage,
    /// Of its network.
    pub interfaces: Vec<Interface>,
    /// What the host's processors did.
    pub host: HostCpu,
}

impl Containers {
    /// What a container uses; nothing if it does not run.
    ///
    /// # Errors
    /// If there is none of that name, or the kernel does not tell.
    pub async fn usage(&self, name: &str) -> Result<Option<Sample>> {
        let container = self.find(name)?;
        let runs = |record: &super::Record| {
            record
                .state
                .pid
                .filter(|_| record.state.phase.has_process())
        };
        let Some(pid) = container.with(runs).and_then(|pid| u32::try_from(pid).ok()) else {
            return Ok(None);
        };
        let sample = move |_: &Self| {
            let measure = || {
                Ok(Sample {
                    at: SystemTime::now(),
                    usage: Groups::of(pid)?.usage()?,
                    interfaces: network::interfaces(pid)?,
                    host: cgroup::host_cpu()?,
                })
            };
            match measure() {
                Ok(sample) => Ok(Some(sample)),
                // It has just ended.
                Err(lapstrake_container::usage::Error::Gone(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        };
        self.blocking(sample).await
    }

    /// The processes of a container, as the host's `ps` lists them with these arguments.
    ///
    /// # Errors
    /// If there is none of that name, it does not run, or `ps` refuses.
    pub async fn top(&self, name: &str, arguments: &str) -> Result<Processes> {
        let container = self.find(name)?;
        self.must_run(&container)?;
        let pid = container.with(|record| record.state.pid);
        let pid = pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
        let arguments = arguments.to_owned();
        let listed = self.blocking(move |_| {
            let pids = Groups::of(pid)?.processes()?;
            Ok(top::list(&arguments, &pids)?)
        });
        let listed = listed.await?;
        self.tell(&container, crate::events::Action::Top, &[]);
        Ok(listed)
    }
}
