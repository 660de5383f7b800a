//! Whether the kernel killed a process of a container for want of memory: the cgroup counts it.

use std::path::Path;

/// Where the counter of a cgroup may be: version 1, version 2, and version 2 beside version 1.
const FILES: [(&str, &str); 3] = [
    ("/sys/fs/cgroup/memory", "memory.oom_control"),
    ("/sys/fs/cgroup", "memory.events"),
    ("/sys/fs/cgroup/unified", "memory.events"),
];

/// Looks at the cgroup with that path, which must still exist.
pub(super) fn killed(cgroup: &str) -> bool {
    let cgroup = cgroup.trim_start_matches('/');
    FILES.iter().any(|(mount, file)| {
        let path = Path::new(mount).join(cgroup).join(file);
        std::fs::read_to_string(path).is_ok_and(|text| counts_kills(&text))
    })
}

fn counts_kills(text: &str) -> bool {
    let count = |line: &str| line.strip_prefix("oom_kill ")?.parse::<u64>().ok();
    text.lines().filter_map(count).any(|kills| kills > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions() {
        assert!(counts_kills(
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"
        ));
        assert!(!counts_kills(
            "oom_kill_disable 0\nunder_oom 1\noom_kill 0\n"
        ));
        assert!(counts_kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\n"));
        assert!(!counts_kills(""));
    }
}
