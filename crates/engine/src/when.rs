//! Points in time as people and documents write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-');
    let year: i64 = digits(parts.next()?, 4)?;
    let month: i64 = digits(parts.next()?, 2)?;
    let day: i64 = digits(parts.next()?, 2)?;
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (time, offset) = zone(time)?;
    let (time, nanos) = match time.split_once('.') {
        Some((time, fraction)) => (time, nanoseconds(fraction)?),
        None => (time, 0),
    };
    let mut parts = time.split(':');
    let hour: i64 = digits(parts.next()?, 2)?;
    let minute: i64 = digits(parts.next()?, 2)?;
    let second: i64 = digits(parts.next()?, 2)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    let magnitude = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 {
        UNIX_EPOCH.checked_sub(magnitude)?
    } else {
        UNIX_EPOCH.checked_add(magnitude)?
    };
    whole.checked_add(Duration::from_nanos(nanos))
}

/// Days from 1970-01-01 in the Gregorian calendar. Years begin in March here, so that the day that
/// is only sometimes there is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

/// The time without its zone, and by how many seconds that zone is ahead.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let at = time.rfind(['+', '-'])?;
    let (time, zone) = time.split_at(at);
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60;
    Some((
        time,
        if zone.starts_with('-') {
            -offset
        } else {
            offset
        },
    ))
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let fits = text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
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
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = match since.subsec_nanos() {
        0 => String::new(),
        nanoseconds => format!(".{nanoseconds:09}")
            .trim_end_matches('0')
            .to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Year, month and day of a number of days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that a leap day is the last of its year, and every 400 years are
    // alike.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
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
    fn times_are_written_as_date_does() {
        // From `date -u -d @N +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_795_000_000, "2026-11-18T11:06:40Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(to_rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        let half = UNIX_EPOCH + Duration::new(1, 500_000_000);
        assert_eq!(to_rfc3339(half), "1970-01-01T00:00:01.5Z");
    }
}
