//! The same under other kernels, with control groups of the second version, and there with crun too: it takes no
//! groups of both versions at once, which is what many machines that build have.

use std::process::Command;

use crate::scene::RUNTIME;

/// What the guest does before the tests.
const SCRIPT: &str = r#"
[ "$IN_VM" = tcg ] || [ "$IN_VM" = uml ] || { echo "this is no guest" >&2; exit 99; }
umount -R /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 99
for name in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$name" > /sys/fs/cgroup/cgroup.subtree_control
done
exec "$0" privileged_ --test-threads 1
"#;

fn check(release: &str, runtime: &str) {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED vm tests of {runtime}, {release}: LAPSTRAKE_VM_RUN names no vm-run");
        return;
    };
    let mut command = Command::new(vm_run);
    command.args([
        "--kernel",
        release,
        "--timeout",
        "400",
        "--env",
        &format!("{RUNTIME}={runtime}"),
        "--",
        "/bin/sh",
        "-c",
        SCRIPT,
    ]);
    let status = command.arg(std::env::current_exe().unwrap()).status();
    assert!(
        status.unwrap().success(),
        "{runtime}, kernel {release}: see above"
    );
}

#[test]
fn vm_containers_run_with_kernel_6_12() {
    check("6.12", "runc");
}

#[test]
fn vm_containers_run_with_kernel_6_1() {
    check("6.1", "runc");
}

#[test]
fn vm_containers_run_with_crun() {
    if Command::new("crun").arg("--version").output().is_err() {
        eprintln!("SKIPPED vm_containers_run_with_crun: install crun");
        return;
    }
    check("6.12", "crun");
}
