//! Decisions in the words of the log: keys and values, for people and programs.

use std::time::SystemTime;

use super::decision::{Stays, Subject};
use super::space::Space;
use crate::when::to_rfc3339 as rfc3339;

pub(super) fn free(space: &Space) -> String {
    let (free, total) = (space.free, space.total);
    let inodes = match space.counts_inodes {
        true => format!(" free-inodes={} of={}", free.inodes, total.inodes),
        false => String::new(),
    };
    format!(
        "free={} ({}) of={}{inodes}",
        free.bytes,
        space.percent(),
        total.bytes
    )
}

pub(super) fn stays(one: &Stays) -> String {
    format!(
        "stays {}{} why=\"{}\"",
        said(&one.subject),
        used(one.used),
        one.why
    )
}

pub(super) fn used(at: SystemTime) -> String {
    format!(" used={}", rfc3339(at))
}

pub(super) fn said(subject: &Subject) -> String {
    match subject {
        Subject::Loose => "content that nothing needs".to_owned(),
        Subject::Container { id, name } => format!("container id={id} name={name}"),
        Subject::Image { id, names, .. } => format!("image id={id} names={}", names.join(",")),
    }
}
