//! A daemon's watch over the watermark.
//!
//! It looks every so often what is free, which costs one system call; only when that is too little, it looks at
//! anything else. Every decision is a line in the log. What can't be changed is told when it begins and when it ends,
//! not every time it is seen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapstrake_bridge::blocking;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::decide::Stage;
use super::decision::{Decision, Goes, Stays, Subject, Verdict, Why};
use super::log::{free, said, stays, used};
use super::pass::Step;
use super::policy::Policy;
use crate::Engine;
use crate::containers::{self, Containers};
use crate::df::Held;
use crate::error::Result;

/// How long a removal is waited for when it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a keeper is told.
#[derive(Debug, Clone)]
pub struct KeeperSettings {
    /// What is asked for.
    pub policy: Policy,
    /// How often it looks.
    pub interval: Duration,
    /// Decisions are told here, a line each.
    pub tell: fn(&str),
}

/// Keeps the mark.
#[derive(Debug)]
pub struct Keeper {
    engine: Arc<Engine>,
    containers: Containers,
    settings: KeeperSettings,
    /// What was told last of a state that lasts.
    told: Option<String>,
}

/// A keeper at work.
#[derive(Debug)]
pub struct Keeping {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Keeping {
    /// Ends it. What it has begun is finished, unless that takes too long.
    pub async fn stop(self) {
        // It ends in either case.
        let _both = self.stop.send(());
        drop(tokio::time::timeout(PATIENCE, self.task).await);
    }
}

/// What a pass did so far.
#[derive(Debug, Default)]
struct Pass {
    removed: usize,
    /// What that freed, by count.
    freed: Held,
    /// What somebody began to use, by its key.
    busy: BTreeSet<String>,
    /// When what was removed last had been used.
    reached: Option<SystemTime>,
}

impl Keeper {
    /// One that keeps the mark of a daemon's store.
    pub fn new(engine: Arc<Engine>, containers: Containers, settings: KeeperSettings) -> Self {
        Self {
            engine,
            containers,
            settings,
            told: None,
        }
    }

    /// Keeps the mark in the background, until it is stopped.
    pub fn begin(self) -> Keeping {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(self.keep(stopped));
        Keeping { stop, task }
    }

    async fn keep(mut self, mut stop: oneshot::Receiver<()>) {
        let policy = &self.settings.policy;
        let protect: Vec<_> = policy
            .protect
            .iter()
            .map(|one| format!("label={one}"))
            .collect();
        self.tell(&format!(
            "on keep-free={} until-free={} min-age={}s interval={}s containers={} protect=\"{}\"",
            policy.keep_free,
            policy.until_free,
            policy.min_age.as_secs(),
            self.settings.interval.as_secs(),
            policy.containers,
            protect.join(" ")
        ));
        loop {
            if let Err(error) = self.look().await {
                self.lasts(&format!("failed: {error}"), "", &[]);
            }
            tokio::select! {
                _stopped = &mut stop => return,
                () = tokio::time::sleep(self.settings.interval) => {}
            }
        }
    }

    /// One look, and what follows from it.
    async fn look(&mut self) -> std::result::Result<(), containers::Error> {
        let space = self.blocking(|engine, _| engine.space()).await?;
        if space.lacks(self.settings.policy.keep_free) == Held::default() {
            if self.told.take().is_some() {
                self.tell(&format!("enough again {}", free(&space)));
            }
            return Ok(());
        }
        let mut pass = Pass::default();
        let decision = loop {
            let by_count = self.settings.policy.missing(&space.with(pass.freed));
            if by_count == Held::default() {
                // Whatever the file system says, no more goes than was missing: something else may take the room, or keep
                // what was removed, as snapshots do.
                let look =
                    |engine: &Engine, policy: &Policy| engine.watermark(policy, SystemTime::now());
                break self.blocking(look).await?;
            }
            let stage = match pass.removed {
                0 => Stage::Watching,
                _ => Stage::Freeing,
            };
            let busy = pass.busy.clone();
            let step = move |engine: &Engine, policy: &Policy| {
                engine.watermark_step(policy, stage, &busy, SystemTime::now())
            };
            let (decision, step) = self.blocking(step).await?;
            if pass.removed == 0 && !matches!(step, Step::Nothing) {
                let policy = &self.settings.policy;
                self.tell(&format!(
                    "short {} keep-free={} until-free={}",
                    free(&decision.space),
                    policy.keep_free,
                    policy.until_free
                ));
            }
            match step {
                Step::Nothing => break decision,
                Step::Removed(goes, bytes) => self.removed(&mut pass, &goes, bytes).await?,
                Step::Spared(subject) => {
                    self.tell(&format!("spared {} why=\"{}\"", said(&subject), Why::Busy));
                    pass.busy.insert(subject.key());
                }
                Step::Container(goes) => self.remove_container(&mut pass, goes).await?,
            }
        };
        self.ended(&pass, &decision);
        Ok(())
    }

    async fn remove_container(
        &self,
        pass: &mut Pass,
        goes: Goes,
    ) -> std::result::Result<(), containers::Error> {
        let (Subject::Container { id, .. }, Some(used)) = (&goes.subject, goes.used) else {
            return Ok(());
        };
        if self
            .containers
            .remove_idle(id, used, Containers::patience())
            .await?
        {
            self.blocking(|engine, _| {
                engine.settle()?;
                engine.free_now()
            })
            .await?;
            let bytes = goes.frees.bytes;
            return self.removed(pass, &goes, bytes).await;
        }
        self.tell(&format!(
            "spared {} why=\"{}\"",
            said(&goes.subject),
            Why::Busy
        ));
        pass.busy.insert(goes.subject.key());
        Ok(())
    }

    async fn removed(
        &self,
        pass: &mut Pass,
        goes: &Goes,
        bytes: u64,
    ) -> std::result::Result<(), containers::Error> {
        let space = self.blocking(|engine, _| engine.space()).await?;
        self.tell(&format!(
            "removed {}{} frees={bytes} {}",
            said(&goes.subject),
            goes.used.map(used).unwrap_or_default(),
            free(&space)
        ));
        pass.removed += 1;
        pass.freed.add(Held {
            bytes,
            inodes: goes.frees.inodes,
        });
        pass.reached = pass.reached.max(goes.used);
        Ok(())
    }

    /// Tells what stayed, and how it ended.
    fn ended(&mut self, pass: &Pass, decision: &Decision) {
        if pass.removed > 0 {
            self.engine.tell_pruned(pass.freed.bytes);
        }
        let end = format!(
            "removed={} reclaimed={} {}",
            pass.removed,
            pass.freed.bytes,
            free(&decision.space)
        );
        match decision.verdict {
            Verdict::Short(missing) => {
                let what = format!(
                    "cannot reach until-free={}: nothing more may go",
                    self.settings.policy.until_free
                );
                if pass.removed > 0 {
                    // It is another state than before.
                    self.told = None;
                }
                let more = format!(
                    " missing={} missing-inodes={} {end}",
                    missing.bytes, missing.inodes
                );
                self.lasts(&what, &more, &decision.stays);
            }
            Verdict::Impossible => {
                let what = format!(
                    "until-free={} is more than the file system has: nothing goes",
                    self.settings.policy.until_free
                );
                self.lasts(&what, &format!(" {end}"), &[]);
            }
            // Something else made room.
            Verdict::Enough | Verdict::Reached if pass.removed == 0 => {}
            Verdict::Enough | Verdict::Reached => {
                self.told = None;
                let missing = self.settings.policy.missing(&decision.space);
                // What was passed over on the way.
                let before = |one: &&Stays| Some(one.used) <= pass.reached;
                for one in decision.stays.iter().filter(before) {
                    self.tell(&stays(one));
                }
                if missing.bytes > pass.freed.bytes / 2 {
                    self.tell(&format!(
                        "removed enough by count, and yet missing={} {end}: something else takes the room, or keeps what was removed",
                        missing.bytes
                    ));
                } else {
                    self.tell(&format!("reached {end}"));
                }
            }
        }
    }

    /// Tells of a state that lasts, unless that is what was told last. `more` may differ each time, and is told with it.
    fn lasts(&mut self, what: &str, more: &str, all: &[Stays]) {
        // When something was used last is no state: of what is in use that is now.
        let reasons = all
            .iter()
            .map(|one| format!("{} {}", said(&one.subject), one.why));
        let state = format!("{what}\n{}", reasons.collect::<Vec<_>>().join("\n"));
        if self.told.as_ref() == Some(&state) {
            return;
        }
        for one in all {
            self.tell(&stays(one));
        }
        self.tell(&format!("{what}{more}"));
        self.told = Some(state);
    }

    fn tell(&self, line: &str) {
        (self.settings.tell)(&format!("watermark: {line}"));
    }

    async fn blocking<T: Send + 'static>(
        &self,
        step: impl FnOnce(&Engine, &Policy) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, containers::Error> {
        let (engine, policy) = (Arc::clone(&self.engine), self.settings.policy.clone());
        Ok(blocking(move || step(&engine, &policy)).await??)
    }
}
