//! An image's config as an OCI runtime `config.json` (runtime specification 1.0), with the
//! defaults of `docker run`: its capabilities, mounts and masked paths.

use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde_json::{Value, json};

use lapstrake_oci::Config;

use crate::error::{Error, Result};

const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];
const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// User and group files longer than this are not read further.
const MAX_USER_FILE_BYTES: u64 = 1 << 20;

/// Makes the spec; `None` if there is no command to run.
pub(crate) fn build(
    config: &Config,
    command: &[String],
    name: &str,
    root: &Path,
) -> Result<Option<Value>> {
    let execution = &config.config;
    let args = arguments(execution, command);
    if args.is_empty() {
        return Ok(None);
    }
    let (uid, gid) = user(execution.user.as_deref().unwrap_or(""), root)?;
    let mut env = execution.env.clone();
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.insert(0, DEFAULT_PATH.to_owned());
    }
    let cwd = execution
        .working_dir
        .as_deref()
        .filter(|dir| dir.starts_with('/'))
        .unwrap_or("/");
    // As in Docker, another user than root gets no capabilities but those it may gain by exec.
    let held: &[&str] = if uid == 0 { &CAPABILITIES } else { &[] };
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    Ok(Some(json!({
        "ociVersion": "1.0.2",
        "hostname": name,
        "root": { "path": "rootfs", "readonly": false },
        "process": {
            "terminal": false,
            "user": { "uid": uid, "gid": gid },
            "args": args,
            "env": env,
            "cwd": cwd,
            "capabilities": { "bounding": CAPABILITIES, "effective": held, "permitted": held },
        },
        "mounts": mounts(),
        "linux": {
            "namespaces": namespaces,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })))
}

/// What is given replaces the image's `Cmd`; the `Entrypoint` stays in front.
fn arguments(execution: &lapstrake_oci::config::Execution, command: &[String]) -> Vec<String> {
    let own = execution.cmd.as_deref().unwrap_or_default();
    let tail = if command.is_empty() { own } else { command };
    execution
        .entrypoint
        .iter()
        .flatten()
        .chain(tail)
        .cloned()
        .collect()
}

fn mounts() -> Value {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    json!([
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"]
        ),
        mount(
            "/dev/pts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5"
            ]
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ])
}

/// `USER[:GROUP]`, each a number or a name from the image's own files.
fn user(text: &str, root: &Path) -> Result<(u32, u32)> {
    if text.is_empty() {
        return Ok((0, 0));
    }
    let unknown = || Error::NoUser(text.to_owned());
    let (user, group) = text
        .split_once(':')
        .map_or((text, None), |(user, group)| (user, Some(group)));
    let passwd = read_in(root, "etc/passwd");
    let entry = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&user) || fields.get(2) == Some(&user));
    let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u32>().ok());
    let uid = number(entry.as_ref().and_then(|fields| fields.get(2)))
        .or_else(|| user.parse().ok())
        .ok_or_else(unknown)?;
    let gid = match group {
        None => number(entry.as_ref().and_then(|fields| fields.get(3))).unwrap_or(0),
        Some(group) => read_in(root, "etc/group")
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&group))
            .and_then(|fields| number(fields.get(2)))
            .or_else(|| group.parse().ok())
            .ok_or_else(unknown)?,
    };
    Ok((uid, gid))
}

/// Reads a file of the image. Its symbolic links lead nowhere but into the image.
fn read_in(root: &Path, path: &str) -> String {
    let open = || {
        let dir = rustix::fs::open(
            root,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::fs::openat2(
            &dir,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    };
    let mut bytes = Vec::new();
    if let Ok(fd) = open() {
        // What can't be read has no users: the caller says so.
        drop(
            std::fs::File::from(fd)
                .take(MAX_USER_FILE_BYTES)
                .read_to_end(&mut bytes),
        );
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn users_are_looked_up_in_the_image_only() {
        use std::io::Write as _;
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let put = |name: &str, text: &str| {
            let mut file = std::fs::File::create(root.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        put(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n",
        );
        put("etc/group", "staff:x:50:\n");
        let user = |text: &str| user(text, root.path()).ok();
        assert_eq!(user(""), Some((0, 0)));
        assert_eq!(user("app"), Some((1000, 1001)));
        assert_eq!(user("1000"), Some((1000, 1001)));
        assert_eq!(user("app:staff"), Some((1000, 50)));
        assert_eq!(user("7:8"), Some((7, 8)));
        assert_eq!(user("nobody"), None);
        std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("etc/passwd")).unwrap();
        assert_eq!(user("daemon"), None);
    }
}
