//! The same on other kernels, and what only a machine of one's own can show.

use std::fs::File;

use crate::support::{run, text};
use crate::trouble::SCENE;

/// All tests of rooms on another kernel: once held to limits, once as root is by default.
fn other_kernel(release: &str) {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED vm tests with kernel {release}: LAPSTRAKE_VM_RUN names no vm-run");
        return;
    };
    let tests = std::env::current_exe().unwrap();
    // The guest sees the host's files at their paths until the disk covers /var/tmp.
    let script = "cp \"$0\" /tmp/rooms && mkfs.ext4 -q /dev/vda && mount /dev/vda /var/tmp && \
         setpriv --bounding-set=-sys_resource /tmp/rooms privileged_ --test-threads 1 --nocapture && \
         exec /tmp/rooms grows_under_a_root --nocapture";
    let output = std::process::Command::new(vm_run)
        .args([
            "--kernel", release, "--disk", "4G", "--", "sh", "-c", script,
        ])
        .arg(tests)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kernel {release}: {told}");
    assert!(!told.contains("SKIPPED"), "kernel {release}: {told}");
}

/// Rooms are written in while the power goes, on a disk that stays; then they are opened again.
#[test]
fn vm_room_in_an_image_survives_power_cuts() {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!(
            "SKIPPED vm_room_in_an_image_survives_power_cuts: LAPSTRAKE_VM_RUN names no vm-run"
        );
        return;
    };
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let disk = dir.path().join("disk");
    File::create(&disk).unwrap().set_len(2 << 30).unwrap();
    run(&["mkfs.ext4", "-q", text(&disk)]);
    let tests = std::env::current_exe().unwrap();
    let boot = |script: &str| {
        let script = format!("cp \"$0\" /tmp/rooms && mount /dev/vda /var/tmp && {script}");
        let output = std::process::Command::new(&vm_run)
            .args(["--disk", text(&disk), "--", "sh", "-c", &script])
            .arg(&tests)
            .output()
            .unwrap();
        (
            output.status,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let child = |name: &str| {
        format!(
            "mkdir -p /var/tmp/s/disk && {SCENE}=/var/tmp/s /tmp/rooms --exact trouble::{name} --nocapture"
        )
    };
    for round in 0..4 {
        // When files of a new room are on disk, and then at another moment each time.
        let told = "ls /var/tmp/s/told 2>/dev/null | wc -l";
        let cut = format!(
            "n=$({told}); ({}) & while [ $({told}) -le $n ]; do sleep 0.2; done; \
             sleep {round}.{round}; echo b > /proc/sysrq-trigger; sleep 60",
            child("power_cut_child"),
        );
        let (status, told) = boot(&cut);
        assert!(!status.success(), "the power did not go: {told}");
        let (status, told) = boot(&child("after_power_cut_child"));
        assert!(status.success(), "round {round}: {status} {told}");
    }
}

#[test]
fn vm_room_contract_on_linux_6_12() {
    other_kernel("6.12");
}

#[test]
fn vm_room_contract_on_linux_6_1() {
    other_kernel("6.1");
}
