//! Our configurations beside those that dockerd 20.10 gave runc for the same wishes.
//!
//! `golden/dockerd.json` holds what dockerd wrote, in the short form of [`short`]: the first container whole, of
//! the others what differs from it. Left out on both sides are the seccomp filter, which has tests of its
//! own, rules for devices that runtimes add anyway, and zeros that say nothing. That we mask more paths is
//! newer than that dockerd, and that mounts are read-only with all that is below them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::devices::HostDevice;
use super::{Facts, Files, HostDevices, HostMount, Identity, Join, Request};
use crate::settings::{
    BlockRate, MountKind, MountPoint, MountRequest, Namespace, NetworkMode, Propagation, Rlimit,
    Settings, TmpfsOptions,
};

/// A container of ours, before it is changed.
struct Scene {
    settings: Settings,
    hostname: String,
    user: Identity,
    mounts: Vec<HostMount>,
    join: Join,
    devices: HostDevices,
    files: Files,
    facts: Facts,
}

impl Scene {
    fn new() -> Self {
        let mut settings = Settings::default();
        settings.execution.cmd = Some(words(&["sleep", "1000"]));
        settings.host.cgroup = Namespace::Host;
        let file = |name: &str| Some(Path::new("/c").join(name));
        Self {
            settings,
            hostname: "SHORT".to_owned(),
            user: Identity {
                uid: 0,
                gid: 0,
                groups: vec![0],
            },
            mounts: Vec::new(),
            join: Join::default(),
            devices: HostDevices::default(),
            files: Files {
                hosts: file("hosts"),
                hostname: file("hostname"),
                resolv_conf: file("resolv.conf"),
                shm: None,
            },
            facts: Facts {
                cgroup_parent: "/docker".to_owned(),
                recursive_read_only: false,
                ..Facts::example()
            },
        }
    }

    fn config(&self) -> Value {
        let request = Request {
            id: "ID",
            settings: &self.settings,
            hostname: &self.hostname,
            root: Path::new("/root"),
            user: &self.user,
            mounts: &self.mounts,
            files: &self.files,
            join: &self.join,
            devices: &self.devices,
        };
        short(super::config(&request, &self.facts).unwrap())
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// A configuration in the form in which it is compared.
fn short(mut config: Value) -> Value {
    let top = config.as_object_mut().unwrap();
    top.remove("ociVersion");
    let root = top["root"].as_object_mut().unwrap();
    root.remove("path");
    remove_if(root, "readonly", &json!(false));
    let process = top["process"].as_object_mut().unwrap();
    process["capabilities"]
        .as_object_mut()
        .unwrap()
        .remove("permitted");
    remove_if(process, "noNewPrivileges", &json!(false));
    let line = |mount: &Value| {
        let options: Vec<_> = list(&mount["options"]).iter().map(text).collect();
        let [at, kind, source] = ["destination", "type", "source"].map(|key| text(&mount[key]));
        json!(format!("{at} {kind} {source} {}", options.join(",")))
    };
    top["mounts"] = list(&top["mounts"]).iter().map(line).collect();
    let linux = top["linux"].as_object_mut().unwrap();
    linux.remove("seccomp");
    remove_if(linux, "devices", &json!([]));
    remove_if(linux, "sysctl", &json!({}));
    remove_if(linux, "readonlyPaths", &json!([]));
    match list(&linux["maskedPaths"]).len() {
        0 => drop(linux.remove("maskedPaths")),
        // Two more than that dockerd had: /proc/interrupts and the power meter.
        count => linux["maskedPaths"] = json!(count - 2),
    }
    let namespace = |one: &Value| match one.get("path") {
        Some(path) => json!(format!("{}={}", text(&one["type"]), text(path))),
        None => one["type"].clone(),
    };
    linux["namespaces"] = list(&linux["namespaces"]).iter().map(namespace).collect();
    let rule = |rule: &Value| {
        let what = if rule["allow"] == true {
            "allow"
        } else {
            "deny"
        };
        let part = |key: &str, other: &str| rule.get(key).map_or(other.to_owned(), text);
        let numbers = format!("{}:{}", part("major", "*"), part("minor", "*"));
        json!(format!(
            "{what} {} {numbers} {}",
            part("type", "a"),
            part("access", "")
        ))
    };
    let devices = list(&linux["resources"]["devices"])
        .iter()
        .map(rule)
        .collect();
    linux["resources"]["devices"] = devices;
    config
}

fn remove_if(object: &mut Map<String, Value>, key: &str, value: &Value) {
    if object.get(key) == Some(value) {
        object.remove(key);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// What of `one` differs in `other`: null where there is nothing.
fn differs(one: &Value, other: &Value) -> Option<Value> {
    let (Some(before), Some(after)) = (one.as_object(), other.as_object()) else {
        return (one != other).then(|| other.clone());
    };
    let mut all = Map::new();
    for key in before.keys().chain(after.keys()) {
        let difference = match (before.get(key), after.get(key)) {
            (Some(before), Some(after)) => differs(before, after),
            (_, after) => Some(after.cloned().unwrap_or(Value::Null)),
        };
        if let Some(difference) = difference {
            all.insert(key.clone(), difference);
        }
    }
    (!all.is_empty()).then_some(Value::Object(all))
}

fn first() -> Scene {
    let mut scene = Scene::new();
    scene.settings.host.ipc = Namespace::Shareable;
    scene.files.shm = Some("/c/shm".into());
    scene
}

#[track_caller]
fn check(name: &str, change: impl FnOnce(&mut Scene)) {
    let golden: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("golden/dockerd.json")).unwrap();
    let base = &golden["def"]["config"];
    assert_eq!(first().config(), *base);
    let mut scene = Scene::new();
    change(&mut scene);
    let ours = differs(base, &scene.config()).unwrap_or(json!({}));
    let theirs = &golden[name];
    assert_eq!(ours, theirs["differs"], "docker run {}", theirs["run"]);
}

#[test]
fn capabilities() {
    check("capadd", |scene| {
        scene.settings.host.security.cap_add = words(&["NET_ADMIN", "sys_ptrace"]);
        scene.settings.host.security.cap_drop = words(&["CHOWN"]);
    });
    check("dropall", |scene| {
        scene.settings.host.security.cap_add = words(&["NET_BIND_SERVICE"]);
        scene.settings.host.security.cap_drop = words(&["ALL"]);
    });
}

#[test]
fn users() {
    let is = |uid, gid, groups: &[u32]| Identity {
        uid,
        gid,
        groups: groups.to_vec(),
    };
    check("user", |scene| scene.user = is(1000, 1001, &[1001, 50, 60]));
    check("user2", |scene| scene.user = is(1000, 1, &[1, 50, 77]));
}

#[test]
fn security_options() {
    check("sec", |scene| {
        let options = ["no-new-privileges", "seccomp=unconfined"];
        scene.settings.host.security.options = words(&options);
    });
    check("paths", |scene| {
        scene.settings.host.security.masked_paths = Some(Vec::new());
        scene.settings.host.security.read_only_paths = Some(Vec::new());
    });
    check("ro", |scene| {
        scene.settings.host.security.read_only_root = true;
        scene.settings.host.shm_size = Some(32 << 20);
        scene.mounts = vec![tmpfs("/tmp", &["size=10m", "exec"])];
    });
}

#[test]
fn the_process() {
    check("init", |scene| scene.settings.host.init = true);
    check("ttyo", |scene| {
        scene.settings.tty = true;
        scene.hostname = "myhost".to_owned();
        let execution = &mut scene.settings.execution;
        execution.domainname = Some("dom".to_owned());
        execution.env = words(&["A=1", "B"]);
        execution.working_dir = Some("/srv/dir".to_owned());
    });
    check("ulim", |scene| {
        let limit = |name: &str, soft, hard| Rlimit {
            name: name.to_owned(),
            soft,
            hard,
        };
        scene.settings.host.resources.rlimits =
            vec![limit("core", 0, 0), limit("nofile", 1000, 2000)];
    });
}

#[test]
fn namespaces_and_control_groups() {
    check("hostns", |scene| {
        scene.hostname = "vm".to_owned();
        let host = &mut scene.settings.host;
        host.network = NetworkMode::Host;
        for namespace in [&mut host.pid, &mut host.ipc, &mut host.uts] {
            *namespace = Namespace::Host;
        }
    });
    check("none", |scene| {
        scene.settings.host.network = NetworkMode::None;
        scene.settings.host.ipc = Namespace::None;
    });
    check("join", |scene| {
        let of = || "def".to_owned();
        let host = &mut scene.settings.host;
        host.network = NetworkMode::Container(of());
        host.pid = Namespace::Container(of());
        host.ipc = Namespace::Container(of());
        let at = |kind: &str| Some(PathBuf::from(format!("/proc/7/ns/{kind}")));
        scene.join = Join {
            network: at("net"),
            ipc: at("ipc"),
            pid: at("pid"),
        };
        scene.files.shm = Some("/c/shm".into());
    });
    check("cgp", |scene| {
        scene.settings.host.cgroup = Namespace::Private;
        scene.settings.host.resources.cgroup_parent = Some("/foo".to_owned());
    });
    check("sysc", |scene| {
        for (key, value) in [("net.ipv4.ip_forward", "1"), ("kernel.msgmax", "65536")] {
            scene
                .settings
                .host
                .sysctls
                .insert(key.to_owned(), value.to_owned());
        }
    });
}

#[test]
fn limits_and_devices() {
    check("lim", |scene| {
        let host = &mut scene.settings.host;
        host.oom_score = Some(100);
        let resources = &mut host.resources;
        resources.memory = Some(64 << 20);
        resources.memory_reservation = Some(32 << 20);
        resources.memory_swap = Some(128 << 20);
        resources.swappiness = Some(10);
        resources.nano_cpus = Some(500_000_000);
        resources.cpu_shares = Some(512);
        resources.cpuset_cpus = Some("0".to_owned());
        resources.pids = Some(100);
        resources.read_bytes = vec![BlockRate {
            path: "/dev/vda".to_owned(),
            rate: 1 << 20,
        }];
        scene.devices.blocks.insert("/dev/vda".to_owned(), (254, 0));
    });
    check("dev", |scene| {
        let node = |path: &str, is_block, number, access: &str| HostDevice {
            path: path.into(),
            is_block,
            number,
            mode: 0o600,
            uid: 0,
            gid: 0,
            access: access.to_owned(),
        };
        scene.devices.nodes = vec![
            node("/dev/fuse", false, (10, 229), "rwm"),
            node("/dev/xloop", true, (7, 0), "r"),
        ];
        scene.settings.host.device_rules = words(&["c 42:* rmw"]);
    });
}

fn tmpfs(at: &str, options: &[&str]) -> HostMount {
    let mut point = MountPoint {
        kind: MountKind::Tmpfs,
        destination: at.into(),
        writable: true,
        ..MountPoint::default()
    };
    point.tmpfs.options = words(options);
    HostMount::of(&point, Path::new("")).unwrap()
}

#[test]
fn mounts() {
    let point = |kind, at: &str, writable| MountPoint {
        kind,
        destination: at.into(),
        writable,
        ..MountPoint::default()
    };
    let bind = |source: &str, at: &str, writable, change: &dyn Fn(&mut MountPoint)| {
        let mut point = point(MountKind::Bind, at, writable);
        change(&mut point);
        HostMount::of(&point, Path::new(source)).unwrap()
    };
    check("vols", |scene| {
        let mut sized = point(MountKind::Tmpfs, "/v", false);
        sized.tmpfs = TmpfsOptions {
            size: Some(1_000_000),
            mode: Some(0o700),
            options: Vec::new(),
        };
        sized.request = Some(MountRequest::default());
        let volume = point(MountKind::Volume, "/data", false);
        let slave = |point: &mut MountPoint| point.bind.propagation = Some(Propagation::Rslave);
        let shared = |point: &mut MountPoint| point.bind.propagation = Some(Propagation::Rshared);
        scene.mounts = vec![
            bind("/tmp", "/a/b/c", false, &|_| {}),
            bind("/var/tmp", "/a/b", true, &slave),
            HostMount::of(&volume, Path::new("/v/vol")).unwrap(),
            bind("/opt", "/opt", true, &shared),
            bind("/tmp", "/nr", true, &|point| {
                point.bind.non_recursive = true
            }),
            tmpfs("/t", &["noexec", "size=1m"]),
            tmpfs("/u", &[]),
            HostMount::of(&sized, Path::new("")).unwrap(),
        ];
    });
}
