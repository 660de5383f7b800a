//! On machines of one's own: another kernel, and a server of files.

use std::path::Path;
use std::process::Command;

use crate::scene::{Scene, nobody, with_options};

/// Runs a script in a machine with a kernel of this release, with a disk at /var/tmp and this program as
/// `/tmp/volumes`. Nothing if there is none.
fn machine(test: &str, release: &str, script: &str) -> Option<String> {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED {test}: LAPSTRAKE_VM_RUN names no vm-run");
        return None;
    };
    let script = format!(
        "cp \"$0\" /tmp/volumes && mkfs.ext4 -q /dev/vda && mount /dev/vda /var/tmp && \
         export TMPDIR=/var/tmp && ulimit -n 20000 && {script}"
    );
    let output = Command::new(vm_run)
        .args([
            "--kernel", release, "--disk", "2G", "--", "sh", "-c", &script,
        ])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "kernel {release}: {told}");
    Some(told)
}

#[test]
fn vm_volumes_on_an_older_kernel() {
    let script = "/tmp/volumes --test-threads 1 --nocapture --skip vm_ --skip image::";
    if let Some(told) = machine("vm_volumes_on_an_older_kernel", "6.1", script) {
        assert!(!told.contains("SKIPPED"), "{told}");
    }
}

#[test]
fn vm_a_volume_on_a_server_that_goes_holds_up_no_other() {
    let test = "vm_a_volume_on_a_server_that_goes_holds_up_no_other";
    let script = "modprobe nfsd nfs && ip link set lo up && mkdir -p /srv/x/sub \
         /var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs && touch /etc/exports && \
         mount -t tmpfs none /srv/x && mkdir /srv/x/sub && mount -t nfsd nfsd /proc/fs/nfsd && \
         echo 10 > /proc/fs/nfsd/nfsv4leasetime && echo 10 > /proc/fs/nfsd/nfsv4gracetime && \
         exportfs -o rw,no_root_squash,no_subtree_check,insecure,fsid=0 '*:/srv/x' && \
         rpc.nfsd -N 3 4 && rpc.mountd -N 3 && \
         IN_THE_MACHINE=1 /tmp/volumes --exact machine::a_server_goes --nocapture";
    if let Some(told) = machine(test, "6.1", script) {
        assert!(told.contains("a server went"), "{told}");
    }
}

/// In the machine: a volume on a server that is named by its name, and then goes.
#[test]
fn a_server_goes() {
    if std::env::var_os("IN_THE_MACHINE").is_none() {
        return;
    }
    let scene = Scene::new();
    let options = [
        ("type", "nfs4"),
        ("device", ":/sub"),
        ("o", "addr=localhost,rw,vers=4.2,hard,timeo=50,retrans=2"),
    ];
    scene
        .volumes
        .create(&with_options("served", &options))
        .unwrap();
    scene.volumes.create(&crate::scene::named("data")).unwrap();
    let path = scene.volumes.attach("served", "c1").unwrap();
    std::fs::write(path.join("file"), "on the server").unwrap();
    let there = std::fs::read_to_string(Path::new("/srv/x/sub/file")).unwrap();
    assert_eq!(there, "on the server");
    // From here on nothing that asks the server comes back.
    assert!(
        Command::new("rpc.nfsd")
            .arg("0")
            .status()
            .unwrap()
            .success()
    );
    let begun = std::time::Instant::now();
    assert_eq!(scene.names(), ["data", "served"]);
    scene.volumes.attach("data", "c2").unwrap();
    assert_eq!(scene.volumes.sizes().len(), 1);
    scene.volumes.detach("served", "c1").unwrap();
    scene.volumes.remove("served", &nobody).unwrap();
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    println!("a server went");
}
