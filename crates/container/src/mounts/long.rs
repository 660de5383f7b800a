//! `--mount`: fields, of which each kind has its own.

use std::path::{Path, PathBuf};

use super::error::{Error, Fault};
use super::{Host, path, tmpfs};
use crate::settings::{BindOptions, MountKind, MountPoint, MountRequest, Propagation};

/// Sees to it that a request is sound.
pub(super) fn check(request: &MountRequest, host: &dyn Host) -> Result<(), Error> {
    faults(request, host).map_err(|why| Error::Config {
        kind: request.kind,
        why,
    })
}

fn faults(request: &MountRequest, host: &dyn Host) -> Result<(), Fault> {
    if request.destination.is_empty() {
        return Err(Fault::Missing("Target"));
    }
    path::check_destination(&request.destination)?;
    check_options(request)?;
    match request.kind {
        MountKind::Bind => check_bind(request, host),
        MountKind::Volume => check_volume(request),
        MountKind::Tmpfs if !request.source.is_empty() => Err(Fault::Extra("Source")),
        MountKind::Tmpfs => tmpfs::check(request.tmpfs.as_ref()),
        MountKind::Image if request.source.is_empty() => Err(Fault::Missing("Source")),
        MountKind::Image => check_subpath(request.image_subpath.as_deref()),
    }
}

/// Options are those of the request's kind.
fn check_options(request: &MountRequest) -> Result<(), Fault> {
    let needs_source = matches!(request.kind, MountKind::Bind | MountKind::Image);
    if needs_source && request.source.is_empty() {
        return Err(Fault::Missing("Source"));
    }
    let kind = request.kind;
    for (given, of, name) in [
        (request.bind.is_some(), MountKind::Bind, "BindOptions"),
        (request.volume.is_some(), MountKind::Volume, "VolumeOptions"),
        (
            request.image_subpath.is_some(),
            MountKind::Image,
            "ImageOptions",
        ),
        (request.tmpfs.is_some(), MountKind::Tmpfs, "TmpfsOptions"),
    ] {
        if given && of != kind {
            return Err(Fault::Extra(name));
        }
    }
    Ok(())
}

fn check_bind(request: &MountRequest, host: &dyn Host) -> Result<(), Fault> {
    path::check_absolute(&request.source)?;
    let options = request.bind.clone().unwrap_or_default();
    if !request.read_only && options.read_only_non_recursive {
        return Err(Fault::Conflict(
            "!ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ));
    }
    if !request.read_only && options.read_only_force_recursive {
        return Err(Fault::Conflict(
            "!ReadOnly && BindOptions.ReadOnlyForceRecursive",
        ));
    }
    if options.read_only_non_recursive && options.read_only_force_recursive {
        return Err(Fault::Conflict(
            "ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive",
        ));
    }
    match host.exists(Path::new(&request.source)) {
        Ok(false) if !options.create_source => Err(Fault::NoSource(request.source.clone())),
        Ok(_) => Ok(()),
        Err(source) => Err(Fault::Source {
            path: request.source.clone(),
            source,
        }),
    }
}

fn check_volume(request: &MountRequest) -> Result<(), Fault> {
    let options = request.volume.as_ref();
    let subpath = options.and_then(|options| options.subpath.as_deref());
    let anonymous = request.source.is_empty();
    if anonymous && subpath.is_some_and(|subpath| !subpath.is_empty()) {
        return Err(Fault::AnonymousSubpath);
    }
    check_subpath(subpath)?;
    if anonymous && request.read_only {
        return Err(Fault::AnonymousReadOnly);
    }
    Ok(())
}

fn check_subpath(subpath: Option<&str>) -> Result<(), Fault> {
    match subpath {
        Some(subpath) if !subpath.is_empty() && !path::is_local(subpath) => Err(Fault::Subpath),
        _ => Ok(()),
    }
}

pub(super) fn parse(request: &MountRequest, host: &dyn Host) -> Result<MountPoint, Error> {
    check(request, host)?;
    let mut point = MountPoint {
        kind: request.kind,
        destination: path::clean(&request.destination),
        writable: !request.read_only,
        request: Some(request.clone()),
        ..MountPoint::default()
    };
    let subpath = |subpath: Option<&String>| subpath.filter(|path| !path.is_empty()).cloned();
    match request.kind {
        MountKind::Bind => {
            point.source = path::clean(&request.source);
            let given = request.bind.clone().unwrap_or_default();
            point.bind = BindOptions {
                propagation: Some(given.propagation.unwrap_or(Propagation::Rprivate)),
                ..given
            };
        }
        MountKind::Volume => {
            let options = request.volume.clone().unwrap_or_default();
            point.anonymous = request.source.is_empty();
            point.name = Some(request.source.clone()).filter(|name| !name.is_empty());
            point.driver = options.driver.filter(|driver| !driver.is_empty());
            point.copy_up = !options.no_copy;
            point.subpath = subpath(options.subpath.as_ref());
        }
        MountKind::Tmpfs => point.tmpfs = request.tmpfs.clone().unwrap_or_default(),
        MountKind::Image => {
            let id = host.image(&request.source).map_err(Error::NoImage)?;
            point.name = Some(request.source.clone());
            point.source = PathBuf::from(id);
            point.subpath = subpath(request.image_subpath.as_ref());
            point.writable = false;
        }
    }
    Ok(point)
}
