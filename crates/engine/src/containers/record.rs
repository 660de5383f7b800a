//! What is written down of a container.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use lapstrake_container::settings::{Health, MountPoint, Settings};

use super::size::Size;

/// A moment: nanoseconds since 1970.
pub type Nanoseconds = i64;

/// A container, as its row in `state.db` has it. Fields that are added later have defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// When it was made.
    pub created: Nanoseconds,
    /// The image: its id, the digest of its config.
    pub image: String,
    /// What runs it on its host: the storage driver that made its writable layer.
    pub driver: String,
    /// What it is to be.
    pub settings: Settings,
    /// What the client's protocol keeps with it, in that protocol's own form. The engine does not read it.
    #[serde(default)]
    pub document: String,
    /// What became of it.
    pub state: State,
}

impl Record {
    /// The volumes that it uses.
    pub(crate) fn volumes(&self) -> BTreeSet<&str> {
        let points = self.settings.host.mounts.iter();
        points.filter_map(MountPoint::volume).collect()
    }

    /// When it ended last, or, if it never did, was started or made. One that runs is used now, whatever this says.
    pub fn last_used(&self) -> SystemTime {
        let last = self.state.finished.max(self.state.started);
        let since = u64::try_from(last.unwrap_or(self.created)).unwrap_or_default();
        UNIX_EPOCH + Duration::from_nanos(since)
    }
}

/// What became of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What it does.
    pub phase: Phase,
    /// The process number of its init while it runs.
    pub pid: Option<i32>,
    /// How it ended last.
    pub code: i32,
    /// Why it could not be started, or what went wrong when it ended.
    pub error: String,
    /// Whether the kernel killed a process of it for want of memory since it was started last.
    pub out_of_memory: bool,
    /// How many times that was told since it runs; 0 while it does not.
    pub out_of_memory_told: u64,
    /// When it was started last.
    pub started: Option<Nanoseconds>,
    /// When it ended last.
    pub finished: Option<Nanoseconds>,
    /// How many times in a row its policy started it again.
    pub restarts: u32,
    /// Whether its anonymous volumes go too, if it is being removed.
    pub volumes_go: bool,
    /// Whether a client stopped it, so that `unless-stopped` leaves it alone.
    pub stopped: bool,
    /// What its health checks say, if it has any.
    pub health: Option<Health>,
    /// What its writable layer used when it ended last, or was made: known without looking again.
    pub size: Option<Size>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It was never started.
    #[default]
    Created,
    /// It runs.
    Running,
    /// It runs, and is held up.
    Paused,
    /// It ended and is about to be started again.
    Restarting,
    /// It ended.
    Exited,
    /// It is being removed.
    Removing,
    /// It could not be removed wholly: remove it again.
    Dead,
}

impl Phase {
    /// Whether it has a process.
    pub fn has_process(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Whether it runs or is about to.
    pub fn is_active(self) -> bool {
        self.has_process() || self == Self::Restarting
    }

    /// Its name, as clients know it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }
}

/// The present, for a record.
pub fn now() -> Nanoseconds {
    nanoseconds(SystemTime::now())
}

/// A time, for a record. What is before 1970 or after 2262 is the nearest that can be written.
pub fn nanoseconds(time: SystemTime) -> Nanoseconds {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Nanoseconds::try_from(since.as_nanos()).unwrap_or(Nanoseconds::MAX)
}
