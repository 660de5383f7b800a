//! What clients send of a container to be made: Docker's names, made settings.
//!
//! Go writes `null` for what is empty, and clients leave out what they don't mean: both are the default.

mod device;
mod host;
mod modes;
mod ports;
mod resources;
mod restart;

use lapstrake_engine::settings::Execution;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Failure;
use host::HostConfig;
pub(super) use resources::ResourcesBody;
pub(super) use restart::RestartPolicyBody;

/// The body of `POST /containers/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default, expecting = "an object")]
pub(super) struct Body {
    #[serde(flatten)]
    pub(super) execution: Execution,
    pub(super) attach_stdin: bool,
    pub(super) attach_stdout: bool,
    pub(super) attach_stderr: bool,
    pub(super) tty: bool,
    pub(super) open_stdin: bool,
    pub(super) stdin_once: bool,
    pub(super) image: String,
    pub(super) network_disabled: bool,
    pub(super) host_config: HostConfig,
}

/// Reads a document in which `null` is the default.
pub(super) fn read<T: serde::de::DeserializeOwned>(mut value: Value) -> Result<T, Failure> {
    without_nulls(&mut value);
    serde_json::from_value(value)
        .map_err(|error| Failure::invalid(format!("invalid JSON: {error}")))
}

fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A text, unless it is empty.
pub(super) fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use lapstrake_engine::settings::{CgroupVersion, HostSettings, Namespace, NetworkMode, When};
    use serde_json::json;

    use super::*;

    fn body(value: Value) -> Body {
        read(value).expect("a body")
    }

    #[test]
    fn what_is_null_or_missing_is_the_default() {
        let body = body(json!({
            "Image": "busybox", "Cmd": ["echo", "hi"], "Env": null, "Entrypoint": null, "Labels": {},
            "Volumes": {"/anon": {}},
            "HostConfig": {
                "Binds": null, "PidsLimit": 0, "MemorySwappiness": -1, "ConsoleSize": [0, 0],
                "MaskedPaths": null, "NetworkMode": "default", "ShmSize": 0, "Ulimits": [],
            },
        }));
        assert_eq!(body.image, "busybox");
        assert_eq!(
            body.execution.cmd.as_deref(),
            Some(&["echo".to_owned(), "hi".to_owned()][..])
        );
        assert!(body.execution.volumes.contains("/anon"));
        let host = body
            .host_config
            .settings(CgroupVersion::V1)
            .expect("settings");
        let defaults = HostSettings {
            cgroup: Namespace::Host,
            ..HostSettings::default()
        };
        assert_eq!(host, defaults);
    }

    #[test]
    fn control_groups_are_its_own_as_in_docker() {
        let own = |mode: &str, version| {
            let body = body(json!({"HostConfig": {"CgroupnsMode": mode}}));
            let host = body.host_config.settings(version).expect("settings");
            host.cgroup == Namespace::Private
        };
        let versions = [CgroupVersion::V1, CgroupVersion::V2];
        assert_eq!(versions.map(|version| own("", version)), [false, true]);
        assert_eq!(versions.map(|version| own("host", version)), [false; 2]);
        assert_eq!(versions.map(|version| own("private", version)), [true; 2]);
    }

    #[test]
    fn limits_and_namespaces_are_read() {
        let body = body(json!({"Image": "a", "HostConfig": {
            "Memory": 10_485_760, "NanoCpus": 500_000_000, "IpcMode": "shareable",
            "PidMode": "container:other", "NetworkMode": "container:other", "UTSMode": "host",
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "", "CgroupPermissions": ""}],
            "BlkioDeviceReadIOps": [{"Path": "/dev/vda", "Rate": 7}],
        }}));
        let host = body
            .host_config
            .settings(CgroupVersion::V1)
            .expect("settings");
        assert_eq!(host.resources.memory, Some(10_485_760));
        assert_eq!(host.ipc, Namespace::Shareable);
        assert_eq!(host.pid, Namespace::Container("other".to_owned()));
        assert_eq!(host.network, NetworkMode::Container("other".to_owned()));
        assert_eq!(
            (host.restart.when, host.restart.times_max),
            (When::OnFailure, 3)
        );
        assert_eq!(
            (&*host.devices[0].container, &*host.devices[0].access),
            ("/dev/null", "rwm")
        );
        assert_eq!(host.resources.read_operations[0].rate, 7);
        assert_eq!(host.resources.rlimits[0].hard, 20);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for host in [
            json!({"IpcMode": "nonsense"}),
            json!({"RestartPolicy": {"Name": "sometimes"}}),
            json!({"MemorySwappiness": 101}),
            json!({"ShmSize": -1}),
            json!({"Links": ["a:b"]}),
            json!({"PortBindings": {"http": []}}),
            json!({"DeviceRequests": [{"Count": -1}]}),
        ] {
            let body = body(json!({"Image": "a", "HostConfig": host}));
            let error = body.host_config.settings(CgroupVersion::V1);
            let error = error.expect_err("refused");
            assert_eq!(error.status, 400, "{}", error.message);
        }
    }
}
