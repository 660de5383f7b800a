//! `-v`: `[source:]destination[:options]`.

use super::error::{Error, Fault};
use super::mode::Mode;
use super::path;
use crate::settings::{BindOptions, MountKind, MountPoint, Propagation};

/// A `-v`, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) point: MountPoint,
    /// The propagation that was given.
    pub(super) propagation: Option<Propagation>,
}

pub(super) fn parse(text: &str, driver: Option<&str>) -> Result<Parsed, Error> {
    let malformed = || Error::Specification {
        text: text.to_owned(),
        why: None,
    };
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let (source, destination, options) = match *parts {
        ["", ..] => return Err(malformed()),
        [destination] => ("", destination, ""),
        // Options need a source: `/foo:rw` is no volume.
        [_, mode] if Mode::parse(mode).is_some() => return Err(malformed()),
        [source, destination] => (source, destination, ""),
        [source, destination, options] => (source, destination, options),
        _ => return Err(malformed()),
    };
    let mode = Mode::parse(options).ok_or_else(|| Error::Mode(options.to_owned()))?;
    let kind = if source.starts_with('/') {
        MountKind::Bind
    } else {
        MountKind::Volume
    };
    let check = || {
        if destination.is_empty() {
            return Err(Fault::Missing("Target"));
        }
        path::check_destination(destination)?;
        match kind {
            MountKind::Bind if mode.no_copy => Err(Fault::Extra("VolumeOptions")),
            MountKind::Volume if mode.propagation.is_some() => Err(Fault::Extra("BindOptions")),
            MountKind::Volume if source.is_empty() && mode.read_only => {
                Err(Fault::AnonymousReadOnly)
            }
            _ => Ok(()),
        }
    };
    check().map_err(|why| Error::Specification {
        text: text.to_owned(),
        why: Some(Box::new(Error::Config { kind, why })),
    })?;
    let mut point = MountPoint {
        kind,
        destination: path::clean(destination),
        mode: options.to_owned(),
        writable: !mode.read_only,
        ..MountPoint::default()
    };
    if kind == MountKind::Bind {
        point.source = path::clean(source);
        point.bind = BindOptions {
            propagation: Some(mode.propagation.unwrap_or(Propagation::Rprivate)),
            create_source: true,
            ..BindOptions::default()
        };
    } else {
        point.name = Some(source)
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        point.anonymous = point.name.is_none();
        point.driver = driver
            .filter(|driver| !driver.is_empty())
            .map(str::to_owned);
        point.copy_up = !mode.no_copy;
    }
    Ok(Parsed {
        point,
        propagation: mode.propagation,
    })
}
