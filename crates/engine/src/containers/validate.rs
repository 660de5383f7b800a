//! Whether settings can be had, before anything is made.

use lapstrake_container::settings::{Namespace, NetworkMode, Settings, When};
use lapstrake_container::spec;
use lapstrake_oci::config::Healthcheck;

use super::Containers;
use super::error::{Error, Result};

impl Containers {
    /// Checks settings, and puts ids in the place of names of other containers. What the client should know.
    pub(crate) fn validate(&self, settings: &mut Settings) -> Result<Vec<String>> {
        let host = &mut settings.host;
        if host.auto_remove && host.restart.when != When::No {
            return Err(Error::Invalid(
                "can't create 'AutoRemove' container with restart policy".to_owned(),
            ));
        }
        if host.restart.times_max > 0 && host.restart.when != When::OnFailure {
            return Err(Error::Invalid(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'"
                    .to_owned(),
            ));
        }
        if let NetworkMode::Container(other) = &mut host.network {
            *other = self.joined(other)?;
        }
        for namespace in [&mut host.ipc, &mut host.pid] {
            if let Namespace::Container(other) = namespace {
                *other = self.joined(other)?;
            }
        }
        self.runtime(host.runtime.as_deref())?;
        super::logs::check(&self.log_of(&host.log), &settings.execution)?;
        if let Some(signal) = &settings.execution.stop_signal {
            super::signal::parse(signal)?;
        }
        if let Some(check) = &settings.execution.healthcheck {
            health(check)?;
        }
        let warnings = spec::validate(settings, self.facts()?)?;
        let mut warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        warnings.extend(network_warning(&settings.host.network)?);
        Ok(warnings)
    }

    /// The id of a container whose namespace is to be joined. That there is none is not told as if the image
    /// of the new one were missing, or clients would pull that.
    fn joined(&self, name: &str) -> Result<String> {
        match self.find(name) {
            Err(why @ Error::NoContainer(_)) => Err(Error::Invalid(why.to_string())),
            found => Ok(found?.id.clone()),
        }
    }
}

/// Checks what is not to be looked at more often than makes sense. Zero means the default.
fn health(check: &Healthcheck) -> Result<()> {
    const LEAST: i64 = 1_000_000;
    for (name, nanoseconds) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if nanoseconds != 0 && nanoseconds < LEAST {
            return Err(Error::Invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if check.retries < 0 {
        return Err(Error::Invalid(
            "Retries in Healthcheck cannot be negative".to_owned(),
        ));
    }
    Ok(())
}

/// What to say of a network that is not what was asked for.
fn network_warning(network: &NetworkMode) -> Result<Option<String>> {
    match network {
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => Ok(None),
        NetworkMode::Default => Ok(Some(LOOPBACK_ONLY.to_owned())),
        NetworkMode::Named(name) if name == "bridge" => Ok(Some(LOOPBACK_ONLY.to_owned())),
        // Not told as a thing that is not there: clients would take it for the image, and pull that.
        NetworkMode::Named(name) => Err(Error::Invalid(format!(
            "failed to set up container networking: network {name} not found"
        ))),
    }
}

const LOOPBACK_ONLY: &str = "Lapstrake has no bridge network yet: this container has loopback only. Use --network host or container:NAME for a network, --network none to be without this warning.";
