//! Docker's `json-file`: a line for each entry,
//! `{"log":"text\n","stream":"stdout","attrs":{…},"time":"2006-01-02T15:04:05.999999999Z"}`.
//!
//! Bytes that are not UTF-8 become U+FFFD: JSON has no way to hold them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Deserialize;

use crate::logs::entry::{Entry, Piece, name, named};
use crate::time::Timestamp;

/// Longer lines were not written by anyone who writes this format.
pub(crate) const LINE_LIMIT: usize = 1 << 20;

/// The attributes as they stand in every line, or nothing.
pub(crate) fn attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut json = Vec::new();
    if attributes.is_empty() {
        return json;
    }
    json.extend_from_slice(b",\"attrs\":");
    let mut before = b'{';
    for (key, value) in attributes {
        json.push(before);
        before = b',';
        string(&mut json, &[key.as_bytes()]);
        json.push(b':');
        string(&mut json, &[value.as_bytes()]);
    }
    json.push(b'}');
    json
}

/// Appends the line of an entry.
pub(crate) fn encode(out: &mut Vec<u8>, piece: &Piece<'_>, attributes: &[u8]) {
    out.extend_from_slice(b"{\"log\":");
    let end: &[u8] = if piece.ends_line() { b"\n" } else { b"" };
    string(out, &[piece.text, end]);
    out.extend_from_slice(b",\"stream\":\"");
    out.extend_from_slice(name(piece.stream).as_bytes());
    out.push(b'"');
    out.extend_from_slice(attributes);
    writeln!(out, ",\"time\":\"{}\"}}", piece.time).expect("a vector takes all bytes");
}

/// Appends a JSON string with the escapes that Docker uses.
fn string(out: &mut Vec<u8>, parts: &[&[u8]]) {
    out.push(b'"');
    for part in parts {
        for chunk in part.utf8_chunks() {
            escape(out, chunk.valid());
            // As Go counts them: one replacement for each byte that is not part of a character.
            for _ in chunk.invalid() {
                out.extend_from_slice(b"\\ufffd");
            }
        }
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (length, unicode) = match byte {
            b'"' | b'\\' | b'\n' | b'\r' => (1, None),
            0..0x20 | b'<' | b'>' | b'&' => (1, Some(u16::from(*byte))),
            // The two line separators, E2 80 A8 and E2 80 A9, which JavaScript can't have in a string.
            0xE2 if matches!(bytes.get(at..at + 3), Some([_, 0x80, 0xA8])) => (3, Some(0x2028)),
            0xE2 if matches!(bytes.get(at..at + 3), Some([_, 0x80, 0xA9])) => (3, Some(0x2029)),
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        match (unicode, byte) {
            (Some(code), _) => write!(out, "\\u{code:04x}").expect("a vector takes all bytes"),
            (None, b'\n') => out.extend_from_slice(b"\\n"),
            (None, b'\r') => out.extend_from_slice(b"\\r"),
            (None, other) => out.extend_from_slice(&[b'\\', *other]),
        }
        at += length;
        plain = at;
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
}

/// A line's entry; `None` if it is none.
pub(crate) fn decode(line: &[u8]) -> Option<Entry> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(borrow, default)]
        log: Cow<'a, str>,
        #[serde(borrow)]
        stream: Cow<'a, str>,
        #[serde(default)]
        attrs: BTreeMap<String, String>,
        time: Timestamp,
    }
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    Some(Entry {
        stream: named(line.stream.as_bytes())?,
        time: line.time,
        line: line.log.into_owned().into_bytes(),
        attributes: line.attrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::entry::Part;
    use crate::wire::Stream;
    use proptest::prelude::*;

    fn line(text: &[u8], part: Option<Part>, attributes: &BTreeMap<String, String>) -> Vec<u8> {
        let mut out = Vec::new();
        let piece = Piece {
            stream: Stream::Stderr,
            time: Timestamp::from_nanoseconds(1_500_000_000_120_000_000),
            text,
            part,
        };
        encode(&mut out, &piece, &super::attributes(attributes));
        out
    }

    #[track_caller]
    fn check(text: &[u8], log: &str) {
        let expect = format!(
            "{{\"log\":\"{log}\",\"stream\":\"stderr\",\"time\":\"2017-07-14T02:40:00.12Z\"}}\n"
        );
        assert_eq!(
            String::from_utf8(line(text, None, &BTreeMap::new())),
            Ok(expect)
        );
    }

    #[test]
    fn lines_are_those_of_docker() {
        check(b"hello", r"hello\n");
        check(b"", r"\n");
        check(b"\"\\\r\t\0\x7f", "\\\"\\\\\\r\\u0009\\u0000\x7f\\n");
        check(b"<a href=&>", r"\u003ca href=\u0026\u003e\n");
        check("é\u{2028}\u{2029}".as_bytes(), r"é\u2028\u2029\n");
        check(b"a\xff\xe2\x80b", r"a\ufffd\ufffd\ufffdb\n");
    }

    #[test]
    fn attributes_stand_before_the_time() {
        let attributes = BTreeMap::from([("tag".into(), "x".into()), ("env".into(), "<1>".into())]);
        let text = String::from_utf8(line(b"a", None, &attributes)).unwrap();
        assert_eq!(
            text,
            "{\"log\":\"a\\n\",\"stream\":\"stderr\",\"attrs\":{\"env\":\"\\u003c1\\u003e\",\
             \"tag\":\"x\"},\"time\":\"2017-07-14T02:40:00.12Z\"}\n"
        );
        assert_eq!(decode(text.as_bytes()).unwrap().attributes, attributes);
    }

    #[test]
    fn a_piece_has_no_line_feed_unless_it_is_the_last() {
        let part = |last| Part {
            id: Timestamp::from_nanoseconds(0),
            ordinal: 1,
            last,
        };
        for (last, log) in [(false, "a"), (true, "a\n")] {
            let entry = decode(&line(b"a", Some(part(last)), &BTreeMap::new())).unwrap();
            assert_eq!(entry.line, log.as_bytes());
        }
    }

    #[test]
    fn garbage_is_no_entry() {
        let garbage: [&[u8]; 5] = [
            b"",
            b"\0\0\0\n",
            b"{\"log\":\"x\",\"stream\":\"stdout\"}\n",
            b"{\"log\":\"x\",\"stream\":\"other\",\"time\":\"1970-01-01T00:00:00Z\"}\n",
            b"{\"log\":\"torn",
        ];
        for line in garbage {
            assert_eq!(decode(line), None);
        }
    }

    proptest! {
        #[test]
        fn text_is_read_back(text: String, seconds: i64) {
            let time = Timestamp::from_nanoseconds(seconds);
            let piece = Piece { stream: Stream::Stdout, time, text: text.as_bytes(), part: None };
            let mut out = Vec::new();
            encode(&mut out, &piece, b"");
            let entry = decode(&out).unwrap();
            prop_assert_eq!(entry.line, format!("{text}\n").into_bytes());
            prop_assert_eq!(entry.time, time);
            prop_assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        }

        #[test]
        fn any_bytes_are_safe(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&line);
        }
    }
}
