//! Ordinary programs run under the default filter, and calls that it refuses are refused as in Docker.

use std::os::unix::fs::symlink;
use std::path::Path;

use lapstrake_container::spec::{HostMount, ReadOnly, Shown};

use crate::scene::{Scene, runtime};

/// A root in which the host's programs are.
fn scene() -> Option<Scene> {
    let mut scene = Scene::new()?;
    let show = |path: &str| HostMount {
        destination: path.into(),
        shown: Shown::Host {
            source: path.into(),
            recursive: true,
            propagation: None,
        },
        read_only: ReadOnly::TopOnly,
    };
    scene.mounts = ["/usr", "/etc/alternatives", "/etc/ssl"].map(show).to_vec();
    scene.mounts.extend(
        Path::new("/etc/java-17-openjdk")
            .exists()
            .then(|| show("/etc/java-17-openjdk")),
    );
    for dir in ["lib", "lib64"] {
        symlink(format!("usr/{dir}"), scene.root().join(dir)).unwrap();
    }
    Some(scene)
}

#[track_caller]
fn check(program: &str, line: &str, wanted: &str) {
    if !Path::new(program).exists() {
        eprintln!("SKIPPED: install {program} to run this test");
        return;
    }
    let Some(scene) = scene() else {
        return;
    };
    assert_eq!(scene.run(&scene.settings(line)).trim_end(), wanted);
}

#[test]
fn privileged_python_runs() {
    let line = r#"exec /usr/bin/python3 -c '
import concurrent.futures, multiprocessing, socket, subprocess, sqlite3, tempfile, time, os
with concurrent.futures.ThreadPoolExecutor(4) as pool: print(sum(pool.map(lambda n: n * n, range(100))))
print(subprocess.run(["echo", "child"], capture_output=True).stdout)
server = socket.create_server(("127.0.0.1", 80)); client = socket.create_connection(("127.0.0.1", 80))
client.sendall(b"hello"); print(server.accept()[0].recv(5)); time.sleep(0.01)
if __name__ == "__main__": print(multiprocessing.get_context("fork").Pool(2).map(abs, [-1, -2]))
'"#;
    check(
        "/usr/bin/python3",
        line,
        "328350\nb'child\\n'\nb'hello'\n[1, 2]",
    );
}

#[test]
fn privileged_node_runs() {
    let line = r#"exec /usr/bin/node -e '
const {Worker} = require("worker_threads"), fs = require("fs"), child = require("child_process");
console.log(child.execSync("echo child").toString().trim(), fs.readdirSync("/etc").includes("passwd"));
new Worker("require(\"worker_threads\").parentPort.postMessage(42)", {eval: true}).on("message", console.log);
'"#;
    check("/usr/bin/node", line, "child true\n42");
}

#[test]
fn privileged_java_runs() {
    let line = r#"cat > /tmp/Hello.java <<END
import java.util.stream.IntStream;
public class Hello { public static void main(String[] a) throws Exception {
  System.out.println(IntStream.range(0, 100).parallel().map(n -> n * n).sum());
  System.out.println(new String(new ProcessBuilder("echo", "child").start().getInputStream().readAllBytes()).trim());
} }
END
exec /usr/bin/java /tmp/Hello.java"#;
    check("/usr/bin/java", line, "328350\nchild");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn privileged_what_the_filter_refuses_fails_as_in_docker() {
    let line = r#"exec /usr/bin/python3 -c '
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), "OK")
for name, number, arguments in [
    ("keyctl", 250, (0, -3, 0)), ("add_key", 248, (0, 0, 0, 0, 0)), ("bpf", 321, (0, 0, 0)), ("perf_event_open", 298, (0, 0, -1, -1, 0)),
    ("userfaultfd", 323, (0,)), ("io_uring_setup", 425, (1, 0)), ("unshare", 272, (0x10000000,)), ("setns", 308, (0, 0)), ("mount", 165, (0, 0, 0, 0, 0)),
    ("open_tree", 428, (-1, 0, 0)), ("clone3", 435, (0, 0)), ("clone newuser", 56, (0x10000000 | 17, 0, 0, 0, 0)), ("vsock", 41, (40, 1, 0)),
    ("personality odd", 135, (0x40000,)), ("kexec_load", 246, (0, 0, 0, 0)), ("unknown", 9999, ()),
    ("personality", 135, (ctypes.c_ulong(0xFFFFFFFF),)), ("unix socket", 41, (1, 1, 0)), ("getpid", 39, ()), ("ptrace me", 101, (0, 0, 0, 0))]:
    print(name, call(number, *arguments))
'"#;
    let refused = [
        "keyctl",
        "add_key",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "unshare",
        "setns",
        "mount",
        "open_tree",
    ];
    let mut wanted: Vec<_> = refused.iter().map(|name| format!("{name} EPERM")).collect();
    wanted.push("clone3 ENOSYS".to_owned());
    let more = ["clone newuser", "vsock", "personality odd", "kexec_load"];
    wanted.extend(more.map(|name| format!("{name} EPERM")));
    // runc answers for calls that are newer than its list of them; crun does not.
    wanted.push(match &*runtime() {
        "crun" => "unknown EPERM".to_owned(),
        _ => "unknown ENOSYS".to_owned(),
    });
    wanted.extend(
        ["personality", "unix socket", "getpid", "ptrace me"].map(|name| format!("{name} OK")),
    );
    check("/usr/bin/python3", line, &wanted.join("\n"));
}
