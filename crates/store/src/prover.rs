//! The prover: a thread of the owner that waits for the disk, so that nobody else must.
//!
//! A layer that has a source is published before it is on disk: it is *present*. The prover syncs its
//! files and directories and then records it as *proved*. Nothing that it works on is removed meanwhile,
//! so that the layer which is recorded is the one that was synced.
//!
//! A failed sync says that bytes may be lost, once: a second sync can succeed and mean nothing, and
//! the page cache can show what the disk does not have. So the layer is not tried again but
//! *doubtful* from then on, and its cached pages are dropped, for it to be read back from the disk.
//!
//! The queue is short: whoever publishes faster than the disk syncs waits. When a store is opened,
//! what an owner before left present under the same kernel is proved without anybody asking.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use lapstrake_oci::{DiffId, Digest};

use crate::claims::Claim;
use crate::error::{Error, Result};
use crate::janitor::Sweeping;
use crate::object::Object;
use crate::shared::Shared;
use crate::state::LayerState;

/// Jobs that may wait.
const QUEUE: usize = 16;

#[derive(Debug)]
pub(crate) struct Prover {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<(SyncSender<Job>, JoinHandle<()>)>>,
}

#[derive(Debug)]
enum Job {
    /// Somebody waits for it.
    Asked {
        layers: Vec<DiffId>,
        blobs: Vec<Digest>,
        claim: Claim,
        answer: mpsc::Sender<Result<()>>,
    },
    /// What was left, to be done after the sweep, and left again when the store is closed.
    Left {
        layers: Vec<DiffId>,
        sweeping: Arc<Sweeping>,
    },
}

/// An answer that the prover will give.
#[derive(Debug)]
#[must_use = "it says whether the content is on disk"]
pub struct Proof(Receiver<Result<()>>);

impl Proof {
    /// Waits until the content is on disk and recorded so.
    ///
    /// # Errors
    /// If a sync failed: the layers whose syncs did are doubtful now.
    pub fn wait(self) -> Result<()> {
        self.0.recv().unwrap_or(Err(Error::Closed))
    }
}

impl Prover {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            stop: Arc::default(),
            thread: Mutex::default(),
        }
    }

    /// Proves content that is published.
    pub(crate) fn prove(&self, layers: Vec<DiffId>, blobs: Vec<Digest>) -> Result<Proof> {
        let (answer, proof) = mpsc::channel();
        let objects = layers.iter().cloned().map(Object::Layer);
        let objects = objects.chain(blobs.iter().cloned().map(Object::Blob));
        self.queue(Job::Asked {
            claim: self.shared.claims.claim(objects),
            layers,
            blobs,
            answer,
        })?;
        Ok(Proof(proof))
    }

    /// Proves layers when the sweep is over, unless the store is closed before.
    pub(crate) fn catch_up(&self, layers: Vec<DiffId>, sweeping: Arc<Sweeping>) -> Result<()> {
        self.queue(Job::Left { layers, sweeping })
    }

    fn queue(&self, job: Job) -> Result<()> {
        // Not under the lock: the queue may be full.
        self.sender()?.send(job).map_err(|_gone| Error::Closed)
    }

    fn sender(&self) -> Result<SyncSender<Job>> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, _)) = &*thread {
            return Ok(sender.clone());
        }
        let (sender, jobs) = mpsc::sync_channel(QUEUE);
        let (shared, stop) = (Arc::clone(&self.shared), Arc::clone(&self.stop));
        let handle = thread::Builder::new()
            .name("prover".to_owned())
            .spawn(move || work(&shared, &jobs, &stop))
            .map_err(Error::NoThread)?;
        *thread = Some((sender.clone(), handle));
        Ok(sender)
    }

    /// Ends when every answer was given that somebody waits for.
    pub(crate) fn finish(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, handle)) = thread.take() {
            drop(sender);
            // A panic was told on standard error; the store is closed all the same.
            drop(handle.join());
        }
    }
}

fn work(shared: &Shared, jobs: &Receiver<Job>, stop: &AtomicBool) {
    for job in jobs {
        match job {
            Job::Asked {
                layers,
                blobs,
                claim,
                answer,
            } => {
                let outcome = prove(shared, &layers, &blobs);
                // Before the answer: whoever waited may be about to remove it all.
                drop(claim);
                // Nobody may be waiting any more.
                drop(answer.send(outcome));
            }
            Job::Left { layers, sweeping } => {
                sweeping.wait();
                for layer in layers {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Not a claim: nobody has asked for the layer, so a collection that begins
                    // meanwhile must not spare it. It waits for this one layer instead.
                    let _alone = shared.claims.begin();
                    // If it fails, the layer is doubtful, and that will be told when it is used.
                    drop(prove(shared, &[layer], &[]));
                }
            }
        }
    }
}

fn prove(shared: &Shared, layers: &[DiffId], blobs: &[Digest]) -> Result<()> {
    let records = shared.state().layers(layers)?;
    let mut first_error = None;
    let mut proved = Vec::new();
    let mut seen = HashSet::new();
    for record in records.into_iter().flatten() {
        // A doubtful layer has to be read first; syncing it would make it look sound.
        if record.state != LayerState::Present || !seen.insert(record.diff_id.clone()) {
            continue;
        }
        match shared.content.prove_layer(&record.diff_id) {
            Ok(()) => proved.push(record.diff_id),
            Err(error) => {
                shared.doubt(&record.diff_id)?;
                first_error.get_or_insert(error);
            }
        }
    }
    for blob in blobs {
        // A blob is compared with its name whenever it is read: there is no record to change.
        if let Err(error) = shared.content.prove_blob(blob) {
            first_error.get_or_insert(error);
        }
    }
    // Also without layers: the commit that named the image may wait for a sync.
    shared.state().set_proved(&proved)?;
    first_error.map_or(Ok(()), Err)
}
