//! `Retry-After`: when to ask again (RFC 9110, section 10.2.3).

use std::time::Duration;

/// Days before each month of a year that is no leap year.
const DAYS_BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// How long to wait: the header has seconds, or a date that is compared with `now`, which is counted from
/// 1970 as the date is. `None` for anything else.
pub fn parse(header: &str, now: Duration) -> Option<Duration> {
    let text = header.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number has are a long time.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    Some(date(text)?.saturating_sub(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`; the two older forms are sent by nobody.
fn date(text: &str) -> Option<Duration> {
    let (_weekday, rest) = text.strip_suffix(" GMT")?.split_once(", ")?;
    let mut words = rest.split(' ');
    let day = number(words.next()?, 1..=31)?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let year = number(words.next()?, 1970..=9999)?;
    let mut clock = words.next()?.split(':');
    let hour = number(clock.next()?, 0..=23)?;
    let minute = number(clock.next()?, 0..=59)?;
    let second = number(clock.next()?, 0..=60)?;
    if words.next().is_some() || clock.next().is_some() {
        return None;
    }
    let leaps_before = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let is_leap = leaps_before(year + 1) > leaps_before(year);
    let leap_days = leaps_before(year) - leaps_before(1970) + u64::from(is_leap && month >= 2);
    let days = (year - 1970) * 365 + leap_days + DAYS_BEFORE[month] + day - 1;
    Some(Duration::from_secs(
        days * 86_400 + hour * 3_600 + minute * 60 + second,
    ))
}

fn number(text: &str, bounds: std::ops::RangeInclusive<u64>) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok())??;
    bounds.contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_and_dates() {
        let now = Duration::from_secs(784_111_777);
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(0)),
            (
                "Tue, 29 Feb 2000 00:00:00 GMT",
                Some(951_782_400 - 784_111_777),
            ),
            (
                "Thu, 01 Mar 2001 00:00:00 GMT",
                Some(983_404_800 - 784_111_777),
            ),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 08:49:37:1 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(
                parse(header, now).map(|wait| wait.as_secs()),
                expected,
                "{header}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(header in "[A-Za-z0-9 ,:]{0,40}") {
            parse(&header, Duration::ZERO);
        }
    }
}
