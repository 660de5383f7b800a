//! What becomes of a container, in words: `Up 5 minutes (healthy)`.

use lapstrake_engine::containers::{Nanoseconds, Phase, State};
use lapstrake_engine::settings::HealthStatus;

/// The words of `docker ps`.
pub(super) fn words(state: &State, now: Nanoseconds) -> String {
    let since = |then: Option<Nanoseconds>| ago(now.saturating_sub(then.unwrap_or(now)));
    match state.phase {
        Phase::Running => {
            let up = since(state.started);
            match health(state) {
                None => format!("Up {up}"),
                Some(health) => format!("Up {up} ({health})"),
            }
        }
        Phase::Paused => format!("Up {} (Paused)", since(state.started)),
        Phase::Restarting => format!("Restarting ({}) {} ago", state.code, since(state.finished)),
        Phase::Removing => "Removal In Progress".to_owned(),
        Phase::Dead => "Dead".to_owned(),
        Phase::Created => "Created".to_owned(),
        Phase::Exited => format!("Exited ({}) {} ago", state.code, since(state.finished)),
    }
}

fn health(state: &State) -> Option<&'static str> {
    let status = state.health.as_ref()?.status;
    Some(match status {
        HealthStatus::Starting => "health: starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    })
}

/// A length of time as people say it, with Docker's bounds.
pub(super) fn ago(nanoseconds: Nanoseconds) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        i64::MIN..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ => match hours {
            ..=1 => "About an hour".to_owned(),
            2..48 => format!("{hours} hours"),
            48..336 => format!("{} days", hours / 24),
            336..1440 => format!("{} weeks", hours / 24 / 7),
            1440..17_520 => format!("{} months", hours / 24 / 30),
            _ => format!("{} years", hours / 24 / 365),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_as_docker_tells_it() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (130, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (49 * 3600, "2 days"),
            (15 * 24 * 3600, "2 weeks"),
            (70 * 24 * 3600, "2 months"),
            (800 * 24 * 3600, "2 years"),
        ] {
            assert_eq!(ago(seconds * 1_000_000_000), words);
        }
    }

    #[test]
    fn every_phase_has_its_words() {
        let state = |phase| State {
            phase,
            code: 3,
            started: Some(0),
            finished: Some(0),
            ..State::default()
        };
        let now = 5_000_000_000;
        for (phase, said) in [
            (Phase::Running, "Up 5 seconds"),
            (Phase::Paused, "Up 5 seconds (Paused)"),
            (Phase::Restarting, "Restarting (3) 5 seconds ago"),
            (Phase::Exited, "Exited (3) 5 seconds ago"),
            (Phase::Created, "Created"),
            (Phase::Dead, "Dead"),
        ] {
            assert_eq!(words(&state(phase), now), said);
        }
    }
}
