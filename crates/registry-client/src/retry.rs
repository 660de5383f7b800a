//! When a failure is worth another try, and how long to wait before it.
//!
//! Invariant: only [`Class::Unavailable`] is tried again, and tries end: after [`MAX_FAILURES`] without
//! progress between them, or when a registry wants us to wait for longer than [`MAX_PAUSE`].

use std::future::Future;
use std::time::Duration;

use crate::error::{Class, Error};

/// Failures in a row before the last of them is told.
const MAX_FAILURES: u32 = 5;
/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause that a registry may ask for. Who pulls would rather know than wait longer.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Bytes that count as progress. A server that sends a byte and hangs up is not getting anywhere.
const PROGRESS_BYTES: u64 = 64 * 1024;

/// Counts failures of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    since_failure: u64,
}

impl Patience {
    /// Takes note of bytes that came.
    pub(crate) fn received(&mut self, bytes: u64) {
        self.since_failure = self.since_failure.saturating_add(bytes);
        if self.since_failure >= PROGRESS_BYTES {
            self.failures = 0;
        }
    }

    /// How long to wait before the next try; `None` if there is to be none.
    pub(crate) fn after(&mut self, error: &Error) -> Option<Duration> {
        self.failures += 1;
        self.since_failure = 0;
        if error.class() != Class::Unavailable || self.failures >= MAX_FAILURES {
            return None;
        }
        let pause = FIRST_PAUSE * (1 << (self.failures - 1));
        let wanted = match error {
            Error::Status { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        if wanted > MAX_PAUSE {
            return None;
        }
        Some(pause.max(wanted))
    }
}

/// Calls `attempt` until it succeeds or is not worth another try.
pub(crate) async fn until_done<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut patience = Patience::default();
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => match patience.after(&error) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> Error {
        Error::Transport {
            registry: "r".to_owned(),
            what: "w".to_owned(),
            reason: "reset".to_owned(),
        }
    }

    fn pauses(between: u64) -> Vec<u128> {
        let mut patience = Patience::default();
        let mut pauses = Vec::new();
        for _failure in 0..8 {
            match patience.after(&unavailable()) {
                Some(pause) => pauses.push(pause.as_millis()),
                None => break,
            }
            patience.received(between);
        }
        pauses
    }

    #[test]
    fn pauses_double_and_end() {
        assert_eq!(pauses(0), [200, 400, 800, 1600]);
    }

    #[test]
    fn a_byte_now_and_then_is_no_progress() {
        assert_eq!(pauses(1).len(), 4);
    }

    #[test]
    fn progress_starts_the_count_again() {
        assert_eq!(pauses(PROGRESS_BYTES), [200; 8]);
    }

    #[test]
    fn a_registry_may_ask_for_a_pause_but_not_for_any() {
        let busy = |seconds| Error::Status {
            registry: "r".to_owned(),
            what: "w".to_owned(),
            status: 429,
            message: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let mut patience = Patience::default();
        assert_eq!(patience.after(&busy(0)).unwrap().as_millis(), 200);
        assert_eq!(patience.after(&busy(7)).unwrap().as_secs(), 7);
        assert_eq!(patience.after(&busy(61)), None);
        let error = busy(61).to_string();
        assert!(error.ends_with("asked again in 61 s"), "{error}");
    }

    #[test]
    fn what_will_not_change_is_told_at_once() {
        let error = Error::Redirect {
            registry: "r".to_owned(),
            what: "w".to_owned(),
            reason: "in a circle".to_owned(),
        };
        assert_eq!(Patience::default().after(&error), None);
    }
}
