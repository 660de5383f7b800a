//! What the OCI runtime is told of a container: facts are gathered here, what follows from them is decided in
//! [`lapstrake_container::spec`].

use std::path::Path;

use lapstrake_container::spec::{self, Facts, HostDevices, ReadOnly};

use super::super::Containers;
use super::super::error::{Result, io_error};
use super::super::places::Places;
use super::super::record::Record;

impl Containers {
    /// What the host can do.
    pub(crate) fn facts(&self) -> Result<&Facts> {
        if let Some(facts) = self.inner.facts.get() {
            return Ok(facts);
        }
        let facts = Facts::gather()?;
        Ok(self.inner.facts.get_or_init(|| facts))
    }

    /// The runtime's `config.json`.
    pub(super) fn configure(&self, record: &Record, places: &Places) -> Result<serde_json::Value> {
        let settings = &record.settings;
        let facts = self.facts()?;
        let mounts = self.attach_mounts(record)?;
        // The runtime is started in the same mount namespace.
        let mountinfo = Path::new("/proc/self/mountinfo");
        let on_host = std::fs::read_to_string(mountinfo).map_err(io_error("read", mountinfo))?;
        spec::check_propagation(&mounts, &on_host)?;
        let with_runtime;
        let facts = match mounts.iter().any(|mount| mount.read_only != ReadOnly::No) {
            true => {
                let runtime = self.runtime(record.settings.host.runtime.as_deref())?;
                with_runtime = facts.with_runtime(runtime.features().as_deref());
                &with_runtime
            }
            false => facts,
        };
        let hostname = self.hostname(record);
        let kept = self.write_files(record, places, &hostname)?;
        let security = &settings.host.security;
        let user = settings.execution.user.as_deref().unwrap_or("");
        let user = spec::user::resolve(&places.root, user, &security.groups)?;
        let devices = HostDevices::find(&settings.host)?;
        let request = spec::Request {
            id: &record.id,
            settings,
            hostname: &hostname,
            root: &places.root,
            user: &user,
            mounts: &mounts,
            files: &kept,
            join: &self.join(record)?,
            devices: &devices,
        };
        Ok(spec::config(&request, facts)?)
    }
}
