//! Docker's `local`: for each entry its length, a protocol buffer, and the length again (both big-endian, 4 bytes).
//!
//! The message: 1 stream's name, 2 time in nanoseconds, 3 text without line feed, 4 whether it is a
//! piece of a line, 5 which (1 last, 2 id, 3 ordinal), 6 repeated attributes (1 key, 2 value), which
//! Docker has since 29 and older readers skip.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::logs::entry::{Entry, Piece, name, named};
use crate::time::Timestamp;

/// The bytes of a length.
pub(crate) const LENGTH: usize = 4;

/// Longer entries were not written by anyone who writes this format.
pub(crate) const ENTRY_LIMIT: u32 = 1 << 20;

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// The attributes as they stand in every entry.
pub(crate) fn attributes(attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attributes {
        let mut pair = Vec::new();
        bytes(&mut pair, 1, key.as_bytes());
        bytes(&mut pair, 2, value.as_bytes());
        varint(&mut out, 6 << 3 | BYTES);
        varint(&mut out, pair.len() as u64);
        out.extend_from_slice(&pair);
    }
    out
}

/// Appends an entry.
pub(crate) fn encode(out: &mut Vec<u8>, piece: &Piece<'_>, attributes: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH]);
    bytes(out, 1, name(piece.stream).as_bytes());
    number(out, 2, piece.time.nanoseconds().cast_unsigned());
    bytes(out, 3, piece.text);
    if let Some(part) = piece.part {
        number(out, 4, 1);
        let mut about = Vec::new();
        number(&mut about, 1, u64::from(part.last));
        let id = format!("{:016x}", part.id.nanoseconds());
        bytes(&mut about, 2, id.as_bytes());
        number(&mut about, 3, u64::from(part.ordinal));
        bytes(out, 5, &about);
    }
    out.extend_from_slice(attributes);
    let length = u32::try_from(out.len() - start - LENGTH).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    if let Some(place) = out.get_mut(start..start + LENGTH) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// A field with a number; nothing stands for zero.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        varint(out, field << 3 | VARINT);
        varint(out, value);
    }
}

/// A field with bytes; nothing stands for none.
fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    if !value.is_empty() {
        varint(out, field << 3 | BYTES);
        varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7F);
        }
        out.push(low | 0x80);
    }
}

/// The length that stands at the start of these bytes, if all of it is there.
pub(crate) fn length(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

/// Where the entry starts that ends at this offset; `None` if none does.
pub(crate) fn entry_before(file: &File, end: u64) -> Option<u64> {
    let length = length_at(file, end.checked_sub(LENGTH as u64)?)?;
    let start = end.checked_sub(u64::from(length) + 2 * LENGTH as u64)?;
    (length_at(file, start)? == length).then_some(start)
}

/// Where the entry ends that starts at this offset; `None` if none does.
pub(crate) fn entry_after(file: &File, start: u64) -> Option<u64> {
    let length = length_at(file, start)?;
    let trailer = start.checked_add(u64::from(length) + LENGTH as u64)?;
    (length_at(file, trailer)? == length).then_some(trailer + LENGTH as u64)
}

fn length_at(file: &File, offset: u64) -> Option<u32> {
    let mut bytes = [0; LENGTH];
    file.read_exact_at(&mut bytes, offset).ok()?;
    // No entry is empty; zeros are what a power cut leaves.
    Some(u32::from_be_bytes(bytes)).filter(|length| (1..=ENTRY_LIMIT).contains(length))
}

/// The entry in a message; `None` if it is none.
pub(crate) fn decode(message: &[u8]) -> Option<Entry> {
    let mut entry = Entry {
        stream: named(b"stdout")?,
        time: Timestamp::from_nanoseconds(0),
        line: Vec::new(),
        attributes: BTreeMap::new(),
    };
    let (mut stream, mut partial, mut last) = (None, false, false);
    for_each_field(message, |field| {
        match field {
            (1, Value::Bytes(name)) => stream = named(name),
            (2, Value::Number(time)) => {
                entry.time = Timestamp::from_nanoseconds(time.cast_signed());
            }
            (3, Value::Bytes(text)) => entry.line = text.to_vec(),
            (4, Value::Number(is)) => partial = is != 0,
            (5, Value::Bytes(about)) => for_each_field(about, |field| {
                if let (1, Value::Number(is)) = field {
                    last = is != 0;
                }
                Some(())
            })?,
            (6, Value::Bytes(pair)) => {
                let (mut key, mut value) = (String::new(), String::new());
                for_each_field(pair, |field| {
                    match field {
                        (1, Value::Bytes(text)) => key = str::from_utf8(text).ok()?.to_owned(),
                        (2, Value::Bytes(text)) => value = str::from_utf8(text).ok()?.to_owned(),
                        _ => {}
                    }
                    Some(())
                })?;
                entry.attributes.insert(key, value);
            }
            _ => {}
        }
        Some(())
    })?;
    entry.stream = stream?;
    if !partial || last {
        entry.line.push(b'\n');
    }
    Some(entry)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

fn for_each_field<'a>(
    mut message: &'a [u8],
    mut each: impl FnMut((u64, Value<'a>)) -> Option<()>,
) -> Option<()> {
    while !message.is_empty() {
        let key = read_varint(&mut message)?;
        let value = match key & 7 {
            VARINT => Value::Number(read_varint(&mut message)?),
            BYTES => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                Value::Bytes(take(&mut message, length)?)
            }
            1 => take(&mut message, 8).map(|_| Value::Other)?,
            5 => take(&mut message, 4).map(|_| Value::Other)?,
            _ => return None,
        };
        each((key >> 3, value))?;
    }
    Some(())
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *take(message, 1)?.first()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::entry::Part;
    use crate::wire::Stream;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_those_of_docker() {
        let piece = Piece {
            stream: Stream::Stdout,
            time: Timestamp::from_nanoseconds(300),
            text: b"hi",
            part: None,
        };
        let mut out = Vec::new();
        encode(&mut out, &piece, b"");
        assert_eq!(
            out,
            b"\0\0\0\x0f\x0a\x06stdout\x10\xac\x02\x1a\x02hi\0\0\0\x0f"
        );
    }

    proptest! {
        #[test]
        fn entries_are_read_back(
            text: Vec<u8>, nanoseconds: i64, part: Option<(u32, bool)>, pairs: BTreeMap<String, String>,
        ) {
            let time = Timestamp::from_nanoseconds(nanoseconds);
            let part = part.map(|(ordinal, last)| Part { id: time, ordinal, last });
            let piece = Piece { stream: Stream::Stderr, time, text: &text, part };
            let mut out = Vec::new();
            encode(&mut out, &piece, &attributes(&pairs));
            prop_assert_eq!(length(&out), length(&out[out.len() - LENGTH..]));
            let entry = decode(&out[LENGTH..out.len() - LENGTH]).unwrap();
            let mut line = text.clone();
            if piece.ends_line() {
                line.push(b'\n');
            }
            prop_assert_eq!(entry, Entry { stream: Stream::Stderr, time, line, attributes: pairs });
        }

        #[test]
        fn any_bytes_are_safe(message: Vec<u8>) {
            decode(&message);
        }
    }
}
