//! What can be done to a file.

use std::fs;
use std::path::Path;

/// One thing that is done to one file.
#[derive(Debug, Clone)]
pub(crate) struct Harm {
    path: String,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Flip { at: usize, bit: u32 },
    Truncate { length: usize },
    Zero { at: usize, length: usize },
    Append { length: usize },
    Remove,
    SwapWith { path: String },
}

/// A few numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end.max(1) as u64).unwrap()
    }
}

impl Harm {
    /// One of these files, each as likely, and something to do to it.
    pub(crate) fn choose(seed: u64, files: &[(String, usize)]) -> Self {
        let mut dice = Dice(seed);
        let (path, length) = &files[dice.below(files.len())];
        let how = match dice.below(10) {
            0..=4 => How::Flip {
                at: dice.below(*length),
                bit: u32::try_from(dice.below(8)).unwrap(),
            },
            5..=6 => How::Truncate {
                length: dice.below(*length),
            },
            7 => {
                let at = dice.below(*length);
                let length = 1 + dice.below(length - at);
                How::Zero { at, length }
            }
            8 if dice.below(2) == 0 => How::Append {
                length: 1 + dice.below(9000),
            },
            8 => How::Remove,
            _ => {
                let name = Path::new(path).file_name();
                let alike: Vec<_> = files
                    .iter()
                    .filter(|(other, _)| other != path && Path::new(other).file_name() == name)
                    .collect();
                match alike.get(dice.below(alike.len())) {
                    Some((path, _)) => How::SwapWith { path: path.clone() },
                    None => How::Remove,
                }
            }
        };
        Self {
            path: path.clone(),
            how,
        }
    }

    pub(crate) fn is_of(&self, name: &str) -> bool {
        self.path.ends_with(name)
    }

    /// Does it; whether anything is different then.
    pub(crate) fn apply(&self, root: &Path) -> bool {
        let path = root.join(&self.path);
        let before = fs::read(&path).unwrap();
        let mut after = before.clone();
        match &self.how {
            How::Flip { at, bit } => after[*at] ^= 1 << bit,
            How::Truncate { length } => after.truncate(*length),
            How::Zero { at, length } => after[*at..at + length].fill(0),
            How::Append { length } => after.resize(before.len() + length, 0x5a),
            How::Remove => {
                fs::remove_file(path).unwrap();
                return true;
            }
            How::SwapWith { path: other } => {
                let other = root.join(other);
                after = fs::read(&other).unwrap();
                fs::write(other, &before).unwrap();
            }
        }
        fs::write(path, &after).unwrap();
        after != before
    }
}
