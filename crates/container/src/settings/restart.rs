//! Whether a container that ended is started again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A restart policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// In which case.
    pub when: When,
    /// For [`When::OnFailure`]: how many times in a row; 0 is without end.
    pub times_max: u32,
}

/// When a container is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Never.
    #[default]
    No,
    /// When it ended, however; and when the daemon starts.
    Always,
    /// As always, but not when a client stopped it.
    UnlessStopped,
    /// When it ended with another code than 0.
    OnFailure,
}

/// The wait before the first restart.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LAST_WAIT: Duration = Duration::from_secs(60);
/// A container that ran this long begins anew with the first wait.
const RAN_WELL: Duration = Duration::from_secs(10);

impl RestartPolicy {
    /// Whether a container that ended with `code` by itself is started again, when it was `times` before.
    pub fn applies(self, code: i32, times: u32) -> bool {
        match self.when {
            When::No => false,
            When::Always | When::UnlessStopped => true,
            When::OnFailure => code != 0 && (self.times_max == 0 || times < self.times_max),
        }
    }

    /// Whether a container is started with the daemon. `stopped` tells that a client stopped it, `code` how
    /// it ended if it ran when the daemon went.
    pub fn applies_at_start(self, stopped: bool, was_running: Option<i32>) -> bool {
        match self.when {
            When::No => false,
            When::Always => true,
            When::UnlessStopped => !stopped,
            When::OnFailure => !stopped && was_running.is_some_and(|code| code != 0),
        }
    }
}

/// How long to wait before a restart: twice the wait before, unless the container ran well.
pub fn wait_before_restart(last: Option<Duration>, ran: Duration) -> Duration {
    match last {
        Some(last) if ran < RAN_WELL => (last * 2).min(LAST_WAIT),
        _ => FIRST_WAIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_tell_failures_stops_and_ends_apart() {
        let policy = |when, times_max| RestartPolicy { when, times_max };
        for (policy, code, times, again) in [
            (policy(When::No, 0), 1, 0, false),
            (policy(When::Always, 0), 0, 99, true),
            (policy(When::UnlessStopped, 0), 0, 0, true),
            (policy(When::OnFailure, 0), 0, 0, false),
            (policy(When::OnFailure, 0), 3, 1000, true),
            (policy(When::OnFailure, 2), 3, 1, true),
            (policy(When::OnFailure, 2), 3, 2, false),
        ] {
            assert_eq!(
                policy.applies(code, times),
                again,
                "{policy:?} {code} {times}"
            );
        }
        assert!(policy(When::Always, 0).applies_at_start(true, None));
        assert!(!policy(When::UnlessStopped, 0).applies_at_start(true, Some(1)));
        assert!(policy(When::OnFailure, 0).applies_at_start(false, Some(1)));
        assert!(!policy(When::OnFailure, 0).applies_at_start(false, None));
    }

    #[test]
    fn waits_double_until_a_minute_and_start_anew_after_a_good_run() {
        let short = Duration::from_secs(1);
        let mut wait = wait_before_restart(None, short);
        let mut waits = Vec::new();
        for _ in 0..11 {
            waits.push(wait.as_millis());
            wait = wait_before_restart(Some(wait), short);
        }
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000
            ]
        );
        assert_eq!(wait_before_restart(Some(wait), RAN_WELL), FIRST_WAIT);
    }
}
