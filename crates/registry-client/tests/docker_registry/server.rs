//! Debian's docker-registry on loopback: open, with users, with TLS.

use std::fs::File;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = "/usr/bin/docker-registry";
/// `me`, with bcrypt of `hush`.
const HTPASSWD: &str = "me:$2y$05$abcdefghijklmnopqrstuulzd.YqjLDl8lvpSmVj3De/fioSBHnUa\n";

/// Who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Users,
    /// With certificates of an authority of its own.
    Tls,
    /// And only for clients with certificates of the same.
    MutualTls,
}

/// Stopped when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) host: String,
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// Starts one, unless something is missing, which it then says.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        let is_tls = matches!(kind, Kind::Tls | Kind::MutualTls);
        let needed = [PROGRAM, "/usr/bin/openssl"];
        for program in &needed[..if is_tls { 2 } else { 1 }] {
            if !Path::new(program).exists() {
                eprintln!("SKIPPED: {program} is not installed");
                return None;
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let root = directory.path().display();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\nhttp:\n  addr: {host}\n"
        );
        if is_tls {
            make_certificates(directory.path());
            config.push_str(&format!(
                "  tls:\n    certificate: {root}/server.crt\n    key: {root}/server.key\n"
            ));
        }
        if kind == Kind::MutualTls {
            config.push_str(&format!("    clientcas:\n      - {root}/ca.crt\n"));
        }
        if kind == Kind::Users {
            write(&directory.path().join("users"), HTPASSWD);
            config.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {root}/users\n"
            ));
        }
        let path = directory.path().join("config.yml");
        write(&path, &config);
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            host,
            directory,
        };
        let start = Instant::now();
        while TcpStream::connect(&server.host).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "it does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// A `certs.d` with these of the certificates for this registry, under these names.
    pub(crate) fn certificates(&self, files: &[(&str, &str)]) -> PathBuf {
        let all = self
            .directory
            .path()
            .join(format!("certs.d-{}", files.len()));
        let ours = all.join(&self.host);
        std::fs::create_dir_all(&ours).unwrap();
        for (file, name) in files {
            std::fs::copy(self.directory.path().join(file), ours.join(name)).unwrap();
        }
        all
    }
}

fn write(path: &Path, text: &str) {
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// Two authorities, `ca` and `other`; of the first, certificates for the server and for a client.
fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "other"] {
        openssl(&format!(
            "req -x509 {key} -keyout {name}.key -out {name}.crt -days 2 -subj /CN=test-{name}"
        ));
    }
    let extensions = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n";
    write(&directory.join("server.ext"), extensions);
    write(
        &directory.join("client.ext"),
        "extendedKeyUsage=clientAuth\n",
    );
    for name in ["server", "client"] {
        openssl(&format!(
            "req {key} -keyout {name}.key -out {name}.csr -subj /CN=test-{name}"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt"
        ));
    }
}
