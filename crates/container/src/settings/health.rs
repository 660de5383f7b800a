//! Whether a container works, by a command that is run in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use lapstrake_oci::config::Healthcheck;

/// How to see whether a container works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is run in it.
    pub arguments: Vec<String>,
    /// Between checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// How long failures don't count after the start.
    pub start_period: Duration,
    /// Between checks in that time.
    pub start_interval: Duration,
    /// Failures in a row that count as not working.
    pub retries: u32,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// Nothing yet.
    #[default]
    Starting,
    /// It works.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// What the checks said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What follows from them.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing: u32,
    /// The last checks, oldest first.
    pub log: Vec<Probe>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began: nanoseconds since 1970.
    pub start: i128,
    /// When it ended.
    pub end: i128,
    /// How; -1 if it was cut off.
    pub code: i32,
    /// What it wrote, as far as that is kept.
    pub output: String,
}

/// Checks that are remembered.
const PROBES_MAX: usize = 5;

impl HealthCheck {
    /// Reads a configuration; `shell` runs commands that are one line. Nothing for none.
    pub fn of(config: &Healthcheck, shell: Option<&[String]>) -> Option<Self> {
        let (kind, rest) = config.test.split_first()?;
        let arguments = match kind.as_str() {
            "CMD" => rest.to_vec(),
            "CMD-SHELL" => {
                let default = ["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = shell.filter(|shell| !shell.is_empty());
                [shell.unwrap_or(&default), rest].concat()
            }
            _ => return None,
        };
        let time = |nanoseconds: i64, default| match u64::try_from(nanoseconds) {
            Ok(0) | Err(_) => Duration::from_secs(default),
            Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        };
        Some(Self {
            arguments,
            interval: time(config.interval, 30),
            timeout: time(config.timeout, 30),
            start_period: time(config.start_period, 0),
            start_interval: time(config.start_interval, 5),
            retries: match u32::try_from(config.retries) {
                Ok(0) | Err(_) => 3,
                Ok(retries) => retries,
            },
        })
    }

    /// When to look next, after a start this long ago.
    pub fn next_after(&self, status: HealthStatus, since_start: Duration) -> Duration {
        if status == HealthStatus::Starting && since_start < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }
}

impl Health {
    /// Adds a check, and says whether the status changed by it. `since_start` is when it ended, after the
    /// container's start.
    pub fn add(&mut self, probe: Probe, check: &HealthCheck, since_start: Duration) -> bool {
        let before = self.status;
        if probe.code == 0 {
            self.failing = 0;
            self.status = HealthStatus::Healthy;
        } else {
            let counts = before != HealthStatus::Starting || since_start >= check.start_period;
            if counts {
                self.failing = self.failing.saturating_add(1);
                if self.failing >= check.retries {
                    self.status = HealthStatus::Unhealthy;
                }
            }
        }
        if self.log.len() >= PROBES_MAX {
            self.log.remove(0);
        }
        self.log.push(probe);
        self.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[&str]) -> Option<HealthCheck> {
        let config = Healthcheck {
            test: text.iter().map(|word| (*word).to_owned()).collect(),
            retries: 2,
            start_period: 10_000_000_000,
            ..Healthcheck::default()
        };
        HealthCheck::of(&config, None)
    }

    fn probe(code: i32) -> Probe {
        Probe {
            start: 0,
            end: 1,
            code,
            output: String::new(),
        }
    }

    #[test]
    fn a_line_is_run_by_a_shell_and_none_is_none() {
        assert_eq!(check(&["NONE"]), None);
        assert_eq!(check(&[]), None);
        assert_eq!(check(&["CMD", "a", "b"]).unwrap().arguments, ["a", "b"]);
        let line = check(&["CMD-SHELL", "a b"]).unwrap();
        assert_eq!(line.arguments, ["/bin/sh", "-c", "a b"]);
    }

    #[test]
    fn failures_in_a_row_count_after_the_start_period() {
        let check = check(&["CMD", "a"]).unwrap();
        let (early, late) = (Duration::from_secs(1), Duration::from_secs(11));
        let mut health = Health::default();
        assert!(!health.add(probe(1), &check, early));
        assert_eq!(health.failing, 0);
        assert!(health.add(probe(0), &check, early));
        assert_eq!(health.status, HealthStatus::Healthy);
        assert!(!health.add(probe(1), &check, early));
        assert!(health.add(probe(-1), &check, late));
        assert_eq!(health.status, HealthStatus::Unhealthy);
        for _ in 0..9 {
            health.add(probe(0), &check, late);
        }
        assert_eq!((health.failing, health.log.len()), (0, PROBES_MAX));
    }
}
