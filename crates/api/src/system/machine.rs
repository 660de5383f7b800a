//! What the machine says of itself, as `docker info` tells it.

use lapstrake_engine::settings::CgroupVersion;

/// The architecture, as Go calls it.
pub(crate) const GO_ARCH: &str = if cfg!(target_arch = "x86_64") {
    "amd64"
} else if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    std::env::consts::ARCH
};

/// What does not change while the daemon runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Such as 6.12.48.
    pub(crate) kernel: String,
    /// Such as Debian GNU/Linux 12 (bookworm).
    pub(crate) system: String,
    /// Such as 12.
    pub(crate) system_version: String,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Processors.
    pub(crate) processors: usize,
    /// Which control groups there are.
    pub(crate) cgroup: CgroupVersion,
    /// The controllers there are.
    pub(crate) controllers: Vec<String>,
    /// Whether packets are sent on.
    pub(crate) forwards: bool,
}

impl Machine {
    /// Looks around. What can't be read is not known.
    pub(crate) fn look() -> Self {
        let release = read("/etc/os-release");
        let field = |name| field(&release, name);
        let cgroup = CgroupVersion::of_host();
        let controllers = match cgroup {
            CgroupVersion::V1 => enabled(&read("/proc/cgroups")),
            CgroupVersion::V2 => words(&read("/sys/fs/cgroup/cgroup.controllers")),
        };
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: field("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            system_version: field("VERSION_ID").unwrap_or_default(),
            memory: memory(&read("/proc/meminfo")),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            cgroup,
            controllers,
            forwards: read("/proc/sys/net/ipv4/ip_forward").trim() == "1",
        }
    }

    /// Whether there is a controller.
    pub(crate) fn controls(&self, name: &str) -> bool {
        self.controllers.iter().any(|known| known == name)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// From a file of shell assignments.
fn field(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// The names of the first version's controllers that are not switched off.
fn enabled(table: &str) -> Vec<String> {
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let columns = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let on = columns.filter(|columns| columns.get(3) == Some(&"1"));
    on.map(|columns| columns[0].to_owned()).collect()
}

fn memory(meminfo: &str) -> u64 {
    let mut lines = meminfo.lines();
    let total = lines.find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_and_the_system_are_read() {
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\n";
        assert_eq!(field(release, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(
            field(release, "PRETTY_NAME").as_deref(),
            Some("Debian GNU/Linux 12 (bookworm)")
        );
        assert_eq!(field(release, "NAME"), None);
        assert_eq!(
            memory("MemTotal:       24684092 kB\nMemFree: 1 kB\n"),
            25_276_510_208
        );
        assert_eq!(memory(""), 0);
        let table =
            "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t1\t1\nhugetlb\t0\t1\t0\n";
        assert_eq!(enabled(table), ["cpu"]);
    }
}
