//! What is mounted in a container: what every one has, the files that the engine keeps for it, and what
//! its settings ask for, in an order in which none hides another.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Error, Facts, Request, Result, process, security};
use crate::mounts;
use crate::settings::{MountKind, MountPoint, Namespace, Propagation};

/// Something that is mounted in a container, by its path on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// Where in the container: absolute.
    pub destination: PathBuf,
    /// What.
    pub shown: Shown,
    /// Whether it can be written there.
    pub read_only: ReadOnly,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A file or directory of the host.
    Host {
        /// Its path.
        source: PathBuf,
        /// Whether mounts below it are there too.
        recursive: bool,
        /// Whether mounts that come later are.
        propagation: Option<Propagation>,
    },
    /// A tmpfs.
    Memory {
        /// All its mount options.
        options: Vec<String>,
    },
}

/// Whether a mount can't be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadOnly {
    /// It can.
    #[default]
    No,
    /// It can't, nor mounts below it if kernel and runtime can see to that.
    Recursive,
    /// It can't, nor mounts below it, or the container does not start.
    ForceRecursive,
    /// It can't, but mounts below it can as before.
    TopOnly,
}

impl HostMount {
    /// A mount point of a container's record. `source` is where on the host what it shows is; a tmpfs is
    /// nowhere.
    ///
    /// # Errors
    /// If it is a tmpfs with options that no tmpfs has.
    pub fn of(point: &MountPoint, source: &Path) -> std::result::Result<Self, mounts::Error> {
        let shown = match point.kind {
            MountKind::Tmpfs => Shown::Memory {
                options: mounts::tmpfs_options(point)?,
            },
            MountKind::Bind => Shown::Host {
                source: source.to_owned(),
                recursive: !point.bind.non_recursive,
                propagation: Some(point.bind.propagation.unwrap_or(Propagation::Rprivate)),
            },
            MountKind::Volume | MountKind::Image => Shown::Host {
                source: source.to_owned(),
                recursive: true,
                propagation: point.bind.propagation,
            },
        };
        let read_only = match (point.writable, &point.bind) {
            (true, _) => ReadOnly::No,
            (false, bind) if bind.read_only_force_recursive => ReadOnly::ForceRecursive,
            (false, bind) if bind.read_only_non_recursive => ReadOnly::TopOnly,
            (false, _) => ReadOnly::Recursive,
        };
        Ok(Self {
            destination: point.destination.clone(),
            shown,
            read_only,
        })
    }
}

/// All mounts of a container.
#[derive(Debug)]
pub(super) struct Mounts {
    /// In order.
    pub(super) list: Vec<Mount>,
    /// How mounts in its root propagate, if one of them needs that.
    pub(super) propagation: Option<&'static str>,
}

/// A mount, as the runtime has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mount {
    destination: PathBuf,
    #[serde(rename = "type")]
    kind: &'static str,
    source: PathBuf,
    options: Vec<String>,
}

/// Where System V and POSIX memory is shared.
const SHM: &str = "/dev/shm";
/// Bytes of it, unless settings say otherwise.
const SHM_SIZE: u64 = 64 << 20;
/// What stays writable in a container whose root is read-only.
const ALWAYS_WRITABLE: [&str; 5] = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];

/// All mounts of a container, in order: its own, then what is asked for, the deeper later.
pub(super) fn all(request: &Request<'_>, facts: &Facts) -> Result<Mounts> {
    let security = &request.settings.host.security;
    let options = security::Options::parse(&security.options, facts)?;
    let is_asked_for = |at: &Path| {
        let mut asked = request
            .mounts
            .iter()
            .map(|mount| mount.destination.as_path());
        asked.any(|asked| asked == at || (at.starts_with("/dev") && asked == Path::new("/dev")))
    };
    let mut own = own(request, facts)?;
    own.retain(|mount| !is_asked_for(&mount.destination));
    for mount in &mut own {
        let writable_cgroups = security.privileged || options.writable_cgroups;
        let is_system = mount.destination == Path::new("/sys");
        if mount.kind == "cgroup" && writable_cgroups
            || is_system && security.privileged && !security.read_only_root
        {
            mount.options.retain(|option| option != "ro");
        } else if security.read_only_root
            && !ALWAYS_WRITABLE
                .iter()
                .any(|path| mount.destination == Path::new(path))
            && !mount.options.iter().any(|option| option == "ro")
        {
            mount.options.push("ro".to_owned());
        }
    }
    let mut asked = Vec::new();
    let mut propagation = None;
    for mount in request.mounts {
        asked.push(converted(mount, facts, &mut propagation)?);
    }
    let mut kept = files(request);
    kept.extend(shared_memory(request)?);
    kept.retain(|mount| !is_asked_for(&mount.destination));
    asked.append(&mut kept);
    asked.sort_by_key(|mount| mount.destination.components().count());
    own.append(&mut asked);
    Ok(Mounts {
        list: own,
        propagation,
    })
}

/// What every container has.
fn own(request: &Request<'_>, facts: &Facts) -> Result<Vec<Mount>> {
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
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
                "gid=5",
            ],
        ),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            &["ro", "nosuid", "noexec", "nodev"],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    mounts.extend(own_memory(request));
    if process::has_init(request.settings) {
        let Some(init) = &facts.init else {
            return Err(Error::NotHere {
                what: "an init (docker-init or tini)".to_owned(),
                remedy: "install tini, or run the container without --init",
            });
        };
        let options = ["bind", "ro"].map(str::to_owned).to_vec();
        mounts.push(bind(Path::new(process::INIT), init, options));
    }
    Ok(mounts)
}

/// Memory that its processes share among each other only.
fn own_memory(request: &Request<'_>) -> Option<Mount> {
    let host = &request.settings.host;
    match (&host.ipc, &request.files.shm) {
        (Namespace::Shareable | Namespace::Private, None) => {}
        _ => return None,
    }
    let size = host.shm_size.filter(|size| *size > 0).unwrap_or(SHM_SIZE);
    let words = ["nosuid", "noexec", "nodev", "mode=1777"];
    let mut own = mount(SHM, "tmpfs", &words);
    own.source = PathBuf::from("shm");
    own.options.push(format!("size={size}"));
    Some(own)
}

/// Memory that they share with another container, or with the host.
fn shared_memory(request: &Request<'_>) -> Result<Option<Mount>> {
    let at = Path::new(SHM);
    let shared = |source: &Path| Ok(Some(bind(at, source, options(&["rbind", "rprivate"]))));
    match (&request.settings.host.ipc, &request.files.shm) {
        (Namespace::None, _) | (Namespace::Shareable | Namespace::Private, None) => Ok(None),
        (Namespace::Host, _) => shared(at),
        (Namespace::Container(_) | Namespace::Shareable | Namespace::Private, Some(path)) => {
            shared(path)
        }
        (Namespace::Container(id), None) => Err(Error::NotJoined {
            kind: "ipc",
            container: id.clone(),
        }),
    }
}

/// The files that the engine keeps for it.
fn files(request: &Request<'_>) -> Vec<Mount> {
    let files = request.files;
    let given = [
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/hostname", &files.hostname),
        ("/etc/hosts", &files.hosts),
    ];
    let words: &[&str] = match request.settings.host.security.read_only_root {
        true => &["rbind", "ro", "rprivate"],
        false => &["rbind", "rprivate"],
    };
    let file = |(at, source): (&str, &Option<PathBuf>)| {
        Some(bind(Path::new(at), source.as_deref()?, options(words)))
    };
    given.into_iter().filter_map(file).collect()
}

fn converted(asked: &HostMount, facts: &Facts, root: &mut Option<&'static str>) -> Result<Mount> {
    let (source, recursive, propagation) = match &asked.shown {
        Shown::Memory { options } => {
            let mut made = mount("/", "tmpfs", &[]);
            made.destination.clone_from(&asked.destination);
            made.options.clone_from(options);
            return Ok(made);
        }
        Shown::Host {
            source,
            recursive,
            propagation,
        } => (source, *recursive, *propagation),
    };
    let mut options = options(&[if recursive { "rbind" } else { "bind" }]);
    match asked.read_only {
        ReadOnly::No => {}
        ReadOnly::Recursive if recursive && facts.recursive_read_only => {
            options.push("rro".to_owned());
        }
        ReadOnly::ForceRecursive if !facts.recursive_read_only => {
            return Err(Error::NotHere {
                what: "a mount that is read-only with all mounts below it".to_owned(),
                remedy: "it needs Linux 5.12 and a runtime that knows rro; use bind-recursive=writable",
            });
        }
        ReadOnly::ForceRecursive => options.push("rro".to_owned()),
        ReadOnly::Recursive | ReadOnly::TopOnly => options.push("ro".to_owned()),
    }
    if let Some(propagation) = propagation {
        options.push(propagation.name().to_owned());
        needs(propagation, root);
    }
    Ok(bind(&asked.destination, source, options))
}

/// What the root's propagation must be at least for a mount in it to propagate.
fn needs(propagation: Propagation, root: &mut Option<&'static str>) {
    match propagation {
        Propagation::Shared | Propagation::Rshared => *root = Some("shared"),
        Propagation::Slave | Propagation::Rslave if root.is_none() => *root = Some("rslave"),
        Propagation::Slave | Propagation::Rslave | Propagation::Private | Propagation::Rprivate => {
        }
    }
}

fn mount(at: &str, kind: &'static str, words: &[&str]) -> Mount {
    Mount {
        destination: PathBuf::from(at),
        kind,
        source: PathBuf::from(kind),
        options: options(words),
    }
}

fn bind(at: &Path, source: &Path, options: Vec<String>) -> Mount {
    Mount {
        destination: at.to_owned(),
        kind: "bind",
        source: source.to_owned(),
        options,
    }
}

fn options(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
