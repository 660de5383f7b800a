//! Where a registry's objects are.

use lapstrake_oci::{Digest, Repo};

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

/// The path of a manifest, by tag or digest.
pub fn manifest(repo: &Repo, tag_or_digest: &str) -> String {
    format!("/v2/{}/manifests/{tag_or_digest}", repo.path())
}

/// The path of a blob.
pub fn blob(repo: &Repo, digest: &Digest) -> String {
    format!("/v2/{}/blobs/{digest}", repo.path())
}

/// The scope of a token that may pull from a repository.
pub fn pull_scope(repo: &Repo) -> String {
    format!("repository:{}:pull", repo.path())
}

/// Whether a host is this machine, so that plain HTTP to it crosses no network.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
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
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "localhost.example",
            "10.0.0.1:5000",
            "127.0.0.1.example:80",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_hub_is_served_by_another_host() {
        let repo: Repo = "debian".parse().unwrap();
        assert_eq!(host(repo.registry()), "registry-1.docker.io");
        assert_eq!(manifest(&repo, "12"), "/v2/library/debian/manifests/12");
        assert_eq!(pull_scope(&repo), "repository:library/debian:pull");
    }
}
