//! Where a registry's objects are.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lapstrake_oci::Digest;

/// The registry that `docker.io` names is served by another host.
const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// The host (and port) that serves a registry.
pub fn host(registry: &str) -> &str {
    if registry == DOCKER_HUB {
        DOCKER_HUB_HOST
    } else {
        registry
    }
}

/// The path of a manifest, by tag or digest, in the repository at `path`.
pub fn manifest(path: &str, tag_or_digest: &str) -> String {
    format!("/v2/{path}/manifests/{tag_or_digest}")
}

/// The path of a blob.
pub fn blob(path: &str, digest: &Digest) -> String {
    format!("/v2/{path}/blobs/{digest}")
}

/// Where uploads of blobs begin.
pub fn uploads(path: &str) -> String {
    format!("/v2/{path}/blobs/uploads/")
}

/// Where a blob is mounted from another repository of the same registry.
pub fn mount(path: &str, digest: &Digest, from: &str) -> String {
    format!("/v2/{path}/blobs/uploads/?mount={digest}&from={from}")
}

/// Whether a host is this machine, so that plain HTTP to it crosses no network.
pub fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        return matches!(address, Some(Ok(address)) if address.is_loopback());
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) => return false,
        None => host,
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_the_network() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:80",
            "[::1]",
            "LocalHost",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "10.0.0.1:5000",
            "127.0.0.1.example:80",
            "[::2]",
            "127.0.0.1:80.example",
            "localhost:80.example",
            "[::1].example",
            "[localhost]",
            "::1",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_hub_is_served_by_another_host() {
        assert_eq!(host("docker.io"), "registry-1.docker.io");
        assert_eq!(host("localhost:5000"), "localhost:5000");
    }

    #[test]
    fn paths() {
        let digest = lapstrake_oci::Algorithm::Sha256.digest(b"");
        assert_eq!(manifest("a/b", "12"), "/v2/a/b/manifests/12");
        assert_eq!(blob("a/b", &digest), format!("/v2/a/b/blobs/{digest}"));
        let mounted = mount("a/b", &digest, "c/d");
        assert!(mounted.starts_with(&uploads("a/b")), "{mounted}");
        assert!(
            mounted.ends_with(&format!("?mount={digest}&from=c/d")),
            "{mounted}"
        );
    }
}
