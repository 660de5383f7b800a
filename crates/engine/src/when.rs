//! Points in time as people and documents write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapstrake_monitor::time::Moment;

/// Reads a time as `--filter until=` takes it: a date (`2026-11-24`), a time (`2026-11-24T07:00:00`
/// with an optional fraction and zone, UTC if there is none), seconds since 1970 with an optional
/// fraction, or a duration before `now` (`90s`, `1h30m`, `24h`).
pub fn until(text: &str, now: SystemTime) -> Option<SystemTime> {
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago);
    }
    if let Some(since) = seconds(text) {
        return UNIX_EPOCH.checked_add(since);
    }
    let missing = match text.split_once('T').map(|(_, time)| time.len()) {
        None => "T00:00:00Z",
        Some(2) => ":00:00Z",
        Some(5) => ":00Z",
        Some(_) => "",
    };
    rfc3339(&format!("{text}{missing}")).or_else(|| rfc3339(&format!("{text}Z")))
}

/// Reads an RFC 3339 time.
pub fn rfc3339(text: &str) -> Option<SystemTime> {
    text.parse::<Moment>().ok()?.to_system()
}

fn nanoseconds(fraction: &str) -> Option<u64> {
    let fits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| format!("{fraction:0<9}").parse().ok())
        .flatten()
}

fn seconds(text: &str) -> Option<Duration> {
    let (whole, nanos) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, nanoseconds(fraction)?),
        None => (text, 0),
    };
    let fits = !whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit());
    let seconds: u64 = fits.then(|| whole.parse().ok()).flatten()?;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(nanos))
}

/// A duration as Go writes it: numbers, each with a unit.
pub fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let number: f64 = number.parse().ok()?;
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number * factor;
        rest = after;
    }
    if text.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// A time with as many places after the second as it needs. Times before 1970 are 1970.
pub fn to_rfc3339(time: SystemTime) -> String {
    Moment::from(time.max(UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn check(text: &str, want: Option<f64>) {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let got = until(text, now).map(|at| match at.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        });
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn dates_and_times_are_read() {
        check("1970-01-01", Some(0.0));
        check("1969-12-31T23:59:59Z", Some(-1.0));
        check("2000-02-29T00:00:00Z", Some(951_782_400.0));
        check("2026-11-24T07:30:15.5Z", Some(1_795_505_415.5));
        check("2026-11-24T08:30:15+01:00", Some(1_795_505_415.0));
        check("2026-11-24T07:30:15", Some(1_795_505_415.0));
        check("2026-11-24T07:30", Some(1_795_505_400.0));
        check("2026-11-24T07", Some(1_795_503_600.0));
    }

    #[test]
    fn seconds_and_durations_are_read() {
        check("0", Some(0.0));
        check("1700000000.25", Some(1_700_000_000.25));
        check("24h", Some(1_799_913_600.0));
        check("1h30m", Some(1_799_994_600.0));
        check("1.5s", Some(1_799_999_998.5));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "h",
            "1x",
            "yesterday",
            "2026-13-01",
            "2026-1-1",
            "1h30",
            "-5",
            "2026-11-24T25:00:00Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn no_time_before_1970_is_written() {
        for (before, text) in [(0, "1970-01-01T00:00:00Z"), (1, "1970-01-01T00:00:00Z")] {
            assert_eq!(to_rfc3339(UNIX_EPOCH - Duration::from_secs(before)), text);
        }
        let half = UNIX_EPOCH + Duration::new(1, 500_000_000);
        assert_eq!(to_rfc3339(half), "1970-01-01T00:00:01.5Z");
    }
}
