//! What happened to images, containers, volumes and networks, told to whoever listens.
//!
//! Events are told when what they say is done. The last [`KEPT`] are kept, so that somebody who asks for
//! what happened since a moment ago gets it, and then what happens from then on, with nothing lost or told
//! twice in between. They are not kept over a restart. Whoever listens too slowly loses the oldest events,
//! and holds up nobody.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::broadcast;

/// How many events are kept for those who ask for what has been.
pub const KEPT: usize = 1024;
/// By how many events a listener may lag behind.
const LAG: usize = 4096;

/// To what something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// The daemon itself.
    Daemon,
    /// A build.
    Builder,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A client was attached.
    Attach,
    /// A container was made an image.
    Commit,
    /// A network got a container.
    Connect,
    /// Files were copied out or in.
    Copy,
    /// It was made.
    Create,
    /// An image is gone.
    Delete,
    /// A container or volume is gone.
    Destroy,
    /// A client detached.
    Detach,
    /// A container's process ended.
    Die,
    /// A network lost a container.
    Disconnect,
    /// A command was made ready to run in a container.
    ExecCreate(String),
    /// A client detached from a command.
    ExecDetach,
    /// A command in a container ended.
    ExecDie,
    /// A command runs in a container.
    ExecStart(String),
    /// A root was exported.
    Export,
    /// Files were read out of a container.
    ExtractFrom,
    /// Files were put into a container.
    ExtractTo,
    /// A container's health changed.
    Health(String),
    /// A tar became an image.
    Import,
    /// A signal was sent.
    Kill,
    /// An image came out of an archive.
    Load,
    /// A volume was mounted.
    Mount,
    /// The kernel killed a process for want of memory.
    OutOfMemory,
    /// A container stands still.
    Pause,
    /// What nobody needed was removed.
    Prune,
    /// An image came from a registry.
    Pull,
    /// An image went to a registry.
    Push,
    /// Settings were read again.
    Reload,
    /// It has another name.
    Rename,
    /// A terminal has another size.
    Resize,
    /// A container was stopped and started.
    Restart,
    /// An image went into an archive.
    Save,
    /// A container runs.
    Start,
    /// A container was stopped.
    Stop,
    /// An image got a name.
    Tag,
    /// A container's processes were listed.
    Top,
    /// A volume is mounted no more.
    Unmount,
    /// A container goes on.
    Unpause,
    /// An image lost a name.
    Untag,
    /// A container's limits changed.
    Update,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// To what kind of thing.
    pub kind: Kind,
    /// What.
    pub action: Action,
    /// Its id; of volumes and pulled images, their name.
    pub id: String,
    /// What else is known of it: its name, its labels, what belongs to the action.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub at: SystemTime,
}

/// Where events go through.
#[derive(Debug)]
pub struct Bus {
    kept: Mutex<VecDeque<Arc<Happened>>>,
    tell: broadcast::Sender<Arc<Happened>>,
}

/// What a listener gets.
#[derive(Debug)]
pub struct Listening {
    /// What had happened, the oldest first.
    pub past: Vec<Arc<Happened>>,
    /// What happens from then on.
    pub rest: Rest,
}

/// What happens from a moment on.
#[derive(Debug)]
pub struct Rest(broadcast::Receiver<Arc<Happened>>);

impl Rest {
    /// Waits for the next event; nothing when there will be none any more.
    pub async fn next(&mut self) -> Option<Arc<Happened>> {
        loop {
            match self.0.recv().await {
                Ok(happened) => return Some(happened),
                Err(broadcast::error::RecvError::Lagged(_lost)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            tell: broadcast::Sender::new(LAG),
        }
    }
}

impl Bus {
    /// Tells that something happened, now.
    pub fn publish(
        &self,
        kind: Kind,
        action: Action,
        id: impl Into<String>,
        attributes: BTreeMap<String, String>,
    ) {
        let mut kept = self.kept();
        // Under the lock, so that times and order agree.
        let happened = Arc::new(Happened {
            kind,
            action,
            id: id.into(),
            attributes,
            at: SystemTime::now(),
        });
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&happened));
        // Nobody may listen.
        drop(self.tell.send(happened));
    }

    /// Listens. Of what has been, gives what happened at `since` or later; nothing, if that is not given.
    pub fn listen(&self, since: Option<SystemTime>) -> Listening {
        let kept = self.kept();
        let past = match since {
            None => Vec::new(),
            Some(since) => kept
                .iter()
                .filter(|event| event.at >= since)
                .cloned()
                .collect(),
        };
        Listening {
            past,
            rest: Rest(self.tell.subscribe()),
        }
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.tell.receiver_count()
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Happened>>> {
        // A list of events is whole between any two steps.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(bus: &Bus, id: usize) {
        bus.publish(
            Kind::Image,
            Action::Tag,
            format!("{id}"),
            BTreeMap::default(),
        );
    }

    #[tokio::test]
    async fn what_was_and_what_comes_without_gap() {
        let bus = Bus::default();
        publish(&bus, 0);
        let since = SystemTime::now();
        publish(&bus, 1);
        let mut listening = bus.listen(Some(since));
        publish(&bus, 2);
        let past: Vec<_> = listening
            .past
            .iter()
            .map(|event| event.id.clone())
            .collect();
        assert_eq!(past, ["1"]);
        assert_eq!(
            listening.rest.next().await.map(|event| event.id.clone()),
            Some("2".to_owned())
        );
        assert!(bus.listen(None).past.is_empty());
        assert_eq!(bus.listeners(), 1);
        drop(bus);
        assert_eq!(listening.rest.next().await, None);
    }

    #[tokio::test]
    async fn so_many_are_kept_and_a_slow_listener_goes_on_with_what_is_left() {
        let bus = Bus::default();
        let mut slow = bus.listen(None).rest;
        for id in 0..LAG + 10 {
            publish(&bus, id);
        }
        assert_eq!(bus.listen(Some(SystemTime::UNIX_EPOCH)).past.len(), KEPT);
        let first = slow.next().await.map(|event| event.id.clone());
        assert_eq!(first, Some("10".to_owned()));
    }
}
