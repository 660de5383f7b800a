//! A blob that is the tar: bytes are copied, spans are cut exactly at the target.

use super::{Boundary, Cutter, Moved, Restart, at_most};

#[derive(Debug)]
pub(super) struct Plain;

impl Plain {
    pub(super) fn step(
        &self,
        input: &[u8],
        output: &mut [u8],
        at: u64,
        cutter: &mut Cutter,
    ) -> Moved {
        let Some(left) = cutter.until_target() else {
            let boundary: Option<Boundary> = cutter.cut(Restart::At { byte: at });
            return Moved {
                consumed: 0,
                produced: 0,
                boundary,
            };
        };
        let count = at_most(left, input.len().min(output.len()));
        output[..count].copy_from_slice(&input[..count]);
        cutter.advance(count);
        Moved::by(count, count)
    }
}
