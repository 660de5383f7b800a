//! The keys by which a client leaves a terminal without ending what runs in it.

use crate::error::Failure;

/// A sequence of keys, and how much of it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

/// Ctrl-P, Ctrl-Q.
const DEFAULT: [u8; 2] = [16, 17];

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q` or `a,b`; nothing given is the default.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let keys = match text {
            None => DEFAULT.to_vec(),
            Some(text) => text.split(',').map(key).collect::<Result<_, _>>()?,
        };
        Ok(Self { keys, typed: 0 })
    }

    /// What of the input goes on, and whether the client detaches: what comes after is dropped.
    pub(super) fn pass(&mut self, input: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(input.len());
        for byte in input {
            if self.keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.typed]);
            self.typed = usize::from(self.keys.first() == Some(byte));
            if self.typed == 0 {
                passed.push(*byte);
            } else if self.keys.len() == 1 {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

fn key(text: &str) -> Result<u8, Failure> {
    let invalid = || Failure::invalid(format!("Invalid detach keys ({text}) provided"));
    if let Some(name) = text.strip_prefix("ctrl-") {
        return match name.as_bytes() {
            [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
            [b'@'] => Ok(0),
            [sign @ b'['..=b'_'] => Ok(sign - b'[' + 27),
            _ => Err(invalid()),
        };
    }
    match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() => Ok(*byte),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_out_only_if_all_come() {
        let check = |keys: Option<&str>, pieces: &[&[u8]], passed: &[u8], detached: bool| {
            let mut keys = DetachKeys::parse(keys).expect("keys");
            let (mut all, mut left) = (Vec::new(), false);
            for piece in pieces {
                let (some, gone) = keys.pass(piece);
                all.extend(some);
                left |= gone;
            }
            assert_eq!((&all[..], left), (passed, detached));
        };
        check(None, &[b"abc"], b"abc", false);
        check(None, &[b"a\x10\x11b"], b"a", true);
        check(None, &[b"a\x10", b"\x11"], b"a", true);
        check(None, &[b"\x10x"], b"\x10x", false);
        check(None, &[b"\x10\x10\x11"], b"\x10", true);
        check(Some("ctrl-a"), &[b"b\x01"], b"b", true);
        check(Some("a,b"), &[b"aab"], b"a", true);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["ctrl-", "ctrl-1", "", "ab", "a,"] {
            assert!(DetachKeys::parse(Some(text)).is_err(), "{text}");
        }
    }
}
