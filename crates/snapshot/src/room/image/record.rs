//! What is written beside an image.
//!
//! Lines of a word and a number: `bytes` and `inodes`, the limit (0: none); `blocks`, all blocks of
//! the image; `base`, those that were never the room's; `reserve`, whether all are set aside (1).
//! It appears with the room and is replaced whole.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use lapstrake_sys::publish;

use super::{Reserve, superblock};
use crate::room::error::io;
use crate::room::{Error, Limit, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) limit: Limit,
    pub(super) blocks: u64,
    pub(super) base: u64,
    pub(super) reserve: Reserve,
}

const VERSION: &str = "lapstrake room 1";

impl Record {
    pub(super) fn read(room: &Path) -> Result<Self> {
        let path = room.join("record");
        let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
        Self::decode(&text).ok_or_else(|| Error::Damaged {
            path,
            told: "its record is unreadable".to_owned(),
        })
    }

    /// Blocks that the room may use.
    pub(super) fn usable(&self) -> u64 {
        let own = self.base + superblock::kept_back(self.blocks);
        self.blocks.saturating_sub(own)
    }

    /// Replaces the record; it is on disk when this returns.
    pub(super) fn write(&self, room: &Path) -> Result<()> {
        let (new, path) = (room.join("record.new"), room.join("record"));
        let mut file = File::create(&new).map_err(io("create", &new))?;
        file.write_all(self.encode().as_bytes())
            .map_err(io("write", &new))?;
        publish::sync_file(&file).map_err(io("sync", &new))?;
        publish::replace(&new, &path).map_err(io("rename to", &path))?;
        publish::sync_dir(room).map_err(io("sync", room))
    }

    fn encode(&self) -> String {
        format!(
            "{VERSION}\nbytes {}\ninodes {}\nblocks {}\nbase {}\nreserve {}\n",
            self.limit.bytes.unwrap_or(0),
            self.limit.inodes.unwrap_or(0),
            self.blocks,
            self.base,
            u64::from(self.reserve == Reserve::Whole),
        )
    }

    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != VERSION {
            return None;
        }
        let mut number = |word: &str| -> Option<u64> {
            let (found, number) = lines.next()?.split_once(' ')?;
            (found == word).then(|| number.parse().ok())?
        };
        let some = |number: u64| (number != 0).then_some(number);
        Some(Self {
            limit: Limit {
                bytes: some(number("bytes")?),
                inodes: some(number("inodes")?),
            },
            blocks: number("blocks")?,
            base: number("base")?,
            reserve: match number("reserve")? {
                0 => Reserve::Nothing,
                1 => Reserve::Whole,
                _ => return None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record = Record {
        limit: Limit {
            bytes: Some(7),
            inodes: None,
        },
        blocks: 10,
        base: 3,
        reserve: Reserve::Whole,
    };

    #[test]
    fn a_record_comes_back() {
        assert_eq!(Record::decode(&RECORD.encode()), Some(RECORD));
    }

    #[test]
    fn an_unfinished_record_is_none() {
        let text = RECORD.encode();
        for length in 0..text.len() - 2 {
            assert_eq!(Record::decode(&text[..length]), None, "{length}");
        }
    }
}
