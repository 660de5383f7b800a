//! The contents of one file on their way to `data`: runs of the tar's bytes, and zeros among them.

use crate::sparse::Run;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Bytes of the tar that stay in the skeleton, as many as there are: see `Machine::literal`.
    Literal,
    /// So many bytes of a file, whose place in `data` this is: see `Machine::content`.
    Content { length: u64, data_offset: u64 },
    /// So many zeros in `data` that are not in the tar: see `Machine::zeros`.
    Zeros(u64),
}

/// What is left of a file's contents.
#[derive(Debug)]
pub(crate) struct Contents {
    /// What comes now: zeros, then so many bytes.
    zeros: u64,
    left: u64,
    data_offset: u64,
    /// What comes then.
    runs: std::vec::IntoIter<Run>,
    zeros_after: u64,
    /// What the tar has after the contents.
    pub(crate) padding: u64,
}

impl Contents {
    /// All of a file in one run.
    pub(crate) fn whole(data_offset: u64, length: u64, zeros_after: u64, padding: u64) -> Self {
        let runs = Vec::new().into_iter();
        let mut contents = Self {
            zeros: 0,
            left: length,
            data_offset,
            runs,
            zeros_after,
            padding,
        };
        contents.settle();
        contents
    }

    /// The runs of a sparse file.
    pub(crate) fn of_layout(runs: Vec<Run>, zeros_after: u64, padding: u64) -> Self {
        let runs = runs.into_iter();
        let mut contents = Self {
            zeros: 0,
            left: 0,
            data_offset: 0,
            runs,
            zeros_after,
            padding,
        };
        contents.settle();
        contents
    }

    pub(crate) fn want(&self) -> Want {
        if self.zeros > 0 {
            return Want::Zeros(self.zeros);
        }
        Want::Content {
            length: self.left,
            data_offset: self.data_offset,
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        self.zeros == 0 && self.left == 0
    }

    /// So many zeros were written.
    pub(crate) fn zeros(&mut self, count: u64) {
        self.zeros -= count;
        self.settle();
    }

    /// So many bytes passed.
    pub(crate) fn content(&mut self, count: u64) {
        self.left -= count;
        self.data_offset += count;
        self.settle();
    }

    /// Goes on with what comes then.
    fn settle(&mut self) {
        while self.is_over() {
            if let Some(run) = self.runs.next() {
                self.zeros = run.zeros_before;
                self.left = run.length;
                self.data_offset = run.data_offset;
            } else if self.zeros_after > 0 {
                self.zeros = std::mem::take(&mut self.zeros_after);
            } else {
                return;
            }
        }
    }
}
