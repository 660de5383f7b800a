//! Devices of the host that a container gets.

use lapstrake_engine::settings::Device;
use serde::Deserialize;

/// One of `Devices`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct DeviceBody {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

impl DeviceBody {
    /// The device; in the container it has the same path if nothing else is said.
    pub(super) fn device(&self) -> Device {
        let or = |text: &String, default: &str| {
            if text.is_empty() {
                default.to_owned()
            } else {
                text.clone()
            }
        };
        Device {
            host: self.path_on_host.clone(),
            container: or(&self.path_in_container, &self.path_on_host),
            access: or(&self.cgroup_permissions, "rwm"),
        }
    }
}
