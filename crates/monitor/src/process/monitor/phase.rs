//! How far the process is, and what follows from that alone.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitStatus};

use crate::exit::Exit;
use crate::process::console::ConsoleSocket;
use crate::wire::State;

/// How long others, to whom a process left its streams, are listened to when it has ended. As Docker.
const GRACE: Duration = Duration::from_secs(2);

/// Between two looks whether an earlier container of the same id has gone.
const LOOK: Duration = Duration::from_millis(2);

pub(in crate::process) enum Phase {
    NotStarted,
    /// The runtime is still removing an earlier container of the same id.
    Queueing {
        since: Instant,
    },
    /// The runtime was called.
    Starting {
        runtime: Pid,
        console: Option<ConsoleSocket>,
        /// Others that ended meanwhile. The process may be among them.
        ended: Vec<(Pid, WaitStatus)>,
    },
    Running {
        pid: Pid,
        /// When the guard is to be called.
        guard_at: Instant,
    },
    /// It did not start, and what the runtime left is being removed.
    Failed {
        message: String,
        remover: Option<Pid>,
    },
    /// It has ended, and the runtime removes its state.
    Ended {
        exit: Exit,
        remover: Option<Pid>,
        since: Instant,
    },
    /// Only clients are left.
    Over,
}

impl Phase {
    /// What clients are told of it.
    pub(super) fn state(&self) -> State {
        match self {
            Self::NotStarted | Self::Over => State::NotStarted,
            Self::Queueing { .. } | Self::Starting { .. } | Self::Failed { .. } => State::Starting,
            Self::Running { pid, .. } => State::Running { pid: number(*pid) },
            Self::Ended { exit, .. } => State::Exited(*exit),
        }
    }

    /// Whether what comes from the process's streams is its output. Before, a runtime may write there too.
    pub(super) fn has_output(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Ended { .. })
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended { .. })
    }

    /// Whether nobody is listened to any more.
    pub(super) fn is_deaf(&self, now: Instant) -> bool {
        matches!(self, Self::Ended { since, .. } if now.duration_since(*since) >= GRACE)
    }

    /// Whom a signal reaches.
    pub(super) fn target(&self, signal: i32) -> Option<Pid> {
        match self {
            Self::Running { pid, .. } => Some(*pid),
            // Whatever the runtime waits for, it does no longer. The start fails.
            Self::Starting { runtime, .. } if signal == Signal::KILL.as_raw() => Some(*runtime),
            _ => None,
        }
    }

    /// When there is something to do though nothing happens.
    pub(super) fn due(&self, now: Instant, waits: Waits) -> Option<Instant> {
        match self {
            Self::Queueing { .. } => Some(now + LOOK),
            Self::Running { guard_at, .. } => waits.guard.then_some(*guard_at),
            Self::Ended { since, .. } => waits.streams.then_some(*since + GRACE),
            Self::NotStarted | Self::Starting { .. } | Self::Failed { .. } | Self::Over => None,
        }
    }
}

/// What a monitor waits for beside what happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// There is a guard to be called.
    pub(super) guard: bool,
    /// There are streams that have not ended.
    pub(super) streams: bool,
}

/// A process's number, for others.
pub(super) fn number(pid: Pid) -> u32 {
    pid.as_raw_pid().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const NONE: Waits = Waits {
        guard: false,
        streams: false,
    };
    const ALL: Waits = Waits {
        guard: true,
        streams: true,
    };

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    fn starting() -> Phase {
        Phase::Starting {
            runtime: pid(7),
            console: None,
            ended: Vec::new(),
        }
    }

    fn running(guard_at: Instant) -> Phase {
        Phase::Running {
            pid: pid(8),
            guard_at,
        }
    }

    fn ended(since: Instant) -> Phase {
        Phase::Ended {
            exit: Exit::with_code(3, Timestamp::now()),
            remover: None,
            since,
        }
    }

    #[test]
    fn only_a_clock_that_somebody_waits_for_wakes() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(running(later).due(now, ALL), Some(later));
        assert_eq!(running(later).due(now, NONE), None);
        assert_eq!(ended(now).due(now, ALL), Some(now + GRACE));
        assert_eq!(ended(now).due(now, NONE), None);
        let queueing = Phase::Queueing { since: now };
        assert_eq!(queueing.due(later, NONE), Some(later + LOOK));
        assert_eq!(starting().due(now, ALL), None);
    }

    #[test]
    fn who_has_ended_is_listened_to_for_a_while() {
        let now = Instant::now();
        assert!(ended(now).has_output() && !ended(now).is_deaf(now));
        assert!(ended(now).is_deaf(now + GRACE));
        assert!(!running(now).is_deaf(now + GRACE));
        assert!(!starting().has_output());
    }

    #[test]
    fn a_signal_reaches_the_process_and_the_last_one_its_runtime() {
        let now = Instant::now();
        let (term, kill) = (Signal::TERM.as_raw(), Signal::KILL.as_raw());
        assert_eq!(running(now).target(term), Some(pid(8)));
        assert_eq!(starting().target(kill), Some(pid(7)));
        assert_eq!(starting().target(term), None);
        assert_eq!(ended(now).target(kill), None);
        assert_eq!(Phase::NotStarted.target(kill), None);
    }
}
