//! The same on other kernels.

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

#[test]
fn vm_room_contract_on_linux_6_12() {
    other_kernel("6.12");
}

#[test]
fn vm_room_contract_on_linux_6_1() {
    other_kernel("6.1");
}
