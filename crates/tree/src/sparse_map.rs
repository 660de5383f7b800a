//! Reads the sparse map that PAX 1.0 keeps before a file's contents: decimal numbers, one a line; how
//! many runs, then their offsets and lengths; zeros up to the next block.

use crate::header::{Block, Problem, Segment};

/// A map being read.
#[derive(Debug, Default)]
pub(crate) struct MapReader {
    /// The number whose line has not ended.
    number: Option<u64>,
    /// How many runs there will be, once known.
    runs: Option<u64>,
    /// An offset that waits for its length.
    offset: Option<u64>,
    pub(crate) segments: Vec<Segment>,
}

impl MapReader {
    /// Reads a block; whether the map is whole with it.
    pub(crate) fn block(&mut self, block: &Block, runs_max: u64) -> Result<bool, Problem> {
        for byte in block {
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let number = self.number.unwrap_or(0).checked_mul(10);
                    let number = number.and_then(|number| number.checked_add(digit));
                    self.number = Some(number.ok_or("its sparse map has too large a number")?);
                }
                b'\n' => {
                    let number = self
                        .number
                        .take()
                        .ok_or("its sparse map has an empty line")?;
                    self.line(number, runs_max)?;
                }
                _ => return Err("its sparse map has something that is no number"),
            }
            if self.runs == Some(self.segments.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn line(&mut self, number: u64, runs_max: u64) -> Result<(), Problem> {
        if self.runs.is_none() {
            if number > runs_max {
                return Err("its sparse map has too many runs");
            }
            self.runs = Some(number);
        } else if let Some(offset) = self.offset.take() {
            self.segments.push(Segment {
                offset,
                length: number,
            });
        } else {
            self.offset = Some(number);
        }
        Ok(())
    }
}
