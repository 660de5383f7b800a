//! `HostConfig.Mounts`: what `--mount` sends.

use std::collections::BTreeMap;

use lapstrake_engine::settings::{
    BindOptions, MountKind, MountRequest, Propagation, TmpfsOptions, VolumeOptions,
};
use serde::Deserialize;

use super::body::given;
use crate::error::Failure;

/// One mount.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Mount {
    #[serde(rename = "Type")]
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    bind_options: Option<Bind>,
    volume_options: Option<Volume>,
    tmpfs_options: Option<Tmpfs>,
    image_options: Option<Image>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Bind {
    propagation: String,
    non_recursive: bool,
    create_mountpoint: bool,
    read_only_non_recursive: bool,
    read_only_force_recursive: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Volume {
    no_copy: bool,
    labels: BTreeMap<String, String>,
    driver_config: Driver,
    subpath: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Driver {
    name: String,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tmpfs {
    size_bytes: u64,
    mode: u32,
    options: Vec<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    subpath: String,
}

impl Mount {
    /// What is asked for.
    pub(super) fn request(&self) -> Result<MountRequest, Failure> {
        let kind = match self.kind.as_str() {
            "bind" => MountKind::Bind,
            "volume" => MountKind::Volume,
            "tmpfs" => MountKind::Tmpfs,
            "image" => MountKind::Image,
            other => {
                return Err(Failure::invalid(format!(
                    "invalid mount config for type \"{other}\": mount type unknown"
                )));
            }
        };
        Ok(MountRequest {
            kind,
            source: self.source.clone(),
            destination: self.target.clone(),
            read_only: self.read_only,
            bind: self.bind_options.as_ref().map(Bind::options).transpose()?,
            volume: self.volume_options.as_ref().map(Volume::options),
            tmpfs: self.tmpfs_options.as_ref().map(Tmpfs::options),
            image_subpath: self
                .image_options
                .as_ref()
                .and_then(|image| given(&image.subpath)),
        })
    }
}

impl Bind {
    fn options(&self) -> Result<BindOptions, Failure> {
        let propagation = match self.propagation.as_str() {
            "" => None,
            name => Some(Propagation::parse(name).ok_or_else(|| {
                Failure::invalid(format!(
                    "invalid mount config for type \"bind\": invalid propagation mode: {name}"
                ))
            })?),
        };
        Ok(BindOptions {
            propagation,
            non_recursive: self.non_recursive,
            create_source: self.create_mountpoint,
            read_only_non_recursive: self.read_only_non_recursive,
            read_only_force_recursive: self.read_only_force_recursive,
        })
    }
}

impl Volume {
    fn options(&self) -> VolumeOptions {
        VolumeOptions {
            no_copy: self.no_copy,
            labels: self.labels.clone(),
            driver: given(&self.driver_config.name),
            driver_options: self.driver_config.options.clone(),
            subpath: given(&self.subpath),
        }
    }
}

impl Tmpfs {
    fn options(&self) -> TmpfsOptions {
        let joined = |option: &Vec<String>| option.join("=");
        TmpfsOptions {
            size: (self.size_bytes != 0).then_some(self.size_bytes),
            mode: (self.mode != 0).then_some(self.mode),
            options: self.options.iter().map(joined).collect(),
        }
    }
}
