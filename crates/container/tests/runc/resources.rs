//! Limits that the kernel keeps.

use lapstrake_container::settings::{Namespace, Settings};
use lapstrake_container::spec::{CgroupVersion, Facts};

use crate::check;

const MB: i64 = 1024 * 1024;

fn limited(settings: &mut Settings) {
    let resources = &mut settings.host.resources;
    resources.memory = Some(64 * MB);
    resources.memory_swap = Some(128 * MB);
    resources.memory_reservation = Some(32 * MB);
    resources.swappiness = Some(10);
    resources.nano_cpus = Some(500_000_000);
    resources.cpu_shares = Some(512);
    resources.cpuset_cpus = Some("0".to_owned());
    resources.pids = Some(100);
    settings.host.oom_score = Some(100);
    settings.host.cgroup = Namespace::Private;
}

#[test]
fn privileged_control_groups_have_the_limits() {
    match Facts::gather().unwrap().cgroup {
        CgroupVersion::V1 => check(
            "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes \
             memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.cfs_quota_us \
             cpu/cpu.shares cpuset/cpuset.cpus pids/pids.max /proc/self/oom_score_adj",
            limited,
            "67108864\n134217728\n33554432\n10\n50000\n512\n0\n100\n100",
        ),
        CgroupVersion::V2 => check(
            "cd /sys/fs/cgroup; cat memory.max memory.swap.max memory.low cpu.max cpu.weight \
             cpuset.cpus pids.max /proc/self/oom_score_adj",
            limited,
            "67108864\n67108864\n33554432\n50000 100000\n20\n0\n100\n100",
        ),
    }
}

#[test]
fn privileged_a_weight_is_given_or_left_out() {
    check(
        "echo runs",
        |settings| settings.host.resources.block_weight = Some(500),
        "runs",
    );
}

#[test]
fn privileged_who_wants_more_memory_is_killed() {
    check(
        "head -c 100m /dev/zero | tail > /dev/null; echo $?",
        |settings| {
            settings.host.resources.memory = Some(16 * MB);
            settings.host.resources.memory_swap = Some(16 * MB);
        },
        "137\nKilled",
    );
}

#[test]
fn privileged_kernel_settings_are_its_own() {
    check(
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start",
        |settings| {
            for (key, value) in [("net.ipv4.ip_forward", "1"), ("kernel.msgmax", "65536")] {
                settings
                    .host
                    .sysctls
                    .insert(key.to_owned(), value.to_owned());
            }
        },
        "1\n65536\n0",
    );
}
