//! A layer's `data` read once from start to end, while the tar view takes from it what it needs.
//!
//! What is in no piece of the skeleton must be zeros: the ends of files' last blocks, which a process
//! that maps a file can see, and holes of sparse files. It is looked at on the way. What can't be read
//! counts as zeros, and is remembered, so that the rest can still be told.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use lapstrake_tree::model::BLOCK;
use lapstrake_tree::read_at::ReadAt;
use lapstrake_tree::skeleton::Map;

use super::pace::Pace;

/// Bytes read at a time.
const WINDOW_BYTES: u64 = 1 << 20;

/// What was seen of `data` besides its contents.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Bytes that should be zeros and are not.
    pub(super) not_zero: Vec<Range<u64>>,
    /// Bytes that the file system can't give, and why the first of them.
    pub(super) unreadable: Vec<Range<u64>>,
    pub(super) why: Option<io::Error>,
}

pub(super) struct Sweep<'a> {
    file: File,
    map: &'a Map,
    pace: &'a Pace,
    tell: &'a dyn Fn(u64),
    state: RefCell<State>,
}

struct State {
    start: u64,
    window: Vec<u8>,
    /// Where the next window begins: everything before was looked at.
    next: u64,
    seen: Seen,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(file: File, map: &'a Map, pace: &'a Pace, tell: &'a dyn Fn(u64)) -> Self {
        let state = RefCell::new(State {
            start: 0,
            window: Vec::new(),
            next: 0,
            seen: Seen::default(),
        });
        Self {
            file,
            map,
            pace,
            tell,
            state,
        }
    }

    /// Looks at what is left and says what was seen.
    pub(super) fn finish(self) -> Seen {
        let mut state = self.state.into_inner();
        while state.next < self.map.data_len() {
            state.advance(&self.file, self.map, self.pace, self.tell);
        }
        state.seen
    }
}

/// For the tar view, which goes through `data` from start to end.
impl ReadAt for &Sweep<'_> {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        let (mut offset, mut filled) = (offset, 0);
        while filled < buffer.len() {
            while offset >= state.next && state.next < self.map.data_len() {
                state.advance(&self.file, self.map, self.pace, self.tell);
            }
            let inside = offset
                .checked_sub(state.start)
                .and_then(|skipped| usize::try_from(skipped).ok())
                .and_then(|skipped| state.window.get(skipped..))
                .filter(|window| !window.is_empty())
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let step = inside.len().min(buffer.len() - filled);
            buffer[filled..filled + step].copy_from_slice(&inside[..step]);
            filled += step;
            offset += step as u64;
        }
        Ok(())
    }
}

impl State {
    fn advance(&mut self, file: &File, map: &Map, pace: &Pace, tell: &dyn Fn(u64)) {
        let length = WINDOW_BYTES.min(map.data_len() - self.next);
        pace.spend(length);
        self.start = self.next;
        self.window.resize(
            usize::try_from(length).expect("at most a small constant"),
            0,
        );
        self.read(file);
        self.next += length;
        self.look_between(map);
        tell(length);
    }

    fn read(&mut self, file: &File) {
        if read_or_zeros(file, self.start, &mut self.window).is_ok() {
            return;
        }
        // Some of it can't be read: find out which.
        let mut at = self.start;
        for piece in self
            .window
            .chunks_mut(usize::try_from(BLOCK).expect("a page"))
        {
            if let Err(error) = read_or_zeros(file, at, piece) {
                piece.fill(0);
                self.seen.why.get_or_insert(error);
                push(&mut self.seen.unreadable, at..at + piece.len() as u64);
            }
            at += piece.len() as u64;
        }
    }

    fn look_between(&mut self, map: &Map) {
        let (start, end) = (self.start, self.next);
        let mut at = start;
        let pieces = map.in_data(start..end);
        let gaps = pieces.map(|piece| (piece.data_offset, piece.data_offset + piece.length));
        for (from, to) in gaps.chain([(end, end)]) {
            let inside = |offset: u64| usize::try_from(offset - start).expect("within the window");
            let gap = &self.window[inside(at)..inside(from)];
            if gap.iter().any(|byte| *byte != 0) {
                push(&mut self.seen.not_zero, at..from);
            }
            at = to;
        }
    }
}

/// Reads what there is; beyond the end there are zeros.
fn read_or_zeros(file: &File, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => {
                buffer.fill(0);
                return Ok(());
            }
            Ok(got) => {
                buffer = &mut buffer[got..];
                offset += got as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Adds a range, as a part of the last one if they touch.
pub(super) fn push(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
