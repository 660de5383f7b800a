//! The writer of a log.
//!
//! Everything that is fed is in the file when [`Writer::feed`] returns, but for a line that has not ended.
//! Nothing is synced: the log outlives this process and the daemon, not the machine's power.

use std::os::unix::fs::FileExt as _;

use crate::error::Result;
use crate::logs::entry::Piece;
use crate::logs::files::Files;
use crate::logs::lines::Lines;
use crate::logs::{Format, Settings, json, local};
use crate::time::Timestamp;
use crate::wire::Stream;

/// Entries are collected up to this many bytes for one write.
const BATCH: usize = 64 << 10;

/// Writes one container's log.
#[derive(Debug)]
pub struct Writer {
    stdout: Lines,
    stderr: Lines,
    sink: Sink,
}

/// Where entries go.
#[derive(Debug)]
struct Sink {
    format: Format,
    attributes: Vec<u8>,
    files: Files,
    batch: Vec<u8>,
    last_time: Timestamp,
    failed: Result<()>,
}

impl Writer {
    /// Opens the log to write on, with what is in it. What a crash left torn at its end is made harmless.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(settings: &Settings) -> Result<Self> {
        let mut files = Files::open(settings)?;
        let attributes = match settings.format {
            Format::JsonFile => {
                mend_json(&mut files)?;
                json::attributes(&settings.attributes)
            }
            Format::Local => {
                mend_local(&mut files)?;
                local::attributes(&settings.attributes)
            }
        };
        Ok(Self {
            stdout: Lines::new(Stream::Stdout),
            stderr: Lines::new(Stream::Stderr),
            sink: Sink {
                format: settings.format,
                attributes,
                files,
                batch: Vec::new(),
                last_time: Timestamp::now(),
                failed: Ok(()),
            },
        })
    }

    /// Logs bytes that a process wrote. (Standard input is not logged.)
    ///
    /// # Errors
    /// The first that the file system had. Entries that could not be written are lost; what is fed later is
    /// tried again.
    pub fn feed(&mut self, stream: Stream, bytes: &[u8]) -> Result<()> {
        let Some((lines, sink)) = self.of(stream) else {
            return Ok(());
        };
        lines.feed(bytes, &Timestamp::now, &mut |piece| sink.add(piece));
        sink.flush()
    }

    /// Logs what is left of a stream that has ended: a line without its end.
    ///
    /// # Errors
    /// As for [`Self::feed`].
    pub fn end(&mut self, stream: Stream) -> Result<()> {
        let Some((lines, sink)) = self.of(stream) else {
            return Ok(());
        };
        lines.finish(&Timestamp::now, &mut |piece| sink.add(piece));
        sink.flush()
    }

    /// Logs what is left of lines that did not end, and waits for the compression of rotated files.
    ///
    /// # Errors
    /// The first that the file system had.
    pub fn finish(&mut self) -> Result<()> {
        self.end(Stream::Stdout)?;
        self.end(Stream::Stderr)?;
        self.sink.files.finish()
    }

    /// The lines of a stream that is logged, and where they go.
    fn of(&mut self, stream: Stream) -> Option<(&mut Lines, &mut Sink)> {
        let lines = match stream {
            Stream::Stdin => return None,
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        Some((lines, &mut self.sink))
    }
}

impl Sink {
    fn add(&mut self, piece: &Piece<'_>) {
        if self.files.is_full_with(self.batch.len()) {
            self.write();
            if self.files.is_full_with(0) {
                let rotated = self.files.rotate();
                self.note(rotated);
            }
        }
        match self.format {
            Format::JsonFile => json::encode(&mut self.batch, piece, &self.attributes),
            Format::Local => local::encode(&mut self.batch, piece, &self.attributes),
        }
        self.last_time = piece.time;
        if self.batch.len() >= BATCH {
            self.write();
        }
    }

    fn write(&mut self) {
        if !self.batch.is_empty() {
            let written = self.files.append(&self.batch, self.last_time);
            self.batch.clear();
            self.note(written);
        }
    }

    /// The first failure is what to tell.
    fn note(&mut self, done: Result<()>) {
        if self.failed.is_ok() {
            self.failed = done;
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.write();
        // A quiet container's monitor is small.
        self.batch.shrink_to(0);
        std::mem::replace(&mut self.failed, Ok(()))
    }
}

/// A torn last line gets an end, so that the next one stands for itself.
fn mend_json(files: &mut Files) -> Result<()> {
    let size = files.file().metadata().map_or(0, |metadata| metadata.len());
    let mut last = [0];
    let Some(at) = size.checked_sub(1) else {
        return Ok(());
    };
    match files.file().read_exact_at(&mut last, at) {
        Ok(()) if last == *b"\n" => Ok(()),
        _ => files.append(b"\n", Timestamp::now()),
    }
}

/// A torn last entry is cut off: nobody could read past it.
fn mend_local(files: &mut Files) -> Result<()> {
    let size = files.file().metadata().map_or(0, |metadata| metadata.len());
    if local::entry_before(files.file(), size).is_some() || size == 0 {
        return Ok(());
    }
    let mut whole = 0;
    while let Some(end) = local::entry_after(files.file(), whole) {
        whole = end;
    }
    files.truncate(whole)
}
