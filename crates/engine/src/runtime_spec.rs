//! What `lapstrake run` asks of an OCI runtime: a container as Docker would make it, without a network.

use std::path::Path;

use serde_json::Value;

use lapstrake_container::settings::{Namespace, NetworkMode, Settings};
use lapstrake_container::spec::{self, Facts, Files, HostDevices, Join, Request, user};
use lapstrake_oci::Config;

use crate::error::Result;

/// Makes the runtime's configuration; `None` if there is no command to run.
pub(crate) fn build(
    config: &Config,
    command: &[String],
    name: &str,
    root: &Path,
) -> Result<Option<Value>> {
    let settings = settings(config, command);
    if settings.arguments().is_empty() {
        return Ok(None);
    }
    let user = settings.execution.user.as_deref().unwrap_or_default();
    let request = Request {
        id: name,
        settings: &settings,
        hostname: name,
        root,
        user: &user::resolve(root, user, &[])?,
        mounts: &[],
        files: &Files::default(),
        join: &Join::default(),
        devices: &HostDevices::default(),
    };
    Ok(Some(spec::config(&request, &Facts::gather()?)?))
}

/// What is given replaces the image's `Cmd`; the `Entrypoint` stays in front.
fn settings(config: &Config, command: &[String]) -> Settings {
    let mut settings = Settings {
        execution: config.config.clone(),
        ..Settings::default()
    };
    if !command.is_empty() {
        settings.execution.cmd = Some(command.to_vec());
    }
    // An image does not say what its containers are called.
    settings.execution.domainname = None;
    settings.host.network = NetworkMode::None;
    settings.host.cgroup = Namespace::Private;
    settings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(text: &str) -> Config {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{text}}}"#
        );
        lapstrake_oci::Parsed::<Config>::config(text.into_bytes())
            .unwrap()
            .value()
            .clone()
    }

    fn args(text: &str, command: &[&str]) -> Option<Value> {
        let command: Vec<_> = command.iter().map(|&word| word.to_owned()).collect();
        let spec = build(&config(text), &command, "c", Path::new("/nowhere")).unwrap()?;
        Some(spec["process"]["args"].clone())
    }

    #[test]
    fn a_command_replaces_cmd_and_keeps_the_entrypoint() {
        assert_eq!(args(r#"{"Cmd":["sh"]}"#, &[]), Some(json!(["sh"])));
        assert_eq!(args(r#"{"Cmd":["sh"]}"#, &["ls"]), Some(json!(["ls"])));
        let both = r#"{"Entrypoint":["run"],"Cmd":["x"]}"#;
        assert_eq!(args(both, &["y"]), Some(json!(["run", "y"])));
        assert_eq!(args(both, &[]), Some(json!(["run", "x"])));
        assert_eq!(args("{}", &[]), None);
    }
}
