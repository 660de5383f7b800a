//! Writes a skeleton, block by block, into memory.

use std::io;

use zstd::bulk::Compressor;

use super::{
    CHECKSUM_BYTES, HEADER_BYTES, LEVEL, LITERAL_BYTES_MAX, MAGIC, PIECE_BYTES_FULL, VERSION,
};
use crate::{error::Error, model::BLOCK};

/// Takes the bytes of a tar in order.
pub(crate) struct Writer {
    file: Vec<u8>,
    file_bytes_max: u64,
    /// Made with the first block.
    compressor: Option<Compressor<'static>>,
    blocks: u32,
    /// The block being filled.
    literals: Vec<u8>,
    pieces: Vec<u8>,
    tar_start: u64,
    data_start: u64,
    /// The piece being filled: literal bytes since the last piece, then a range of `data`.
    literal_run: u64,
    content: Option<(u64, u64)>,
    /// Where the tar is, and where the last finished piece ended in `data`.
    tar_offset: u64,
    data_offset: u64,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("tar_offset", &self.tar_offset)
            .finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(file_bytes_max: u64) -> Self {
        Self {
            file: vec![0; HEADER_BYTES],
            file_bytes_max,
            compressor: None,
            blocks: 0,
            literals: Vec::with_capacity(LITERAL_BYTES_MAX),
            pieces: Vec::new(),
            tar_start: 0,
            data_start: 0,
            literal_run: 0,
            content: None,
            tar_offset: 0,
            data_offset: 0,
        }
    }

    /// The next bytes of the tar are these.
    pub(crate) fn literal(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        if !bytes.is_empty() && self.content.is_some() {
            self.end_piece()?;
        }
        while !bytes.is_empty() {
            let room = LITERAL_BYTES_MAX - self.literals.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.literals.extend_from_slice(now);
            self.literal_run += now.len() as u64;
            self.tar_offset += now.len() as u64;
            bytes = later;
            if self.literals.len() == LITERAL_BYTES_MAX {
                self.end_piece()?;
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// The next bytes of the tar are in `data`.
    pub(crate) fn content(&mut self, data_offset: u64, length: u64) -> Result<(), Error> {
        self.tar_offset += length;
        match &mut self.content {
            Some((start, held)) if *start + *held == data_offset => *held += length,
            Some(_) => {
                self.end_piece()?;
                self.content = Some((data_offset, length));
            }
            None => self.content = Some((data_offset, length)),
        }
        Ok(())
    }

    fn end_piece(&mut self) -> Result<(), Error> {
        put_varint(&mut self.pieces, std::mem::take(&mut self.literal_run));
        let (start, length) = self.content.take().unwrap_or((self.data_offset, 0));
        put_varint(&mut self.pieces, length);
        if length > 0 {
            // Both are below 2^63, so that their difference is exact.
            let expected = self.data_offset.next_multiple_of(BLOCK);
            let distance = start.wrapping_sub(expected).cast_signed();
            put_varint(
                &mut self.pieces,
                ((distance << 1) ^ (distance >> 63)).cast_unsigned(),
            );
            self.data_offset = start + length;
        }
        if self.pieces.len() >= PIECE_BYTES_FULL {
            self.end_block()?;
        }
        Ok(())
    }

    /// Every piece of the block must be ended.
    fn end_block(&mut self) -> Result<(), Error> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let literal_len = self.literals.len();
        self.literals.extend_from_slice(&self.pieces);
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL).map_err(cannot_compress)?),
        };
        let payload = compressor
            .compress(&self.literals)
            .map_err(cannot_compress)?;
        for length in [payload.len(), literal_len, self.pieces.len()] {
            let length = u32::try_from(length).expect("blocks are small");
            self.file.extend_from_slice(&length.to_le_bytes());
        }
        self.file
            .extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
        self.file.extend_from_slice(&self.tar_start.to_le_bytes());
        self.file.extend_from_slice(&self.data_start.to_le_bytes());
        self.file.extend_from_slice(&payload);
        self.blocks += 1;
        self.literals.clear();
        self.pieces.clear();
        self.tar_start = self.tar_offset;
        self.data_start = self.data_offset;
        if self.file.len() as u64 > self.file_bytes_max {
            let entry = format!("at byte {}", self.tar_offset);
            let limit = self.file_bytes_max;
            return Err(Error::Limit {
                entry,
                what: "the layer's skeleton",
                limit,
            });
        }
        Ok(())
    }

    /// The whole file of what came so far, as if the tar ended here.
    pub(crate) fn so_far(&self, data_len: u64, entries: u64) -> Result<Vec<u8>, Error> {
        let copy = Self {
            file: self.file.clone(),
            compressor: None,
            literals: self.literals.clone(),
            pieces: self.pieces.clone(),
            ..*self
        };
        copy.finish(data_len, entries)
    }

    /// The whole file.
    pub(crate) fn finish(mut self, data_len: u64, entries: u64) -> Result<Vec<u8>, Error> {
        if self.literal_run > 0 || self.content.is_some() {
            self.end_piece()?;
        }
        self.end_block()?;
        let file_len = (self.file.len() + CHECKSUM_BYTES) as u64;
        let mut header = Vec::with_capacity(64);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        for number in [file_len, self.tar_offset, data_len, entries] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(&self.blocks.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        self.file[..header.len()].copy_from_slice(&header);
        let checksum = crc32c::crc32c(&self.file);
        self.file.extend_from_slice(&checksum.to_le_bytes());
        Ok(self.file)
    }
}

fn cannot_compress(source: io::Error) -> Error {
    Error::Io {
        action: "compress the skeleton",
        source,
    }
}

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = u8::try_from(value & 0x7f).expect("masked to seven bits");
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}
