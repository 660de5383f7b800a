//! Ranges: which part of a blob an answer holds (`Content-Range`, RFC 9110, section 14.4), and how much
//! of an upload has come (`Range`, as in the distribution specification).

/// A part of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// First byte.
    pub first: u64,
    /// Last byte, which is part of it.
    pub last: u64,
    /// Length of the whole blob, if the server said.
    pub complete: Option<u64>,
}

/// Reads `bytes FIRST-LAST/COMPLETE`; `None` for anything else.
pub fn parse(header: &str) -> Option<ContentRange> {
    let (range, complete) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let complete = if complete == "*" {
        None
    } else {
        Some(number(complete)?)
    };
    let possible = first <= last && complete.is_none_or(|complete| last < complete);
    possible.then_some(ContentRange {
        first,
        last,
        complete,
    })
}

/// How many bytes of an upload a registry has, from the `Range` of its answer: `0-LAST`, some with
/// `bytes=` before it.
///
/// `None` for anything else, and for `0-0`: that is said of one byte and of none.
pub fn parse_received(header: &str) -> Option<u64> {
    let range = header.trim();
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let last = number(range.strip_prefix("0-")?)?;
    (last > 0).then(|| last.checked_add(1))?
}

/// Digits only: a sign, which `parse` would take, is no part of the grammar.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = |first, last, complete| {
            Some(ContentRange {
                first,
                last,
                complete,
            })
        };
        let cases = [
            ("bytes 0-9/10", range(0, 9, Some(10))),
            ("bytes 5-5/*", range(5, 5, None)),
            ("bytes 5-10/10", None),
            ("bytes 6-5/10", None),
            ("bytes +1-5/10", None),
            ("bytes */10", None),
            ("items 0-9/10", None),
            ("bytes 0-99999999999999999999/*", None),
        ];
        for (header, expected) in cases {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    #[test]
    fn what_was_received() {
        let cases = [
            ("0-9", Some(10)),
            ("bytes=0-9", Some(10)),
            (" 0-1 ", Some(2)),
            ("0-0", None),
            ("bytes=0--1", None),
            ("1-9", None),
            ("0-+9", None),
            ("0-18446744073709551615", None),
            ("", None),
        ];
        for (header, expected) in cases {
            assert_eq!(parse_received(header), expected, "{header}");
        }
    }
}
