//! The workspace and its dependencies as cargo sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What `cargo metadata` says, for the platform that we build for.
pub(crate) struct Metadata(Value);

/// One package in the dependency graph.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for our own.
    pub(crate) source: Option<String>,
}

impl Metadata {
    pub(crate) fn load() -> Self {
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--filter-platform",
                &target,
            ])
            .current_dir(xtask::files::repository())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Every package that is built, ours and others'.
    pub(crate) fn packages(&self) -> Vec<Package> {
        let used = self.nodes().iter().map(|node| node["id"].as_str().unwrap());
        let used = used.collect::<BTreeSet<_>>();
        let packages = self.0["packages"].as_array().unwrap().iter();
        let packages = packages.filter(|package| used.contains(package["id"].as_str().unwrap()));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        packages
            .map(|package| Package {
                name: text(&package["name"]).unwrap(),
                version: text(&package["version"]).unwrap(),
                license: text(&package["license"]),
                source: text(&package["source"]),
            })
            .collect()
    }

    /// For each of our crates, the short names of those it is built on (not for tests).
    pub(crate) fn arrows(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut arrows = BTreeMap::new();
        for node in self.nodes() {
            let Some(from) = self.short_name(node) else {
                continue;
            };
            let to = self
                .built_on(node)
                .into_iter()
                .filter_map(|node| self.short_name(node));
            arrows.insert(from, to.collect());
        }
        arrows
    }

    /// Names of everything that one of our crates is built on, however indirectly.
    pub(crate) fn everything_below(&self, crate_name: &str) -> BTreeSet<String> {
        let start = self
            .nodes()
            .iter()
            .find(|node| self.short_name(node).as_deref() == Some(crate_name))
            .unwrap_or_else(|| panic!("no crate {crate_name}"));
        let mut seen = BTreeSet::new();
        let mut queue = vec![start];
        while let Some(node) = queue.pop() {
            for next in self.built_on(node) {
                if seen.insert(self.name(next).to_owned()) {
                    queue.push(next);
                }
            }
        }
        seen
    }

    fn nodes(&self) -> &[Value] {
        self.0["resolve"]["nodes"].as_array().unwrap()
    }

    fn built_on<'a>(&'a self, node: &'a Value) -> Vec<&'a Value> {
        let normal = |dependency: &&Value| {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            kinds.iter().any(|kind| kind["kind"].is_null())
        };
        let dependencies = node["deps"].as_array().unwrap().iter().filter(normal);
        let find = |id: &Value| self.nodes().iter().find(|node| node["id"] == *id).unwrap();
        dependencies
            .map(|dependency| find(&dependency["pkg"]))
            .collect()
    }

    fn name<'a>(&'a self, node: &Value) -> &'a str {
        let packages = self.0["packages"].as_array().unwrap();
        let package = packages
            .iter()
            .find(|package| package["id"] == node["id"])
            .unwrap();
        package["name"].as_str().unwrap()
    }

    fn short_name(&self, node: &Value) -> Option<String> {
        let name = self.name(node);
        name.strip_prefix("lapstrake-")
            .or((name == "xtask").then_some(name))
            .map(str::to_owned)
    }
}
