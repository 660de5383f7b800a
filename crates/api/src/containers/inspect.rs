//! `GET /containers/{id}/json`.

use lapstrake_engine::containers::{Record, State};
use lapstrake_engine::settings::{HealthStatus, Streams};
use serde_json::{Value, json};

use super::document::{self, Decided};
use super::view;
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::Daemon;
use crate::time;
use crate::version::Version;

/// All that is known of a container.
pub(super) async fn inspect(call: &Call, name: &str) -> Answered {
    let containers = &call.daemon.containers;
    let record = containers.record(name)?;
    let mut value = document(&call.daemon, &record, call.version);
    if call.query.flag("size") {
        let sizes = containers.sizes(&record.id).await?;
        value["SizeRw"] = json!(sizes.writable);
        value["SizeRootFs"] = json!(sizes.root);
    }
    answer::ok(&value)
}

fn document(daemon: &Daemon, record: &Record, version: Version) -> Value {
    let containers = &daemon.containers;
    let arguments = record.settings.arguments();
    let (path, rest) = arguments
        .split_first()
        .map_or(("", &[][..]), |(path, rest)| (&**path, rest));
    let execs = containers.running_execs(&record.id).unwrap_or_default();
    let files = containers.files(&record.id);
    let after_start = |name: &str| match record.state.started {
        Some(_) => files.join(name).display().to_string(),
        None => String::new(),
    };
    let log = containers.log_of(&record.settings.host.log);
    let (masked, read_only) = containers.hidden_paths();
    let decided = Decided {
        log_driver: &log.driver,
        runtime: containers.default_runtime(),
        masked: &masked,
        read_only: &read_only,
    };
    let mut value = json!({
        "Id": record.id,
        "Created": time::rfc3339(record.created),
        "Path": path,
        "Args": rest,
        "State": state(&record.state),
        "Image": record.image,
        "ResolvConfPath": after_start("resolv.conf"),
        "HostnamePath": after_start("hostname"),
        "HostsPath": after_start("hosts"),
        "LogPath": log_path(daemon, record),
        "Name": format!("/{}", record.name),
        "RestartCount": record.state.restarts,
        "Driver": record.driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if execs.is_empty() { Value::Null } else { json!(execs) },
        "HostConfig": document::host_config(record, decided),
        "GraphDriver": driver(daemon, record),
        "Mounts": view::mounts(daemon, record),
        "Config": config(record),
        "NetworkSettings": network_settings(daemon, record),
    });
    if !version.from(1, 44) {
        value["NetworkSettings"]["Networks"] = json!(view::networks(daemon, record));
    }
    value
}

fn driver(daemon: &Daemon, record: &Record) -> Value {
    let (layer, root) = daemon.containers.layer_dirs(&record.id);
    let mut data = json!({ "WritableDir": layer });
    if record.state.phase.has_process() {
        data["MergedDir"] = json!(root);
    }
    json!({ "Name": record.driver, "Data": data })
}

fn log_path(daemon: &Daemon, record: &Record) -> String {
    let path = daemon
        .containers
        .log_path(record)
        .filter(|_| record.state.started.is_some());
    path.map(|path| path.display().to_string())
        .unwrap_or_default()
}

fn state(state: &State) -> Value {
    let phase = state.phase;
    let mut value = json!({
        "Status": phase.name(),
        "Running": phase.has_process() || phase.is_active(),
        "Paused": phase.name() == "paused",
        "Restarting": phase.name() == "restarting",
        "OOMKilled": state.out_of_memory,
        "Dead": phase.name() == "dead",
        "Pid": state.pid.unwrap_or(0),
        "ExitCode": state.code,
        "Error": state.error,
        "StartedAt": time::or_never(state.started),
        "FinishedAt": time::or_never(state.finished),
    });
    if let Some(health) = &state.health {
        let log = health.log.iter().map(|probe| {
            let moment = |at: i128| time::rfc3339(i64::try_from(at).unwrap_or(0));
            json!({
                "Start": moment(probe.start), "End": moment(probe.end),
                "ExitCode": probe.code, "Output": probe.output,
            })
        });
        value["Health"] = json!({
            "Status": match health.status {
                HealthStatus::Starting => "starting",
                HealthStatus::Healthy => "healthy",
                HealthStatus::Unhealthy => "unhealthy",
            },
            "FailingStreak": health.failing,
            "Log": log.collect::<Vec<_>>(),
        });
    }
    value
}

/// `Config`, with the keys that Go leaves out when they are empty left out.
fn config(record: &Record) -> Value {
    let (settings, execution) = (&record.settings, &record.settings.execution);
    let Streams {
        stdin,
        stdout,
        stderr,
    } = settings.attach;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let set = |names: &std::collections::BTreeSet<String>| -> Value {
        names
            .iter()
            .map(|name| (name.clone(), json!({})))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let mut value = json!({
        "Hostname": text(&execution.hostname),
        "Domainname": text(&execution.domainname),
        "User": text(&execution.user),
        "AttachStdin": stdin,
        "AttachStdout": stdout,
        "AttachStderr": stderr,
        "Tty": settings.tty,
        "OpenStdin": settings.open_stdin,
        "StdinOnce": settings.stdin_once,
        "Env": Some(&execution.env).filter(|env| !env.is_empty()),
        "Cmd": execution.cmd,
        "Image": settings.image,
        "Volumes": match execution.volumes.is_empty() {
            true => Value::Null,
            false => set(&execution.volumes),
        },
        "WorkingDir": text(&execution.working_dir),
        "Entrypoint": execution.entrypoint,
        "OnBuild": match execution.on_build.is_empty() {
            true => Value::Null,
            false => json!(execution.on_build),
        },
        "Labels": execution.labels,
    });
    if !execution.exposed_ports.is_empty() {
        value["ExposedPorts"] = set(&execution.exposed_ports);
    }
    if let Some(healthcheck) = &execution.healthcheck {
        value["Healthcheck"] = json!(healthcheck);
    }
    if settings.network_disabled {
        value["NetworkDisabled"] = json!(true);
    }
    if let Some(signal) = &execution.stop_signal {
        value["StopSignal"] = json!(signal);
    }
    if let Some(timeout) = execution.stop_timeout {
        value["StopTimeout"] = json!(timeout);
    }
    if let Some(shell) = &execution.shell {
        value["Shell"] = json!(shell);
    }
    value
}

fn network_settings(daemon: &Daemon, record: &Record) -> Value {
    json!({
        "Bridge": "", "SandboxID": "", "SandboxKey": "", "Ports": {}, "HairpinMode": false,
        "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null, "EndpointID": "", "Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
        "MacAddress": "", "Networks": view::networks(daemon, record),
    })
}
