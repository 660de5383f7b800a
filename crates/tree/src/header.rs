//! One 512-byte tar header: its dialect and its fields, as written. No meaning yet.

/// A tar is a sequence of blocks of this many bytes.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A block of a tar.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// What is wrong with a field.
pub(crate) type Problem = &'static str;

/// Which fields a header has beyond the oldest ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// None.
    V7,
    /// POSIX: owner names, device numbers and a prefix of the name.
    Ustar,
    /// As POSIX, but with a shorter prefix, then two times.
    Star,
    /// Owner names, device numbers, two times, and the old sparse map.
    Gnu,
}

/// A run of a sparse file as its header tells it, in bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A header whose checksum is right.
#[derive(Debug)]
pub(crate) struct Header<'a> {
    block: &'a Block,
    pub(crate) dialect: Dialect,
}

/// Whether the block is all zeros: two of them end an archive.
pub(crate) fn is_zero(block: &Block) -> bool {
    block[0] == 0 && block.iter().all(|byte| *byte == 0)
}

impl<'a> Header<'a> {
    /// The header in a block, if the checksum is right.
    pub(crate) fn parse(block: &'a Block) -> Option<Self> {
        if !checksum_fits(block) {
            return None;
        }
        let dialect = match (&block[257..263], &block[263..265], &block[508..512]) {
            (b"ustar\0", _, b"tar\0") => Dialect::Star,
            (b"ustar\0", ..) => Dialect::Ustar,
            (b"ustar ", b" \0", _) => Dialect::Gnu,
            _ => Dialect::V7,
        };
        Some(Self { block, dialect })
    }

    /// What kind of entry this is.
    pub(crate) fn kind(&self) -> u8 {
        self.block[156]
    }

    /// The name, with the prefix where the dialect has one.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.block[0..100]);
        let prefix = match self.dialect {
            Dialect::V7 => &[],
            Dialect::Ustar => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::Gnu => self.misplaced_prefix(),
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    /// Go before 1.8, and so older Docker, wrote a POSIX prefix into GNU headers, where the times
    /// are. What is no number there is such a prefix.
    fn misplaced_prefix(&self) -> &'a [u8] {
        let is_time = |field: &[u8]| field[0] == 0 || number(field).is_ok();
        let prefix = text(&self.block[345..500]);
        if (is_time(&self.block[345..357]) && is_time(&self.block[357..369])) || !prefix.is_ascii()
        {
            return &[];
        }
        prefix
    }

    /// What a link names.
    pub(crate) fn link_name(&self) -> &'a [u8] {
        text(&self.block[157..257])
    }

    /// The permission bits; above them old tars have the kind of file.
    pub(crate) fn mode(&self) -> Result<i64, Problem> {
        number(&self.block[100..108]).map_err(|()| "its mode is no number")
    }

    /// The owner.
    pub(crate) fn uid(&self) -> Result<i64, Problem> {
        number(&self.block[108..116]).map_err(|()| "its owner is no number")
    }

    /// The group.
    pub(crate) fn gid(&self) -> Result<i64, Problem> {
        number(&self.block[116..124]).map_err(|()| "its group is no number")
    }

    /// How many bytes follow.
    pub(crate) fn size(&self) -> Result<u64, Problem> {
        number(&self.block[124..136])
            .ok()
            .and_then(|size| u64::try_from(size).ok())
            .ok_or("its size is no number")
    }

    /// Seconds since 1970.
    pub(crate) fn mtime(&self) -> Result<i64, Problem> {
        number(&self.block[136..148]).map_err(|()| "its time is no number")
    }

    /// Major and minor number of a device; zeros where the dialect has none.
    pub(crate) fn device(&self) -> Result<(i64, i64), Problem> {
        if self.dialect == Dialect::V7 {
            return Ok((0, 0));
        }
        let device = number(&self.block[329..337])
            .and_then(|major| Ok((major, number(&self.block[337..345])?)));
        device.map_err(|()| "its device number is no number")
    }

    /// The old GNU sparse map: runs, whether a block with more runs follows, and the file's size.
    pub(crate) fn old_sparse(&self) -> Result<(Vec<Segment>, bool, u64), Problem> {
        if self.dialect != Dialect::Gnu {
            return Err("it is a sparse file of a dialect that is not known");
        }
        let size = number(&self.block[483..495])
            .ok()
            .and_then(|size| u64::try_from(size).ok())
            .ok_or("its real size is no number")?;
        let runs = old_sparse_runs(&self.block[386..482])?;
        Ok((runs, self.block[482] != 0, size))
    }
}

/// The runs of a block that continues an old GNU sparse map, and whether another one follows.
pub(crate) fn old_sparse_continuation(block: &Block) -> Result<(Vec<Segment>, bool), Problem> {
    Ok((old_sparse_runs(&block[..504])?, block[504] != 0))
}

fn old_sparse_runs(field: &[u8]) -> Result<Vec<Segment>, Problem> {
    let value = |field: &[u8]| {
        let number = number(field)
            .ok()
            .and_then(|number| u64::try_from(number).ok());
        number.ok_or("its sparse map has something that is no number")
    };
    field
        .chunks_exact(24)
        .take_while(|run| run[0] != 0)
        .map(|run| {
            Ok(Segment {
                offset: value(&run[..12])?,
                length: value(&run[12..])?,
            })
        })
        .collect()
}

/// Old tars summed the bytes as signed ones; both are accepted, as everywhere.
fn checksum_fits(block: &Block) -> bool {
    let Ok(stated) = number(&block[148..156]) else {
        return false;
    };
    let in_field: i64 = block[148..156].iter().map(|byte| i64::from(*byte)).sum();
    let unsigned: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let unsigned = i64::from(unsigned) - in_field + 8 * i64::from(b' ');
    if stated == unsigned {
        return true;
    }
    let high = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |count, byte| count + i64::from(!byte.is_ascii()))
    };
    stated == unsigned - 256 * (high(block) - high(&block[148..156]))
}

/// A field's bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    &field[..end]
}

/// A numeric field: octal digits among blanks, or, with the top bit set, base 256 in two's
/// complement. Blank is zero.
fn number(field: &[u8]) -> Result<i64, ()> {
    if field[0] & 0x80 != 0 {
        return base_256(field);
    }
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(field.len());
    let end = field
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    text(&field[start..end])
        .iter()
        .try_fold(0, |value: i64, digit| match digit {
            b'0'..=b'7' => Ok((value << 3) | i64::from(digit - b'0')),
            _ => Err(()),
        })
}

fn base_256(field: &[u8]) -> Result<i64, ()> {
    // The top bit only marks the encoding; the next one is the sign.
    let negative = field[0] & 0x40 != 0;
    let first = if negative {
        i64::from(field[0]) - 0x100
    } else {
        i64::from(field[0] & 0x7f)
    };
    field[1..].iter().try_fold(first, |value, byte| {
        value
            .checked_mul(256)
            .map(|value| value + i64::from(*byte))
            .ok_or(())
    })
}
