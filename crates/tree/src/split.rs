//! Splits a layer's tar into data and skeleton as it streams by, and builds its tree.

use std::io;

use crate::{
    contents::Want, error::Error, limits::Limits, machine::Machine, model::Tree, skeleton,
};

/// Takes the bytes of a layer's `data` file, in order.
pub trait DataSink {
    /// Adds bytes at the end. Contents of large files come in slices as large as were fed; small
    /// files and the zeros between files come in small ones, so that a sink over a file buffers.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl DataSink for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<T: DataSink + ?Sized> DataSink for &mut T {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).append(bytes)
    }
}

/// What a tar was split into, but for the data, which the sink has.
#[derive(Debug)]
pub struct SplitLayer {
    /// What the layer's files are.
    pub tree: Tree,
    /// The whole skeleton file.
    pub skeleton: Vec<u8>,
    /// How many bytes the sink got: a multiple of 4096.
    pub data_len: u64,
    /// How many bytes were fed.
    pub tar_len: u64,
    /// How many entries the tar has.
    pub entries: u64,
    /// How many extended attributes are not in the tree: overlay's own, those of namespaces that Linux
    /// has not, and access lists that name users without ids.
    pub attributes_dropped: u64,
}

/// Splits one tar. After an error there is nothing to do with it but to drop it.
#[derive(Debug)]
pub struct Splitter {
    machine: Machine,
    skeleton: skeleton::Writer,
}

impl Splitter {
    /// Begins a tar.
    pub fn new(limits: Limits) -> Self {
        Self {
            machine: Machine::new(limits),
            skeleton: skeleton::Writer::new(limits.skeleton_bytes_max),
        }
    }

    /// Takes the next bytes of the tar, as many or few as there are.
    pub fn feed(&mut self, mut bytes: &[u8], data: &mut dyn DataSink) -> Result<(), Error> {
        loop {
            match self.machine.want() {
                Want::Zeros(count) => {
                    append_zeros(data, count)?;
                    self.machine.zeros(count);
                }
                _ if bytes.is_empty() => return Ok(()),
                Want::Literal => {
                    let taken = self.machine.literal(bytes)?;
                    self.skeleton.literal(&bytes[..taken])?;
                    bytes = &bytes[taken..];
                }
                Want::Content {
                    length,
                    data_offset,
                } => {
                    let taken =
                        usize::try_from(length).map_or(bytes.len(), |left| left.min(bytes.len()));
                    append(data, &bytes[..taken])?;
                    self.skeleton.content(data_offset, taken as u64)?;
                    self.machine.content(taken as u64);
                    bytes = &bytes[taken..];
                }
            }
        }
    }

    /// A skeleton of what was fed so far. With the bytes that the sink got, it gives that much of the tar
    /// back, so that whoever lost the splitter can feed another one the same.
    pub fn so_far(&self) -> Result<Vec<u8>, Error> {
        let (data_len, entries) = (self.machine.data_len(), self.machine.entries());
        self.skeleton.so_far(data_len, entries)
    }

    /// Ends the tar; an error if it is not whole.
    pub fn finish(mut self, data: &mut dyn DataSink) -> Result<SplitLayer, Error> {
        self.feed(&[], data)?;
        let (data_len, entries) = (self.machine.data_len(), self.machine.entries());
        let tar_len = self.machine.tar_len();
        let attributes_dropped = self.machine.attributes_dropped();
        let tree = self.machine.finish()?;
        let skeleton = self.skeleton.finish(data_len, entries)?;
        Ok(SplitLayer {
            tree,
            skeleton,
            data_len,
            tar_len,
            entries,
            attributes_dropped,
        })
    }
}

fn append(data: &mut dyn DataSink, bytes: &[u8]) -> Result<(), Error> {
    data.append(bytes).map_err(|source| Error::Io {
        action: "write the layer's data",
        source,
    })
}

fn append_zeros(data: &mut dyn DataSink, mut count: u64) -> Result<(), Error> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while count > 0 {
        let step = usize::try_from(count).map_or(ZEROS.len(), |count| count.min(ZEROS.len()));
        append(data, &ZEROS[..step])?;
        count -= step as u64;
    }
    Ok(())
}
