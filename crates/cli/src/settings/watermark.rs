//! Settings of the watermark: the table `[watermark]` of the configuration file.

use std::time::Duration;

use lapstrake_engine::Label;
use lapstrake_engine::watermark::{Mark, Policy};
use serde::Deserialize;
use toml::Spanned;

use super::file::{Check, Error};
use crate::verbs::filter::Filter;

/// What was used so short a time ago stays, if nothing is said.
const MIN_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often a daemon looks, if nothing is said.
const INTERVAL: Duration = Duration::from_secs(60);
/// The shortest that this may be.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// A policy that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatermarkSettings {
    pub(crate) policy: Policy,
    pub(crate) interval: Duration,
}

/// As it is written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct Written {
    keep_free: Option<Spanned<String>>,
    until_free: Option<Spanned<String>>,
    protect: Option<Vec<Spanned<String>>>,
    min_age: Option<Spanned<String>>,
    interval: Option<Spanned<String>>,
    containers: bool,
}

impl Written {
    /// What it asks for; nothing without `keep-free`.
    pub(super) fn checked(self, check: &Check<'_>) -> Result<Option<WatermarkSettings>, Error> {
        let mark = |key: &str, text: Option<Spanned<String>>| {
            check.parsed(key, text, |text| {
                text.parse::<Mark>().map_err(|error| error.to_string())
            })
        };
        let keep_free = mark("keep-free", self.keep_free)?;
        let until_free = mark("until-free", self.until_free)?;
        let protect = check.each(self.protect, protecting)?;
        let min_age = check.parsed("min-age", self.min_age, duration)?;
        let interval = check.parsed("interval", self.interval, |text| match duration(text)? {
            interval if interval < SHORTEST_INTERVAL => Err("give at least 1s".to_owned()),
            interval => Ok(interval),
        })?;
        Ok(keep_free.map(|keep_free| WatermarkSettings {
            policy: Policy {
                keep_free,
                until_free: until_free.unwrap_or_else(|| keep_free.and_a_quarter()),
                protect: protect.unwrap_or_default(),
                min_age: min_age.unwrap_or(MIN_AGE),
                containers: self.containers,
            },
            interval: interval.unwrap_or(INTERVAL),
        }))
    }
}

/// A filter that says what is protected.
fn protecting(text: &str) -> Result<Label, String> {
    match text.parse::<Filter>() {
        Ok(Filter::Label(label)) => Ok(label),
        _ => Err(format!(
            "protect: {text:?}: give label=KEY or label=KEY=VALUE"
        )),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    lapstrake_engine::duration(text)
        .ok_or_else(|| format!("{text:?} is no duration: give one such as 90s, 30m or 24h"))
}
