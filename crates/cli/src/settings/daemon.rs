//! Settings of the daemon: the table `[daemon]` of the configuration file.

use std::path::PathBuf;

use lapstrake_api::Address;
use serde::Deserialize;
use toml::Spanned;

use super::file::{Check, Error};

/// What holds for the daemon where nothing was typed.
#[derive(Debug, Default)]
pub(crate) struct DaemonSettings {
    pub(crate) hosts: Vec<Address>,
    pub(crate) group: Option<String>,
    pub(crate) tlsverify: bool,
    pub(crate) tlscacert: Option<PathBuf>,
    pub(crate) tlscert: Option<PathBuf>,
    pub(crate) tlskey: Option<PathBuf>,
    pub(crate) runtime: Option<String>,
    pub(crate) log_driver: Option<String>,
}

/// As it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Written {
    hosts: Option<Vec<Spanned<String>>>,
    group: Option<String>,
    tlsverify: bool,
    tlscacert: Option<Spanned<String>>,
    tlscert: Option<Spanned<String>>,
    tlskey: Option<Spanned<String>>,
    runtime: Option<String>,
    log_driver: Option<String>,
}

impl Written {
    pub(super) fn checked(self, check: &Check<'_>) -> Result<DaemonSettings, Error> {
        let hosts = check.each(self.hosts, |host| {
            host.parse::<Address>().map_err(|error| error.to_string())
        })?;
        Ok(DaemonSettings {
            hosts: hosts.unwrap_or_default(),
            group: self.group,
            tlsverify: self.tlsverify,
            tlscacert: check.path("tlscacert", self.tlscacert)?,
            tlscert: check.path("tlscert", self.tlscert)?,
            tlskey: check.path("tlskey", self.tlskey)?,
            runtime: self.runtime,
            log_driver: self.log_driver,
        })
    }
}
