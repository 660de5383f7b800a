//! What was decided: what goes, what stays, and why.

use std::fmt;
use std::time::SystemTime;

use lapstrake_oci::Digest;

use super::space::Space;
use crate::Label;
use crate::df::Held;

/// What goes or stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Content that nothing keeps alive, such as layers of pulls that failed. It goes first.
    Loose,
    /// A container that does not run, with its log; its volumes stay.
    Container {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// An image with all its names.
    Image {
        /// Its id.
        id: Digest,
        /// Its manifest.
        manifest: Digest,
        /// Its names.
        names: Vec<String>,
    },
}

impl Subject {
    /// What it is known by, whatever its names are.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Loose => String::new(),
            Self::Container { id, .. } => id.clone(),
            Self::Image { manifest, .. } => manifest.to_string(),
        }
    }
}

/// Why something stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Containers lie on it, or have it mounted: their names.
    UsedBy(Vec<String>),
    /// It is mounted.
    Mounted,
    /// It is being pulled, loaded or made.
    Leased,
    /// The container runs, or is about to.
    Running,
    /// Somebody began to use it meanwhile.
    Busy,
    /// It has this label.
    Protected(Label),
    /// It may be protected: its labels can't be read.
    Unreadable,
    /// It was used a shorter time ago than is asked for.
    Young,
    /// All its layers are others' too that stay.
    FreesNothing,
    /// Other hosts use the same content, and may have it in use: these.
    OtherHosts(Vec<String>),
    /// It is on another file system than the one that is short.
    Elsewhere,
    /// There is enough without it.
    NotNeeded,
    /// More is to be free than there is.
    InVain,
}

/// Something that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goes {
    /// What.
    pub subject: Subject,
    /// When it was last used; loose content never is.
    pub used: Option<SystemTime>,
    /// What that frees, when all before it has gone.
    pub frees: Held,
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// What.
    pub subject: Subject,
    /// When it was last used.
    pub used: SystemTime,
    /// What its removal alone would free, were it removed.
    pub alone: Held,
    /// Why.
    pub why: Why,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough is free: nothing goes.
    Enough,
    /// What goes brings the mark back.
    Reached,
    /// All that may go goes, and so much is missing then.
    Short(Held),
    /// More is to be free than there is: nothing goes, for nothing would be enough.
    Impossible,
}

/// All decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is free now.
    pub space: Space,
    /// What goes, in this order.
    pub goes: Vec<Goes>,
    /// What stays, the least recently used first.
    pub stays: Vec<Stays>,
    /// How it ends.
    pub verdict: Verdict,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsedBy(users) => write!(f, "used by {}", users.join(", ")),
            Self::Mounted => f.write_str("mounted"),
            Self::Leased => f.write_str("being pulled, loaded or made"),
            Self::Running => f.write_str("running"),
            Self::Busy => f.write_str("somebody began to use it meanwhile"),
            Self::Protected(label) => write!(f, "protected by label={label}"),
            Self::Unreadable => f.write_str("its labels can't be read (lapstrake check says why)"),
            Self::Young => f.write_str("used a short time ago (min-age)"),
            Self::FreesNothing => f.write_str("others that stay have all its layers"),
            Self::OtherHosts(hosts) => write!(
                f,
                "other hosts use the same content and may have it in use: {}",
                hosts.join(", ")
            ),
            Self::Elsewhere => f.write_str("on another file system"),
            Self::NotNeeded => f.write_str("not needed"),
            Self::InVain => f.write_str("more is to be free than there is"),
        }
    }
}
