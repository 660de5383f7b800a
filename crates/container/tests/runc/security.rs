//! What a container may not do.

use lapstrake_container::settings::Device;

use crate::{check, words};

#[test]
fn privileged_default_capabilities_and_filter_are_dockers() {
    check(
        "grep -E 'Cap(Eff|Bnd|Inh|Amb)|Seccomp:|NoNew' /proc/self/status",
        |_| {},
        "CapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n\
         CapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2",
    );
}

#[test]
fn privileged_capabilities_are_added_and_dropped() {
    check(
        "grep CapEff /proc/self/status; chown 1 /tmp",
        |settings| {
            settings.host.security.cap_add = words(&["NET_ADMIN"]);
            settings.host.security.cap_drop = words(&["CHOWN"]);
        },
        "CapEff:\t00000000a80435fa\nchown: /tmp: Operation not permitted",
    );
}

#[test]
fn privileged_refused_calls_are_not_permitted() {
    check(
        "mount -t tmpfs x /tmp; unshare -m true; unshare -U true; dmesg; reboot -n -f; hostname x",
        |_| {},
        "mount: permission denied (are you root?)\n\
         unshare: unshare(0x20000): Operation not permitted\n\
         unshare: unshare(0x10000000): Operation not permitted\n\
         dmesg: klogctl: Operation not permitted\n\
         reboot: (null): Operation not permitted\n\
         hostname: sethostname: Operation not permitted",
    );
}

#[test]
fn privileged_a_profile_of_ones_own_counts() {
    let profile = r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["chmod","fchmodat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#;
    check(
        "chmod 700 /tmp; unshare -U true && echo free",
        |settings| settings.host.security.options = words(&[profile]),
        "free\nchmod: /tmp: Operation not supported",
    );
}

#[test]
fn privileged_no_profile_filters_nothing() {
    check(
        "grep -E 'Seccomp:|NoNew' /proc/self/status",
        |settings| {
            let options = words(&["seccomp=unconfined", "no-new-privileges"]);
            settings.host.security.options = options;
        },
        "NoNewPrivs:\t1\nSeccomp:\t0",
    );
}

#[test]
fn privileged_paths_are_masked_and_read_only() {
    check(
        "wc -c < /proc/timer_list; ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness; \
         touch /sys/x; grep -cE ' /proc/(sys|irq|bus|fs) proc ro' /proc/mounts; \
         cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; touch x",
        |_| {},
        "0\n0\n4\n\
         sh: can't create /proc/sys/vm/swappiness: Read-only file system\n\
         touch: /sys/x: Read-only file system\n\
         touch: x: Read-only file system",
    );
}

#[test]
fn privileged_a_privileged_one_may_all_that_the_daemon_may() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status
        .lines()
        .find(|line| line.starts_with("CapEff"))
        .unwrap();
    check(
        "grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp && echo mounted; \
         [ -c /dev/fuse ] && echo fuse; grep -c ' /sys sysfs rw' /proc/mounts; echo 60 > /proc/sys/vm/swappiness && echo set",
        |settings| settings.host.security.privileged = true,
        &format!("{held}\nSeccomp:\t0\nmounted\nfuse\n1\nset"),
    );
}

#[test]
fn privileged_devices_are_those_that_are_given() {
    check(
        "stat -c '%F %t:%T %a' /dev/x; head -c 1 /dev/x | wc -c; echo > /dev/x; \
         mknod /tmp/kmsg c 1 11; cat /tmp/kmsg",
        |settings| {
            settings.host.devices = vec![Device {
                host: "/dev/zero".to_owned(),
                container: "/dev/x".to_owned(),
                access: "r".to_owned(),
            }];
        },
        "character special file 1:5 666\n1\ncat: can't open '/tmp/kmsg': Operation not permitted",
    );
}
