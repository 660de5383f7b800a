//! The options of `-v`: at most one of each kind.

use crate::settings::Propagation;

/// Options of `-v`, read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Whether it can't be written there.
    pub(super) read_only: bool,
    /// How mounts propagate, if that was said.
    pub(super) propagation: Option<Propagation>,
    /// Whether an empty volume stays empty.
    pub(super) no_copy: bool,
}

impl Mode {
    /// Reads options; nothing if they are not options.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut mode = Self::default();
        if text.is_empty() {
            return Some(mode);
        }
        let mut seen = [false; 5];
        for option in text.split(',') {
            let kind = match option {
                "rw" => 0,
                "ro" => {
                    mode.read_only = true;
                    0
                }
                "z" | "Z" => 1,
                "nocopy" => {
                    mode.no_copy = true;
                    2
                }
                "consistent" | "cached" | "delegated" => 3,
                other => {
                    mode.propagation = Some(Propagation::parse(other)?);
                    4
                }
            };
            if std::mem::replace(&mut seen[kind], true) {
                return None;
            }
        }
        Some(mode)
    }
}
