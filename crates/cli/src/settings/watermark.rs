//! Settings of the watermark: the table `[watermark]` of the configuration file.

use std::time::Duration;

use lapstrake_engine::Label;
use lapstrake_engine::watermark::{Mark, Policy};
use serde::Deserialize;
use toml::Spanned;

use super::file::{Check, Error};
use super::{Said, Setting, first, listed};
use crate::verbs::filter::Filter;

/// What was used so short a time ago stays, if nothing is said.
const MIN_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often a daemon looks, if nothing is said.
const INTERVAL: Duration = Duration::from_secs(60);
/// The shortest that this may be.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What the table says.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    keep_free: Option<Mark>,
    until_free: Option<Mark>,
    protect: Option<Vec<Label>>,
    min_age: Option<Duration>,
    interval: Option<Duration>,
    containers: Option<bool>,
}

/// What holds, also where the table says nothing.
#[derive(Debug)]
pub(crate) struct WatermarkSettings {
    /// Without it, no policy is on.
    pub(crate) keep_free: Setting<Option<Mark>>,
    pub(crate) until_free: Setting<Option<Mark>>,
    pub(crate) protect: Setting<Vec<Label>>,
    pub(crate) min_age: Setting<Duration>,
    pub(crate) interval: Setting<Duration>,
    pub(crate) containers: Setting<bool>,
}

impl From<Asked> for WatermarkSettings {
    fn from(asked: Asked) -> Self {
        fn said<T>(value: Option<T>) -> Said<T> {
            first(None, None, value)
        }
        let until_free = said(asked.until_free).optional();
        Self {
            until_free: Setting {
                value: (until_free.value).or(asked.keep_free.map(Mark::and_a_quarter)),
                ..until_free
            },
            keep_free: said(asked.keep_free).optional(),
            protect: listed(asked.protect),
            min_age: said(asked.min_age).or(MIN_AGE),
            interval: said(asked.interval).or(INTERVAL),
            containers: said(asked.containers).or(false),
        }
    }
}

impl WatermarkSettings {
    /// The policy that is on, if one is.
    pub(crate) fn policy(&self) -> Option<Policy> {
        let keep_free = self.keep_free.value?;
        Some(Policy {
            keep_free,
            until_free: self.until_free.value?,
            protect: self.protect.value.clone(),
            min_age: self.min_age.value,
            containers: self.containers.value,
        })
    }
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
    containers: Option<bool>,
}

impl Written {
    pub(super) fn checked(self, check: &Check<'_>) -> Result<Asked, Error> {
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
        Ok(Asked {
            keep_free,
            until_free,
            protect,
            min_age,
            interval,
            containers: self.containers,
        })
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

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    #[test]
    fn none_is_on_until_it_is_said_how_much_is_to_be_free() {
        let off = WatermarkSettings::from(Asked {
            containers: Some(true),
            ..Asked::default()
        });
        assert_eq!(off.policy(), None);
        assert_eq!((off.keep_free.value, off.until_free.value), (None, None));
        assert_eq!(
            (off.containers.value, off.containers.origin),
            (true, Origin::File)
        );
        let on = WatermarkSettings::from(Asked {
            keep_free: Some(Mark::Percent(20)),
            ..Asked::default()
        });
        let policy = Policy {
            keep_free: Mark::Percent(20),
            until_free: Mark::Percent(25),
            protect: Vec::new(),
            min_age: MIN_AGE,
            containers: false,
        };
        assert_eq!(on.policy(), Some(policy));
        let origins = (on.keep_free.origin, on.until_free.origin, on.min_age.origin);
        assert_eq!(origins, (Origin::File, Origin::Default, Origin::Default));
    }
}
