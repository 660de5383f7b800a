//! What the host can do, gathered once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::error::io_error;
use super::{Error, Result, capability};
use crate::settings::{Namespace, Resources};

/// What the host can do, and what the daemon may on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Capabilities that the daemon has, and so can give.
    pub capabilities: Vec<&'static str>,
    /// The kernel's version.
    pub kernel: (u32, u32),
    /// The processor's architecture, as Rust calls it.
    pub architecture: &'static str,
    /// The host's name.
    pub hostname: String,
    /// Which control groups there are.
    pub cgroup: CgroupVersion,
    /// Below which the groups of containers are made, unless they ask for another.
    pub cgroup_parent: String,
    /// Whether swap can be limited.
    pub swap_limit: bool,
    /// Whether block devices are shared out by weight.
    pub block_weight: bool,
    /// Processors that can be used: `0-3`; empty if nobody knows.
    pub cpuset_cpus: String,
    /// Memory nodes that can be used.
    pub cpuset_mems: String,
    /// How many processors there are.
    pub cpus: u32,
    /// The daemon's own hard limits that it can't raise, by the name that `ulimit` has for them.
    pub rlimits: BTreeMap<&'static str, u64>,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
    /// Whether AppArmor is in force.
    pub apparmor: bool,
    /// Whether SELinux is in force.
    pub selinux: bool,
    /// Whether kernel and runtime can make a mount read-only with all mounts below it.
    pub recursive_read_only: bool,
    /// Kernel settings that a network namespace of its own gets, as far as this kernel has them.
    pub network_sysctls: BTreeMap<&'static str, &'static str>,
    /// Paths that tell more of this host's hardware than a container need know.
    pub hardware_paths: Vec<String>,
    /// A small init for containers that ask for one.
    pub init: Option<PathBuf>,
}

/// Which control groups there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupVersion {
    /// A hierarchy for each controller, maybe with an empty unified one beside them.
    V1,
    /// One hierarchy.
    V2,
}

impl CgroupVersion {
    /// The host's (cgroups(7), "Mounting"): only the second version has a list of controllers at the top.
    pub fn of_host() -> Self {
        match Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            true => Self::V2,
            false => Self::V1,
        }
    }

    /// Whose control groups a container sees if nobody says: as in Docker, the host's of the first version.
    pub const fn default_namespace(self) -> Namespace {
        match self {
            Self::V1 => Namespace::Host,
            Self::V2 => Namespace::Private,
        }
    }
}

/// The parent of control groups, unless configured.
const CGROUP_PARENT: &str = "/lapstrake";
/// The programs that can be an init, best first.
const INITS: [&str; 3] = ["docker-init", "tini-static", "tini"];
const PROGRAM_DIRS: [&str; 4] = [
    "/usr/local/bin",
    "/usr/bin",
    "/usr/local/libexec/docker",
    "/usr/libexec/docker",
];
/// mount_setattr(2) came with it.
const RECURSIVE_READ_ONLY: (u32, u32) = (5, 12);
/// Its own network namespace lets a container listen on low ports and use ping without capabilities.
const NETWORK_SYSCTLS: [(&str, &str); 2] = [
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

impl Facts {
    /// Looks at the host.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn gather() -> Result<Self> {
        let kernel = kernel(&read("/proc/sys/kernel/osrelease")?);
        let status = read("/proc/self/status")?;
        let capabilities = capabilities(&status);
        let rlimits = match capabilities.contains(&"CAP_SYS_RESOURCE") {
            true => BTreeMap::new(),
            false => hard_limits(),
        };
        let cgroup = CgroupVersion::of_host();
        let cpuset = |file: &str| cpuset(cgroup, file);
        let cpuset_cpus = cpuset("cpus")?;
        Ok(Self {
            capabilities,
            kernel,
            architecture: std::env::consts::ARCH,
            hostname: read("/proc/sys/kernel/hostname")?.trim().to_owned(),
            cgroup,
            cgroup_parent: CGROUP_PARENT.to_owned(),
            swap_limit: match cgroup {
                CgroupVersion::V1 => exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"),
                CgroupVersion::V2 => exists("/proc/swaps"),
            },
            block_weight: shares_blocks(cgroup)?,
            cpus: processors(&cpuset_cpus),
            cpuset_cpus,
            cpuset_mems: cpuset("mems")?,
            rlimits,
            seccomp: status.lines().any(|line| line.starts_with("Seccomp:")),
            apparmor: exists("/sys/kernel/security/apparmor/profiles"),
            selinux: exists("/sys/fs/selinux/enforce"),
            recursive_read_only: kernel >= RECURSIVE_READ_ONLY,
            network_sysctls: NETWORK_SYSCTLS
                .into_iter()
                .filter(|(key, _)| exists(&format!("/proc/sys/{}", key.replace('.', "/"))))
                .collect(),
            hardware_paths: hardware_paths()?,
            init: init(),
        })
    }

    /// What holds with a runtime that says this of itself (`runtime features`), or nothing.
    ///
    /// A mount option that a runtime does not know it hands to the kernel, which takes it for nothing: then
    /// the mount would be writable.
    #[must_use]
    pub fn with_runtime(&self, features: Option<&str>) -> Self {
        let features = features.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let options = features
            .as_ref()
            .and_then(|features| features["mountOptions"].as_array());
        let knows = options.is_some_and(|options| options.iter().any(|option| option == "rro"));
        Self {
            recursive_read_only: self.recursive_read_only && knows,
            ..self.clone()
        }
    }

    /// The control group of a container.
    ///
    /// # Errors
    /// If the parent that its settings name leads upwards.
    pub fn cgroup_path(&self, resources: &Resources, id: &str) -> Result<PathBuf> {
        let given = resources
            .cgroup_parent
            .as_deref()
            .filter(|parent| !parent.is_empty());
        let parent = Path::new(given.unwrap_or(&self.cgroup_parent));
        if parent.components().any(|part| part == Component::ParentDir) {
            return Err(Error::Malformed {
                what: "cgroup-parent",
                text: parent.display().to_string(),
            });
        }
        Ok(Path::new("/").join(parent).join(id))
    }

    /// Facts of an ordinary host, for tests.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        Self {
            capabilities: capability::ALL.to_vec(),
            kernel: (6, 12),
            architecture: "x86_64",
            hostname: "host".to_owned(),
            cgroup: CgroupVersion::V1,
            cgroup_parent: CGROUP_PARENT.to_owned(),
            swap_limit: true,
            block_weight: true,
            cpuset_cpus: "0-3".to_owned(),
            cpuset_mems: "0".to_owned(),
            cpus: 4,
            rlimits: BTreeMap::new(),
            seccomp: true,
            apparmor: false,
            selinux: false,
            recursive_read_only: true,
            network_sysctls: NETWORK_SYSCTLS.into_iter().collect(),
            hardware_paths: Vec::new(),
            init: Some(PathBuf::from("/usr/bin/docker-init")),
        }
    }
}

fn exists(path: &str) -> bool {
    Path::new(path).exists()
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(io_error("read", path))
}

/// A file that some kernels don't have.
fn read_if_there(path: &str) -> Result<String> {
    match read(path) {
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// Whether groups have a weight for block devices. In the second version the root has none, but shows by
/// another file that iocost gives it to the others; BFQ gives it when it is loaded.
fn shares_blocks(version: CgroupVersion) -> Result<bool> {
    let root = Path::new("/sys/fs/cgroup");
    let has = |dir: &Path, names: &[&str]| names.iter().any(|name| dir.join(name).exists());
    match version {
        CgroupVersion::V1 => Ok(has(
            &root.join("blkio"),
            &["blkio.weight", "blkio.bfq.weight"],
        )),
        CgroupVersion::V2 if has(root, &["io.cost.qos"]) => Ok(true),
        CgroupVersion::V2 => {
            for entry in std::fs::read_dir(root).map_err(io_error("read", root))? {
                let dir = entry.map_err(io_error("read", root))?.path();
                if has(&dir, &["io.weight", "io.bfq.weight"]) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// `6.18.4-rc1` is 6.18.
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What this process may do, and let others do.
fn capabilities(status: &str) -> Vec<&'static str> {
    let set = |key: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(key));
        text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
            .unwrap_or(0)
    };
    let held = set("CapEff:") & set("CapBnd:");
    let all = capability::ALL.into_iter().enumerate();
    all.filter(|(number, _)| held >> number & 1 == 1)
        .map(|(_, name)| name)
        .collect()
}

fn hard_limits() -> BTreeMap<&'static str, u64> {
    use rustix::process::{Resource, getrlimit};
    [
        ("core", Resource::Core),
        ("cpu", Resource::Cpu),
        ("data", Resource::Data),
        ("fsize", Resource::Fsize),
        ("locks", Resource::Locks),
        ("memlock", Resource::Memlock),
        ("msgqueue", Resource::Msgqueue),
        ("nice", Resource::Nice),
        ("nofile", Resource::Nofile),
        ("nproc", Resource::Nproc),
        ("rss", Resource::Rss),
        ("rtprio", Resource::Rtprio),
        ("rttime", Resource::Rttime),
        ("sigpending", Resource::Sigpending),
        ("stack", Resource::Stack),
    ]
    .into_iter()
    .filter_map(|(name, resource)| Some((name, getrlimit(resource).maximum?)))
    .collect()
}

/// Processors or memory nodes of the root group.
fn cpuset(version: CgroupVersion, of: &str) -> Result<String> {
    let text = match version {
        CgroupVersion::V1 => {
            read_if_there(&format!("/sys/fs/cgroup/cpuset/cpuset.effective_{of}"))?
        }
        CgroupVersion::V2 => read_if_there(&format!("/sys/fs/cgroup/cpuset.{of}.effective"))?,
    };
    Ok(text.trim().to_owned())
}

fn processors(cpuset: &str) -> u32 {
    let listed = super::limits::Set::parse(cpuset).map_or(0, |set| set.len());
    let online = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match listed {
        0 => u32::try_from(online()).unwrap_or(u32::MAX),
        listed => listed,
    }
}

fn hardware_paths() -> Result<Vec<String>> {
    let dir = "/sys/devices/system/cpu";
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read", dir))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(io_error("read", dir))?
            .path()
            .join("thermal_throttle");
        if path.exists() {
            paths.extend(path.to_str().map(str::to_owned));
        }
    }
    paths.sort();
    Ok(paths)
}

fn init() -> Option<PathBuf> {
    let all = INITS
        .iter()
        .flat_map(|name| PROGRAM_DIRS.map(|dir| Path::new(dir).join(name)));
    all.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_known_by_two_numbers() {
        assert_eq!(kernel("6.18.44"), (6, 18));
        assert_eq!(kernel("5.10-rc3+"), (5, 10));
        assert_eq!(kernel("odd"), (0, 0));
    }

    #[test]
    fn capabilities_are_those_that_are_held_and_bounded() {
        let status = "Name:\tx\nCapEff:\t0000000000000007\nCapBnd:\t000001fffefffffb\n";
        assert_eq!(capabilities(status), ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    }

    #[test]
    fn mounts_are_read_only_with_what_is_below_if_the_runtime_knows_how() {
        let with = |features| Facts::example().with_runtime(features).recursive_read_only;
        assert!(with(Some(r#"{"mountOptions":["ro","rro"]}"#)));
        for without in [
            None,
            Some(""),
            Some("{}"),
            Some(r#"{"mountOptions":["ro"]}"#),
        ] {
            assert!(!with(without), "{without:?}");
        }
    }

    #[test]
    fn this_host_has_facts() {
        let facts = Facts::gather().unwrap();
        assert!(facts.kernel > (4, 0) && facts.cpus > 0, "{facts:?}");
    }
}
