//! Sparse files as chunks.
//!
//! A sparse file is a list of 4-byte block addresses, one for each chunk; a chunk that is a hole has
//! the address [`NULL_BLOCK`]. Chunk size is the file's own.

use lapstrake_tree::model::{BLOCK, Extent};

use crate::{
    disk::{BLOCK_BITS, NULL_BLOCK, get_u32},
    error::Unrepresentable,
};

/// Most chunks of one file. A tar of a few bytes can claim exabytes of hole; the tree bounds what
/// all of that costs, this what one file costs in memory here.
const CHUNKS_MAX: u64 = 1 << 26;
/// Largest chunk that an inode can name.
const BITS_MAX: u8 = BLOCK_BITS + 31;

/// How many chunks the file has, if its extents are as the model says and inside `data_len`.
pub(crate) fn check(
    size: u64,
    chunk_bits: u8,
    extents: &[Extent],
    data_len: u64,
) -> Result<u64, Unrepresentable> {
    if !(BLOCK_BITS..=BITS_MAX).contains(&chunk_bits) {
        return Err(Unrepresentable::DataRange);
    }
    let chunk = 1 << chunk_bits;
    let mut free = 0;
    for extent in extents {
        let end = extent.file_offset.checked_add(extent.length);
        let data_end = extent.data_offset.checked_add(extent.length);
        let (Some(end), Some(data_end)) = (end, data_end) else {
            return Err(Unrepresentable::DataRange);
        };
        let aligned = extent.file_offset.is_multiple_of(chunk)
            && extent.data_offset.is_multiple_of(BLOCK)
            && (extent.length.is_multiple_of(chunk) || end == size);
        let placed = extent.file_offset >= free
            && extent.length > 0
            && end <= size.next_multiple_of(chunk)
            && data_end - end.saturating_sub(size) <= data_len;
        if !aligned || !placed {
            return Err(Unrepresentable::DataRange);
        }
        free = end;
    }
    let chunks = size.div_ceil(chunk);
    if chunks > CHUNKS_MAX {
        return Err(Unrepresentable::Chunks(chunks));
    }
    Ok(chunks)
}

/// What an inode says about its chunks.
pub(crate) fn format(chunk_bits: u8) -> u32 {
    u32::from(chunk_bits - BLOCK_BITS)
}

/// Appends the address of each chunk; `first_block` is where the data file begins.
pub(crate) fn encode(
    chunks: u64,
    chunk_bits: u8,
    extents: &[Extent],
    first_block: u32,
    out: &mut Vec<u8>,
) {
    let chunk = 1 << chunk_bits;
    let mut extents = extents.iter().peekable();
    for index in 0..chunks {
        let at = index * chunk;
        while extents
            .next_if(|extent| extent.file_offset + extent.length <= at)
            .is_some()
        {}
        let address = match extents.peek() {
            Some(extent) if extent.file_offset <= at => {
                let block = (extent.data_offset + (at - extent.file_offset)) / BLOCK;
                u32::try_from(u64::from(first_block) + block).expect("data ends before 2^32 blocks")
            }
            _ => NULL_BLOCK,
        };
        out.extend(address.to_le_bytes());
    }
}

/// The chunk size that an inode's place says.
pub(crate) fn chunk_bits(format: u32) -> Option<u8> {
    u8::try_from(format)
        .ok()
        .filter(|bits| *bits <= 31)
        .map(|bits| bits + BLOCK_BITS)
}

/// How many chunks a file of that size has.
pub(crate) fn chunks(size: u64, chunk_bits: u8) -> u64 {
    size.div_ceil(1 << chunk_bits)
}

/// Reads chunk addresses back into runs as long as possible. Nothing if one is before the data.
pub(crate) fn decode(
    addresses: &[u8],
    size: u64,
    chunk_bits: u8,
    first_block: u32,
) -> Option<Box<[Extent]>> {
    let chunk = 1_u64 << chunk_bits;
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    for address in addresses.chunks_exact(4) {
        let address = get_u32(address, 0);
        if address != NULL_BLOCK {
            let data_offset = u64::from(address.checked_sub(first_block)?) * BLOCK;
            let length = chunk.min(size - at);
            match extents.last_mut() {
                Some(last)
                    if last.file_offset + last.length == at
                        && last.data_offset + last.length == data_offset =>
                {
                    last.length += length;
                }
                _ => extents.push(Extent {
                    file_offset: at,
                    data_offset,
                    length,
                }),
            }
        }
        at += chunk;
    }
    Some(extents.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 1 << 20;

    fn extent(file_offset: u64, data_offset: u64, length: u64) -> Extent {
        Extent {
            file_offset,
            data_offset,
            length,
        }
    }

    #[test]
    fn chunks_come_back_as_runs() {
        let check = |size, bits, extents: &[Extent], words: &[u32]| {
            let chunks = check(size, bits, extents, LEN).unwrap();
            let mut bytes = Vec::new();
            encode(chunks, bits, extents, 10, &mut bytes);
            let got: Vec<_> = bytes.chunks(4).map(|word| get_u32(word, 0)).collect();
            assert_eq!(got, words);
            assert_eq!(&*decode(&bytes, size, bits, 10).unwrap(), extents);
        };
        check(0, 12, &[], &[]);
        check(1, 12, &[], &[NULL_BLOCK]);
        check(1, 12, &[extent(0, 8192, 1)], &[12]);
        check(16384, 13, &[extent(8192, 0, 8192)], &[NULL_BLOCK, 10]);
        check(
            12289,
            12,
            &[extent(0, 0, 8192), extent(12288, 4096, 1)],
            &[10, 11, NULL_BLOCK, 11],
        );
    }

    #[test]
    fn runs_must_be_as_the_model_says() {
        let refused = |size, bits, extents: &[Extent]| {
            assert_eq!(
                check(size, bits, extents, LEN),
                Err(Unrepresentable::DataRange)
            );
        };
        refused(1, 11, &[]);
        refused(1, 44, &[]);
        refused(8192, 12, &[extent(1, 0, 4096)]);
        refused(8192, 12, &[extent(0, 1, 4096)]);
        refused(8192, 12, &[extent(0, 0, 4095)]);
        refused(8192, 12, &[extent(0, 0, 0)]);
        refused(8192, 12, &[extent(4096, 0, 4096), extent(0, 0, 4096)]);
        refused(8192, 12, &[extent(0, 0, 12288)]);
        refused(8192, 12, &[extent(0, LEN - 4096, 8192)]);
        refused(8192, 12, &[extent(0, u64::MAX - 4095, 8192)]);
        assert_eq!(
            check(u64::MAX / 2, 12, &[], LEN),
            Err(Unrepresentable::Chunks(1 << 51)),
        );
    }
}
