//! `Content-Range`: which part of a blob an answer holds (RFC 9110, section 14.4).

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

/// Digits only: a sign, which `parse` would take, is no part of the grammar.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
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
}
