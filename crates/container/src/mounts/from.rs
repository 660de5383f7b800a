//! `--volumes-from`: whose, and whether they can be written.

use super::error::Error;
use super::mode::Mode;

/// A `--volumes-from`, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct From<'a> {
    /// Name or id of a container.
    pub(super) container: &'a str,
    /// Whether what the other can write can be written here too.
    pub(super) writable: bool,
}

pub(super) fn parse(text: &str) -> Result<From<'_>, Error> {
    if text.is_empty() {
        return Err(Error::FromNothing);
    }
    let (container, mode) = text.split_once(':').unwrap_or((text, ""));
    match Mode::parse(mode) {
        // Mounts propagate as they do for the other, and nothing is copied into what another has.
        Some(parsed) if parsed.propagation.is_none() && !parsed.no_copy => Ok(From {
            container,
            writable: !parsed.read_only,
        }),
        _ => Err(Error::Mode(mode.to_owned())),
    }
}
