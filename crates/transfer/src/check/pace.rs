//! How fast to read: so many bytes a second, shared by all who read.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What may be read at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// A rate that several threads keep together.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: Option<u64>,
    /// When everything handed out so far is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    /// As fast as it goes.
    pub fn unlimited() -> Self {
        Self {
            bytes_per_second: None,
            paid: Mutex::default(),
        }
    }

    /// At most so many bytes a second.
    pub fn limited(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second.max(1)),
            paid: Mutex::default(),
        }
    }

    /// Waits until so many more bytes may be read.
    pub fn spend(&self, bytes: u64) {
        std::thread::sleep(self.debt(bytes, Instant::now()));
    }

    fn debt(&self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_second else {
            return Duration::ZERO;
        };
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let from = paid.map_or(now, |paid| paid.max(now.checked_sub(BURST).unwrap_or(now)));
        let until = from + cost;
        *paid = Some(until);
        until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_cost_time_and_a_pause_earns_little() {
        let pace = Pace::limited(1000);
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert_eq!(pace.debt(500, start), Duration::from_millis(500));
        assert_eq!(pace.debt(500, start), Duration::from_secs(1));
        assert_eq!(pace.debt(100, after(1000)), Duration::from_millis(100));
        assert_eq!(pace.debt(100, after(60_000)), Duration::ZERO);
        assert_eq!(pace.debt(100, after(60_000)), Duration::from_millis(100));
        assert_eq!(Pace::unlimited().debt(u64::MAX, start), Duration::ZERO);
    }
}
