//! How an image is run, as Docker writes it.

use lapstrake_oci::Execution;
use serde_json::{Value, json};

use crate::version::Version;

/// From 1.50 on only what is set; before that, everything that a container's config has too.
pub(crate) fn config(execution: &Execution, version: Version) -> Value {
    let set = serde_json::to_value(execution).unwrap_or_default();
    if version.from(1, 50) {
        return set;
    }
    let mut all = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null,
        "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
        "OnBuild": null, "Labels": null,
    });
    if let (Some(all), Value::Object(set)) = (all.as_object_mut(), set) {
        all.extend(set);
    }
    all
}
