//! Moments, as Go writes them.

use std::time::{Duration, UNIX_EPOCH};

use lapstrake_engine::containers::Nanoseconds;

/// Go's zero: a moment that never was.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A moment as RFC 3339 with as many digits of a second as it has.
pub(crate) fn rfc3339(moment: Nanoseconds) -> String {
    let since = Duration::from_nanos(u64::try_from(moment).unwrap_or(0));
    lapstrake_engine::rfc3339(UNIX_EPOCH + since)
}

/// A moment, or [`NEVER`].
pub(crate) fn or_never(moment: Option<Nanoseconds>) -> String {
    moment.map_or_else(|| NEVER.to_owned(), rfc3339)
}

/// Whole seconds since 1970.
pub(crate) fn seconds(moment: Nanoseconds) -> i64 {
    moment.div_euclid(1_000_000_000)
}
