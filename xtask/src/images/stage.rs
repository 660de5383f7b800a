//! Steps run once and kept: each leaves an overlay upper directory and the layer tar made of it.
//!
//! A step that runs programs does so in a mount namespace of its own (`unshare --mount`), so that
//! every mount it makes is gone with it, however it ends. A stage appears by rename when it is
//! whole.

use std::fs;
use std::path::{Path, PathBuf};

use lapstrake_oci::{Algorithm, Digest};
use serde::{Deserialize, Serialize};

use super::apt::{Mirror, RELEASE};
use super::cache::Cache;
use super::catalog::{Image, Step};
use super::{layer_tar, synthetic};
use crate::command::Tool;
use crate::error::{IoContext as _, Result};
use crate::files;

/// Counts up when the way in which steps are carried out changes.
const WAY: u32 = 1;

/// One layer's tar.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StagedLayer {
    /// sha256 of the tar.
    pub(super) diff_id: Digest,
    /// Its length.
    pub(super) size: u64,
    /// What made it, for the image's history.
    pub(super) created_by: String,
}

/// An image's steps with their keys.
#[derive(Debug)]
pub(super) struct Chain {
    links: Vec<(Step, String)>,
    key: String,
}

/// Keys each step by everything that makes its layer. The mirror is not part of that: the same
/// release is the same recipe wherever it comes from.
pub(super) fn chain(image: &Image) -> Chain {
    let mut so_far = format!("{WAY} {RELEASE} {}", std::env::consts::ARCH);
    let mut links = Vec::new();
    for step in image.steps() {
        so_far = short(&format!("{so_far} {step:?}"));
        links.push((step, so_far.clone()));
    }
    let key = short(&format!("{so_far} {:?}", image.compression));
    Chain { links, key }
}

fn short(text: &str) -> String {
    Algorithm::Sha256
        .digest(text.as_bytes())
        .hex()
        .chars()
        .take(16)
        .collect()
}

impl Chain {
    /// Names the recipe of the whole image.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The image's layers, made where they are not there yet.
    pub(super) fn layers(&self, cache: &Cache, mirror: &Mirror) -> Result<Vec<StagedLayer>> {
        let mut layers = Vec::new();
        let mut below = Vec::new();
        for (step, key) in &self.links {
            let stage = cache.stages().join(key);
            layers.push(match known(cache, &stage)? {
                Some(layer) => layer,
                None => make(cache, mirror, *step, &stage, &below)?,
            });
            below.push(stage.join("tree"));
        }
        Ok(layers)
    }
}

fn known(cache: &Cache, stage: &Path) -> Result<Option<StagedLayer>> {
    let Some(layer) = files::read_json::<StagedLayer>(&stage.join("layer.json"))? else {
        return Ok(None);
    };
    Ok(tar_path(cache, &layer.diff_id).is_file().then_some(layer))
}

/// Where the tar with this diff id is.
pub(super) fn tar_path(cache: &Cache, diff_id: &Digest) -> PathBuf {
    cache.tars().join(diff_id.hex())
}

fn make(
    cache: &Cache,
    mirror: &Mirror,
    step: Step,
    stage: &Path,
    below: &[PathBuf],
) -> Result<StagedLayer> {
    let staging = stage.with_extension("tmp");
    files::remove_tree(&staging)?;
    let tree = files::make_dir(&staging.join("tree"))?;
    let work = Work {
        cache,
        mirror,
        staging: &staging,
        tree: &tree,
        below,
    };
    work.carry_out(step)?;

    let tars = files::make_dir(&cache.tars())?;
    let tar = tempfile::NamedTempFile::new_in(&tars).io("create a file in", &tars)?;
    let (digest, size) = layer_tar::write(&tree, tar.as_file())?;
    let path = tar_path(cache, &digest);
    tar.persist(&path)
        .map_err(|error| error.error)
        .io("write", &path)?;
    let layer = StagedLayer {
        diff_id: digest,
        size,
        created_by: said(step),
    };
    files::write_json(&staging.join("layer.json"), &layer)?;
    files::remove_tree(&staging.join("work"))?;
    files::remove_tree(stage)?;
    files::rename(&staging, stage)?;
    Ok(layer)
}

fn said(step: Step) -> String {
    match step {
        Step::Debootstrap => format!("debootstrap --variant=minbase {RELEASE}"),
        Step::Apt { packages, .. } => format!("apt-get install {}", packages.join(" ")),
        Step::Shell(_) => "an application that adds, replaces and removes files".to_owned(),
        Step::Small(number) => format!("small layer {number}"),
        Step::ManyFiles => "many small files".to_owned(),
    }
}

/// Everything a step needs.
struct Work<'a> {
    cache: &'a Cache,
    mirror: &'a Mirror,
    staging: &'a Path,
    tree: &'a Path,
    below: &'a [PathBuf],
}

impl Work<'_> {
    fn carry_out(&self, step: Step) -> Result<()> {
        eprintln!("images: {}", said(step));
        match step {
            Step::Debootstrap => self.debootstrap(),
            Step::Apt {
                packages,
                recommends,
            } => self.in_root(&apt_script(packages, recommends)),
            Step::Shell(script) => self.in_root(script),
            Step::Small(number) => synthetic::small_layer(self.tree, number),
            Step::ManyFiles => synthetic::many_files(self.tree),
        }
    }

    fn debootstrap(&self) -> Result<()> {
        let mut tool = Tool::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "debootstrap",
                "--variant=minbase",
            ])
            .arg(format!(
                "--cache-dir={}",
                files::make_dir(&self.cache.debs())?.display()
            ))
            .arg(RELEASE)
            .arg(self.tree)
            .arg(&self.mirror.archive);
        if let Some(proxy) = &self.mirror.proxy {
            tool = tool.env("http_proxy", proxy);
        }
        tool.output()?;
        self.tidy_base()
    }

    /// Takes out what belongs to the building machine or to the moment of building.
    fn tidy_base(&self) -> Result<()> {
        let at = |path: &str| self.tree.join(path);
        for dir in [
            "var/lib/apt/lists",
            "var/cache/apt",
            "var/log",
            "debootstrap",
        ] {
            files::remove_tree(&at(dir))?;
        }
        for dir in [
            "var/lib/apt/lists",
            "var/cache/apt/archives/partial",
            "var/log",
        ] {
            files::make_dir(&at(dir))?;
        }
        for file in [
            "etc/hostname",
            "var/cache/ldconfig/aux-cache",
            "etc/machine-id",
        ] {
            files::remove_file(&at(file))?;
        }
        files::replace(&at("etc/resolv.conf"), b"")?;
        files::replace(&at("etc/apt/sources.list"), self.mirror.sources.as_bytes())?;
        let policy = at("usr/sbin/policy-rc.d");
        files::replace(&policy, b"#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(&policy, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .io("set the mode of", &policy)
    }

    /// Runs a script in the root made of the layers so far; its changes land in the tree.
    fn in_root(&self, script: &str) -> Result<()> {
        let root = files::make_dir(&self.staging.join("root"))?;
        let work = files::make_dir(&self.staging.join("work"))?;
        let lower = self
            .below
            .iter()
            .rev()
            .map(|path| path.display().to_string());
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off,index=off",
            lower.collect::<Vec<_>>().join(":"),
            self.tree.display(),
            work.display()
        );
        let mut tool = Tool::new("unshare")
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-euc",
                IN_ROOT,
                "in-root",
            ])
            .arg(options)
            .arg(&root)
            .arg(files::make_dir(&self.cache.debs())?)
            .arg(script)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8")
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        if let Some(proxy) = &self.mirror.proxy {
            tool = tool.env("http_proxy", proxy);
        }
        tool.output()?;
        fs::remove_dir(&root).io("remove", &root)
    }
}

/// Mounts vanish with the namespace that this runs in.
const IN_ROOT: &str = r#"
mount -t overlay overlay -o "$1" "$2"
mount -t proc proc "$2/proc"
mount --bind /etc/resolv.conf "$2/etc/resolv.conf"
mount --bind "$3" "$2/var/cache/apt/archives"
exec chroot "$2" /bin/sh -euc "$4"
"#;

fn apt_script(packages: &[&str], recommends: bool) -> String {
    let flag = if recommends {
        ""
    } else {
        "--no-install-recommends"
    };
    format!(
        "options='-q -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0'\n\
         apt-get $options update\n\
         apt-get $options install -y {flag} {}\n\
         rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/*.log \
         /var/cache/ldconfig/aux-cache /tmp/* /root/.cache\n",
        packages.join(" ")
    )
}
