//! A blob that is made while it is read: members are handed to threads in turn and taken back in turn.
//!
//! Memory is bounded: two members for each thread, whatever the tar's length. A reader that is dropped
//! ends its threads.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::Encoding;
use super::member::{Codec, tar_bytes};

/// Where the members of a blob end that were made so far, so that another reader can begin at one.
#[derive(Debug, Clone, Default)]
pub struct Ends(Arc<Mutex<Vec<u64>>>);

impl Ends {
    /// How many members end at or before a byte of the blob, and where the last of them ends.
    fn before(&self, byte: u64) -> (usize, u64) {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = ends.partition_point(|end| *end <= byte);
        (count, count.checked_sub(1).map_or(0, |last| ends[last]))
    }

    /// Where the last member that was made ends: the length of the blob, once all of it was read.
    pub fn last(&self) -> u64 {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.last().copied().unwrap_or(0)
    }

    /// Notes where a member ends. Another reader may have done so.
    fn note(&self, member: usize, end: u64) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ends.len() == member {
            ends.push(end);
        }
    }
}

/// Reads a blob as it is made from a tar.
#[derive(Debug)]
pub struct Encoder<R> {
    tar: R,
    tar_is_read: bool,
    member_bytes: usize,
    workers: Vec<Worker>,
    /// How many members were handed out, and how many taken back. The first of all has to be made even
    /// of an empty tar.
    given: usize,
    taken: usize,
    /// The member that comes first here.
    first: usize,
    spare: Vec<Job>,
    current: Job,
    /// How much of the current member was read.
    read: usize,
    /// Bytes that are not wanted, at the start.
    skip: u64,
    /// Where the current member ends in the blob.
    end: u64,
    ends: Ends,
}

/// A member on its way.
#[derive(Debug, Default)]
struct Job {
    tar: Vec<u8>,
    member: Vec<u8>,
}

#[derive(Debug)]
struct Worker {
    give: SyncSender<Job>,
    take: Receiver<io::Result<Job>>,
}

impl<R: Read> Encoder<R> {
    /// The blob from a byte on. `ends` is of the same tar and encoding; `open` opens the tar at a byte.
    ///
    /// # Errors
    /// If the tar can't be opened, or there are no threads.
    pub fn open(
        encoding: Encoding,
        threads: usize,
        ends: &Ends,
        from: u64,
        open: impl FnOnce(u64) -> io::Result<R>,
    ) -> io::Result<Self> {
        let member_bytes = tar_bytes(encoding.compression);
        let (first, start) = ends.before(from);
        let workers = (0..threads.max(1)).map(|_| Worker::start(encoding));
        Ok(Self {
            tar: open(first as u64 * member_bytes as u64)?,
            tar_is_read: false,
            member_bytes,
            workers: workers.collect::<io::Result<_>>()?,
            given: 0,
            taken: 0,
            first,
            spare: Vec::new(),
            current: Job::default(),
            read: 0,
            skip: from - start,
            end: start,
            ends: ends.clone(),
        })
    }

    /// Keeps every thread busy, and a member waiting for each.
    fn hand_out(&mut self) -> io::Result<()> {
        while !self.tar_is_read && self.given - self.taken < 2 * self.workers.len() {
            let mut job = self.spare.pop().unwrap_or_default();
            job.tar.clear();
            let wanted = self.member_bytes as u64;
            let read = Read::by_ref(&mut self.tar)
                .take(wanted)
                .read_to_end(&mut job.tar)?;
            self.tar_is_read = read < self.member_bytes;
            if read == 0 && self.first + self.given > 0 {
                return Ok(());
            }
            let worker = &self.workers[self.given % self.workers.len()];
            worker.give.send(job).map_err(|_gone| stopped())?;
            self.given += 1;
        }
        Ok(())
    }

    /// Makes the next member the current one; whether there is one.
    fn next(&mut self) -> io::Result<bool> {
        self.hand_out()?;
        if self.taken == self.given {
            return Ok(false);
        }
        let worker = &self.workers[self.taken % self.workers.len()];
        let job = worker.take.recv().map_err(|_gone| stopped())??;
        self.spare.push(std::mem::replace(&mut self.current, job));
        self.read = 0;
        self.end += self.current.member.len() as u64;
        self.ends.note(self.first + self.taken, self.end);
        self.taken += 1;
        Ok(true)
    }
}

impl<R: Read> Read for Encoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = &self.current.member[self.read..];
            let skipped =
                usize::try_from(self.skip).map_or(left.len(), |skip| skip.min(left.len()));
            self.skip -= skipped as u64;
            self.read += skipped;
            let left = &left[skipped..];
            if !left.is_empty() || buffer.is_empty() {
                let step = left.len().min(buffer.len());
                buffer[..step].copy_from_slice(&left[..step]);
                self.read += step;
                return Ok(step);
            }
            if !self.next()? {
                return Ok(0);
            }
        }
    }
}

impl Worker {
    fn start(encoding: Encoding) -> io::Result<Self> {
        let mut codec = Codec::new(encoding)?;
        // Room for all that is handed to one, so that nobody waits to give.
        let (give, jobs) = sync_channel::<Job>(2);
        let (done, take) = sync_channel(2);
        thread::Builder::new()
            .name("encode".to_owned())
            .spawn(move || {
                while let Ok(mut job) = jobs.recv() {
                    let made = codec.encode(&job.tar, &mut job.member);
                    if done.send(made.map(|()| job)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { give, take })
    }
}

fn stopped() -> io::Error {
    io::Error::other("internal error: a thread that compresses panicked")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use lapstrake_oci::{Algorithm, Compression};

    use super::*;

    /// Some that compresses and some that does not, over several members.
    fn tar(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let run = next() % 200;
            let byte = next().to_le_bytes()[0];
            bytes.extend((0..run).map(|at| {
                if run % 3 == 0 {
                    next().to_le_bytes()[1]
                } else {
                    byte ^ (at.to_le_bytes()[0] / 16)
                }
            }));
        }
        bytes.truncate(length);
        bytes
    }

    fn encode(encoding: Encoding, threads: usize, tar: &[u8], ends: &Ends, from: u64) -> Vec<u8> {
        let mut blob = Vec::new();
        let mut encoder = Encoder::open(encoding, threads, ends, from, |at| {
            let mut tar = Cursor::new(tar);
            tar.set_position(at);
            Ok(tar)
        })
        .unwrap();
        encoder.read_to_end(&mut blob).unwrap();
        blob
    }

    fn decode(compression: Compression, blob: &[u8]) -> Vec<u8> {
        let mut tar = Vec::new();
        match compression {
            Compression::None => tar.extend_from_slice(blob),
            Compression::Gzip => {
                let mut decoder = flate2::read::MultiGzDecoder::new(blob);
                decoder.read_to_end(&mut tar).unwrap();
            }
            Compression::Zstd => tar = zstd::decode_all(blob).unwrap(),
        }
        tar
    }

    fn encodings() -> [Encoding; 3] {
        [Compression::None, Compression::Gzip, Compression::Zstd]
            .map(|compression| Encoding::new(compression, None).unwrap())
    }

    #[test]
    fn it_is_the_tar_and_the_same_on_any_number_of_threads_from_any_byte() {
        for encoding in encodings() {
            for length in [0, 1, 1 << 20, (2 << 20) + 1, 5_500_000] {
                let tar = tar(length);
                let ends = Ends::default();
                let blob = encode(encoding, 1, &tar, &ends, 0);
                assert!(
                    decode(encoding.compression(), &blob) == tar,
                    "{encoding} {length}"
                );
                assert!(
                    encode(encoding, 3, &tar, &Ends::default(), 0) == blob,
                    "{encoding}"
                );
                for from in [0, blob.len() / 3, blob.len() / 2, blob.len()] {
                    let rest = encode(encoding, 2, &tar, &ends, from as u64);
                    assert!(rest == blob[from..], "{encoding} {length} {from}");
                }
            }
        }
    }

    /// If this fails, the libraries make other bytes than they did: raise [`super::super::VERSION`].
    #[test]
    fn the_bytes_of_this_version() {
        let tar = tar(3_000_000);
        let digests = encodings().map(|encoding| {
            let blob = encode(encoding, 2, &tar, &Ends::default(), 0);
            (
                encoding.name(),
                Algorithm::Sha256.digest(&blob).hex()[..16].to_owned(),
            )
        });
        let digests: Vec<_> = digests
            .iter()
            .map(|(name, hex)| (name.as_str(), hex.as_str()))
            .collect();
        assert_eq!(
            digests,
            [
                ("uncompressed-members-1/0", "655755b2e1d9a6af"),
                ("gzip-members-1/6", "8f1d63807f93a84c"),
                ("zstd-members-1/3", "d37dc9f03dfa5f95"),
            ]
        );
    }

    #[test]
    fn a_tar_that_cannot_be_read_is_an_error_and_not_an_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let open = |_from| Ok(Broken);
        let encoder = Encoder::open(Encoding::DOCKER, 2, &Ends::default(), 0, open);
        let error = encoder.unwrap().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "broken");
    }
}
