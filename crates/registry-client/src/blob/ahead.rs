//! Parts of a blob fetched side by side and handed on in order.
//!
//! The part whose turn it is comes straight from its connection; those after it are gathered in memory.
//! They end when the stream is dropped.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::part::{Part, Place};
use crate::error::Error;

#[derive(Debug)]
pub(super) struct Ahead {
    place: Place,
    part_bytes: u64,
    /// The part that comes straight from its connection.
    first: Option<Part>,
    /// What was gathered of the part whose turn it is.
    gathered: VecDeque<Bytes>,
    under_way: VecDeque<Fetch>,
    /// Where the part begins that is not yet under way.
    next: u64,
}

/// A part being gathered, until dropped.
#[derive(Debug)]
struct Fetch(JoinHandle<Result<VecDeque<Bytes>, Error>>);

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ahead {
    /// From the first part on, which is connected.
    pub(super) fn new(place: Place, first: Part, others: usize, part_bytes: u64) -> Self {
        let mut ahead = Self {
            next: first.end(),
            place,
            part_bytes,
            first: Some(first),
            gathered: VecDeque::new(),
            under_way: VecDeque::new(),
        };
        for _other in 0..others {
            ahead.begin();
        }
        ahead
    }

    fn begin(&mut self) {
        if self.next >= self.place.size {
            return;
        }
        let end = (self.next + self.part_bytes).min(self.place.size);
        let mut part = Part::new(self.place.clone(), self.next, end);
        self.next = end;
        self.under_way.push_back(Fetch(tokio::spawn(async move {
            let mut gathered = VecDeque::new();
            while let Some(chunk) = part.next_chunk().await? {
                gathered.push_back(chunk);
            }
            Ok(gathered)
        })));
    }

    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(chunk) = self.gathered.pop_front() {
                return Ok(Some(chunk));
            }
            if let Some(first) = &mut self.first {
                if let Some(chunk) = first.next_chunk().await? {
                    return Ok(Some(chunk));
                }
                self.first = None;
                self.begin();
            }
            let Some(fetch) = self.under_way.front_mut() else {
                return Ok(None);
            };
            let gathered = (&mut fetch.0).await;
            self.under_way.pop_front();
            self.gathered = gathered.map_err(|error| Error::Setup(error.to_string()))??;
            self.begin();
        }
    }
}
