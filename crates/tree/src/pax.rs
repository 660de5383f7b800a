//! PAX extended headers: records of `length key=value`, local to an entry or global for all that follow.
//!
//! `hdrcharset` changes nothing here: names are bytes, and are kept as they come.

use crate::{
    header::{Problem, Segment},
    model::Timestamp,
};

/// What a header says of one field: nothing; `Some(None)`, that it is as if never set; or a value.
type Said<T> = Option<Option<T>>;

/// What extended headers say.
#[derive(Debug, Default, Clone)]
pub(crate) struct Attributes {
    path: Said<Vec<u8>>,
    link: Said<Vec<u8>>,
    size: Said<u64>,
    uid: Said<i64>,
    gid: Said<i64>,
    mtime: Said<Timestamp>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    acl: Said<Vec<u8>>,
    default_acl: Said<Vec<u8>>,
    /// How the entry is sparse.
    pub(crate) sparse: Sparse,
}

/// GNU's records for sparse files, as written.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sparse {
    /// `GNU.sparse.major` and `.minor`.
    pub(crate) version: (Option<Vec<u8>>, Option<Vec<u8>>),
    /// The file's real name, where the header's is made up.
    pub(crate) name: Option<Vec<u8>>,
    /// The file's size, holes and all.
    pub(crate) size: Option<u64>,
    /// Numbers of formats 0.0 and 0.1: offset, length, offset, length …
    pub(crate) map: Vec<u64>,
    /// How many runs there should be.
    pub(crate) runs: Option<u64>,
}

impl Attributes {
    /// Reads the payload of an extended header, on top of what was said before.
    pub(crate) fn read(&mut self, payload: &[u8]) -> Result<(), Problem> {
        let mut rest = payload;
        while !rest.is_empty() {
            let (key, value, after) = record(rest).ok_or("its extended header is malformed")?;
            self.set(key, value)?;
            rest = after;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        match key {
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.link = Some(name(value)?),
            b"size" => self.size = Some(maybe(value, unsigned, "its size is no number")?),
            b"uid" => self.uid = Some(maybe(value, signed, "its owner is no number")?),
            b"gid" => self.gid = Some(maybe(value, signed, "its group is no number")?),
            b"mtime" => self.mtime = Some(maybe(value, timestamp, "its time is no number")?),
            b"SCHILY.acl.access" => self.acl = Some(Some(value.to_vec())),
            b"SCHILY.acl.default" => self.default_acl = Some(Some(value.to_vec())),
            _ => {
                if let Some(attribute) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.set_xattr(attribute.to_vec(), value.to_vec());
                } else if let Some(attribute) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    self.set_encoded_xattr(attribute, value)?;
                } else if let Some(field) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(field, value)?;
                }
            }
        }
        Ok(())
    }

    fn set_encoded_xattr(&mut self, attribute: &[u8], value: &[u8]) -> Result<(), Problem> {
        let attribute = percent_decode(attribute).ok_or("an attribute's name is badly encoded")?;
        let value = base64_decode(value).ok_or("an attribute's value is badly encoded")?;
        self.set_xattr(attribute, value);
        Ok(())
    }

    /// The last of several records of one name wins. An attribute may well be empty, so here, unlike
    /// elsewhere, an empty value is a value.
    fn set_xattr(&mut self, attribute: Vec<u8>, value: Vec<u8>) {
        self.xattrs.push((attribute, value));
    }

    pub(crate) fn path<'a>(&'a self, global: &'a Self) -> Option<&'a [u8]> {
        said(&self.path, &global.path).map(Vec::as_slice)
    }

    pub(crate) fn link<'a>(&'a self, global: &'a Self) -> Option<&'a [u8]> {
        said(&self.link, &global.link).map(Vec::as_slice)
    }

    pub(crate) fn size(&self, global: &Self) -> Option<u64> {
        said(&self.size, &global.size).copied()
    }

    pub(crate) fn uid(&self, global: &Self) -> Option<i64> {
        said(&self.uid, &global.uid).copied()
    }

    pub(crate) fn gid(&self, global: &Self) -> Option<i64> {
        said(&self.gid, &global.gid).copied()
    }

    pub(crate) fn mtime(&self, global: &Self) -> Option<Timestamp> {
        said(&self.mtime, &global.mtime).copied()
    }

    pub(crate) fn acl<'a>(&'a self, global: &'a Self) -> Option<&'a [u8]> {
        said(&self.acl, &global.acl).map(Vec::as_slice)
    }

    pub(crate) fn default_acl<'a>(&'a self, global: &'a Self) -> Option<&'a [u8]> {
        said(&self.default_acl, &global.default_acl).map(Vec::as_slice)
    }

    /// Attributes in the order of their records, global ones first; a later one replaces an earlier.
    pub(crate) fn xattrs<'a>(
        &'a self,
        global: &'a Self,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let all = global.xattrs.iter().chain(&self.xattrs);
        all.map(|(name, value)| (name.as_slice(), value.as_slice()))
    }
}

impl Sparse {
    fn set(&mut self, field: &[u8], value: &[u8]) -> Result<(), Problem> {
        const PROBLEM: Problem = "its sparse map has something that is no number";
        match field {
            b"major" => self.version.0 = Some(value.to_vec()),
            b"minor" => self.version.1 = Some(value.to_vec()),
            b"name" => self.name = name(value)?,
            b"size" | b"realsize" => self.size = Some(unsigned(value).ok_or(PROBLEM)?),
            b"numblocks" => self.runs = Some(unsigned(value).ok_or(PROBLEM)?),
            b"offset" | b"numbytes" => self.map.push(unsigned(value).ok_or(PROBLEM)?),
            b"map" if value.is_empty() => self.map.clear(),
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').map(unsigned);
                self.map = numbers.collect::<Option<_>>().ok_or(PROBLEM)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// The runs of formats 0.0 and 0.1.
    pub(crate) fn segments(&self) -> Result<Vec<Segment>, Problem> {
        let (pairs, rest) = self.map.as_chunks::<2>();
        let whole = rest.is_empty() && self.runs.is_none_or(|runs| runs == pairs.len() as u64);
        if !whole {
            return Err("its sparse map has not as many runs as it says");
        }
        Ok(pairs
            .iter()
            .map(|[offset, length]| Segment {
                offset: *offset,
                length: *length,
            })
            .collect())
    }
}

fn said<'a, T>(local: &'a Said<T>, global: &'a Said<T>) -> Option<&'a T> {
    local.as_ref().or(global.as_ref())?.as_ref()
}

/// The first record: its key, its value and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let digits = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(unsigned(&bytes[..digits])?).ok()?;
    let record = bytes.get(digits + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

fn maybe<T>(
    value: &[u8],
    parse: fn(&[u8]) -> Option<T>,
    problem: Problem,
) -> Result<Option<T>, Problem> {
    if value.is_empty() {
        Ok(None)
    } else {
        parse(value).map(Some).ok_or(problem)
    }
}

fn name(value: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
    match value {
        [] => Ok(None),
        _ if value.contains(&0) => Err("its extended header has a name with a NUL in it"),
        _ => Ok(Some(value.to_vec())),
    }
}

fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(text)?).ok(),
    }
}

/// Decimal seconds, perhaps negative, perhaps with a fraction; what is finer than nanoseconds is
/// rounded down.
pub(crate) fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let negative = text.first() == Some(&b'-');
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = signed(whole)?;
    let digit = |place| {
        fraction
            .get(place)
            .map_or(0, |digit| u32::from(digit - b'0'))
    };
    let mut nanoseconds = (0..9).fold(0, |value, place| value * 10 + digit(place));
    if !negative {
        return Some(Timestamp {
            seconds,
            nanoseconds,
        });
    }
    // -1.25 is 0.75 s after -2.
    nanoseconds += u32::from(fraction.iter().skip(9).any(|digit| *digit != b'0'));
    match nanoseconds {
        0 => Some(Timestamp {
            seconds,
            nanoseconds,
        }),
        _ => {
            let seconds = seconds.checked_sub(1)?;
            Some(Timestamp {
                seconds,
                nanoseconds: 1_000_000_000 - nanoseconds,
            })
        }
    }
}

fn percent_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = str::from_utf8(digits).ok()?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    Some(decoded)
}

/// Base 64 with or without padding: libarchive leaves it out.
fn base64_decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    let text = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push(u8::try_from((bits >> held) & 0xff).expect("masked to a byte"));
        }
    }
    // A single digit left over holds no whole byte.
    (held < 6).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1.", 1, 0),
            ("-1", -1, 0),
            ("-0.5", -1, 500_000_000),
            ("-1.25", -2, 750_000_000),
            ("12.1234567891", 12, 123_456_789),
            ("-0.0000000001", -1, 999_999_999),
            ("9223372036854775807.999999999", i64::MAX, 999_999_999),
            ("-9223372036854775808", i64::MIN, 0),
        ] {
            let expected = Some(Timestamp {
                seconds,
                nanoseconds,
            });
            assert_eq!(timestamp(text.as_bytes()), expected, "{text}");
        }
        for text in [
            "",
            "-",
            "x",
            "1.x",
            "1.5.5",
            "9223372036854775808",
            "-9223372036854775808.5",
        ] {
            assert_eq!(timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn records_keep_their_lengths() {
        assert_eq!(
            record(b"8 a=b=c\nrest"),
            Some((&b"a"[..], &b"b=c"[..], &b"rest"[..]))
        );
        assert_eq!(
            record(b"7 a=\n\n\n"),
            Some((&b"a"[..], &b"\n\n"[..], &b""[..]))
        );
        for bad in [
            "", "8", "8 ", "9 a=b\n", "5 a=b\n", "6 abc\n", "0 a=b\n", "-6 a=b\n", "3 a=b\n",
        ] {
            assert_eq!(record(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn encodings_of_attributes() {
        assert_eq!(
            percent_decode(b"user.a%20b%ff").as_deref(),
            Some(&b"user.a b\xff"[..])
        );
        assert_eq!(percent_decode(b"a%2"), None);
        assert_eq!(base64_decode(b"aGk").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64_decode(b"aGk=").as_deref(), Some(&b"hi"[..]));
        assert_eq!(base64_decode(b"").as_deref(), Some(&b""[..]));
        assert_eq!(base64_decode(b"a"), None);
        assert_eq!(base64_decode(b"a!"), None);
    }
}
