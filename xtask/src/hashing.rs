//! A writer that hashes and counts what passes through it.

use std::io::{self, Write};

use lapstrake_oci::{Algorithm, Digest, digest::Hasher};

/// Hands bytes on, and knows their sha256 and number.
#[derive(Debug)]
pub struct Hashing<W> {
    to: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Hashing<W> {
    /// Nothing has passed yet.
    pub fn new(to: W) -> Self {
        Self {
            to,
            hasher: Algorithm::Sha256.hasher(),
            size: 0,
        }
    }

    /// Flushes; the digest and number of all bytes.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        self.to.flush()?;
        Ok((self.hasher.finish(), self.size))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
