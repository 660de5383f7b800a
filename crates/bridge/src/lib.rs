//! Where waiting code meets blocking code.
//!
//! Disks block and sockets wait. Async callers hand blocking work to [`blocking`] or [`worker`], and bytes to it
//! through a [`pipe`], whose capacity bounds what is in flight. A blocking step can't be
//! cancelled, so whatever runs here must be safe to abandon.
#![forbid(unsafe_code)]

mod pipe;

pub use pipe::{Broken, Closed, PipeReader, PipeWriter, pipe};

/// The work panicked: a defect here, told to the caller instead of torn through the program.
#[derive(Debug, thiserror::Error)]
#[error("internal error: a worker thread panicked ({0})")]
pub struct Panicked(String);

/// Runs a blocking step on the runtime's pool of threads for such steps and waits for its answer.
///
/// # Errors
/// If the step panicked.
pub async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that calls it"
    )]
    let handle = tokio::task::spawn_blocking(step);
    handle.await.map_err(|error| Panicked(error.to_string()))
}

/// Starts a step of long blocking work on a named thread of its own; the answer is awaited later.
///
/// # Errors
/// If the system has no thread to give.
pub fn worker<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Worker<T>> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Nobody listens any more when the caller gave up; the work was safe to abandon.
            drop(tell.send(work()));
        })?;
    Ok(Worker {
        told,
        name: name.to_owned(),
    })
}

/// A thread at work; see [`worker`].
#[derive(Debug)]
pub struct Worker<T> {
    told: tokio::sync::oneshot::Receiver<T>,
    name: String,
}

impl<T> Worker<T> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// If the work panicked.
    pub async fn join(self) -> Result<T, Panicked> {
        self.told.await.map_err(|_gone| Panicked(self.name))
    }
}
