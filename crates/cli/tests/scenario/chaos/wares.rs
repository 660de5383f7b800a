//! What clients work with: images in a registry and in an archive, and a directory to count in.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::daemon::{Daemon, text};
use crate::registry::DockerRegistry;

pub(crate) struct Wares {
    pub(crate) registry: DockerRegistry,
    /// References in the registry.
    pub(crate) pulled: Vec<String>,
    /// An archive with one image, and that one's name.
    pub(crate) archive: PathBuf,
    pub(crate) loaded: &'static str,
    /// A directory of the host's, in which containers write how far they counted.
    pub(crate) counts: PathBuf,
}

impl Wares {
    pub(crate) fn make(daemon: &Daemon, pulled: u32) -> Self {
        let registry = DockerRegistry::start(&daemon.path("registry"));
        let counts = daemon.path("counts");
        fs::create_dir(&counts).unwrap();
        let pulled: Vec<_> = (0..pulled)
            .map(|number| format!("{}/pulled:{number}", registry.host()))
            .collect();
        for (number, reference) in pulled.iter().enumerate() {
            make_image(daemon, reference, u64::try_from(number).unwrap());
            daemon.done(&["push", "-q", reference]);
            daemon.done(&["rmi", reference]);
        }
        let (archive, loaded) = (daemon.path("loaded.tar"), "loaded:1");
        make_image(daemon, loaded, 99);
        daemon.done(&["save", "-o", text(&archive), loaded]);
        daemon.done(&["rmi", loaded]);
        Self {
            registry,
            pulled,
            archive,
            loaded,
            counts,
        }
    }

    /// What could be pulled or loaded, but for these.
    pub(crate) fn absent(&self, there: &BTreeSet<String>) -> BTreeSet<String> {
        let all = self.pulled.iter().cloned();
        let all = all.chain([self.loaded.to_owned()]);
        all.filter(|image| !there.contains(image)).collect()
    }

    /// Under which cgroup all containers of the scene are: the machine has others.
    pub(crate) fn cgroup_parent(&self) -> String {
        format!("lapstrake-chaos-{}", std::process::id())
    }

    /// The directories for cgroups of these containers, in every hierarchy.
    pub(crate) fn cgroup_dirs(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
        let hierarchies = hierarchies
            .map(|entry| entry.path())
            .chain([root.to_owned()]);
        let dirs = hierarchies.map(|dir| dir.join(self.cgroup_parent()));
        dirs.filter(|dir| dir.is_dir()).collect()
    }

    /// Whether the registry has an image that was pushed.
    pub(crate) fn has(&self, reference: &str) -> bool {
        let host = self.registry.host();
        let rest = reference.strip_prefix(&format!("{host}/")).unwrap();
        let (name, tag) = rest.split_once(':').unwrap();
        let mut connection = TcpStream::connect(&host).unwrap();
        let manifests = "application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
        write!(
            connection,
            "HEAD /v2/{name}/manifests/{tag} HTTP/1.1\r\nHost: {host}\r\n\
             Accept: {manifests}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 200")
    }
}

impl Drop for Wares {
    fn drop(&mut self) {
        for dir in self.cgroup_dirs() {
            // What is still in it was complained about.
            drop(fs::remove_dir(dir));
        }
    }
}

/// An image of two layers: busybox, and something over it that does not compress.
fn make_image(daemon: &Daemon, reference: &str, number: u64) {
    let noise = daemon.path("noise");
    let mut random = super::Random(number * 2 + 12345);
    let bytes: Vec<u8> = (0..256 << 10)
        .flat_map(|_| random.below(u64::MAX).to_le_bytes())
        .collect();
    File::create(&noise).unwrap().write_all(&bytes).unwrap();
    let id = daemon.done(&["create", "--network=none", "busybox", "true"]);
    let id = id.trim();
    daemon.done(&["cp", text(&noise), &format!("{id}:/noise")]);
    daemon.done(&["commit", id, reference]);
    daemon.done(&["rm", id]);
}
