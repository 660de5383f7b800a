//! `lapstrake daemon` under the docker command, as it is.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::registry::DockerRegistry;

/// A daemon over a store of its own. It is told to stop when this is dropped.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) dir: tempfile::TempDir,
}

impl Daemon {
    /// `None` says why on standard error.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_in(test, tempfile::tempdir().unwrap())
    }

    /// In a directory in which `root` and the settings, `config.toml`, may be already.
    pub(crate) fn start_in(test: &str, dir: tempfile::TempDir) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED {test}: needs root");
            return None;
        }
        for tool in ["docker", "docker-registry", "runc"] {
            if Command::new(tool).arg("--version").output().is_err() {
                eprintln!("SKIPPED {test}: needs {tool}");
                return None;
            }
        }
        let child = serve(dir.path(), &[]);
        let daemon = Self { child, dir };
        daemon.wait();
        Some(daemon)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// Until it answers.
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < deadline, "{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What a docker command finds the daemon by.
    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("DOCKER_HOST", format!("unix://{}", self.socket().display())),
            ("DOCKER_CONFIG", self.path("client").display().to_string()),
        ]
    }

    /// The client.
    pub(crate) fn client(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.envs(self.environment());
        docker
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        self.client().args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {output:?}\n{}",
            self.log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail, and returns what it said.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Kills it with -9.
    pub(crate) fn kill(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// Starts it again after a kill.
    pub(crate) fn again(&mut self) {
        self.begin_again();
        self.wait();
    }

    /// As [`Self::again`], and does not wait until it answers.
    pub(crate) fn begin_again(&mut self) {
        self.child.wait().unwrap();
        self.child = serve(self.dir.path(), &[]);
    }

    /// Removes all containers, volumes and images.
    pub(crate) fn remove_everything(&self) {
        for id in self.done(&["ps", "-aq"]).split_whitespace() {
            self.done(&["rm", "-f", "-v", id]);
        }
        // Pruning leaves volumes with options alone.
        for volume in self.done(&["volume", "ls", "-q"]).split_whitespace() {
            self.done(&["volume", "rm", volume]);
        }
        self.done(&["image", "prune", "-a", "-f"]);
    }

    /// Stops it, and lets the store be checked.
    pub(crate) fn stop_and_check(&mut self) -> Output {
        stop(&mut self.child);
        let mut check = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
        check.arg("--root").arg(self.path("root"));
        check.arg("--run-dir").arg(self.path("run"));
        check.arg("check").output().unwrap()
    }

    /// Head and body of the answer to a request as it is on the wire.
    pub(crate) fn raw(&self, request: &str) -> (String, String) {
        let mut connection = UnixStream::connect(self.socket()).unwrap();
        let request = format!("{request} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Makes the image `busybox` of this machine's; whether there is one, else says so on standard error.
    pub(crate) fn busybox(&self, test: &str) -> bool {
        let program = Path::new("/bin/busybox");
        if !program.exists() {
            eprintln!("SKIPPED {test}: needs /bin/busybox (busybox-static)");
            return false;
        }
        let root = self.path("busybox");
        for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::copy(program, root.join("bin/busybox")).unwrap();
        for applet in [
            "cat", "dd", "echo", "id", "ln", "ls", "mkdir", "rm", "sh", "sleep", "true",
        ] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let users = b"root:x:0:0:root:/root:/bin/sh\n";
        let mut file = File::create(root.join("etc/passwd")).unwrap();
        file.write_all(users).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/chown")).unwrap();
        let tar = self.path("busybox.tar");
        let made = Command::new("tar")
            .args([
                "-C",
                text(&root),
                "--owner=0",
                "--group=0",
                "-cf",
                text(&tar),
                ".",
            ])
            .status();
        assert!(made.unwrap().success());
        self.done(&["import", "-c", "CMD [\"sh\"]", text(&tar), "busybox"]);
        true
    }

    /// Makes an image of a directory with some files.
    pub(crate) fn import(&self, name: &str, words: &str) {
        let root = self.path("import");
        fs::create_dir_all(root.join("etc")).unwrap();
        let mut file = File::create(root.join("etc/words")).unwrap();
        file.write_all(words.as_bytes()).unwrap();
        let tar = self.path("import.tar");
        let made = Command::new("tar")
            .args(["-C", text(&root), "-cf", text(&tar), "."])
            .status();
        assert!(made.unwrap().success());
        let change = "CMD [\"/bin/cat\", \"/etc/words\"]";
        let label = format!("LABEL words={words}");
        let arguments = ["import", "-c", change, "-c", &label, text(&tar), name];
        assert!(self.done(&arguments).starts_with("sha256:"));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Containers outlive their daemon, and must not outlive a test that failed.
            let host = format!("unix://{}", self.socket().display());
            let script = "docker ps -aq | xargs -r docker rm -f -v";
            let mut remove = Command::new("timeout");
            remove
                .args(["30", "sh", "-c", script])
                .env("DOCKER_HOST", host);
            drop(remove.output());
        }
        stop(&mut self.child);
        // A test may have mounted a disk of its own there.
        let _disk = rustix::mount::unmount(self.path("root"), rustix::mount::UnmountFlags::DETACH);
        let left = fs::read_to_string("/proc/self/mounts").unwrap();
        let dir = self.dir.path().to_string_lossy().into_owned();
        if !std::thread::panicking() {
            assert!(!left.contains(&dir), "{left}");
        }
    }
}

fn serve(dir: &Path, more: &[&str]) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .unwrap();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
    let settings = dir.join("config.toml");
    if settings.exists() {
        daemon.arg("--config").arg(settings);
    }
    daemon.arg("--root").arg(dir.join("root"));
    daemon.arg("--run-dir").arg(dir.join("run"));
    daemon.args(["daemon", "--host"]);
    daemon.arg(format!("unix://{}", dir.join("docker.sock").display()));
    daemon.args(more).stdin(Stdio::null());
    daemon.stdout(log.try_clone().unwrap()).stderr(log);
    daemon.spawn().unwrap()
}

fn stop(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    let told = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    assert!(matches!(told, Ok(()) | Err(rustix::io::Errno::SRCH)));
    drop(child.wait());
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn privileged_scenario_daemon_says_what_it_is() {
    let Some(daemon) = Daemon::start("daemon") else {
        return;
    };
    let version = daemon.done(&["version", "--format", "{{json .Server}}"]);
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version["ApiVersion"], "1.50");
    assert_eq!(version["MinAPIVersion"], "1.24");
    let info = daemon.done(&["info"]);
    for line in [
        "Server Version: 28.2.2",
        " Images: 0",
        " Swarm: inactive",
        " Default Runtime: runc",
        "Live Restore Enabled: true",
        " Storage Driver: ",
        "  Limits of Writable Layers: ",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    let old = Command::new("docker")
        .env(
            "DOCKER_HOST",
            format!("unix://{}", daemon.socket().display()),
        )
        .env("DOCKER_API_VERSION", "1.24")
        .args(["version", "--format", "{{.Client.APIVersion}}"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&old.stdout), "1.24\n");

    let (head, body) = daemon.raw("GET /v1.99/info");
    assert!(head.starts_with("HTTP/1.1 400 Bad Request"), "{head}");
    assert!(body.contains("client version 1.99 is too new."), "{body}");
    let (head, body) = daemon.raw("GET /v1.10/info");
    assert!(
        head.to_lowercase().contains("content-type: text/plain"),
        "{head}"
    );
    assert!(
        body.starts_with("client version 1.10 is too old."),
        "{body}"
    );
    let (head, body) = daemon.raw("HEAD /_ping");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.to_lowercase().contains("content-length: 0"), "{head}");
    assert_eq!(body, "");
    let refused = daemon.refused(&["swarm", "init"]);
    assert!(refused.contains("Lapstrake has no swarm"), "{refused}");
    let refused = daemon.refused(&["service", "ls"]);
    assert!(
        refused.contains("This node is not a swarm manager"),
        "{refused}"
    );
    assert_eq!(daemon.done(&["plugin", "ls", "-q"]), "");
    let networks = daemon.done(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    assert_eq!(networks, "bridge bridge\nhost host\nnone null\n");
}

#[test]
fn privileged_scenario_daemon_is_one_and_follows_a_dead_one() {
    let Some(mut daemon) = Daemon::start("daemon_is_one") else {
        return;
    };
    daemon.import("a:1", "one");
    let other = tempfile::tempdir().unwrap();
    let host = format!("unix://{}", daemon.socket().display());
    let refused = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
        .arg("--root")
        .arg(other.path().join("root"))
        .args(["daemon", "--host", &host])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("is served by another daemon"), "{said}");

    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(daemon.socket().exists());
    daemon.child = serve(daemon.dir.path(), &[]);
    daemon.wait();
    let images = daemon.done(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    assert_eq!(images, "a:1\n");
    stop(&mut daemon.child);
    assert!(!daemon.socket().exists());
    daemon.child = serve(daemon.dir.path(), &[]);
    daemon.wait();
}

#[test]
fn privileged_scenario_daemon_lets_in_over_tcp_who_has_a_certificate() {
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED daemon_over_tcp: needs openssl");
        return;
    }
    let Some(mut daemon) = Daemon::start("daemon_over_tcp") else {
        return;
    };
    let dir = daemon.dir.path().to_owned();
    let script = r#"
        set -e
        new="openssl req -newkey rsa:2048 -nodes -keyout"
        $new ca.key -x509 -days 1 -subj /CN=ca -out ca.pem
        printf 'subjectAltName=IP:127.0.0.1' > ext
        for name in server client; do
            $new $name.key -subj /CN=$name -out $name.csr
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile ext -out $name.pem
        done
        $new other.key -x509 -days 1 -subj /CN=other -out other.pem
    "#;
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(&dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    stop(&mut daemon.child);
    let file = |name: &str| dir.join(name).display().to_string();
    let host = format!("tcp://{address}");
    let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    daemon.child = serve(
        &dir,
        &[
            "--host",
            &host,
            "--tlsverify",
            "--tlscacert",
            &ca,
            "--tlscert",
            &cert,
            "--tlskey",
            &key,
        ],
    );
    daemon.wait();
    let ask = |cert: &str, key: &str| {
        let (cert, key) = (file(cert), file(key));
        let tls = [
            "--tlsverify",
            "--tlscacert",
            &ca,
            "--tlscert",
            &cert,
            "--tlskey",
            &key,
        ];
        let mut docker = Command::new("docker");
        docker.env("DOCKER_CONFIG", dir.join("client"));
        docker.args(["-H", &host]).args(tls);
        docker.args(["version", "--format", "{{.Server.APIVersion}}"]);
        docker.output().unwrap()
    };
    let known = ask("client.pem", "client.key");
    assert_eq!(
        String::from_utf8_lossy(&known.stdout),
        "1.50\n",
        "{known:?}"
    );
    let stranger = ask("other.pem", "other.key");
    assert!(!stranger.status.success(), "{stranger:?}");
    let mut plain = std::net::TcpStream::connect(address).unwrap();
    plain
        .write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    drop(plain.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    // Without TLS only on this machine, and only if that is said.
    for (host, more) in [
        ("tcp://127.0.0.1:1", &[][..]),
        ("tcp://0.0.0.0:1", &["--insecure-no-tls"]),
    ] {
        let refused = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .arg("--root")
            .arg(dir.join("unused"))
            .args(["daemon", "--host", host])
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("needs TLS"), "{said}");
    }
}

#[test]
fn privileged_scenario_docker_images_come_and_go() {
    let Some(daemon) = Daemon::start("docker_images") else {
        return;
    };
    let registry = DockerRegistry::start(&daemon.path("registry"));
    daemon.import("a:1", "one");
    daemon.import("b:1", "two");
    let format = "{{.Repository}}:{{.Tag}}";
    let images = |filter: &str| {
        let listed = daemon.done(&["images", "--format", format, "--filter", filter]);
        let mut lines: Vec<_> = listed.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(images("dangling=false"), "a:1 b:1");
    assert_eq!(images("label=words=two"), "b:1");
    assert_eq!(images("reference=a*"), "a:1");
    let inspect = |name: &str, format: &str| daemon.done(&["inspect", "-f", format, name]);
    assert_eq!(
        inspect("a:1", "{{.RepoTags}} {{.Config.Labels.words}}"),
        "[a:1] one\n"
    );
    let id = inspect("a:1", "{{.Id}}").trim().to_owned();
    let history = daemon.done(&[
        "history",
        "--format",
        "{{.ID}} {{.Comment}}",
        "--no-trunc",
        "a:1",
    ]);
    assert_eq!(history, format!("{id} Imported from -\n"));

    // To a registry, away, and back.
    let there = format!("{}/me/a:2", registry.host());
    daemon.done(&["tag", "a:1", &there]);
    let refused = daemon.refused(&["rmi", &id[7..19]]);
    assert!(
        refused.contains("image is referenced in multiple repositories"),
        "{refused}"
    );
    let pushed = daemon.done(&["push", &there]);
    assert!(pushed.contains(&format!(
        "The push refers to repository [{}/me/a]",
        registry.host()
    )));
    assert!(pushed.contains(": Pushed\n2: digest: sha256:"), "{pushed}");
    assert_eq!(daemon.done(&["rmi", "a:1"]), "Untagged: a:1\n");
    let removed = daemon.done(&["rmi", &there]);
    assert!(removed.contains(&format!("Deleted: {id}\n")), "{removed}");
    let pulled = daemon.done(&["pull", &there]);
    for words in [
        "2: Pulling from me/a\n",
        ": Pull complete\n",
        "Status: Downloaded newer image for ",
    ] {
        assert!(pulled.contains(words), "{pulled}");
    }
    assert_eq!(inspect(&there, "{{.Id}}").trim(), id);
    let again = daemon.done(&["pull", &there]);
    assert!(
        again.contains("Status: Image is up to date for "),
        "{again}"
    );
    assert!(!again.contains("Already exists"), "{again}");
    let missing = daemon.refused(&["pull", &format!("{}/me/none:1", registry.host())]);
    assert!(missing.contains("manifest unknown"), "{missing}");
    let missing = daemon.refused(&["image", "inspect", "none"]);
    assert!(missing.contains("No such image: none:latest"), "{missing}");

    // Into an archive and out of it.
    let archive = daemon.path("saved.tar");
    daemon.done(&["save", "-o", text(&archive), "b:1", &there]);
    daemon.done(&["rmi", "b:1"]);
    let loaded = daemon.done(&["load", "-i", text(&archive)]);
    assert!(loaded.contains("Loaded image: b:1\n"), "{loaded}");
    assert!(
        loaded.contains(&format!("Loaded image: {there}\n")),
        "{loaded}"
    );
    let refused = daemon.refused(&["save", "-o", text(&archive), "none"]);
    assert!(refused.contains("No such image: none:latest"), "{refused}");

    let usage = daemon.done(&[
        "system",
        "df",
        "--format",
        "{{.Type}} {{.TotalCount}} {{.Active}}",
    ]);
    assert!(usage.starts_with("Images 2 0\n"), "{usage}");
    let verbose = daemon.done(&["system", "df", "-v"]);
    assert!(verbose.contains("Images space usage:"), "{verbose}");

    // Pruning takes what the filters leave, and says so.
    let all = ["image", "prune", "-a", "-f", "--filter"];
    let but_two = daemon.done(&[&all[..], &["label!=words=two"]].concat());
    assert!(but_two.contains(&format!("untagged: {there}")), "{but_two}");
    assert!(!but_two.contains("untagged: b:1"), "{but_two}");
    let nothing = daemon.done(&[&all[..], &["until=1h"]].concat());
    assert_eq!(nothing, "Total reclaimed space: 0B\n");
    assert_eq!(images("dangling=false"), "b:1");

    std::thread::sleep(Duration::from_millis(1100));
    let told = [
        "events",
        "--since",
        "5m",
        "--until",
        "0s",
        "--format",
        "{{.Action}}",
    ];
    let events = daemon.done(&[&told[..], &["--filter", "type=image"]].concat());
    let mut kinds: Vec<_> = events.lines().collect();
    kinds.sort_unstable();
    kinds.dedup();
    let want = [
        "delete", "import", "load", "prune", "pull", "push", "save", "tag", "untag",
    ];
    assert_eq!(kinds, want);
    let pulls = daemon.done(&[&told[..], &["--filter", "event=pull"]].concat());
    assert_eq!(pulls, "pull\npull\n");
}
