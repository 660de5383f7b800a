//! What was begun and what was acknowledged, in a file that no power cut touches.
//!
//! ```text
//! begin pull 127.0.0.1:4711/app:7 7
//! done pull 127.0.0.1:4711/app:7 7
//! cut pull
//! ```
//!
//! The last word is the number from which the image's bytes follow.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// What a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Pull,
    Commit,
    Prune,
}

impl Verb {
    pub(crate) const ALL: [Self; 3] = [Self::Pull, Self::Commit, Self::Prune];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Commit => "commit",
            Self::Prune => "prune",
        }
    }

    pub(crate) fn of(word: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|verb| verb.word() == word).unwrap()
    }
}

/// What must be true of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is there, with the bytes of this number.
    There(u64),
    /// It is gone.
    Gone,
    /// It may be there; then with the bytes of this number.
    Either(u64),
}

#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(crate) fn at(share: &Path) -> Self {
        Self {
            path: share.join("journal"),
        }
    }

    /// Writes a line and waits until the host has it.
    pub(crate) fn write(&self, line: impl fmt::Display) {
        let mut file = self.open();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
        file.sync_all().unwrap();
    }

    fn open(&self) -> File {
        let mut options = OpenOptions::new();
        options.create(true).append(true).open(&self.path).unwrap()
    }

    fn lines(&self) -> Vec<Vec<String>> {
        drop(self.open());
        let text = std::fs::read_to_string(&self.path).unwrap();
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        text.lines().map(words).collect()
    }

    /// What must be true of every image of which there is a line.
    pub(crate) fn fates(&self) -> BTreeMap<String, Fate> {
        let mut fates = BTreeMap::new();
        for line in self.lines() {
            let [state, verb, name, number] = &line[..] else {
                continue;
            };
            let number = number.parse().unwrap();
            let fate = match (&**state, Verb::of(verb)) {
                ("done", Verb::Pull | Verb::Commit) => Fate::There(number),
                ("done", Verb::Prune) => Fate::Gone,
                _ => Fate::Either(number),
            };
            fates.insert(name.clone(), fate);
        }
        fates
    }

    /// A number that no image has.
    pub(crate) fn next(&self) -> u64 {
        let numbers = self.lines().into_iter();
        let numbers = numbers.filter_map(|line| line.get(3)?.parse::<u64>().ok());
        numbers.max().map_or(1, |last| last + 1)
    }

    /// What was going on at the end.
    pub(crate) fn end(&self) -> String {
        let lines = self.lines();
        let last = lines.iter().rfind(|line| line[0] != "cut").unwrap();
        match &*last[0] {
            "begin" => format!("during {}", last[1]),
            _ => "between".to_owned(),
        }
    }

    pub(crate) fn summary(&self) -> String {
        let lines = self.lines();
        let done = lines.iter().filter(|line| line[0] == "done").count();
        let noted = lines.iter().filter(|line| line[0] == "note");
        let noted: Vec<_> = noted.map(|line| line[1..].join(" ")).collect();
        format!("{done} deeds acknowledged; {noted:?}")
    }
}
