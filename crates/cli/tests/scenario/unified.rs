//! The docker command on a machine with control groups of the second version alone, as most machines have them now,
//! and with each runtime that is there.

use std::process::Command;

/// What the machine does: `$0` is our program, `$1` the runtime.
const SCRIPT: &str = r#"
set -eu
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for name in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$name" > /sys/fs/cgroup/cgroup.subtree_control
done
mkfs.ext4 -q /dev/vda
mount /dev/vda /mnt
mkdir -p /mnt/box/bin
cp /bin/busybox /mnt/box/bin/
for name in sh cat echo sleep touch tail; do ln -s busybox "/mnt/box/bin/$name"; done

export DOCKER_HOST=unix:///run/l.sock DOCKER_CONFIG=/mnt/client
trap 'echo "ended with $?"; cat /mnt/log' EXIT
serve() {
    "$program" --root /mnt/root --run-dir /run/l daemon -H "$DOCKER_HOST" --runtime "$runtime" >> /mnt/log 2>&1 &
    daemon=$!
    for _ in $(seq 200); do docker version > /dev/null 2>&1 && return; sleep 0.1; done
}
told() { echo "$1: $(shift; "$@" 2>&1)" || true; }
program=$0 runtime=$1
serve
tar -C /mnt/box -c . | docker import - box > /dev/null
told info docker info --format '{{.DefaultRuntime}} {{.CgroupVersion}} {{.SecurityOptions}}'
told run docker run --rm --network none box echo hi
docker run -d --name one --network none -m 64m --cpus 0.5 --pids-limit 50 --storage-opt size=64M \
    -v data:/data box sh -c 'echo begun; touch /data/x; exec sleep 1000' > /dev/null
told namespace docker inspect -f '{{.HostConfig.CgroupnsMode}}' one
told group docker exec one cat /proc/self/cgroup
told memory docker exec one cat /sys/fs/cgroup/memory.max
told cpu docker exec one cat /sys/fs/cgroup/cpu.max
told pids docker exec one cat /sys/fs/cgroup/pids.max
told stats docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one
docker pause one > /dev/null
told paused docker inspect -f '{{.State.Status}}' one
docker unpause one > /dev/null
docker update -m 32m --memory-swap 32m one > /dev/null
told updated docker exec one cat /sys/fs/cgroup/memory.max
told exec sh -c 'docker exec one sh -c "exit 7"; echo $?'
kill -9 $daemon
wait $daemon || true
serve
told "after a kill" docker exec one echo still
told log docker logs one
docker kill one > /dev/null
told killed docker wait one
told "out of memory" sh -c 'docker run --name two --network none -m 32m --memory-swap 32m box tail /dev/zero > /dev/null 2>&1; echo $?'
told oom docker inspect -f '{{.State.OOMKilled}}' two

docker rm one two > /dev/null
"#;

const TOLD: &str = "\
run: hi
namespace: private
group: 0::/
memory: 67108864
cpu: 50000 100000
pids: 50
paused: paused
updated: 33554432
exec: 7
after a kill: still
log: begun
killed: 137
out of memory: 137
oom: true
";

#[track_caller]
fn check(test: &str, runtime: &str) {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED {test}: LAPSTRAKE_VM_RUN names no vm-run");
        return;
    };
    for tool in ["docker", "busybox", runtime] {
        if Command::new(tool).arg("--help").output().is_err() {
            eprintln!("SKIPPED {test}: needs {tool}");
            return;
        }
    }
    let output = Command::new(vm_run)
        .args(["--kernel", "6.12", "--disk", "2G", "--timeout", "400"])
        .args(["--", "sh", "-c", SCRIPT, env!("CARGO_BIN_EXE_lapstrake")])
        .arg(runtime)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let lines: Vec<_> = said.lines().collect();
    for line in TOLD.lines() {
        assert!(lines.contains(&line), "{line} is missing:\n{said}");
    }
    let info = format!("info: {runtime} 2 [name=seccomp,profile=builtin name=cgroupns]");
    assert!(lines.contains(&&*info), "{said}");
    assert!(said.contains("MiB / 64MiB 1\n"), "{said}");
    assert!(lines.contains(&"ended with 0"), "{said}");
}

#[test]
fn vm_scenario_docker_with_runc_on_control_groups_of_version_2() {
    check(
        "vm_scenario_docker_with_runc_on_control_groups_of_version_2",
        "runc",
    );
}

#[test]
fn vm_scenario_docker_with_crun_on_control_groups_of_version_2() {
    check(
        "vm_scenario_docker_with_crun_on_control_groups_of_version_2",
        "crun",
    );
}
