//! The least that any pull must do: gunzip, sha256 of blob and tar, and write; nothing else.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;

use lapstrake_oci::{Algorithm, digest::Hasher};

use crate::error::{IoContext as _, Result};
use crate::hashing::Hashing;

const CHUNK: usize = 1 << 20;

/// Does that to a gzip blob; returns the bytes written.
pub fn unpack(blob: &Path, to: &Path) -> Result<u64> {
    let from = File::open(blob).io("open", blob)?;
    let from = HashingReader {
        from,
        hasher: Algorithm::Sha256.hasher(),
    };
    let mut from = flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(CHUNK, from));
    let file = File::create(to).io("create", to)?;
    let mut out = Hashing::new(BufWriter::with_capacity(CHUNK, file));
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from.read(&mut buffer).io("read", blob)?;
        if count == 0 {
            break;
        }
        out.write_all(&buffer[..count]).io("write", to)?;
    }
    let (_, size) = out.finish().io("write", to)?;
    let hasher = from.into_inner().into_inner().hasher;
    std::hint::black_box(hasher.finish());
    Ok(size)
}

struct HashingReader<R> {
    from: R,
    hasher: Hasher,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
