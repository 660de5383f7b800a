//! The extended header of an entry in the making: PAX records for what its header cannot hold.

use std::io::Write as _;

use crate::{
    model::{Metadata, Timestamp},
    whiteout::steers_overlay,
};

use super::header::{self, Head, octal_fits};

/// The records so far.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    pub(super) fn payload(&self) -> &[u8] {
        &self.0
    }

    /// Puts a name where it fits. A name in a header ends at its first NUL, so that it may be as long as
    /// the field.
    pub(super) fn name(&mut self, head: &mut Head, name: &[u8]) {
        head.name(name);
        if name.len() > header::NAME {
            self.record(b"path", name);
        }
    }

    /// Puts a link's target where it fits.
    pub(super) fn link(&mut self, head: &mut Head, target: &[u8]) {
        head.link(target);
        if target.len() > header::NAME {
            self.record(b"linkpath", target);
        }
    }

    /// Puts the number of bytes that follow where it fits.
    pub(super) fn size(&mut self, head: &mut Head, size: u64) {
        head.size(size);
        if !octal_fits(size, header::SIZE) {
            self.record(b"size", size.to_string().as_bytes());
        }
    }

    /// Says that a file is sparse, and its real name and size.
    pub(super) fn sparse(&mut self, path: &[u8], size: u64) {
        self.record(b"GNU.sparse.major", b"1");
        self.record(b"GNU.sparse.minor", b"0");
        self.record(b"GNU.sparse.name", path);
        self.record(b"GNU.sparse.realsize", size.to_string().as_bytes());
    }

    /// Puts mode, owner and time where they fit, and the attributes.
    pub(super) fn metadata(&mut self, head: &mut Head, metadata: &Metadata) {
        head.mode(metadata.mode);
        head.uid(metadata.uid);
        head.gid(metadata.gid);
        for (key, id) in [(b"uid", metadata.uid), (b"gid", metadata.gid)] {
            if !octal_fits(id.into(), header::SHORT) {
                self.record(key, id.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(metadata.mtime.seconds);
        head.mtime(seconds.unwrap_or(0));
        let fits = seconds.is_ok_and(|seconds| octal_fits(seconds, header::SIZE));
        if !fits || metadata.mtime.nanoseconds > 0 {
            self.record(b"mtime", decimal(metadata.mtime).as_bytes());
        }
        let kept = metadata.xattrs.iter();
        for (name, value) in kept.filter(|(name, _)| !steers_overlay(name)) {
            self.xattr(name, value);
        }
    }

    fn xattr(&mut self, name: &[u8], value: &[u8]) {
        if name.contains(&b'=') {
            let key = [b"LIBARCHIVE.xattr.", &percent_encode(name)[..]].concat();
            self.record(&key, &base64_encode(value));
        } else {
            self.record(&[b"SCHILY.xattr.", name].concat(), value);
        }
    }

    /// `length key=value`, where the length counts its own digits.
    fn record(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length.to_string().len() + rest != length {
            length += 1;
        }
        write!(self.0, "{length} ").expect("memory takes all bytes");
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

/// Seconds with as many places as they need.
fn decimal(time: Timestamp) -> String {
    let (mut seconds, mut nanoseconds, mut sign) = (i128::from(time.seconds), time.nanoseconds, "");
    if seconds < 0 {
        // 0.75 s after -2 is -1.25.
        sign = "-";
        seconds = -seconds;
        if nanoseconds > 0 {
            seconds -= 1;
            nanoseconds = 1_000_000_000 - nanoseconds;
        }
    }
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn percent_encode(name: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(name.len() + 8);
    for byte in name {
        // As libarchive: what is not plain ASCII, and what the two formats use themselves.
        if (b'!'..=b'~').contains(byte) && !matches!(byte, b'%' | b'=') {
            encoded.push(*byte);
        } else {
            encoded.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    encoded
}

/// Base 64 without padding, as libarchive writes it.
fn base64_encode(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_usize, |group, at| {
            group << 8 | usize::from(chunk.get(at).copied().unwrap_or(0))
        });
        for digit in 0..=chunk.len() {
            text.push(DIGITS[group >> (18 - 6 * digit) & 63]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_short_as_they_can_be() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0"),
            (10, 0, "10"),
            (1, 500_000_000, "1.5"),
            (1, 1, "1.000000001"),
            (-2, 750_000_000, "-1.25"),
            (-1, 999_999_999, "-0.000000001"),
            (-3, 0, "-3"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            let time = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(decimal(time), text);
            assert_eq!(crate::pax::timestamp(text.as_bytes()), Some(time), "{text}");
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for length in [1, 80, 90, 91, 92, 980, 990, 1000] {
            let mut records = Records::default();
            records.record(b"key", &vec![b'v'; length]);
            let text = records.payload();
            let digits = text.iter().position(|byte| *byte == b' ').unwrap();
            let said: usize = str::from_utf8(&text[..digits]).unwrap().parse().unwrap();
            assert_eq!(said, text.len());
        }
    }

    #[test]
    fn base_64_has_no_padding() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v")] {
            assert_eq!(base64_encode(bytes.as_bytes()), text.as_bytes());
        }
    }
}
