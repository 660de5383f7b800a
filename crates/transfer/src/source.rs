//! A blob in a registry as a source of spans.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use lapstrake_fill::source::{Source, SourceError};
use lapstrake_oci::{Descriptor, Repo};
use lapstrake_registry_client::{BlobStream, Class, Client, Error};
use tokio::runtime::Handle;

/// A blob in a registry. Reads that follow each other use one connection; any other begins a new one,
/// at its place. Don't read it on a thread of the runtime.
#[derive(Debug)]
pub struct RegistrySource {
    client: Client,
    runtime: Handle,
    repo: Repo,
    blob: Descriptor,
    reading: Mutex<Option<Reading>>,
}

/// A connection, and what came over it and was not asked for yet.
#[derive(Debug)]
struct Reading {
    stream: BlobStream,
    chunk: Bytes,
    offset: u64,
}

impl RegistrySource {
    /// The blob in that repository. Nothing is fetched yet.
    pub fn new(client: Client, runtime: Handle, repo: Repo, blob: Descriptor) -> Self {
        Self {
            client,
            runtime,
            repo,
            blob,
            reading: Mutex::default(),
        }
    }

    fn open(&self, offset: u64) -> Result<Reading, Error> {
        let stream = self.client.blob_after(&self.repo, &self.blob, offset);
        Ok(Reading {
            stream: self.runtime.block_on(stream)?,
            chunk: Bytes::new(),
            offset,
        })
    }

    fn next(&self, reading: &mut Reading, buffer: &mut [u8]) -> Result<usize, Error> {
        while reading.chunk.is_empty() {
            match self.runtime.block_on(reading.stream.next_chunk())? {
                Some(chunk) => reading.chunk = chunk,
                None => return Ok(0),
            }
        }
        let step = reading.chunk.len().min(buffer.len());
        reading.chunk.copy_to_slice(&mut buffer[..step]);
        reading.offset += step as u64;
        Ok(step)
    }
}

impl Source for RegistrySource {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        if buffer.is_empty() || offset >= self.blob.size {
            return Ok(0);
        }
        let mut slot = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // It goes back only if it can be used again.
        let kept = slot.take().filter(|reading| reading.offset == offset);
        let mut reading = kept.map_or_else(|| self.open(offset), Ok).map_err(why)?;
        let step = self.next(&mut reading, buffer).map_err(why)?;
        *slot = Some(reading);
        Ok(step)
    }
}

fn why(error: Error) -> SourceError {
    match error.class() {
        Class::NotFound => SourceError::Missing,
        _ => SourceError::Unavailable(io::Error::other(error)),
    }
}
