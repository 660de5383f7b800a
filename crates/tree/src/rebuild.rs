//! Makes a layer's tree again from its skeleton alone, as after a loss of the index.

use crate::{
    contents::Want,
    error::Error,
    limits::Limits,
    machine::Machine,
    model::Tree,
    read_at::ReadAt,
    skeleton::{Op, Skeleton},
};

/// The tree that splitting made. The skeleton is checked on the way: that it fits its own summary, and
/// that its contents lie in `data` where splitting puts them.
pub fn rebuild<S: ReadAt>(skeleton: &Skeleton<S>, limits: Limits) -> Result<Tree, Error> {
    let mut machine = Machine::new(limits);
    for index in 0..skeleton.block_count() {
        let block = skeleton.block(index)?;
        for (_, op) in block.ops() {
            match *op {
                Op::Literal { start, length } => {
                    literal(&mut machine, block.literal(start, length))?
                }
                Op::Content {
                    data_offset,
                    length,
                } => content(&mut machine, data_offset, length)?,
            }
        }
    }
    let summary = skeleton.summary();
    skip_zeros(&mut machine);
    let fits = machine.tar_len() == summary.tar_len
        && machine.data_len() == summary.data_len
        && machine.entries() == summary.entries;
    let tree = machine.finish()?;
    if fits {
        Ok(tree)
    } else {
        Err(damaged("it does not have what its header says"))
    }
}

fn literal(machine: &mut Machine, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        skip_zeros(machine);
        if machine.want() != Want::Literal {
            return Err(damaged(
                "it has literal bytes where a file's contents should be",
            ));
        }
        bytes = &bytes[machine.literal(bytes)?..];
    }
    Ok(())
}

fn content(machine: &mut Machine, mut data_offset: u64, mut length: u64) -> Result<(), Error> {
    // Runs of a sparse file that touch in `data` are one piece of the skeleton.
    while length > 0 {
        skip_zeros(machine);
        let left = match machine.want() {
            Want::Content {
                length,
                data_offset: expected,
            } if expected == data_offset => length,
            _ => return Err(damaged("it has contents where the tar has none")),
        };
        let step = length.min(left);
        machine.content(step);
        data_offset += step;
        length -= step;
    }
    Ok(())
}

fn skip_zeros(machine: &mut Machine) {
    while let Want::Zeros(count) = machine.want() {
        machine.zeros(count);
    }
}

fn damaged(what: &'static str) -> Error {
    Error::SkeletonDamaged { offset: 0, what }
}
