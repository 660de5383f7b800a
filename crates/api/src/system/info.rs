//! What is running here, on what, and how.

use std::sync::Arc;
use std::time::SystemTime;

use lapstrake_bridge::blocking;
use lapstrake_engine::containers::{Containers, Phase};
use lapstrake_engine::settings::{CgroupVersion, Namespace};
use lapstrake_engine::{StorageInfo, rfc3339};
use serde_json::{Value, json};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::{Daemon, LEVEL};
use crate::error::Failure;
use crate::system::machine::Machine;

/// What is asked once and does not change while the daemon runs.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// The machine.
    pub(crate) machine: Machine,
    /// How roots are made.
    pub(crate) storage: StorageInfo,
    /// What runs containers.
    pub(crate) runtime: Runtime,
    /// A name for this daemon and its store.
    pub(crate) id: String,
}

/// What an OCI runtime says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runtime {
    /// The program's name.
    pub(crate) name: String,
    /// Where it is, as was configured.
    pub(crate) path: String,
    /// Its version; empty if it does not say.
    pub(crate) version: String,
    /// What it was built from.
    pub(crate) commit: String,
}

impl Runtime {
    /// Asks it. One that does not answer has no version.
    fn ask(path: &str) -> Self {
        let said = std::process::Command::new(path).arg("--version").output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Self::of(path, &said.unwrap_or_default())
    }

    fn of(path: &str, said: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let after = |word: &str| {
            let mut lines = said.lines();
            let rest = lines.find_map(|line| line.strip_prefix(word));
            rest.unwrap_or_default().trim().to_owned()
        };
        let version = after(&format!("{name} version "));
        Self {
            commit: Some(after("commit: "))
                .filter(|commit| !commit.is_empty())
                .unwrap_or_else(|| version.clone()),
            name: name.to_owned(),
            path: path.to_owned(),
            version,
        }
    }
}

/// Asks for what does not change, the first time.
pub(crate) async fn fixed(daemon: &Arc<Daemon>) -> Result<Arc<Fixed>, Failure> {
    let asking = Arc::clone(daemon);
    let fixed = daemon.fixed.get_or_try_init(move || ask(asking)).await?;
    Ok(Arc::clone(fixed))
}

async fn ask(daemon: Arc<Daemon>) -> Result<Arc<Fixed>, Failure> {
    let ask = move || {
        Ok::<_, Failure>(Fixed {
            // What the driver tries may load modules of the kernel.
            storage: daemon.engine.storage()?,
            machine: Machine::look(),
            runtime: Runtime::ask(&daemon.settings.runtime),
            id: id_of(&daemon),
        })
    };
    Ok(Arc::new(blocking(ask).await??))
}

/// The same for the same store on the same machine.
fn id_of(daemon: &Daemon) -> String {
    let root = daemon.engine.root().display();
    let text = format!("daemon on {} over {root}", daemon.settings.hostname);
    let digest = lapstrake_oci::Algorithm::Sha256.digest(text.as_bytes());
    let hex = digest.hex();
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

/// `GET /info`.
pub(super) async fn info(call: Call) -> Answered {
    let daemon = &call.daemon;
    let fixed = fixed(daemon).await?;
    let engine = daemon.engine.clone();
    let images = blocking(move || engine.count_images()).await??;
    let mut info = document(daemon, &fixed, images);
    gate(&mut info, &call);
    answer::ok(&info)
}

/// Fields that older versions of the API have besides.
fn gate(info: &mut Value, call: &Call) {
    if !call.version.from(1, 50) {
        info["BridgeNfIptables"] = json!(false);
        info["BridgeNfIp6tables"] = json!(false);
    }
    if !call.version.from(1, 49) {
        for part in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            info[part]["Expected"] = info[part]["ID"].clone();
        }
    }
}

/// Fields in groups, since one list of all would be too long for the macro, and for a reader.
fn document(daemon: &Daemon, fixed: &Fixed, images: usize) -> Value {
    let groups = [
        counts(daemon, images),
        abilities(&fixed.machine),
        system(&fixed.machine),
        engine(daemon, fixed),
        runtimes(&daemon.containers, &fixed.runtime),
        absent(),
    ];
    let fields = groups.into_iter().filter_map(|group| match group {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect())
}

fn counts(daemon: &Daemon, images: usize) -> Value {
    let records = daemon.containers.records();
    let count = |is: fn(Phase) -> bool| {
        let phases = records.iter().map(|record| record.state.phase);
        phases.filter(|phase| is(*phase)).count()
    };
    json!({
        "Containers": records.len(),
        "ContainersRunning": count(|phase| matches!(phase, Phase::Running | Phase::Restarting)),
        "ContainersPaused": count(|phase| phase == Phase::Paused),
        "ContainersStopped": count(|phase| !phase.is_active()),
        "Images": images,
    })
}

/// What limits the kernel can hold containers to.
fn abilities(machine: &Machine) -> Value {
    let of_old = machine.controls("memory") && machine.cgroup == CgroupVersion::V1;
    json!({
        "MemoryLimit": machine.controls("memory"),
        "SwapLimit": machine.controls("memory"),
        "KernelMemoryTCP": of_old,
        "CpuCfsPeriod": machine.controls("cpu"),
        "CpuCfsQuota": machine.controls("cpu"),
        "CPUShares": machine.controls("cpu"),
        "CPUSet": machine.controls("cpuset"),
        "PidsLimit": machine.controls("pids"),
        "IPv4Forwarding": machine.forwards,
        "OomKillDisable": of_old,
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": match machine.cgroup {
            CgroupVersion::V1 => "1",
            CgroupVersion::V2 => "2",
        },
    })
}

fn system(machine: &Machine) -> Value {
    json!({
        "SystemTime": rfc3339(SystemTime::now()),
        "KernelVersion": machine.kernel,
        "OperatingSystem": machine.system,
        "OSVersion": machine.system_version,
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "NCPU": machine.processors,
        "MemTotal": machine.memory,
    })
}

fn engine(daemon: &Daemon, fixed: &Fixed) -> Value {
    let (storage, settings) = (&fixed.storage, &daemon.settings);
    let status: Vec<_> = storage.status.iter().map(|(k, v)| [k, v]).collect();
    json!({
        "ID": fixed.id,
        "Name": settings.hostname,
        "ServerVersion": LEVEL,
        "Driver": storage.choice.driver.as_str(),
        "DriverStatus": status,
        "DockerRootDir": daemon.engine.root(),
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "local", "none"],
        },
        "LoggingDriver": settings.log_driver,
        "NFd": open_files(),
        "NEventsListener": daemon.engine.events().listeners(),
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries(daemon),
        "NoProxy": settings.registries.proxies.except.clone().unwrap_or_default(),
        "LiveRestoreEnabled": true,
        "SecurityOptions": security(fixed.machine.cgroup),
        "Warnings": warnings(fixed),
    })
}

/// What keeps containers apart by default.
fn security(cgroup: CgroupVersion) -> Vec<&'static str> {
    let mut options = vec!["name=seccomp,profile=builtin"];
    if cgroup.default_namespace() == Namespace::Private {
        options.push("name=cgroupns");
    }
    options
}

fn runtimes(containers: &Containers, runtime: &Runtime) -> Value {
    let all = containers.runtimes();
    let all = all.map(|(name, path)| (name.to_owned(), json!({ "path": path })));
    json!({
        "Runtimes": all.collect::<serde_json::Map<_, _>>(),
        "DefaultRuntime": containers.default_runtime(),
        "InitBinary": "docker-init",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": runtime.commit },
        "InitCommit": { "ID": "" },
    })
}

/// What Docker has and this has not. A proxy's URL may hold a password: none is told.
fn absent() -> Value {
    json!({
        "Debug": false,
        "NGoroutines": 0,
        "GenericResources": null,
        "HttpProxy": "",
        "HttpsProxy": "",
        "Labels": [],
        "ExperimentalBuild": false,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": false,
            "Error": "",
            "RemoteManagers": null,
        },
        "Isolation": "",
        "CDISpecDirs": [],
    })
}

/// What a person should know of the storage that was chosen.
fn warnings(fixed: &Fixed) -> Value {
    let storage = &fixed.storage;
    let without = storage
        .without_effect
        .iter()
        .map(|option| format!("WARNING: storage option without effect: {option}"));
    let notes = storage
        .choice
        .notes
        .iter()
        .map(|note| format!("WARNING: {note}"));
    let all: Vec<_> = without.chain(notes).collect();
    if all.is_empty() {
        Value::Null
    } else {
        json!(all)
    }
}

fn registries(daemon: &Daemon) -> Value {
    let mirrors = &daemon.settings.registries.mirrors;
    let urls = |registry: &str| -> Vec<String> {
        let places = mirrors.get(registry).into_iter().flatten();
        places
            .map(|mirror| format!("https://{}/{}", mirror.host, mirror.prefix))
            .collect()
    };
    let hub = urls("docker.io");
    json!({
        "IndexConfigs": {
            "docker.io": { "Mirrors": hub, "Name": "docker.io", "Official": true, "Secure": true },
        },
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "Mirrors": hub,
    })
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_says_what_it_is() {
        let said = "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\n";
        let runc = Runtime::of("/usr/bin/runc", said);
        assert_eq!((&*runc.name, &*runc.path), ("runc", "/usr/bin/runc"));
        assert_eq!(runc.version, "1.1.5+ds1");
        assert_eq!(runc.commit, "1.1.5+ds1-1+deb12u1");
        let crun = Runtime::of("crun", "crun version 1.8.1\n");
        assert_eq!((&*crun.version, &*crun.commit), ("1.8.1", "1.8.1"));
        assert_eq!(Runtime::of("none", "").version, "");
    }
}
