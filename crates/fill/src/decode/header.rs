//! The header of a gzip member (RFC 1952), byte by byte.
//!
//! Accepts what Go's reader and zlib accept: any flags but the reserved ones, names and comments of
//! any length (they are skipped, never stored). A header checksum, if there, must be right.

use zlib_rs::crc32::crc32;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// A header being read; the two magic bytes are part of it.
#[derive(Debug)]
pub(super) struct Header {
    field: Field,
    flags: u8,
    crc: u32,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Fixed { index: u8 },
    ExtraLength { low: Option<u8> },
    Extra { left: u16 },
    Name,
    Comment,
    Crc { low: Option<u8> },
    Done,
}

impl Header {
    pub(super) fn new() -> Self {
        Self {
            field: Field::Fixed { index: 0 },
            flags: 0,
            crc: 0,
        }
    }

    /// Reads as much of the header as there is; returns the bytes used and whether it is complete.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, bool), &'static str> {
        let mut used = 0;
        while !matches!(self.field, Field::Done) {
            let Some(byte) = input.get(used) else {
                return Ok((used, false));
            };
            if !matches!(self.field, Field::Crc { .. }) {
                self.crc = crc32(self.crc, &[*byte]);
            }
            self.take(*byte)?;
            used += 1;
        }
        Ok((used, true))
    }

    fn take(&mut self, byte: u8) -> Result<(), &'static str> {
        self.field = match self.field {
            Field::Fixed { index } => self.take_fixed(index, byte)?,
            Field::ExtraLength { low: None } => Field::ExtraLength { low: Some(byte) },
            Field::ExtraLength { low: Some(low) } => match u16::from_le_bytes([low, byte]) {
                0 => self.after(FEXTRA),
                left => Field::Extra { left },
            },
            Field::Extra { left: 1 } => self.after(FEXTRA),
            Field::Extra { left } => Field::Extra { left: left - 1 },
            Field::Name if byte == 0 => self.after(FNAME),
            Field::Comment if byte == 0 => self.after(FCOMMENT),
            Field::Name => Field::Name,
            Field::Comment => Field::Comment,
            Field::Crc { low: None } => Field::Crc { low: Some(byte) },
            Field::Crc { low: Some(low) } => {
                let [first, second, ..] = self.crc.to_le_bytes();
                if [low, byte] != [first, second] {
                    return Err("the checksum of a gzip header is wrong");
                }
                Field::Done
            }
            Field::Done => Field::Done,
        };
        Ok(())
    }

    fn take_fixed(&mut self, index: u8, byte: u8) -> Result<Field, &'static str> {
        match (index, byte) {
            (0, 0x1f) | (1, 0x8b) | (2, 8) | (4..=8, _) => {}
            (0 | 1, _) => return Err("something that is not a gzip member follows"),
            (2, _) => return Err("a gzip member is not compressed with deflate"),
            (3, flags) if flags & RESERVED != 0 => return Err("a gzip header has unknown flags"),
            (3, flags) => self.flags = flags,
            _ => return Ok(self.after(0)),
        }
        Ok(Field::Fixed { index: index + 1 })
    }

    /// The field that follows the one that `flag` announced (0: the fixed part).
    fn after(&self, flag: u8) -> Field {
        let next = |candidate: u8| flag < candidate && self.flags & candidate != 0;
        if next(FEXTRA) {
            Field::ExtraLength { low: None }
        } else if next(FNAME) {
            Field::Name
        } else if next(FCOMMENT) {
            Field::Comment
        } else if self.flags & FHCRC != 0 {
            Field::Crc { low: None }
        } else {
            Field::Done
        }
    }
}
